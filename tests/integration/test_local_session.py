"""The embedded session through `flows run`: real server, real processes, quick stand-ins for the shop's children."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.commands import FLOWS, NOBODY, REPOSITORY, Ended, environment, flows, refused
from tests.conditions import eventually
from tests.shop_children import FOLDER

RUN_LINE = re.compile(r"Run `(?P<name>[a-z-]+)` \(`(?P<id>[0-9a-f-]{36})`\)")


@pytest.fixture(scope="module")
def used_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose server has made its database (which takes 8 s), by the first command a person may try."""
    home = tmp_path_factory.mktemp("used") / "home"
    ended = flows("report", NOBODY, FLOWS_HOME=str(home))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: There is no run {NOBODY}. Where: http://127.0.0.1:")
    assert ended.err.endswith("/api/. Next: copy the id from the run's page.\n")
    return home


@dataclass
class Shop:
    """A project folder of its own, and the files that steer its children.

    Attributes:
        variables: environment of every command.
    """

    home: Path
    folder: Path
    variables: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        """Point the commands at this folder and at the stand-ins."""
        self.variables = {
            "FLOWS_HOME": str(self.home),
            "FLOWS_DEPLOYMENTS": str(REPOSITORY / "tests" / "shop.yaml"),
            FOLDER: str(self.folder),
        }

    def tell(self, step: str, what: str) -> Path:
        """Have a child end badly (`bad`) or wait (`hold`) for as long as the file is there."""
        file = self.folder / f"{step}.{what}"
        file.touch()
        return file

    def flows(self, *words: str) -> Ended:
        """Run a command to its end."""
        return flows(*words, **self.variables)

    def begun(self, step: str) -> None:
        """Wait until the child of a step is at work."""
        eventually((self.folder / f"{step}.started").exists, f"{step} is at work")

    def processes(self) -> dict[int, str]:
        """All processes of this folder: command lines by process id."""
        return {int(entry.name): line for entry in Path("/proc").iterdir() if (line := self._command_line(entry))}

    def _command_line(self, process: Path) -> str:
        try:
            variables = (process / "environ").read_bytes().split(b"\0")
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            return ""
        return words if f"FLOWS_HOME={self.home}".encode() in variables else ""

    @contextmanager
    def running(self, *words: str) -> Iterator[Command]:
        """Start a command as a terminal does, in a process group of its own; ends it if the test does not."""
        out, err = self.folder / "out", self.folder / "err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [FLOWS, *words],
                env=environment(**self.variables),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        try:
            yield Command(process, out, err)
        finally:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Command:
    """A command that runs."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def interrupt(self) -> None:
        """Press Ctrl-C: the terminal signals the whole process group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def ended(self) -> Ended:
        """Wait for its end."""
        code = self.process.wait(90)
        return Ended(code, self.out.read_text(), self.err.read_text())


@pytest.fixture
def shop(used_home: Path, tmp_path: Path) -> Shop:
    """A shop with a database that is ready and empty."""
    home, folder = tmp_path / "home", tmp_path / "shop"
    shutil.copytree(used_home, home)
    folder.mkdir()
    return Shop(home, folder)


def run_of(text: str) -> tuple[str, str]:
    """Name and id of the run that the answers are about."""
    found = RUN_LINE.search(text)
    assert found, text
    return found["name"], found["id"]


def answers_in(text: str) -> str:
    """The Markdown among what a command printed, without addresses of a server that is gone."""
    return re.sub(r"http://127\.0\.0\.1:\d+", "http://ui", text[text.index("# ") :].partition("Warehouse: ")[0])


def test_a_failed_run_is_told_reported_again_and_resumed(shop: Shop) -> None:
    """`run` exits 1 with the answers, `report` prints the same, `resume` does the rest of it and exits 0."""
    bad = shop.tell("raw-orders", "bad")
    failed = shop.flows("run", "staging")
    assert (failed.code, failed.err) == (1, "")
    name, run = run_of(failed.out)
    progress, answers = failed.out.split("# staging failed")[0], answers_in(failed.out)
    assert progress.splitlines()[0].startswith("Prefect UI: http://127.0.0.1:")
    assert progress.splitlines()[1].endswith(f"/runs/flow-run/{run}")
    assert {line for line in progress.splitlines() if "completed" in line or "failed" in line} == {
        "raw-customers: completed",
        "raw-orders: failed (data)",
        "raw-payments: completed",
    }
    assert f"2 of 3 steps completed; failed: raw-orders (data). Run `{name}` (`{run}`).\n" in answers
    assert "- **Why:** A row is bad. Where: raw-orders.csv, line 7.\n" in answers
    assert "- `raw-orders.csv` (line 7): amount is no number\n\n**What to do:** Correct the row\n" in answers
    assert f"```sh\nflows resume {run}\n```" in answers
    assert failed.out.endswith(
        f"Warehouse: {shop.home}/warehouse (DuckDB: warehouse.duckdb, and a file for each loaded table)\n"
        f"Logs:      {shop.home}/logs\nTo look at it in the Prefect UI: flows ui\n"
    )

    reported = shop.flows("report", run)
    assert (reported.code, reported.err) == (0, "")
    assert answers_in(reported.out) == answers

    bad.unlink()
    resumed = shop.flows("resume", run)
    assert (resumed.code, resumed.err) == (0, "")
    assert run_of(resumed.out) == (name, run)
    assert "# staging completed\n\n3 of 3 steps completed. " in resumed.out
    assert "raw-orders: completed, attempt 2\n" in resumed.out
    assert shop.processes() == {}


