"""A dbt command as a person writes it: one text in, its words as dbt's own command line reads them out. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from flow_of_flows.dbt.arguments import COMPARING, methods_of_selector, selection_methods
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.messages import one_line

WHERE = "parameter command"


class AdHoc(StrEnum):
    """The commands of dbt that `dbt-command` runs."""

    RUN = "run"
    TEST = "test"
    SEED = "seed"
    SNAPSHOT = "snapshot"
    RUN_OPERATION = "run-operation"
    CLONE = "clone"
    COMPILE = "compile"
    SHOW = "show"
    DOCS = "docs generate"
    FRESHNESS = "source freshness"
    LIST = "ls"
    DEPS = "deps"


ALIASES = {"list": AdHoc.LIST, "source snapshot-freshness": AdHoc.FRESHNESS}
# What else dbt has, and what to use for it.
INSTEAD = {
    "build": "run dbt-build, which has a parameter for each of its options",
    "retry": "press Retry on the page of the run, or run dbt-build with retry_of",
    "parse": "run compile, which parses the project, or `flows plan`",
    "debug": "run `flows doctor`, which tests the connection",
    "clean": "leave it out: the files of a run are removed with it",
    "init": "run `flows init`",
    "docs serve": "run dbt-build with docs=true, and serve the files of the state store",
}

_FILES = "the files of a run are in a folder of its own, which is removed with it"
_LOG = "the log of the run has dbt's lines"
_STATE = "production is in the state store, and dbt is given it where the command compares, defers or clones"
_PARSE = "the project is parsed before the command"
_HOSTS = "a run sends nothing about itself to other hosts"
_OUT = "leave it out"
_RESULT = "leave it out; the page of the run has the result"
_FLAGS = "leave it out, or set it under `flags` in dbt_project.yml"
# The options that the platform sets, by dbt's name of the parameter: the reason, and what to do instead.
OWNED: Mapping[str, tuple[str, str]] = {
    "project_dir": (
        "the project is that of the image or of a repository",
        "use the parameters repository, ref and subfolder",
    ),
    "profiles_dir": ("the profile is that of the project", "set DBT_PROFILES_DIR for the deployment"),
    "profile": ("the profile is that of the project", "choose one of its outputs with the parameter target"),
    "target": ("the lock and the state store need the output, too", "use the parameter target"),
    "state": (_STATE, _OUT),
    "defer_state": (_STATE, _OUT),
    "target_path": (_FILES, _RESULT),
    "static": (_FILES, _RESULT),
    "write_json": (_FILES, _RESULT),
    "record_timing_info": (_FILES, _RESULT),
    "log_path": (_FILES, "leave it out; the page of the run has the log"),
    **dict.fromkeys(
        (
            *("debug", "quiet", "print", "printer_width", "use_colors", "use_colors_file", "log_cache_events"),
            *("log_level", "log_level_file", "log_format", "log_format_file", "log_file_max_bytes"),
        ),
        (_LOG, _OUT),
    ),
    **dict.fromkeys(
        (
            *("partial_parse", "partial_parse_file_path", "partial_parse_file_diff"),
            *("static_parser", "use_experimental_parser", "version_check"),
        ),
        (_PARSE, _FLAGS),
    ),
    "cache_selected_only": ("dbt always looks at the selected schemas only", _OUT),
    "send_anonymous_usage_stats": (_HOSTS, _OUT),
    "upload_to_artifacts_ingest_api": (_HOSTS, _OUT),
    "show_resource_report": (_LOG, _OUT),
    "version": ("the report of a run names it", "run another command"),
    "help": ("a run prints no help", "see https://docs.getdbt.com/reference/dbt-commands"),
}
OWNED_OF: Mapping[AdHoc, Mapping[str, tuple[str, str]]] = {AdHoc.FRESHNESS: {"output": (_FILES, _RESULT)}}
SELECTING = ("select", "exclude", "selector", "resource_types", "exclude_resource_types", "indirect_selection")

_PARTS = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.|[{}]""", re.DOTALL)


@dataclass(frozen=True)
class CommandLine:
    """A command that dbt's own command line has accepted.

    Attributes:
        words: for dbt, the command's own first.
        values: dbt's value of each option, by dbt's name of the parameter.
    """

    command: AdHoc
    words: tuple[str, ...]
    values: Mapping[str, Any]

    def with_vars(self, parameter: dict[str, Any] | None) -> dict[str, Any]:
        """Return the variables of the text, or those of the parameter `vars`.

        Raises:
            ConfigurationError: there are both.
        """
        own: dict[str, Any] = self.values.get("vars") or {}
        if own and parameter:
            raise _refused("The command has --vars, and there is the parameter vars, too", "give one of them")
        return own or parameter or {}

    @property
    def select(self) -> str | None:
        """The selection as one text."""
        return " ".join(self.values.get("select") or ()) or None

    @property
    def exclude(self) -> str | None:
        """What is left out, as one text."""
        return " ".join(self.values.get("exclude") or ()) or None

    @property
    def stores_failures(self) -> bool:
        """Whether tests write the rows that failed, whatever their own configuration."""
        return bool(self.values.get("store_failures"))

    @property
    def reads_production(self) -> bool:
        """Whether dbt reads production's manifest, whatever is selected."""
        return self.command is AdHoc.CLONE or bool(self.values.get("defer") or self.values.get("favor_state"))

    def methods(self, selectors: Mapping[str, Any], default: str | None) -> frozenset[str]:
        """Return the selection methods that the command uses, such as `tag` or `state`.

        Args:
            selectors: definitions of selectors.yml by name.
            default: name of the selector that dbt uses where nothing is selected.
        """
        chosen: str | None = self.values.get("selector") or (None if self.select or self.exclude else default)
        named = methods_of_selector(selectors[chosen]["definition"]) if chosen and chosen in selectors else frozenset()
        return named | selection_methods(self.select) | selection_methods(self.exclude)

    def selection(self) -> list[str]:
        """Return the words of `dbt ls` that list the ids of what the command selects."""
        from dbt.cli.flags import command_params
        from dbt.cli.types import Command

        values = {name: self.values.get(name) for name in SELECTING}
        given = {name: list(v) if isinstance(v, tuple) else v for name, v in values.items() if v}
        return [*command_params(Command.LIST, given), "--output=json", "--output-keys=unique_id"]


