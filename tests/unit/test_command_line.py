"""A dbt command as a person writes it: what its words are, and what is refused, with one sentence each."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from flow_of_flows.cli.parameters import check
from flow_of_flows.dbt.arguments import QUIET, Options, Paths, arguments_of_words
from flow_of_flows.dbt.command_line import AdHoc, parse
from flow_of_flows.errors import ConfigurationError

COMMANDS = ", ".join(AdHoc)
STATE = "production is in the state store, and dbt is given it where the command compares, defers or clones"
FILES = "the files of a run are in a folder of its own, which is removed with it"
RESULT = "leave it out; the page of the run has the result"
LOG = "the log of the run has dbt's lines"
PARSE = "the project is parsed before the command"
FLAGS = "leave it out, or set it under `flags` in dbt_project.yml"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("run", ["run"]),
        ("dbt run --select a b", ["run", "--select", "a", "b"]),
        ("run --select 'a b'", ["run", "--select", "a b"]),
        ("list --output json", ["ls", "--output", "json"]),
        ("source freshness", ["source", "freshness"]),
        (
            "run-operation grant_select --args {role: reader}",
            ["run-operation", "grant_select", "--args", "{role: reader}"],
        ),
        ("run-operation m --args '{role: reader}'", ["run-operation", "m", "--args", "{role: reader}"]),
        (
            "run-operation m --args={a: 'b, c', d: {e: \"}\"}} --vars {x: it's}",
            ["run-operation", "m", "--args={a: 'b, c', d: {e: \"}\"}}", "--vars", "{x: it's}"],
        ),
        (
            "show --inline \"select * from {{ ref('first') }}\"",
            ["show", "--inline", "select * from {{ ref('first') }}"],
        ),
    ],
)
def test_words_are_those_of_a_shell_and_braces_keep_theirs_together(text: str, words: list[str]) -> None:
    """YAML between braces needs no quotes, and keeps those that it has."""
    assert list(parse(text).words) == words


@pytest.mark.parametrize(
    ("text", "what", "todo"),
    [
        ("", "The command is empty", f"write one of {COMMANDS}, with its options after it"),
        (
            "--debug run",
            "The command begins with the option --debug",
            f"write one of {COMMANDS}, with its options after it",
        ),
        ("run 'a", "The command cannot be split into words: No closing quotation", "close the quotation"),
        (
            "rum",
            "dbt refuses the command: No such command 'rum'",
            f"did you mean run? write one of {COMMANDS}",
        ),
        ("docs", "The command docs lacks its second word", f"write one of {COMMANDS}"),
        (
            "docs generte",
            "dbt refuses the command: No such command 'generte'",
            f"did you mean generate? write one of {COMMANDS}",
        ),
        ("build", "dbt-command does not run build", "run dbt-build, which has a parameter for each of its options"),
        (
            "retry",
            "dbt-command does not run retry",
            "press Retry on the page of the run, or run dbt-build with retry_of",
        ),
        ("debug", "dbt-command does not run debug", "run `flows doctor`, which tests the connection"),
        ("init", "dbt-command does not run init", "run `flows init`"),
        (
            "run --full-refesh",
            "dbt refuses the command: No such option '--full-refesh'",
            "did you mean --full-refresh? see `dbt run --help`",
        ),
        (
            "run --select",
            "dbt refuses the command: Option '--select' requires an argument",
            "see `dbt run --help`",
        ),
        ("ls a", "dbt refuses the command: Got unexpected extra argument (a)", "see `dbt ls --help`"),
        ("run-operation", "dbt refuses the command: Missing argument 'MACRO'", "see `dbt run-operation --help`"),
        (
            "show --limit many --select a",
            "dbt refuses the command: Invalid value for '--limit': 'many' is not a valid integer",
            "see `dbt show --help`",
        ),
        (
            "run-operation m --args [1",
            "dbt refuses the command: Invalid value for '--args': String '[1' is not valid YAML",
            "see `dbt run-operation --help`",
        ),
        (
            "show --select a --inline 'select 1'",
            "dbt refuses the command: inline: not allowed with argument select",
            "see `dbt show --help`",
        ),
        (
            "run --event-time-start 2026-01-03 --event-time-end 2026-01-02",
            "dbt refuses the command: Value for `--event-time-start` must be less than `--event-time-end`",
            "see `dbt run --help`",
        ),
        (
            "run --warn-error-options {error: [Nope]}",
            "dbt refuses the command: Nope is not a valid dbt error name",
            "see `dbt run --help`",
        ),
        ("run --threads 0", "--threads is 0", "write a number from 1 on"),
    ],
)
def test_what_dbt_does_not_know_is_refused_in_its_own_words(
    text: str, what: str, todo: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """One sentence, and nothing that dbt prints by itself."""
    with pytest.raises(ConfigurationError) as refused:
        parse(text)
    assert (refused.value.message, refused.value.hint) == (what, todo)
    assert (refused.value.location, refused.value.exit_code) == ("parameter command", 2)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("text", "option", "why", "todo"),
    [
        (
            "run --project-dir /nowhere",
            "--project-dir",
            "the project is that of the image or of a repository",
            "use the parameters repository, ref and subfolder",
        ),
        (
            "run --profiles-dir /nowhere",
            "--profiles-dir",
            "the profile is that of the project",
            "set DBT_PROFILES_DIR for the deployment",
        ),
        (
            "run --profile other",
            "--profile",
            "the profile is that of the project",
            "choose one of its outputs with the parameter target",
        ),
        ("run -t prod", "--target", "the lock and the state store need the output, too", "use the parameter target"),
        ("clone --state old", "--state", STATE, "leave it out"),
        ("run --defer --defer-state old", "--defer-state", STATE, "leave it out"),
        ("compile --target-path out", "--target-path", FILES, RESULT),
        ("run --no-write-json", "--write-json", FILES, RESULT),
        ("docs generate --static", "--static", FILES, RESULT),
        ("source freshness -o out.json", "--output", FILES, RESULT),
        ("run --record-timing-info out", "--record-timing-info", FILES, RESULT),
        ("run --log-path logs", "--log-path", FILES, "leave it out; the page of the run has the log"),
        ("run --log-level debug", "--log-level", LOG, "leave it out"),
        ("run -d", "--debug", LOG, "leave it out"),
        ("run -q", "--quiet", LOG, "leave it out"),
        ("run-operation m --no-print", "--print", LOG, "leave it out"),
        ("run --no-partial-parse", "--partial-parse", PARSE, FLAGS),
        ("run --no-version-check", "--version-check", PARSE, FLAGS),
        (
            "run --send-anonymous-usage-stats",
            "--send-anonymous-usage-stats",
            "a run sends nothing about itself to other hosts",
            "leave it out",
        ),
        (
            "run --no-cache-selected-only",
            "--cache-selected-only",
            "dbt always looks at the selected schemas only",
            "leave it out",
        ),
        ("run --version", "--version", "the report of a run names it", "run another command"),
        ("run --help", "--help", "a run prints no help", "see https://docs.getdbt.com/reference/dbt-commands"),
    ],
)
def test_options_of_the_platform_are_refused_with_what_to_use_instead(
    text: str, option: str, why: str, todo: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever their value is: a folder need not exist here."""
    with pytest.raises(ConfigurationError) as refused:
        parse(text)
    assert refused.value.message == f"The option {option} is not for a command of a run: {why}"
    assert refused.value.hint == todo
    assert capfd.readouterr() == ("", "")