def test_a_pipeline_of_deployments_with_a_suffix_runs_the_children_with_that_suffix(shop: Shop) -> None:
    """On a database that has the deployments without one, too; the name of the pipeline stays what a person types."""
    assert shop.flows("run", "staging").code == 0
    shop.variables["FLOWS_DEPLOYMENTS_SUFFIX"] = "-dev"
    ended = shop.flows("run", "staging")
    assert (ended.code, ended.err) == (0, "")
    assert "# staging completed\n\n3 of 3 steps completed. " in ended.out
    names = "SELECT deployment.name FROM flow_run JOIN deployment ON deployment.id = deployment_id ORDER BY 1"
    with closing(sqlite3.connect(shop.home / "prefect" / "prefect.db")) as database:
        run = [name for (name,) in database.execute(names)]
    steps = ["raw-customers", "raw-orders", "raw-payments", "staging"]
    assert run == sorted([*steps, *(f"{step}-dev" for step in steps)])


def test_ctrl_c_cancels_the_run_and_leaves_no_process(shop: Shop) -> None:
    """Meanwhile a second session is refused, and a report comes from the server that runs."""
    shop.tell("raw-orders", "hold")
    with shop.running("run", "jaffle-shop", "--only", "staging") as command:
        shop.begun("raw-orders")
        assert shop.flows("run", "staging") == refused(
            2,
            f"Another session uses this project folder. Where: {shop.home} (see session.json). "
            "Next: wait for it, stop it, or set FLOWS_HOME to another folder.",
        )
        assert len(shop.processes()) >= 4
        command.interrupt()
        ended = command.ended()
    assert (ended.code, ended.err) == (130, "")
    assert "staging/raw-orders: failed (cancelled)\n" in ended.out
    assert "prefect.runner.cancellation_manager: Cancelled flow run" in (shop.home / "logs/session.log").read_text()
    assert "# jaffle-shop cancelled\n\n0 of 6 steps completed; failed: staging (cancelled). Run `" in ended.out
    assert shop.processes() == {}
    assert not (shop.home / "session.json").exists()


def test_a_session_that_is_killed_takes_its_processes_with_it_and_its_run_can_be_resumed(shop: Shop) -> None:
    """The kernel ends them; the next session knows that nothing is left of them, and starts a second attempt."""
    hold = shop.tell("raw-payments", "hold")
    with shop.running("run", "staging") as command:
        shop.begun("raw-payments")
        command.process.kill()
        killed = command.ended()
    assert (killed.code, killed.err) == (-signal.SIGKILL, "")
    eventually(lambda: shop.processes() == {}, "every process is gone", within=10)
    hold.unlink()
    run = killed.out.splitlines()[1].removeprefix("This run:   ").split("/runs/flow-run/")[1]
    resumed = shop.flows("resume", run)
    assert (resumed.code, resumed.err) == (0, "")
    assert run_of(resumed.out)[1] == run
    assert "raw-payments: completed, attempt 2\n" in resumed.out
    assert "3 of 3 steps completed. " in resumed.out


def test_a_session_whose_server_dies_says_so_and_ends(shop: Shop) -> None:
    """No server is left to answer: one message instead of an endless wait, and no process stays behind."""
    shop.tell("raw-orders", "hold")
    with shop.running("run", "staging") as command:
        shop.begun("raw-orders")
        # The fork server, of which the server and every child is a fork; it came first.
        os.kill(
            min(pid for pid, line in shop.processes().items() if "flow_of_flows.forking.forkserver" in line),
            signal.SIGKILL,
        )
        ended = command.ended()
    assert ended.code == 3
    assert ended.err == (
        f"error: The embedded Prefect server is gone. Where: {shop.home}/logs/server.log. "
        "Next: read the end of that log; `flows resume` goes on with the run.\n"
    )
    assert shop.processes() == {}


def test_a_terminal_shows_a_live_table_and_drawn_answers(shop: Shop) -> None:
    """And `--keep` keeps the server until Ctrl-C, which then changes nothing about the verdict."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [FLOWS, "run", "staging", "--keep", "--set", "raw-orders.source=here"],
        env=environment(**shop.variables, TERM="xterm", NO_COLOR="1", COLUMNS="120", LINES="60"),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    screen = ""
    while "Ctrl-C ends it." not in screen:
        screen += os.read(controller, 65536).decode()
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 0
    os.close(controller)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen).replace("\r", "")
    assert plain.startswith("⠋ Starting the embedded Prefect server …")
    assert re.search(r"staging: running \([a-z-]+\)\n +step +state +time", plain)
    assert re.search(r"^ raw-orders +completed +\d:\d\d +did the work of raw-orders", plain, re.MULTILINE)
    assert "3 of 3 steps completed. Run " in plain
    assert "| step |" not in plain
    assert re.search(r"^ raw-orders +completed +\d{4}-", plain, re.MULTILINE)
    assert shop.processes() == {}


def test_a_run_that_does_not_exist_is_not_resumed(shop: Shop) -> None:
    """One message, and everything that was started for it is gone."""
    ended = shop.flows("resume", NOBODY)
    assert ended.code == 2
    assert ended.out.count("\n") == 1
    assert re.fullmatch(
        rf"error: There is no run {NOBODY}\. Where: http://127\.0\.0\.1:\d+/api/\. "
        r"Next: copy the id from the run's page\.\n",
        ended.err,
    )
    assert shop.processes() == {}
