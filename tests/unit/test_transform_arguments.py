"""dbt's argument lists, compared whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from dbt.cli.flags import Flags, args_to_context
from dbt.cli.types import Command as CliCommand

from flow_of_flows.dbt.arguments import Command, Options, Paths, arguments, retry_arguments
from flow_of_flows.dbt.build_flags import BuildFlags
from tests.fixtures import dbt_projects

QUIET = [
    "--log-level=none",
    "--log-level-file=none",
    "--no-print",
    "--no-use-colors",
    "--no-write-json",
    "--cache-selected-only",
    "--no-send-anonymous-usage-stats",
    "--log-path=/work",
]
PLACES = ["--project-dir=/project", "--profiles-dir=/project"]
PATHS = Paths(Path("/project"), Path("/work"), Path("/cache/partial_parse.msgpack"))
PARSE = "--partial-parse-file-path=/cache/partial_parse.msgpack"
FULL = Options(
    select="a+ tag:b", exclude="c", vars={"d": None}, full_refresh=True, threads=3, state=Path("/production")
)


def test_build_with_every_option() -> None:
    """A build selects, defers, and passes variables as YAML."""
    assert arguments(Command.BUILD, PATHS, FULL) == [
        *QUIET,
        "build",
        *PLACES,
        "--vars={d: null}",
        "--target-path=/work",
        PARSE,
        "--threads=3",
        "--select=a+ tag:b",
        "--exclude=c",
        "--defer",
        "--state=/production",
        "--full-refresh",
    ]


def test_build_with_no_option() -> None:
    """Nothing is passed that was not asked for."""
    assert arguments(Command.BUILD, Paths(Path("/project"), Path("/work")), Options()) == [
        *QUIET,
        "build",
        *PLACES,
        "--target-path=/work",
    ]


def test_freshness_checks_every_source() -> None:
    """Freshness ignores the selection and does not list the warehouse's tables first."""
    assert arguments(Command.FRESHNESS, PATHS, FULL) == [
        *QUIET,
        "source",
        "freshness",
        *PLACES,
        "--vars={d: null}",
        "--target-path=/work",
        PARSE,
        "--threads=3",
        "--no-populate-cache",
    ]


def test_retry_names_the_folder_to_go_on_from() -> None:
    """A retry takes its selection from the run results, not from the list."""
    assert arguments(Command.RETRY, PATHS, FULL, previous=Path("/previous"))[-3:] == [
        PARSE,
        "--threads=3",
        "--state=/previous",
    ]


def test_deps_has_no_target_path() -> None:
    """`dbt deps` knows no target path."""
    assert arguments(Command.DEPS, PATHS, Options()) == [*QUIET, "deps", *PLACES]


def test_catalog_needs_no_second_compilation() -> None:
    """`dbt docs generate` after a build asks the warehouse, and compiles nothing."""
    assert arguments(Command.DOCS, PATHS, FULL) == [
        *QUIET,
        "docs",
        "generate",
        *PLACES,
        "--vars={d: null}",
        "--target-path=/work",
        PARSE,
        "--no-compile",
    ]


def test_list_is_of_the_selection() -> None:
    """`dbt ls` selects as the build does, and prints ids."""
    assert arguments(Command.LIST, PATHS, Options(select="a"))[-3:] == [
        "--select=a",
        "--output=json",
        "--output-keys=unique_id",
    ]


def test_retry_arguments_hold_only_this_process_paths() -> None:
    """What `dbt retry` reads from the run results is made anew, with variables as JSON text."""
    assert retry_arguments(PATHS, FULL) == {
        "which": "build",
        "log_level": "none",
        "log_level_file": "none",
        "print": False,
        "write_json": False,
        "cache_selected_only": True,
        "send_anonymous_usage_stats": False,
        "full_refresh": True,
        "select": ["a+", "tag:b"],
        "exclude": ["c"],
        "vars": "{d: null}",
        "threads": 3,
        "partial_parse_file_path": "/cache/partial_parse.msgpack",
        "state": "/production",
        "defer": True,
    }


FLAGS = BuildFlags.model_validate(
    {
        "target": "other",
        "selector": "nightly",
        "indirect_selection": "cautious",
        "resource_types": ["model", "seed"],
        "exclude_resource_types": ["test"],
        "fail_fast": False,
        "store_failures": True,
        "empty": True,
        "sample": "3 days",
        "event_time_start": "2026-01-01",
        "event_time_end": "2026-01-31T12:00:00+02:00",
        "defer": True,
        "favor_state": True,
        "warn_error_options": {"error": "all", "silence": ["Note"]},
    }
)


def test_every_flag_is_one_word_with_its_value() -> None:
    """No value can become an option; times are UTC, and the target is the environment's."""
    options = Options(state=Path("/production"), flags=FLAGS)

    assert arguments(Command.BUILD, PATHS, options) == [
        *QUIET[:-1],
        "--warn-error-options={error: all, silence: [Note]}",
        QUIET[-1],
        "build",
        *PLACES,
        "--target-path=/work",
        PARSE,
        "--selector=nightly",
        "--defer",
        "--state=/production",
        "--indirect-selection=cautious",
        "--resource-types=model",
        "--resource-types=seed",
        "--exclude-resource-types=test",
        "--no-fail-fast",
        "--store-failures",
        "--empty",
        "--sample=3 days",
        "--event-time-start=2026-01-01T00:00:00",
        "--event-time-end=2026-01-31T10:00:00",
        "--favor-state",
    ]


def test_a_retry_has_the_flags_of_the_build(tmp_path: Path) -> None:
    """The parser of dbt makes the same flags of a retry's arguments as of the build's."""
    paths = Paths(dbt_projects.write(tmp_path), tmp_path)
    options = Options(state=tmp_path, flags=FLAGS)
    kept = set(FLAGS.model_fields_set - {"target"})

    built = Flags(args_to_context(arguments(Command.BUILD, paths, options)))
    retried = Flags.from_dict(CliCommand.BUILD, {**retry_arguments(paths, options), "profiles_dir": str(tmp_path)})

    assert {name: getattr(retried, name) for name in kept - {"sample"}} == {
        name: getattr(built, name) for name in kept - {"sample"}
    }
    assert retried.sample.end - retried.sample.start == built.sample.end - built.sample.start


def test_flags_outlive_a_process() -> None:
    """What a run keeps of its flags are those that are not at their default, and makes the same flags again."""
    assert BuildFlags.restored(FLAGS.saved(), "other") == FLAGS
    assert BuildFlags().saved() == {}


def test_a_number_is_no_event_time() -> None:
    """The year alone would be a second of 1970."""
    with pytest.raises(ValueError, match="an event time is a date or a date and time"):
        BuildFlags.model_validate({"event_time_start": 2026})
