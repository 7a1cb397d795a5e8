"""The options of `dbt build` that reach dbt as they are: parameters in, words for dbt's parser or a refusal out. Pure.

dbt's own parser checks the values. `check` refuses only what dbt takes without a word and then ignores.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, JsonValue

from flow_of_flows.dbt.results import one_line
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.redaction import redact

IndirectSelection = Literal["eager", "cautious", "buildable", "empty"]
ResourceType = Literal[
    "model",
    "test",
    "unit_test",
    "seed",
    "snapshot",
    "source",
    "exposure",
    "function",
    "analysis",
    "metric",
    "semantic_model",
    "saved_query",
    "default",
]
# `include` and `exclude` are dbt's earlier names of `error` and `warn`.
WarnErrorKey = Literal["error", "warn", "silence", "include", "exclude"]


def _no_number(value: object) -> object:
    """Refuse a number: 2026 would become a second of 1970."""
    if isinstance(value, (int, float)):
        raise ValueError("an event time is a date or a date and time, such as 2026-01-31 or 2026-01-31T12:00:00")  # noqa: TRY004 - pydantic's
    return value


def _in_utc(value: datetime) -> datetime:
    """Return a time in UTC, which is what a time without a zone is in."""
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


EventTime = Annotated[datetime, BeforeValidator(_no_number), AfterValidator(_in_utc)]


class BuildFlags(BaseModel):
    """Options of `dbt build`, each with the name of the child's parameter and of dbt's option.

    `target` is for the session: it chooses the output of the profile. The times are UTC, as dbt's are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: str | None = None
    selector: str | None = None
    indirect_selection: IndirectSelection | None = None
    resource_types: tuple[ResourceType, ...] = ()
    exclude_resource_types: tuple[ResourceType, ...] = ()
    fail_fast: bool | None = None
    store_failures: bool = False
    empty: bool = False
    sample: str | None = None
    event_time_start: EventTime | None = None
    event_time_end: EventTime | None = None
    defer: bool = False
    favor_state: bool = False
    warn_error_options: dict[WarnErrorKey, str | list[str]] | None = None

    @classmethod
    def restored(cls, saved: dict[str, JsonValue], target: str | None) -> Self:
        """Return the flags of a saved run, for the target of this one.

        Args:
            saved: what `saved` returned.
            target: this run's.
        """
        return cls.model_validate({**saved, "target": target})

    def saved(self) -> dict[str, JsonValue]:
        """Return every flag that is not at its default, as JSON."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def global_arguments(self) -> list[str]:
        """Return what every command of dbt takes."""
        return [f"--warn-error-options={yaml_text(self.warn_error_options)}"] if self.warn_error_options else []

    def selection_arguments(self) -> list[str]:
        """Return what says which nodes are built, but the selector: it is one of three ways to select."""
        return _words(self._values(("indirect_selection", "resource_types", "exclude_resource_types")))

    def build_arguments(self) -> list[str]:
        """Return what says how nodes are built."""
        return _words(self._values(("fail_fast", "store_failures", "empty", "sample", *_TIMES)))

    def retry_arguments(self) -> dict[str, Any]:
        """Return the same as the `args` of a run_results.json, but the selector and what defers."""
        names = (*_TIMES, "indirect_selection", "resource_types", "exclude_resource_types")
        values = self._values(("fail_fast", "store_failures", "empty", "sample", *names))
        options = yaml_text(self.warn_error_options) if self.warn_error_options else None
        return values | ({"warn_error_options": options} if options else {})

    def _values(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return those of these flags that are not at their default, each as dbt's parser takes it."""
        defaults = type(self).model_fields
        values = {name: getattr(self, name) for name in names}
        return {name: _value(value) for name, value in values.items() if value != defaults[name].default}


_TIMES = ("event_time_start", "event_time_end")


def sample_text(value: str | Mapping[Literal["start", "end"], str] | None) -> str | None:
    """Return a sample window as the text that `--sample` takes: `3 days`, or its start and end as YAML."""
    return value if value is None or isinstance(value, str) else yaml_text(dict(value))


def types(value: ResourceType | list[ResourceType] | None) -> tuple[ResourceType, ...]:
    """Return resource types as a tuple."""
    return (value,) if isinstance(value, str) else tuple(value or ())


def check(flags: BuildFlags, *, select: str | None, exclude: str | None) -> None:
    """Refuse options of which dbt would ignore one.

    Args:
        flags: the options.
        select: the selection beside them.
        exclude: what the selection leaves out.

    Raises:
        ConfigurationError: two of them contradict each other.
    """
    window = [name for name in _TIMES if getattr(flags, name) is not None]
    for first, second, both in (
        ("selector", "select", flags.selector and select),
        ("selector", "exclude", flags.selector and exclude),
        ("sample", " and ".join(window), flags.sample and window),
    ):
        if both:
            raise ConfigurationError(
                f"{first} and {second} contradict each other", location="parameters", hint="give one of them"
            )
    if flags.favor_state and not flags.defer:
        raise ConfigurationError(
            "favor_state says how to defer, and defer is off", location="parameters", hint="set defer, too"
        )


def refused_option(error: BaseException) -> ConfigurationError | None:
    """Return the error of a parameter that dbt's parser of options refuses; None for another exception."""
    from click import UsageError
    from dbt.cli.exceptions import DbtUsageException
    from dbt.exceptions import DbtExclusivePropertyUseError
    from dbt_common.dataclass_schema import ValidationError

    if isinstance(error, UsageError):
        return refused(error.format_message())
    if isinstance(error, (DbtUsageException, DbtExclusivePropertyUseError, ValidationError)):
        return refused(str(error))
    return None


def refused(what: str) -> ConfigurationError:
    """Return the error of parameters that dbt does not build with."""
    return ConfigurationError(
        f"dbt refuses the parameters: {redact(one_line(what))}",
        location="parameters",
        hint="correct them; each has the name of dbt's option, and `dbt build --help` describes them",
    )


def without_microbatch(flags: BuildFlags) -> ConfigurationError:
    """Return the error of event times for a build in which no model has batches."""
    start, end = (getattr(flags, name) for name in _TIMES)
    return ConfigurationError(
        f"No model of this build is built in batches, so none can be built from {start} to {end}",
        location="parameters event_time_start and event_time_end",
        hint="select a model whose incremental_strategy is microbatch, or leave the event times out",
    )


def no_production(why: str) -> ConfigurationError:
    """Return the error of a build that is to defer to production where there is none.

    Args:
        why: as a sentence.
    """
    return ConfigurationError(
        f"There is nothing to defer to: {why}",
        location="parameter defer",
        hint="run dbt-build without a selection once, so that production is published, or leave defer out",
    )


def yaml_text(value: Any) -> str:
    """Return a value as the YAML that an option of dbt takes, on one line.

    dbt reads YAML 1.1, in which some JSON means something else: a number such as 1e+16, or half of an emoji's escape.
    """
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=float("inf"))
    return str(text).strip()


def _words(values: dict[str, Any]) -> list[str]:
    """Return each value in one word with its option, so that it cannot become an option of its own."""
    result: list[str] = []
    for name, value in values.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            result.append(f"--{option}" if value else f"--no-{option}")
        else:
            result += [f"--{option}={each}" for each in ([value] if isinstance(value, str) else value)]
    return result


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        # dbt takes no time zone, and means UTC.
        return value.replace(tzinfo=None).isoformat()
    return list(value) if isinstance(value, tuple) else value
