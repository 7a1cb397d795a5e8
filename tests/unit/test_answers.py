"""The answers of a pipeline run, compared whole."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from prefect.client.schemas.objects import StateType

from flow_of_flows.child_report import ChildReport, Problem
from flow_of_flows.errors import Cause
from flow_of_flows.runs.causes import rule
from flow_of_flows.runs.outcome import Outcome, Policy, StepState, Verdict
from flow_of_flows.summary.run_summary import MOST_PROBLEMS, RunSummary, clock, steps_table, timeline
from tests.child_runs import child_run

RUN = UUID("00000000-0000-4000-8000-00000000000c")
STAGING = child_run("staging", StateType.FAILED, attempt=2, seconds=100)
RATES = child_run("rates", begin=5, seconds=30)
SLOW = child_run("slow", StateType.CANCELLED, begin=50, seconds=50, message="took longer than 0:00:50.")
REUSED = child_run("currencies", begin=-4000)

FAILING = RunSummary(
    "shop",
    RUN,
    "keen-owl",
    Verdict.FAILED,
    (
        Outcome(
            "staging",
            StepState.FAILED,
            Cause.DATA,
            child=STAGING,
            report=ChildReport(
                summary="1 of 3 steps completed; failed: raw-orders (data); not run: check",
                cause=Cause.DATA,
                todo="correct the row",
                problems=(
                    Problem(name="raw-orders", status="data", message="A row is bad | amount.\nWhere: line 7."),
                    Problem(name="raw-payments", status="crashed", message="Process exited with status code: -9"),
                ),
                skipped=("check", "count"),
                warnings=("raw-customers: column nick left out",),
            ),
        ),
        Outcome("rates", StepState.COMPLETED, child=RATES, report=ChildReport(summary="2 rows", warnings=("late",))),
        Outcome("slow", StepState.FAILED, Cause.TIMEOUT, SLOW.message, Policy.WARN, SLOW),
        Outcome("nowhere", StepState.FAILED, Cause.CONFIGURATION, "Step nowhere has no child. Next: add one."),
        Outcome("currencies", StepState.COMPLETED, child=REUSED, reused=True),
        Outcome("build", StepState.NOT_RUN, Cause.UPSTREAM, held_up_by=("staging", "nowhere")),
        Outcome("mail", StepState.NOT_RUN),
        Outcome("chart", StepState.LEFT_OUT),
    ),
)

FAILING_TEXT = f"""\
# shop failed

2 of 8 steps completed; failed: staging (data), slow (timeout), nowhere (configuration); not run: build, mail. \
Run `keen-owl` (`{RUN}`).

## staging failed: data

