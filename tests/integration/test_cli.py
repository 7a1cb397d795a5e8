"""The command line `flows` through its console script: help, graph, doctor, sample."""

from __future__ import annotations

import functools
import importlib.metadata
import struct
from pathlib import Path

import pytest
from cyclopts import App

from flow_of_flows.cli.app import app
from tests.commands import REPOSITORY, Ended, flows


def commands(of: App, *above: str) -> list[tuple[str, ...]]:
    """The words of every command, those of commands within commands, too."""
    names = [name for name in of if not name.startswith("-")]
    return [words for name in names for words in [(*above, name), *commands(of[name], *above, name)]]


COMMANDS = commands(app)

DAILY = """\
daily-pipeline
  1 ┬─ exchange-rates
    ├─ hubspot [left out]
    └─ staging (pipeline)
        1 ┬─ raw-customers
          ├─ raw-orders
          └─ raw-payments
  2 ── dbt-build             after exchange-rates, hubspot, staging
  3 ┬─ dashboard-customers   after dbt-build
    └─ dashboard-sales       after dbt-build

overlap: a run waits until the earlier runs of this pipeline are over
hubspot is left out: no Airbyte is configured (FLOWS_AIRBYTE_ENABLED)
"""


def words(text: str) -> str:
    """Text without the frame and the folding of the help pages."""
    return " ".join(text.translate(str.maketrans("│╭╮╰╯─", "      ")).split())


def test_help_says_what_this_is_which_commands_there_are_and_what_the_exit_codes_mean() -> None:
    """A stranger's first page, whole."""
    shown = flows("--help")
    assert (shown.code, shown.err) == (0, "")
    assert words(shown.out) == (
        "Usage: flows COMMAND "
        "Run dbt pipelines: parents that order children, each child a flow run of its own. "
        "Commands "
        "bake Put the project into the image that is being built: requirements, dbt deps, dbt parse, byte code. "
        "doctor Check settings, API, target, state store and dbt projects, and say how to mend what is wrong. "
        "graph Draw the steps of a pipeline: as text here, and as a picture file with --output. "
        "init Create a project that runs at once: pipeline, dbt project, image, chart values, test and workflow. "
        "plan Show what dbt-build would build, why and for how long, without building it. "
        "register Make the Prefect API match prefect.yaml: pool, deployments, limits, blocks, automations; all "
        "of it or nothing. "
        "report Print the answers of a pipeline run: what failed, when, why, and what to rerun. "
        "resume Run the rest of a pipeline run that is over: what completed is reused, what failed gets a new attempt. "
        "run Run a pipeline and show its progress: on the Prefect API that is configured, else on this machine. "
        "sample Write the project's sample data: the same files for the same scale, every time. "
        "state Look at dbt's production artifacts in the state store, and roll them back. "
        "sweep End or revive what nobody looks after: runs without a pod, orphans, Jobs whose run is over, dead slots. "
        "teardown Delete the Jobs of flow runs, and wait until their pods are gone. For a pod of the cluster. "
        "ui Keep the embedded server and runner up, to look at past runs and start new ones in the browser. "
        "--help (-h) Display this message and exit. "
        "--version Display application version. "
        "Settings are environment variables; flows doctor checks them. "
        "Exit codes: 0 completed (or degraded), 1 failed, 2 bad input or configuration, "
        "3 a system or a disk does not do its part, 130 cancelled."
    )


