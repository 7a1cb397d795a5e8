"""Steps that the Prefect API does not let start: every place names the cause, and the other steps finish."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.states import Paused

from flow_of_flows.dispatch.status import observe
from flow_of_flows.prefect_api.launch import RunsClient
from flow_of_flows.summary.run_summary import RunSummary
from tests.children import DIAMOND
from tests.commands import flows
from tests.conditions import eventually
from tests.fixtures.runs import ended, overrides
from tests.fixtures.server import Embedded

WORDS = "Error creating flow run: Validation failed for field 'touch'. Failure reason: 7 is not of type 'string'"
SENTENCE = f"Step left cannot start: {WORDS}. Where: work/work. Next: correct its parameters or job variables."


def seen(embedded: Embedded, run: UUID) -> RunSummary:
    """The run as `flows report` sees it."""

    async def read() -> RunSummary:
        async with PrefectClient(embedded.api) as client:
            api = RunsClient(client)
            return await observe(api, DIAMOND, await api.read(run))

    return asyncio.run(read())


def test_a_step_with_bad_parameters_fails_with_the_apis_words_and_the_others_finish(
    embedded: Embedded, tmp_path: Path
) -> None:
    """On the run's page, and for whoever reports it: while it runs, and afterwards."""
    gate = tmp_path / "gate"
    run = embedded.start("diamond", overrides=overrides(left={"touch": 7}, right={"await_file": str(gate)}))
    eventually(lambda: embedded.states(run).get("right/1") == "Running", "the other step runs")
    eventually(lambda: seen(embedded, run).failed, "the refusal is kept with the run")
    running = {outcome.step: str(outcome.state) for outcome in seen(embedded, run).outcomes}
    assert running["left"] == "failed"
    assert running["right"] == "running"
    gate.touch()
    assert ended(embedded.end_of(run)) == (
        "Failed",
        "2 of 4 steps completed; failed: left (configuration); not run: join",
    )
    assert embedded.states(run) == {"right/1": "Completed", "alone/1": "Completed"}
    for text in (embedded.answers(run), seen(embedded, run).markdown({})):
        assert "## left failed: configuration" in text
        assert f"- **Why:** {SENTENCE}" in text
        assert "- `join`: held up by `left`" in text
        assert "before its turn" not in text


def test_a_refusal_is_told_after_a_pause_too(embedded: Embedded, tmp_path: Path) -> None:
    """Prefect counts a resume in the same process as another start."""
    gate = tmp_path / "gate"
    run = embedded.start("diamond", overrides=overrides(left={"touch": 7}, right={"await_file": str(gate)}))
    eventually(lambda: seen(embedded, run).failed, "the refusal is kept with the run")
    embedded.client.set_flow_run_state(run, Paused())
    embedded.client.resume_flow_run(run)
    gate.touch()
    embedded.end_of(run)
    assert [one.message for one in seen(embedded, run).failed] == [SENTENCE]


def test_a_retry_tries_a_refused_step_again(embedded: Embedded) -> None:
    """It is refused again with the same parameters, under the same number; what completed is reused."""
    run = embedded.run("diamond", overrides=overrides(left={"touch": 7}))
    again = embedded.retry(run.id)
    assert ended(again) == ("Failed", "2 of 4 steps completed; failed: left (configuration); not run: join")
    assert [one.message for one in seen(embedded, run.id).failed] == [SENTENCE]


def test_the_terminal_tells_why_a_step_could_not_start(tmp_path: Path) -> None:
    """`flows run`, and `flows report` afterwards."""
    home = {"FLOWS_HOME": str(tmp_path / "home")}
    done = flows("run", "staging", "--only", "raw-orders", "--set", "raw-orders.source=[1]", **home)
    assert done.code == 1
    words = "Step raw-orders cannot start: Error creating flow run: Validation failed for field 'source'."
    assert f"- **Why:** {words}" in done.out
    run = done.out.partition("flows resume ")[2].split()[0]
    report = flows("report", run, **home)
    assert f"- **Why:** {words}" in report.out
