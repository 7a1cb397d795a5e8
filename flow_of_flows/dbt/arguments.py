"""dbt's argument lists: what to run and on what paths in, the list for `dbtRunner` out. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from pydantic import JsonValue


class Command(StrEnum):
    """The dbt commands this package uses."""

    DEPS = "deps"
    PARSE = "parse"
    FRESHNESS = "source freshness"
    BUILD = "build"
    RETRY = "retry"
    DOCS = "docs generate"
    LIST = "list"


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
    result = [*QUIET, f"--log-path={paths.work}", *command.value.split(), f"--project-dir={paths.project}"]
    result += [f"--profiles-dir={paths.profiles or paths.project}"]
    if options.vars:
        result += [f"--vars={vars_text(options.vars)}"]
    if command is Command.DEPS:
        return result
    result += [f"--target-path={paths.work}"]
    if paths.parse is not None:
        result += [f"--partial-parse-file-path={paths.parse}"]
    return result + _of(command, options, previous)


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
    }
    if options.select is not None:
        result["select"] = options.select.split()
    if options.exclude is not None:
        result["exclude"] = options.exclude.split()
    if options.vars:
        # dbt would write a dict into YAML with str(), where None is a word.
        result["vars"] = vars_text(options.vars)
    if options.threads is not None:
        result["threads"] = options.threads
    if paths.parse is not None:
        result["partial_parse_file_path"] = str(paths.parse)
    if options.state is not None:
        result |= {"state": str(options.state), "defer": True}
    return result


def vars_text(values: dict[str, JsonValue]) -> str:
    """Return dbt variables as the YAML that `--vars` takes.

    dbt reads YAML 1.1, in which some JSON means something else: a number such as 1e+16, or half of an emoji's escape.
    """
    text = yaml.safe_dump(values, default_flow_style=True, allow_unicode=True, sort_keys=False, width=float("inf"))
    return str(text).strip()


def _of(command: Command, options: Options, previous: Path | None) -> list[str]:
    """Return what only some commands take."""
    threads = [f"--threads={options.threads}"] if options.threads is not None else []
    match command:
        case Command.FRESHNESS:
            return [*threads, "--no-populate-cache"]
        case Command.RETRY:
            return [*threads, f"--state={previous}"]
        case Command.BUILD:
            return [*threads, *_selection(options), *(["--full-refresh"] if options.full_refresh else [])]
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
    if options.state is not None:
        result += ["--defer", f"--state={options.state}"]
    return result