def test_help_of_run_explains_every_word() -> None:
    """The command with the most options, whole."""
    shown = flows("run", "--help")
    assert (shown.code, shown.err) == (0, "")
    assert words(shown.out).split(" Settings are ")[0] == (
        "Usage: flows run [OPTIONS] [ARGS] "
        "Run a pipeline and show its progress: on the Prefect API that is configured, else on this machine. "
        "On a configured API any deployment can be named, FLOW/DEPLOYMENT or DEPLOYMENT, and its own infrastructure "
        "runs it. On this machine there is an embedded server, and children are processes. "
        "For example: flows run PIPELINE --set dbt-build.select=tag:finance --skip STEP "
        "Arguments "
        "PIPELINE Name of a pipeline in prefect.yaml, or of a child or another flow there; without one, they are "
        "listed. "
        "Parameters "
        "--set STR... STEP.PARAMETER=VALUE (PARAMETER=VALUE for a child); VALUE is JSON, else text (may be repeated). "
        "--only STR... Run this step and leave out the others (may be repeated). "
        "--skip STR... Leave out this step (may be repeated). "
        "--full-refresh Rebuild incremental models from scratch. "
        "--resume-from UUID Id of an earlier run: a new run that reuses what completed there. "
        "--local Use the embedded server of this folder, though a Prefect API is configured (PREFECT_API_URL). "
        "--keep Keep the server up afterwards, to look at the run; Ctrl-C ends it."
    )


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_and_every_option_is_explained(words: tuple[str, ...]) -> None:
    """Completeness: nothing on a help page stands without a sentence."""
    command: App = functools.reduce(lambda found, word: found[word], words, app)
    assert command.help.endswith(".") or "For example:" in command.help
    arguments = command.assemble_argument_collection() if command.default_command else ()
    assert [argument.name for argument in arguments if not argument.parameter.help] == []


def test_version_is_that_of_the_package() -> None:
    """Nothing else is printed."""
    assert flows("--version") == Ended(0, importlib.metadata.version("flow-of-flows") + "\n", "")


def test_graph_is_text_and_a_picture(tmp_path: Path) -> None:
    """The whole text; a PNG that is one, an SVG that names the steps."""
    assert flows("graph", "daily-pipeline") == Ended(0, DAILY, "")
    png, svg = tmp_path / "daily.png", tmp_path / "daily.svg"
    assert flows("graph", "daily-pipeline", "-o", str(png)) == Ended(0, f"{DAILY}Picture: {png}\n", "")
    assert flows("graph", "daily-pipeline", "--output", str(svg)).code == 0
    assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png.read_bytes()[16:24])
    assert width > height > 100
    assert ">raw-payments</text>" in svg.read_text()


def test_sample_writes_the_same_files_every_time(tmp_path: Path) -> None:
    """Two folders, one content; the scale makes it longer."""
    first, second, large = (tmp_path / name for name in ("first", "second", "large"))
    assert flows("sample", str(first)) == Ended(0, f"Sample data set: {first}\n", "")
    assert flows("sample", str(second)).code == 0
    assert flows("sample", str(large), "--scale", "2").code == 0
    names = ["raw_customers.csv", "raw_orders.csv", "raw_payments.csv"]
    assert sorted(path.name for path in first.iterdir()) == names
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()
        assert len((large / name).read_bytes().splitlines()) > len((first / name).read_bytes().splitlines())


