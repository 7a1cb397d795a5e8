"""dbt's selections and argument lists: what to run and on what paths in, the list for `dbtRunner` out. Pure.

A selection is read by dbt's own parser of one criterion; the separators are dbt's constants.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from flow_of_flows.dbt.build_flags import BuildFlags, yaml_text
from flow_of_flows.errors import ConfigurationError

# Methods that need the artifacts of an earlier run.
COMPARING = frozenset({"state", "source_status", "result"})
_UNMATCHED = re.compile(r"The selection criterion '(.+)' does not match any")


def selection_text(parameter: str, value: str | Sequence[str] | None) -> str | None:
    """Return a selection as one text whose criteria are separated by one space; None where there is none.

    Args:
        parameter: name of the parameter, for a message.
        value: the selection as a person wrote it: one text, or a list of texts.

    Raises:
        ConfigurationError: a criterion begins with a dash, so that dbt would take it for an option.
    """
    given = [value] if isinstance(value, str) else value or []
    criteria = [criterion for part in given for criterion in part.split()]
    for criterion in criteria:
        if criterion.startswith("-"):
            raise ConfigurationError(
                f"{criterion!r} in {parameter} is an option of dbt, not a selection",
                location=f"parameter {parameter}",
                hint="remove it; what can be set has a parameter of its own, such as full_refresh, exclude or threads",
            )
    return " ".join(criteria) or None


def selection_compares(selection: str | None) -> bool:
    """Return whether a selection asks for the artifacts of an earlier run."""
    return not COMPARING.isdisjoint(selection_methods(selection))


def selection_methods(selection: str | None) -> frozenset[str]:
    """Return the selection methods that a selection uses, such as `tag` or `state`."""
    from dbt.graph.cli import INTERSECTION_DELIMITER

    criteria = (part for union in (selection or "").split() for part in union.split(INTERSECTION_DELIMITER))
    return frozenset(method for criterion in criteria for method in _methods_of(criterion))


def everything_selected() -> str:
    """Return the selection that dbt takes for everything, for a project whose default selector is less."""
    from dbt.graph.cli import DEFAULT_INCLUDES

    return " ".join(DEFAULT_INCLUDES)


def methods_of_selector(definition: Any) -> frozenset[str]:
    """Return the selection methods of a selector's definition, as dbt keeps it in the manifest."""
    return frozenset(_walk(definition))


def unmatched_selection(warning: str) -> str | None:
    """Return the criterion that a warning of dbt says matches no node; None for any other warning."""
    found = _UNMATCHED.match(warning)
    return found[1] if found else None


def _methods_of(criterion: str) -> list[str]:
    from dbt.graph.selector_spec import SelectionCriteria
    from dbt_common.exceptions import DbtRuntimeError

    try:
        found = SelectionCriteria.dict_from_single_spec(criterion)
    except DbtRuntimeError:
        return []  # dbt refuses it when it selects, and its own message says why
    return [str(found["method"]).partition(".")[0]] if "method" in found else []


def _walk(definition: Any) -> Iterator[str]:
    match definition:
        case str():
            yield from selection_methods(definition)
        case {"method": str(method), **rest}:
            yield method.partition(".")[0]
            yield from _walk(rest.get("exclude", []))
        case Mapping():
            for key, value in definition.items():
                yield from (
                    _walk(value) if key in ("union", "intersection", "exclude") else selection_methods(f"{key}:{value}")
                )
        case list():
            for part in definition:
                yield from _walk(part)


class Command(StrEnum):
    """The dbt commands this package uses."""

    DEPS = "deps"
    PARSE = "parse"
    FRESHNESS = "source freshness"
    BUILD = "build"
    RETRY = "retry"
    DOCS = "docs generate"
    LIST = "list"
    DEBUG = "debug"


@dataclass(frozen=True)
class Paths:
    """Where dbt reads and writes in one run.

    `work` is a folder of this run alone; `parse` the parsed project of an earlier run, if there is one; `profiles` the
    folder of profiles.yml, if it is not the project's.
    """

    project: Path
    work: Path
    parse: Path | None = None
    profiles: Path | None = None

    @property
    def state(self) -> Path:
        """The folder for the artifacts of production, to compare with and to defer to."""
        return self.work / "state"


@dataclass(frozen=True)
class Options:
    """What to build. `state` is a folder with the production manifest, to compare with and to defer to.

    `docs`: ask the warehouse for a catalog afterwards.
    """

    select: str | None = None
    exclude: str | None = None
    vars: dict[str, JsonValue] = field(default_factory=dict)
    full_refresh: bool = False
    threads: int | None = None
    state: Path | None = None
    docs: bool = False
    flags: BuildFlags = field(default_factory=BuildFlags)

    @property
    def selector(self) -> str | None:
        """Name of the selector to build, where no selection was put in its place."""
        return self.flags.selector if self.select is None and self.exclude is None else None

    @property
    def is_whole(self) -> bool:
        """Whether these options leave the choice of nodes to the project."""
        flags = self.flags
        chosen = (self.select, self.exclude, flags.selector, flags.resource_types, flags.exclude_resource_types)
        return not any(chosen)


