"""Commands on the Prefect API that is configured: a real server, whose runner plays the cluster."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.states import Suspended

from tests.commands import FLOWS, NOBODY, Ended, environment, flows, refused, running
from tests.conditions import eventually
from tests.fixtures.runs import overrides
from tests.fixtures.server import Embedded
from tests.terminal import CTRL_C, terminal

# The limit of the worker's pod is 512Mi, and the worker itself is in it.
MOST_MIB = 150


def run_in(text: str) -> UUID:
    """Id of the run that a command printed."""
    found = re.search(r"/runs/flow-run/([0-9a-f-]{36})", text)
    assert found, text
    return UUID(found[1])


def on(api: Embedded, *words: str) -> Ended:
    """Run a command on an API to its end."""
    return flows(*words, PREFECT_API_URL=api.api)


def progress(text: str) -> list[str]:
    """Lines about steps that are over."""
    return [line for line in text.partition("\n# ")[0].splitlines() if line.endswith("completed") or "failed" in line]


def test_run_starts_the_deployment_there_and_follows_it_to_its_end(embedded: Embedded, tmp_path: Path) -> None:
    """The same answers as of a local run; nothing is started or written here."""
    shown = on(embedded, "run", "diamond")
    assert (shown.code, shown.err) == (0, "")
    run = embedded.client.read_flow_run(run_in(shown.out))
    assert (run.state_name, run.parameters) == ("Completed", {})
    ui = embedded.api.removesuffix("/api")
    assert shown.out.startswith(
        f"Prefect API: {embedded.api}\nThis run:    {ui}/runs/flow-run/{run.id}\n",
    )
    assert sorted(progress(shown.out)) == ["alone: completed", "join: completed", "left: completed", "right: completed"]
    assert f"# diamond completed\n\n4 of 4 steps completed. Run `{run.name}` (`{run.id}`).\n" in shown.out
    assert not (tmp_path / "home").exists()


def test_every_option_of_run_reaches_the_run(embedded: Embedded, tmp_path: Path) -> None:
    """Only what is chosen is sent: the deployment's own parameters count for the rest."""
    note = tmp_path / "note"
    first = on(embedded, "run", "diamond", "--only", "left")
    shown = on(
        embedded,
        *("run", "diamond/diamond", "--only", "left", "--only", "alone", "--skip", "alone", "--full-refresh"),
        *("--set", f"left.note={note}", "--resume-from", str(run_in(first.out))),
    )
    assert (shown.code, shown.err) == (0, "")
    run = embedded.client.read_flow_run(run_in(shown.out))
    assert run.parameters == {
        "full_refresh": True,
        "only": ["left", "alone"],
        "skip": ["alone"],
        "overrides": {"left": {"parameters": {"note": str(note)}}},
        "resume_from": str(run_in(first.out)),
    }
    # The step completed in the run that this one resumes.
    assert not note.exists()


def test_a_failed_run_is_reported_and_resumed_under_its_own_id(embedded: Embedded, tmp_path: Path) -> None:
    """`run` exits 1; `resume` sets what the Retry button sets, follows the run, and exits 0."""
    bad = tmp_path / "bad"
    bad.touch()
    failed = on(embedded, "run", "diamond", "--set", f"left.fail_if={bad}")
    run = run_in(failed.out)
    assert (failed.code, failed.err) == (1, "")
    assert "left: failed (data)" in failed.out.splitlines()
    answers = failed.out[failed.out.index("# diamond failed") :]
    assert on(embedded, "report", str(run)) == Ended(0, answers, "")

    bad.unlink()
    resumed = on(embedded, "resume", str(run))
    assert (resumed.code, resumed.err) == (0, "")
    assert run_in(resumed.out) == run
    assert "left: completed, attempt 2" in resumed.out.splitlines()
    assert "4 of 4 steps completed. " in resumed.out
    states = embedded.client.read_flow_run_states(run)
    assert [(one.name, one.message) for one in states if one.name == "AwaitingRetry"] == [
        ("AwaitingRetry", "Retry from `flows resume`")
    ]