def findings(text: str) -> list[list[str]]:
    """Lines of `flows doctor`, by their columns."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]


def test_doctor_finds_nothing_wrong_in_a_fresh_clone(tmp_path: Path) -> None:
    """What it looked at and what it found; it makes nothing."""
    home = tmp_path / "home"
    profiles = REPOSITORY / "docker" / "dbt" / "profiles.yml"
    sources = "default of the profile: DBT_SCHEMA, DBT_TARGET, DBT_THREADS; settings: DBT_DUCKDB_FOLDER"
    shown = flows("doctor", FLOWS_HOME=str(home))
    assert (shown.code, shown.err) == (0, "")
    assert findings(shown.out) == [
        ["ok", "settings", "set: FLOWS_HOME"],
        ["ok", "deployments", f"17 in {REPOSITORY / 'prefect.yaml'}"],
        ["ok", "folder", str(home)],
        ["ok", "Prefect API", "none configured: `flows run` starts an embedded server"],
        ["ok", "dbt profile", f"output duckdb of profile flow_of_flows (duckdb) in {profiles}"],
        ["ok", "dbt variables", sources],
        ["ok", "target", f"{home / 'warehouse' / 'warehouse.duckdb'} (dbt-build will make it)"],
        ["ok", "state store", f"{home / 'state'} (no production manifest yet)"],
        ["ok", "dbt project", f"flow_of_flows in {REPOSITORY / 'docker' / 'dbt'}"],
        ["ok", "repository", "none set: dbt-build takes the project above"],
        ["ok", "dbt Cloud", "not used: no pipeline transforms in dbt Cloud (FLOWS_TRANSFORM_*)"],
        ["ok", "alerts", "development: nobody is notified"],
        ["ok", "Airbyte", "not enabled (FLOWS_AIRBYTE_ENABLED)"],
        ["ok", "steps", "22 steps name deployments of prefect.yaml"],
    ]
    assert not home.exists()


def test_doctor_warns_of_secrets_that_are_too_short_to_be_redacted(tmp_path: Path) -> None:
    """Nothing is wrong, and the exit code says so; each secret is named, and none is printed."""
    home = tmp_path / "home"
    shown = flows("doctor", FLOWS_HOME=str(home), PGPASSWORD="xyz", MY_TOKEN="short")
    assert (shown.code, shown.err) == (0, "")
    warned, todo = shown.out.splitlines()[-2:]
    assert " ".join(warned.split()) == "warning secrets fewer than 6 characters: MY_TOKEN, PGPASSWORD"
    assert todo.strip() == "→ too short to be redacted in logs and messages: use longer ones"


def test_doctor_tells_everything_that_is_wrong_and_how_to_mend_it(tmp_path: Path) -> None:
    """Every check runs, whatever the ones before it found; the exit code is that of the worst."""
    file = tmp_path / "file"
    file.touch()
    shown = flows(
        "doctor",
        COLUMNS="300",
        FLOWS_HOME=str(file),
        FLOWS_DBT_PROJECT=str(tmp_path / "none"),
        DBT_TARGET="postgres",
        PGHOST="127.0.0.1",
        PGPORT="9",
        PREFECT_API_URL="http://127.0.0.1:9/api",
        FLOWS_ALERTS_SLACK="true",
    )
    assert (shown.code, shown.err) == (3, "")
    lines = findings(shown.out)
    assert [line for line in lines if line[0] in {"ok", "wrong"} and line[1] != "target"] == [
        ["ok", "settings", "set: DBT_TARGET, FLOWS_ALERTS_SLACK, FLOWS_DBT_PROJECT, FLOWS_HOME"],
        ["ok", "deployments", f"17 in {REPOSITORY / 'prefect.yaml'}"],
        ["wrong", "folder", f"The folder cannot be written. Where: {file}."],
        [
            "wrong",
            "Prefect API",
            "The Prefect API did not answer: All connection attempts failed. Where: http://127.0.0.1:9/api.",
        ],
        ["ok", "dbt profile", "see the line of the dbt project"],
        ["ok", "dbt variables", "see the line of the dbt project"],
        ["wrong", "state store", f"The folder cannot be written. Where: {file / 'state'}."],
        ["wrong", "dbt project", f"No dbt project: the folder does not exist. Where: {tmp_path / 'none'}."],
        ["ok", "repository", "none set: dbt-build takes the project above"],
        ["ok", "dbt Cloud", "not used: no pipeline transforms in dbt Cloud (FLOWS_TRANSFORM_*)"],
        [
            "wrong",
            "alerts",
            "The Prefect API does not say whether there is the block slack-webhook/slack-webhook: ConnectError.",
        ],
        ["ok", "Airbyte", "not enabled (FLOWS_AIRBYTE_ENABLED)"],
    ]
    assert [line[0] for line in lines if line[0].startswith("→")] == [
        "→ make it writable, or set FLOWS_HOME to another",
        "→ start the API, or correct PREFECT_API_URL; then run this again",
        "→ check PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE, and that the server is up",
        "→ make it writable, or set FLOWS_STATE_STORE to another",
        "→ set FLOWS_DBT_PROJECT to the project's folder",
        "→ see the line of the Prefect API",
    ]
    (target,) = [line for line in lines if line[1:2] == ["target"]]
    assert (target[0], target[2].split(": ")[0]) == ("wrong", "Postgres refused the connection")