def compares(methods: frozenset[str]) -> bool:
    """Return whether one of these selection methods needs the artifacts of an earlier run."""
    return not COMPARING.isdisjoint(methods)


def parse(text: str) -> CommandLine:
    """Return the words of a text, as a shell splits them and dbt's own command line accepts them.

    Raises:
        ConfigurationError: the command or an option is unknown, belongs to the platform, or has no such value.
    """
    words = _split(text)
    if words[:1] == ["dbt"]:
        words = words[1:]
    command, definition, rest = _command(words)
    return CommandLine(command, (*command.split(), *rest), _values(command, definition, rest))


def _split(text: str) -> list[str]:
    """Return the words of a text; what is between braces is one, as it is: `{role: reader}` needs no quotes."""
    try:
        return shlex.split("".join(_quoted_braces(text)))
    except ValueError as error:
        raise _refused(f"The command cannot be split into words: {error}", "close the quotation") from error


def _quoted_braces(text: str) -> Iterator[str]:
    """Yield a text in parts, of which those between braces are quoted for a shell."""
    done, begin, depth = 0, 0, 0
    for part in _PARTS.finditer(text):
        if part[0] == "{":
            begin = part.start() if depth == 0 else begin
            depth += 1
        elif part[0] == "}" and depth > 0:
            depth -= 1
            if depth == 0:
                yield text[done:begin]
                yield shlex.quote(text[begin : part.end()])
                done = part.end()
    yield text[done:]


def _command(words: Sequence[str]) -> tuple[AdHoc, Any, list[str]]:
    """Return the command that the words begin with, as dbt's command line has it, too, and the words after it."""
    from click import Context, Group, UsageError
    from dbt.cli.main import cli

    choice = f"write one of {', '.join(AdHoc)}"
    if not words or words[0].startswith("-"):
        what = f"begins with the option {words[0]}" if words else "is empty"
        raise _refused(f"The command {what}", f"{choice}, with its options after it")
    names: list[str] = []
    found: Any = cli
    rest = list(words)
    while isinstance(found, Group):
        if not rest:
            raise _refused(f"The command {' '.join(names)} lacks its second word", choice)
        try:
            name, found, rest = found.resolve_command(Context(found, info_name="dbt"), rest)
        except UsageError as error:
            raise _dbt_refuses(error, choice) from error
        names.append(str(name))
    full = " ".join(names)
    if full in INSTEAD:
        raise _refused(f"dbt-command does not run {full}", INSTEAD[full])
    return ALIASES.get(full) or AdHoc(full), found, rest


def _values(command: AdHoc, definition: Any, rest: list[str]) -> dict[str, Any]:
    """Return dbt's value of each option, as dbt's own command line reads and checks them."""
    from click import Context, UsageError
    from dbt.cli.exceptions import DbtUsageException
    from dbt.cli.flags import Flags, args_to_context
    from dbt.contracts.project import ProjectFlags
    from dbt_common.dataclass_schema import ValidationError
    from dbt_common.events.event_manager_client import cleanup_event_logger
    from dbt_common.exceptions import DbtBaseException

    try:
        # First what is there, without its meaning: `--version` would print, and a folder need not exist here.
        _, _, order = definition.make_parser(Context(definition)).parse_args(list(rest))
        _refuse_owned(command, order)
        # Without it dbt would print what is wrong with a YAML text; an invocation sets its own log up.
        cleanup_event_logger()
        context = args_to_context([*command.split(), *rest, *_FOLDERS])
        Flags(context, ProjectFlags())
    except (UsageError, DbtUsageException, DbtBaseException, ValidationError) as error:
        raise _dbt_refuses(error, f"see `dbt {command} --help`") from error
    if (threads := context.params.get("threads")) is not None and threads < 1:
        raise _refused(f"--threads is {threads}", "write a number from 1 on")
    return dict(context.params)


# Folders that exist, where dbt would look for its own.
_FOLDERS = ("--project-dir=.", "--profiles-dir=.")


def _refuse_owned(command: AdHoc, order: Sequence[Any]) -> None:
    """Refuse the options that the platform sets, among those that the text has."""
    owned = {**OWNED, **OWNED_OF.get(command, {})}
    for parameter in order:
        option = max(parameter.opts, key=len)
        if (found := owned.get("help" if option == "--help" else parameter.name)) is not None:
            raise _refused(f"The option {option} is not for a command of a run: {found[0]}", found[1])


def _dbt_refuses(error: Exception, hint: str) -> ConfigurationError:
    """Return the error of a command that dbt's command line does not accept, in dbt's words."""
    from click import UsageError

    possible = getattr(error, "possibilities", None)
    if possible is not None:
        said = getattr(error, "message", str(error))
        hint = f"did you mean {possible[0]}? {hint}" if possible else hint
    else:
        said = error.format_message() if isinstance(error, UsageError) else getattr(error, "message", str(error))
    return _refused(f"dbt refuses the command: {one_line(said).rstrip('.')}", hint)


def _refused(what: str, hint: str) -> ConfigurationError:
    return ConfigurationError(what, location=WHERE, hint=hint)