def test_any_deployment_can_be_run_by_its_name(embedded: Embedded, tmp_path: Path) -> None:
    """A child takes PARAMETER=VALUE; its state, its report and its exit code are shown."""
    note = tmp_path / "note"
    shown = on(embedded, "run", "work", "--set", f"note={note}")
    run = embedded.client.read_flow_run(run_in(shown.out))
    assert (shown.code, shown.err, run.parameters) == (0, "", {"note": str(note)})
    assert len(note.read_text().splitlines()) == 1
    assert shown.out.endswith(
        f"\nwork: completed\n# work completed\n\nRun `{run.name}` (`{run.id}`).\n\n"
        "## What was done\n\n- `work`: did its work\n"
    )
    broken = on(embedded, "run", "broken/broken")
    assert (broken.code, broken.err) == (1, "")
    assert "## broken failed: error\n" in broken.out
    assert f"```sh\nflows resume {run_in(broken.out)}\n```\n" in broken.out
    assert "## Steps" not in broken.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "run diamond --only lift",
            (
                "Unknown step lift (only). Where: pipeline diamond. "
                "Next: did you mean left? its steps are left, right, join, alone."
            ),
        ),
        (
            "run work --only left",
            (
                "work is not a pipeline: it has no steps. Where: --only, --skip, --resume-from. "
                "Next: leave these options out."
            ),
        ),
        (
            "run work --full-refresh",
            (
                "work has no parameter full_refresh. Where: --set. Next: it takes fail_if, crash_if, crash_once, "
                "await_file, touch, note, show, retry_of."
            ),
        ),
        ("run work --set note", "'note' is not an assignment. Where: --set. Next: write it as PARAMETER=VALUE."),
        (
            "run diamond --keep",
            (
                "No embedded server is started that could be kept: a Prefect API is configured. Where: --keep. "
                "Next: leave it out, or add --local."
            ),
        ),
        (f"resume {NOBODY}", f"There is no run {NOBODY}. Where: API/. Next: copy the id from the run's page."),
        (f"report {NOBODY}", f"There is no run {NOBODY}. Where: API/. Next: copy the id from the run's page."),
        (
            f"report {NOBODY} --follow",
            f"There is no run {NOBODY}. Where: API/. Next: copy the id from the run's page.",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_a_run_is_created(embedded: Embedded, words: str, message: str) -> None:
    """Exit code 2 and one sentence."""
    assert on(embedded, *words.split()) == refused(2, message.replace("Where: API", f"Where: {embedded.api}"))


@pytest.mark.parametrize("name", ["dimond", "nobody/diamond"])
def test_an_unknown_deployment_is_refused_with_the_name_that_was_meant(embedded: Embedded, name: str) -> None:
    """Exit code 2; the deployments that there are follow, as many as fit into a sentence."""
    shown = on(embedded, "run", name)
    assert (shown.code, shown.out) == (2, "")
    told, names = shown.err.split("there are ")
    assert told == f"error: There is no deployment {name}. Where: {embedded.api}. Next: did you mean diamond? "
    assert names == f"{shown_names(embedded)}.\n"


def shown_names(embedded: Embedded) -> str:
    """The first thirty deployments of a server, and how many more there are; other tests make some, too."""
    found: set[str] = set()
    offset = 0
    while page := embedded.client.read_deployments(limit=200, offset=offset):
        found |= {one.name for one in page}
        offset += len(page)
    names = sorted(found)
    return ", ".join(names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "")


def test_the_api_refuses_parameters_in_its_own_words(embedded: Embedded) -> None:
    """The schema of the deployment is the server's to check."""
    shown = on(embedded, "run", "work", "--set", "note=[1]")
    assert (shown.code, shown.out) == (2, "")
    assert shown.err == (
        "error: The run cannot be created: Error creating flow run: Validation failed for field 'note'. "
        f"Failure reason: [1] is not of type 'string'. Where: {embedded.api}/. Next: correct --set.\n"
    )


def test_a_run_that_is_not_over_is_not_resumed_but_can_be_followed(embedded: Embedded, tmp_path: Path) -> None:
    """`report --follow` shows its progress until the end."""
    go = tmp_path / "go"
    run = embedded.start("diamond", overrides=overrides(left={"await_file": str(go)}))
    eventually(lambda: embedded.states(run).get("left/1") == "Running", "left runs")
    name = embedded.client.read_flow_run(run).name
    assert on(embedded, "resume", str(run)) == refused(
        2,
        f"Run {name} is not over: it is Running. Where: {run}. "
        f"Next: follow it with `flows report {run} --follow`, or cancel it.",
    )
    with running(tmp_path, "report", str(run), "--follow", PREFECT_API_URL=embedded.api) as command:
        command.says("left: running")
        go.touch()
        ended = command.ended()
    assert (ended.code, ended.err) == (0, "")
    assert "# diamond completed\n" in ended.out


def test_a_suspended_run_is_resumed_as_the_ui_s_resume_button_does(embedded: Embedded, tmp_path: Path) -> None:
    """It goes on where it stopped, and is followed."""
    go = tmp_path / "go"
    run = embedded.start("diamond", overrides=overrides(left={"await_file": str(go)}))
    eventually(lambda: embedded.states(run).get("left/1") == "Running", "left runs")
    embedded.client.set_flow_run_state(run, Suspended())
    eventually(lambda: embedded.client.read_flow_run(run).state_name == "Suspended", "it is suspended")
    with running(tmp_path, "resume", str(run), PREFECT_API_URL=embedded.api) as command:
        command.says("left: running")
        go.touch()
        ended = command.ended()
    assert (ended.code, ended.err) == (0, "")
    assert "4 of 4 steps completed. " in ended.out
    states = [state.name for state in embedded.client.read_flow_run_states(run)]
    assert "Resuming" in states
    assert "AwaitingRetry" not in states


def test_a_run_without_a_deployment_is_not_resumed(embedded: Embedded) -> None:
    """Nothing could start it again."""
    flow = embedded.client.create_flow_from_name("work")
    body = {"flow_id": str(flow), "name": "by-hand", "state": {"type": "FAILED", "name": "Failed"}}
    run = httpx.post(f"{embedded.api}/flow_runs/", json=body).raise_for_status().json()["id"]
    assert on(embedded, "resume", run) == refused(
        2, f"Run by-hand is not of a deployment: nothing can start it again. Where: {run}."
    )


def test_without_a_terminal_an_interrupt_detaches_and_the_run_goes_on(embedded: Embedded, tmp_path: Path) -> None:
    """Nobody could answer; the page, and how to follow and cancel the run, are printed."""
    go = tmp_path / "go"
    words = ("run", "diamond", "--set", f"left.await_file={go}")
    with running(tmp_path, *words, PREFECT_API_URL=embedded.api) as command:
        command.says("left: running")
        command.process.send_signal(signal.SIGINT)
        ended = command.ended()
    run = embedded.client.read_flow_run(run_in(ended.out))
    assert (ended.code, ended.err) == (130, "")
    assert ended.out.endswith(
        f"Detached: run {run.name} goes on.\n"
        f"Its page:  {embedded.api.removesuffix('/api')}/runs/flow-run/{run.id}\n"
        f"Follow it: flows report {run.id} --follow\n"
        f"Cancel it: prefect flow-run cancel {run.id}\n"
    )
    cancelled = subprocess.run(
        [FLOWS.with_name("prefect"), "flow-run", "cancel", str(run.id)],
        env=environment(PREFECT_API_URL=embedded.api),
        check=False,
        capture_output=True,
    )
    assert cancelled.returncode == 0
    followed = on(embedded, "report", str(run.id), "--follow")
    assert (followed.code, followed.err) == (130, "")
    assert "# diamond cancelled\n" in followed.out


@pytest.mark.parametrize(("keys", "state"), [(b"y\n", "Cancelled"), (b"n\n", "Running"), (CTRL_C, "Running")])
def test_at_a_terminal_an_interrupt_asks_whether_to_cancel_the_run(
    embedded: Embedded, tmp_path: Path, keys: bytes, state: str
) -> None:
    """Yes cancels it and waits until it is cancelled; no, or another Ctrl-C, detaches."""
    go = tmp_path / "go"
    words = ("run", "diamond", "--set", f"left.await_file={go}")
    with terminal(*words, PREFECT_API_URL=embedded.api) as person:
        person.shows("diamond: running")
        person.press(CTRL_C)
        person.shows("Cancel the run? Otherwise it goes on without this terminal. [y/N] ")
        person.press(keys)
        assert person.ended() == 130
    run = embedded.client.read_flow_run(run_in(person.screen))
    assert run.state_name == state
    assert (f"Detached: run {run.name} goes on." in person.screen) is (state == "Running")
    go.touch()
    assert embedded.end_of(run.id).state_name == ("Cancelled" if state == "Cancelled" else "Completed")


def test_a_run_that_no_worker_takes_up_says_so(embedded: Embedded, tmp_path: Path) -> None:
    """After a while, and once; the run goes on waiting."""
    client, pool = embedded.client, f"empty-{tmp_path.name}"
    client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    flow = client.create_flow_from_name("work")
    client.create_deployment(flow, f"nobody-{tmp_path.name}", work_pool_name=pool, entrypoint="tests.children.work")
    with running(tmp_path, "run", f"nobody-{tmp_path.name}", PREFECT_API_URL=embedded.api) as command:
        command.says(f"No worker of work pool {pool} is online; the run waits until one is.\n")
        embedded.cancel(run_in(command.out.read_text()))
        ended = command.ended()
    assert (ended.code, ended.err) == (130, "")
    assert ended.out.count("No worker of work pool") == 1
    assert "# work cancelled\n" in ended.out


def test_the_state_of_a_run_that_waits_is_named(embedded: Embedded, tmp_path: Path) -> None:
    """A suspended run is not over, and says what it is."""
    run = embedded.start("work", await_file=str(tmp_path / "go"))
    eventually(lambda: embedded.client.read_flow_run(run).state_name == "Running", "it runs")
    with running(tmp_path, "report", str(run), "--follow", PREFECT_API_URL=embedded.api) as command:
        command.says("work: Running\n")
        embedded.client.set_flow_run_state(run, Suspended(), force=True)
        command.says("work: Suspended\n")
        (tmp_path / "go").touch()
        embedded.cancel(run)
        ended = command.ended()
    assert ended.err == ""
    assert ended.code == 130


@dataclass(frozen=True)
class Measured:
    """How a command ended, its most resident memory in MiB, and the heavy packages that it has imported."""

    code: int
    out: str
    most: int
    heavy: list[str]


def measured(folder: Path, *words: str, **variables: str) -> Measured:
    """Run a command in an interpreter that notes what it used."""
    file = folder / "measured"
    code = (
        "import atexit, pathlib, sys\n"
        "from flow_of_flows.cli.app import main\n"
        "def note():\n"
        "    most = pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]\n"
        "    heavy = [name for name in ('prefect.server', 'dbt', 'dlt', 'duckdb') if name in sys.modules]\n"
        f"    pathlib.Path({str(file)!r}).write_text(' '.join([most, *heavy]))\n"
        "atexit.register(note)\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=environment(**variables), check=False, capture_output=True
    )
    most, *heavy = file.read_text().split()
    return Measured(done.returncode, done.stdout.decode(), int(most) // 1024, heavy)


def test_a_command_fits_into_the_worker_s_pod(embedded: Embedded, tmp_path: Path) -> None:
    """At most 150 MiB each, and neither server nor dbt nor dlt is imported."""
    bad = tmp_path / "bad"
    bad.touch()
    variables = {"PREFECT_API_URL": embedded.api}
    ran = measured(tmp_path, "run", "diamond", "--set", f"left.fail_if={bad}", **variables)
    run = str(run_in(ran.out))
    reported = measured(tmp_path, "report", run, **variables)
    resumed = measured(tmp_path, "resume", run, **variables)
    assert [one.code for one in (ran, reported, resumed)] == [1, 0, 1]
    assert [one.heavy for one in (ran, reported, resumed)] == [[], [], []]
    assert max(one.most for one in (ran, reported, resumed)) <= MOST_MIB
