"""dbt's argument lists, compared whole."""

from __future__ import annotations

from pathlib import Path

from flow_of_flows.dbt.arguments import Command, Options, Paths, arguments, retry_arguments

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