def test_every_option_that_the_platform_passes_is_refused() -> None:
    """Dbt would refuse an option that is there twice, in words that nobody could act on."""
    paths = Paths(Path("project"), Path("work"), parse=Path("parse"))
    passed = [word for word in arguments_of_words(["run"], paths, Options()) if word.startswith("-")]
    assert len(passed) > len(QUIET)
    for word in passed:
        with pytest.raises(ConfigurationError, match=" is not for a command of a run: "):
            parse(f"run {word}")


def test_the_selection_is_listed_with_the_same_words() -> None:
    """So that the lock is taken on what the command writes, and on nothing else."""
    line = parse("test --select a b --exclude tag:x --indirect-selection cautious --resource-type unit_test")
    assert line.selection() == [
        "--indirect-selection=cautious",
        "list",
        "--select=a b",
        "--exclude=tag:x",
        "--resource-types=unit_test",
        "--output=json",
        "--output-keys=unique_id",
    ]


def test_variables_are_those_of_the_text_or_of_the_parameter() -> None:
    """Both at once are refused."""
    line = parse("run --vars {a: [1, {b: c}]}")
    assert line.with_vars(None) == {"a": [1, {"b": "c"}]}
    assert parse("run").with_vars({"a": {"b": 1}}) == {"a": {"b": 1}}
    with pytest.raises(ConfigurationError, match="The command has --vars, and there is the parameter vars, too"):
        line.with_vars({"a": 1})


def test_the_command_line_checks_a_command_before_a_run_is_created() -> None:
    """Other children have no such check."""
    assert find_spec("dbt")
    check("dbt-build", {"command": "rum"})
    check("dbt-command", {"command": "run"})
    with pytest.raises(ConfigurationError, match="No such command 'rum'"):
        check("dbt-command", {"command": "rum"})