- **When:** 2026-01-02 06:01:40 UTC
- **Child run:** [keen-owl-staging](http://ui/staging)
- **Why:** 1 of 3 steps completed; failed: raw-orders (data); not run: check

- `raw-orders` (data): A row is bad \\| amount. Where: line 7.
- `raw-payments` (crashed): Process exited with status code: -9

Skipped because of that: `check`, `count`

**What to do:** Correct the row

## slow failed: timeout

- **When:** 2026-01-02 06:01:40 UTC
- **Child run:** keen-owl-slow (`{SLOW.id}`)
- **Why:** took longer than 0:00:50.

**What to do:** Find out what took so long, or raise the timeout: the step's, or the flow's own `timeout_seconds`.

## nowhere failed: configuration

- **When:** unknown
- **Child run:** none was started
- **Why:** Step nowhere has no child. Next: add one.

**What to do:** Correct the setting or parameter that the message names.

## Not run

- `build`: held up by `staging`, `nowhere`
- `mail`: the run ended before its turn

## Left out

- `chart`: by `only` or `skip` of this run

## Warnings

- `staging`: raw-customers: column nick left out
- `rates`: late

## What to rerun

Press **Retry** on this run's page, or run

```sh
flows resume {RUN}
```

What completed is reused; failed steps get a new attempt, and the steps behind them run. To resume it as a new run \
(after an upgrade, say), start `shop` with `resume_from` = `{RUN}`.

## What was done

- `rates`: 2 rows

## Steps

| step | state | started (UTC) | took | attempt | child run |
|---|---|---|---|---|---|
| staging | failed: data | 2026-01-02 06:00:00 | 1:40 | 2 | [keen-owl-staging](http://ui/staging) |
| rates | completed | 2026-01-02 06:00:05 | 0:30 | 1 | keen-owl-rates (`{RATES.id}`) |
| slow | failed: timeout | 2026-01-02 06:00:50 | 0:50 | 1 | keen-owl-slow (`{SLOW.id}`) |
| nowhere | failed: configuration |  |  |  |  |
| currencies | completed (reused) | 2026-01-02 04:53:20 | 1:00 | 1 | keen-owl-currencies (`{REUSED.id}`) |
| build | not run: upstream |  |  |  |  |
| mail | not run |  |  |  |  |
| chart | left out |  |  |  |  |

## Timeline

```text
staging  ########################################  1:40
rates    ..############..........................  0:30
slow     ....................####################  0:50
```
"""


def test_answers_of_a_failing_run() -> None:
    """What failed, when and why, what was not run, what to do, what to rerun, and how the steps lay in time."""
    assert FAILING.markdown({STAGING.id: "http://ui/staging"}) == FAILING_TEXT


def test_answers_of_a_completed_run() -> None:
    """No failure, nothing to rerun."""
    answer = RunSummary(
        "shop", RUN, "keen-owl", Verdict.COMPLETED, (Outcome("rates", StepState.COMPLETED, child=RATES),)
    )
    assert answer.markdown({RATES.id: "http://ui/rates"}) == (
        "# shop completed\n"
        "\n"
        f"1 of 1 steps completed. Run `keen-owl` (`{RUN}`).\n"
        "\n"
        "## Steps\n"
        "\n"
        "| step | state | started (UTC) | took | attempt | child run |\n"
        "|---|---|---|---|---|---|\n"
        "| rates | completed | 2026-01-02 06:00:05 | 0:30 | 1 | [keen-owl-rates](http://ui/rates) |\n"
        "\n"
        "## Timeline\n"
        "\n"
        "```text\n"
        "rates  ########################################  0:30\n"
        "```\n"
    )


def test_report_hands_the_answers_to_a_pipeline_above() -> None:
    """Every failed step is a problem; cause and advice are those of the first that fails the run."""
    assert FAILING.report() == ChildReport(
        summary="2 of 8 steps completed; failed: staging (data), slow (timeout), nowhere (configuration); "
        "not run: build, mail",
        cause=Cause.DATA,
        todo="Correct the row",
        problems=(
            Problem(
                name="staging",
                status="data",
                message="1 of 3 steps completed; failed: raw-orders (data); not run: check",
            ),
            Problem(name="slow", status="timeout", message="took longer than 0:00:50."),
            Problem(name="nowhere", status="configuration", message="Step nowhere has no child. Next: add one."),
        ),
        skipped=("build", "mail"),
        warnings=("`staging`: raw-customers: column nick left out", "`rates`: late"),
    )


def test_report_of_a_degraded_run_names_the_problem_but_no_cause() -> None:
    """The pipeline above it completed; so did this one."""
    slow = FAILING.outcomes[2]
    assert RunSummary("shop", RUN, "keen-owl", Verdict.DEGRADED, (slow,)).report() == ChildReport(
        summary="0 of 1 steps completed; failed: slow (timeout)",
        problems=(Problem(name="slow", status="timeout", message="took longer than 0:00:50."),),
    )


def test_runs_are_the_children_that_were_started() -> None:
    """One link is looked up for each."""
    assert FAILING.runs == (STAGING.id, RATES.id, SLOW.id, REUSED.id)


def test_a_long_list_of_problems_ends_with_how_many_more() -> None:
    """The page stays readable when 500 nodes fail."""
    problems = tuple(Problem(name=f"n{number}", status="error", message="x") for number in range(MOST_PROBLEMS + 3))
    outcome = replace(FAILING.outcomes[0], report=ChildReport(summary="bad", problems=problems))
    text = RunSummary("shop", RUN, "keen-owl", Verdict.FAILED, (outcome,)).markdown({})
    assert "- `n19` (error): x\n\n… and 3 more, in the child run.\n" in text
    assert "`n20`" not in text


def test_a_child_that_left_no_word_says_so() -> None:
    """Never an empty reason."""
    outcome = Outcome("load", StepState.FAILED, Cause.CRASHED, child=child_run("load", StateType.CRASHED))
    text = RunSummary("shop", RUN, "keen-owl", Verdict.FAILED, (outcome,)).markdown({})
    assert "- **Why:** the child left no message\n" in text


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_has_advice_and_every_failure_shows_it(cause: Cause) -> None:
    """Completeness: nobody reads a cause without a next step."""
    outcome = Outcome("load", StepState.FAILED, cause, "why")
    text = RunSummary("shop", RUN, "keen-owl", Verdict.FAILED, (outcome,)).markdown({})
    assert f"## load failed: {cause}\n" in text
    assert f"**What to do:** {rule(cause).advice}\n" in text


def test_nothing_that_ran_is_no_timeline() -> None:
    """No empty frame."""
    assert timeline([Outcome("chart", StepState.LEFT_OUT), FAILING.outcomes[4]]) == ""


def test_timeline_is_in_order_of_start_and_shows_every_bar() -> None:
    """A step of no time is one mark, also at the very end."""
    outcomes = [
        Outcome(name, StepState.COMPLETED, child=child_run(name, begin=begin, seconds=seconds))
        for name, begin, seconds in (("last", 4000, 0), ("first", 0, 4000))
    ]
    assert timeline(outcomes) == (
        "first  ########################################  1:06:40\n"
        "last   .......................................#  0:00"
    )


def test_a_step_that_runs_has_a_start_and_no_duration() -> None:
    """The table of a run that is looked at while it runs."""
    running = child_run("load", StateType.RUNNING)
    assert steps_table([Outcome("load", StepState.RUNNING, child=running)], {}).splitlines()[2] == (
        f"| load | running | 2026-01-02 06:00:00 |  | 1 | keen-owl-load (`{running.id}`) |"
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3599, "59:59"), (36_061, "10:01:01")]
)
def test_clock(seconds: float, text: str) -> None:
    """Hours appear when there are any."""
    assert clock(timedelta(seconds=seconds)) == text


def test_a_step_that_the_settings_leave_out_says_why() -> None:
    """Nothing is left out in silence: in the state message and in the answers."""
    absent = Outcome("hubspot", StepState.LEFT_OUT, message="no Airbyte is configured")
    text = RunSummary("shop", RUN, "keen-owl", Verdict.COMPLETED, (absent, FAILING.outcomes[4])).markdown({})
    assert "1 of 2 steps completed; left out: hubspot. Run" in text
    assert "## Left out\n\n- `hubspot`: no Airbyte is configured\n" in text