# Events reach us by callback, so dbt formats nothing for a console or a file. `--no-write-json`: dbt would write the
# manifest twice and pickle the graph; what is kept of a run is written once, from the values dbtRunner returns.
QUIET = (
    "--log-level=none",
    "--log-level-file=none",
    "--no-print",
    "--no-use-colors",
    "--no-write-json",
    "--cache-selected-only",
    "--no-send-anonymous-usage-stats",
)


def arguments(command: Command, paths: Paths, options: Options, *, previous: Path | None = None) -> list[str]:
    """Return the list for one invocation.

    Args:
        command: what to run.
        paths: where to read and write.
        options: what to build.
        previous: for retry, the folder with the run_results.json to go on from.
    """
    result = [*QUIET, *options.flags.global_arguments(), f"--log-path={paths.work}"]
    result += [*command.value.split(), f"--project-dir={paths.project}"]
    result += [f"--profiles-dir={paths.profiles or paths.project}"]
    if options.vars:
        result += [f"--vars={yaml_text(options.vars)}"]
    if command is Command.DEPS:
        return result
    if command is Command.DEBUG:
        return [*result, "--connection"]
    result += [f"--target-path={paths.work}"]
    if paths.parse is not None:
        result += [f"--partial-parse-file-path={paths.parse}"]
    return result + _of(command, options, previous)


def arguments_of_words(words: Sequence[str], paths: Paths, options: Options) -> list[str]:
    """Return the list for a command that a person wrote, with what its macros print.

    Args:
        words: the command and its options.
        paths: where to read and write.
        options: with variables of dbt.
    """
    like = Command.DEPS if words[0] == Command.DEPS else Command.PARSE
    listed = arguments(like, paths, options)
    at = listed.index(like)
    return [*(word for word in listed[:at] if word != "--no-print"), *words, *listed[at + 1 :]]


def retry_arguments(paths: Paths, options: Options) -> dict[str, Any]:
    """Return the `args` that `dbt retry` reads from a run_results.json, made anew for this process.

    dbt takes every option it does not know to be a path from there, and some that are: the paths of the old pod.

    Args:
        paths: where dbt reads and writes.
        options: what the run was to build.
    """
    result: dict[str, Any] = {
        "which": Command.BUILD.value,
        "log_level": "none",
        "log_level_file": "none",
        "print": False,
        "write_json": False,
        "cache_selected_only": True,
        "send_anonymous_usage_stats": False,
        "full_refresh": options.full_refresh,
        **options.flags.retry_arguments(),
    }
    if options.selector is not None:
        result["selector"] = options.selector
    if options.select is not None:
        result["select"] = options.select.split()
    if options.exclude is not None:
        result["exclude"] = options.exclude.split()
    if options.vars:
        # dbt would write a dict into YAML with str(), where None is a word.
        result["vars"] = yaml_text(options.vars)
    if options.threads is not None:
        result["threads"] = options.threads
    if paths.parse is not None:
        result["partial_parse_file_path"] = str(paths.parse)
    if options.state is not None:
        result |= {"state": str(options.state), "defer": True}
        if options.flags.favor_state:
            result["favor_state"] = True
    return result


def _of(command: Command, options: Options, previous: Path | None) -> list[str]:
    """Return what only some commands take."""
    threads = [f"--threads={options.threads}"] if options.threads is not None else []
    match command:
        case Command.FRESHNESS:
            return [*threads, "--no-populate-cache"]
        case Command.RETRY:
            return [*threads, f"--state={previous}"]
        case Command.BUILD:
            how = [*(["--full-refresh"] if options.full_refresh else []), *options.flags.build_arguments()]
            if options.state is not None and options.flags.favor_state:
                how.append("--favor-state")
            return [*threads, *_selection(options), *how]
        case Command.LIST:
            return [*_selection(options), "--output=json", "--output-keys=unique_id"]
        case Command.DOCS:
            # The build has compiled everything.
            return ["--no-compile"]
        case _:
            return []


def _selection(options: Options) -> list[str]:
    result: list[str] = []
    if options.select is not None:
        # One word with its value: none of it can become an option, and dbt splits it at the spaces.
        result += [f"--select={options.select}"]
    if options.exclude is not None:
        result += [f"--exclude={options.exclude}"]
    if options.selector is not None:
        result += [f"--selector={options.selector}"]
    if options.state is not None:
        result += ["--defer", f"--state={options.state}"]
    return result + options.flags.selection_arguments()
