"""`flows run` of a pipeline that somebody suspends: it says so, follows the run, and goes on with it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Suspended

from tests.commands import FLOWS, REPOSITORY, environment, flows
from tests.conditions import eventually
from tests.shop_children import FOLDER

NOTE = (
    "Suspended (Suspended from the Prefect UI): no step starts until the run is resumed; "
    "the children that run finish. Press Resume on the run's page.\n"
)


@dataclass(frozen=True)
class Session:
    """`flows run jaffle-shop` whose staging waits for a file to go away."""

    process: subprocess.Popen[bytes]
    out: Path
    client: SyncPrefectClient
    run: UUID
    gate: Path

    def suspend(self) -> None:
        """Press Suspend, and wait until the terminal says so."""
        self.client.set_flow_run_state(self.run, Suspended(message="Suspended from the Prefect UI"))
        eventually(lambda: NOTE in self.text(), "the terminal says that it is suspended")

    def text(self) -> str:
        """What the command has printed."""
        return self.out.read_text()


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """Environment of the commands: quick stand-ins for the children, in a folder of their own."""
    return {
        "FLOWS_HOME": str(tmp_path / "home"),
        "FLOWS_DEPLOYMENTS": str(REPOSITORY / "tests" / "shop.yaml"),
        FOLDER: str(tmp_path),
    }


@contextmanager
def session(variables: dict[str, str], folder: Path) -> Iterator[Session]:
    """Start the command, and wait until one of its children is at work."""
    gate, out = folder / "raw-orders.hold", folder / "out"
    gate.touch()
    with out.open("wb") as output:
        process = subprocess.Popen(
            [FLOWS, "run", "jaffle-shop"],
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        eventually((folder / "raw-orders.started").exists, "a child is at work")
        text = out.read_text()
        ui, run = text.partition("Prefect UI: ")[2].split()[0], text.partition("/flow-run/")[2].split()[0]
        with SyncPrefectClient(f"{ui}/api") as client:
            yield Session(process, out, client, UUID(run), gate)
    finally:
        process.kill()
        process.wait()


def test_it_says_once_that_the_run_is_suspended_and_ends_after_the_resume(
    variables: dict[str, str], tmp_path: Path
) -> None:
    """The child that runs finishes, and no other starts in between."""
    with session(variables, tmp_path) as running:
        running.suspend()
        running.gate.unlink()
        eventually(lambda: "staging: completed" in running.text(), "the child finishes")
        assert not (tmp_path / "dbt-build.started").exists()
        running.client.resume_flow_run(running.run)
        assert running.process.wait(90) == 0
        assert running.text().count(NOTE) == 1
        assert "# jaffle-shop completed\n\n6 of 6 steps completed." in running.text()


def test_ctrl_c_cancels_a_suspended_run_with_its_children(variables: dict[str, str], tmp_path: Path) -> None:
    """Prefect ends such a run at once; the command asks its children to stop."""
    with session(variables, tmp_path) as running:
        running.suspend()
        os.killpg(running.process.pid, signal.SIGINT)
        assert running.process.wait(90) == 130
        assert "# jaffle-shop cancelled" in running.text()
        assert "| staging | failed: cancelled |" in running.text()


def test_a_suspended_run_outlives_its_session_and_is_resumed_in_another_one(
    variables: dict[str, str], tmp_path: Path
) -> None:
    """`flows report` says how it stands; `flows resume` goes on with it."""
    with session(variables, tmp_path) as running:
        running.suspend()
        os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait()
        run = str(running.run)
    (tmp_path / "raw-orders.hold").unlink()
    report = flows("report", run, **variables)
    assert "# jaffle-shop suspended" in report.out
    assert NOTE in report.out
    resumed = flows("resume", run, **variables)
    assert "# jaffle-shop completed\n\n6 of 6 steps completed." in resumed.out
    assert resumed.code == 0
