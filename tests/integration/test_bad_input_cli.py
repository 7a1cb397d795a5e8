"""Bad input on the command line: one message on stderr, nothing on stdout, no traceback, the right exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import NOBODY, REPOSITORY, flows, refused

STEPS = "staging, exchange-rates, currencies, dbt-build, dashboard-customers, dashboard-sales"
FILE = REPOSITORY / "prefect.yaml"
DEPLOYMENTS = (
    "there are daily-pipeline, weekly-full-refresh, jaffle-shop, staging, raw-customers, raw-orders, raw-payments, "
    "exchange-rates, currencies, hubspot, dbt-build, dbt-command, dbt-cloud, dashboard-customers, "
    "dashboard-sales, sweep, smoke"
)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "nope",
            (
                'Unknown command "nope". Available commands: init, run, resume, report, graph, doctor, plan, '
                "state, ... Next: see `flows --help`."
            ),
        ),
        ("graph", 'Command "graph" parameter PIPELINE requires an argument. Next: see `flows graph --help`.'),
        ("run staging --nope", "Unknown option: --nope. Next: see `flows run --help`."),
        ("run staging --set", 'Command "run" parameter --set requires an argument. Next: see `flows run --help`.'),
        ("run staging again", "Unused Tokens: ['again']. Next: see `flows run --help`."),
        (
            "resume 17",
            'Invalid value for RUN_ID: unable to convert "17" into UUID. Next: see `flows resume --help`.',
        ),
        (
            "report keen-owl",
            'Invalid value for RUN_ID: unable to convert "keen-owl" into UUID. Next: see `flows report --help`.',
        ),
        (
            "run staging --resume-from 17",
            'Invalid value for --resume-from: unable to convert "17" into UUID. Next: see `flows run --help`.',
        ),
        (
            "sample here --scale none",
            'Invalid value for --scale: unable to convert "none" into float. Next: see `flows sample --help`.',
        ),
        (
            "sample here --scale 0",
            'Invalid value "0.0" for --scale. Must be > 0. Next: see `flows sample --help`.',
        ),
    ],
)
def test_words_that_are_no_command(words: str, message: str) -> None:
    """What is wrong, and which page explains it."""
    assert flows(*words.split()) == refused(2, message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "run jaffle",
            f"Unknown deployment jaffle. Where: {FILE}. Next: did you mean jaffle-shop? {DEPLOYMENTS}.",
        ),
        (
            "graph everything",
            f"Unknown deployment everything. Where: {FILE}. Next: {DEPLOYMENTS}.",
        ),
        (
            "run jaffle-shop --only dbt-biuld",
            (
                "Unknown step dbt-biuld (only). Where: pipeline jaffle-shop. "
                f"Next: did you mean dbt-build? its steps are {STEPS}."
            ),
        ),
        (
            "run jaffle-shop --skip raw-orders",
            f"Unknown step raw-orders (skip). Where: pipeline jaffle-shop. Next: its steps are {STEPS}.",
        ),
        (
            "run jaffle-shop --set curencies.source=iso",
            (
                "Unknown step curencies. Where: pipeline jaffle-shop. "
                f"Next: did you mean currencies? its steps are {STEPS}."
            ),
        ),
        (
            "run jaffle-shop --set source=iso",
            "'source=iso' is not an assignment. Where: --set. Next: write it as STEP.PARAMETER=VALUE.",
        ),
        (
            "run staging --only raw-orders --skip raw-orders",
            "Nothing is left to run. Where: only/skip of staging. Next: leave out fewer steps.",
        ),
    ],
)
def test_names_that_do_not_exist_are_told_before_anything_runs(words: str, message: str, tmp_path: Path) -> None:
    """With the name that was meant, if there is one like it; no server has made its database."""
    assert flows(*words.split()) == refused(2, message)
    assert not (tmp_path / "home" / "prefect" / "prefect.db").exists()


@pytest.mark.parametrize("words", ["run staging", "doctor"])
@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "FLOWS_THREDS",
            "4",
            "Unknown setting FLOWS_THREDS. Where: environment. Next: did you mean FLOWS_THREADS? Otherwise unset it.",
        ),
        (
            "FLOWS_ENVIRONMENT",
            "staging",
            (
                "Setting FLOWS_ENVIRONMENT does not fit: Input should be 'development' or 'production'. "
                "Where: environment. Next: correct FLOWS_ENVIRONMENT or unset it."
            ),
        ),
    ],
)
def test_settings_that_do_not_fit(words: str, variable: str, value: str, message: str) -> None:
    """The variable is named."""
    assert flows(*words.split(), **{variable: value}) == refused(2, message)


def test_deployments_that_are_missing(tmp_path: Path) -> None:
    """The file that was looked for is named."""
    missing = tmp_path / "prefect.yaml"
    assert flows("run", "staging", FLOWS_DEPLOYMENTS=str(missing)) == refused(
        2,
        f"The deployments cannot be read: No such file or directory. Where: {missing}. "
        "Next: correct the file, or set FLOWS_DEPLOYMENTS to another.",
    )


@pytest.mark.parametrize("words", ["run staging", f"resume {NOBODY}", f"report {NOBODY}", "ui"])
def test_a_file_in_the_place_of_the_home(words: str, tmp_path: Path) -> None:
    """The folder cannot be made; every command that needs it says the same."""
    file = tmp_path / "file"
    file.touch()
    assert flows(*words.split(), FLOWS_HOME=str(file)) == refused(
        3,
        f"The folder of this project cannot be written: Not a directory. Where: {file / 'prefect'}. "
        "Next: make it writable, free some space, or set FLOWS_HOME to another folder.",
    )


@pytest.mark.parametrize(
    ("name", "kind"), [("daily.pdf", ".pdf"), ("daily", "a file without an ending"), ("daily.PNG", ".PNG")]
)
def test_a_picture_of_another_kind(name: str, kind: str, tmp_path: Path) -> None:
    """Refused before the graph is drawn."""
    file = tmp_path / name
    assert flows("graph", "staging", "-o", str(file)) == refused(
        2, f"A picture is a .png or .svg file, not {kind}. Where: {file}. Next: name it so."
    )
    assert not file.exists()


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    """A picture in a folder that is not there, a sample below a file."""
    picture = tmp_path / "nowhere" / "daily.svg"
    drawn = flows("graph", "staging", "-o", str(picture))
    assert (drawn.code, drawn.err) == (
        3,
        (
            f"error: The picture cannot be written: No such file or directory. Where: {picture}. "
            "Next: name another file.\n"
        ),
    )
    file = tmp_path / "file"
    file.touch()
    assert flows("sample", str(file / "shop")) == refused(
        3,
        f"The sample cannot be written: Not a directory. Where: {file / 'shop'}. "
        "Next: name another folder, or free some space.",
    )
