"""Alerts: who gets one, what is in a message, and what never is. Whole messages, no server."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from prefect.client.schemas.objects import StateType

from flow_of_flows.alerts import notification
from flow_of_flows.alerts.notification import (
    MOST_NODES,
    MOST_STEPS,
    MOST_WARNINGS,
    IncidentAction,
    Notification,
    evidence,
    of_summary,
)
from flow_of_flows.alerts.pagerduty_events import properties
from flow_of_flows.alerts.redact import MOST_CHARACTERS, redact_line, redact_text
from flow_of_flows.alerts.slack_webhook import SECTION, escape, message
from flow_of_flows.child_report import ChildReport, Problem
from flow_of_flows.errors import Cause, ConfigurationError
from flow_of_flows.runs.outcome import Outcome, StepState, Verdict
from flow_of_flows.settings import Finished
from flow_of_flows.summary.run_summary import RunSummary
from tests.child_runs import child_run

RUN = UUID("00000000-0000-4000-8000-00000000000c")
BUILD = child_run("dbt-build", StateType.FAILED)
RATES = child_run("exchange-rates")
URL = "https://prefect.example.com/runs/flow-run/c?a=1&b=2"
LINKS = {RUN: URL, BUILD.id: "https://prefect.example.com/runs/flow-run/b"}
FAILED = RunSummary(
    "daily-pipeline",
    RUN,
    "keen-owl",
    Verdict.FAILED,
    (
        Outcome(
            "exchange-rates",
            StepState.COMPLETED,
            child=RATES,
            report=ChildReport(summary="2 rows", warnings=("source.shop.raw_orders is not fresh (warn: last loaded)",)),
        ),
        Outcome(
            "dbt-build",
            StepState.FAILED,
            Cause.DBT_NODES_FAILED,
            child=BUILD,
            report=ChildReport(
                summary="2 of 9 dbt nodes failed: model customers: Could not convert string 'Ann & <Bob>' to INT32",
                cause=Cause.DBT_NODES_FAILED,
                todo="correct them, then retry this run",
                problems=(
                    Problem(
                        name="model.shop.customers",
                        status="error",
                        message="Conversion Error: Could not convert string 'Ann & <Bob>' to INT32",
                        owner="@here",
                    ),
                    Problem(name="test.shop.unique_id", status="fail", message="Got 3 results, configured to fail"),
                ),
            ),
        ),
        Outcome("dashboards", StepState.NOT_RUN, Cause.UPSTREAM, held_up_by=("dbt-build",)),
    ),
)
REUSED = "What completed is reused; failed steps get a new attempt, and the steps behind them run."


def notice(answer: RunSummary = FAILED, **more: object) -> Notification:
    """The notice of an answer."""
    return replace(of_summary(answer, "production", LINKS, tries=1), **more)  # type: ignore[arg-type]


def section(text: str) -> dict[str, object]:
    """A block of text."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def test_a_failed_run_as_a_slack_message() -> None:
    """Pipeline, environment, link, cause, nodes with owners, what to do and to rerun; no quoted value."""
    sentence = "1 of 3 steps completed; failed: dbt-build (dbt-nodes-failed); not run: dashboards"
    assert message(notice()) == {
        "text": f"❌ daily-pipeline failed (production): {sentence}",
        "blocks": [
            {
                "type": "header",
                "text": {"type": "plain_text", "text": "❌ daily-pipeline failed (production)", "emoji": True},
            },
            section(f"{sentence}. Run <https://prefect.example.com/runs/flow-run/c?a=1&amp;b=2|keen-owl>."),
            section(
                "*<https://prefect.example.com/runs/flow-run/b|dbt-build> failed: dbt-nodes-failed*\n"
                "2 of 9 dbt nodes failed: model customers: Could not convert string '…' to INT32\n"
                "• `model.shop.customers` (error, owner @\u200bhere): "
                "Conversion Error: Could not convert string '…' to INT32\n"
                "• `test.shop.unique_id` (fail): Got 3 results, configured to fail\n"
                "*What to do:* Correct them, then retry this run"
            ),
            section("*Warnings*\n• exchange-rates: source.shop.raw_orders is not fresh (warn: last loaded)"),
            section(f"*What to rerun:* Press *Retry* on the run's page, or run `flows resume {RUN}`. {REUSED}"),
        ],
    }


def test_a_failed_run_as_an_incident() -> None:
    """One dedup key for each pipeline and environment."""
    assert notice().dedup_key == "flow-of-flows/production/daily-pipeline"
    assert properties(notice()) == {
        "client": "flow-of-flows",
        "client_url": URL,
        "links": [{"href": URL, "text": "Run keen-owl"}],
        "payload": {
            "summary": "daily-pipeline failed (production): 1 of 3 steps completed; failed: dbt-build "
            "(dbt-nodes-failed); not run: dashboards",
            "source": "flow-of-flows/production",
            "severity": "error",
            "component": "daily-pipeline",
            "group": "production",
            "class": "failed",
            "custom_details": {
                "run": f"keen-owl ({RUN})",
                "failed": {
                    "dbt-build": {
                        "cause": "dbt-nodes-failed",
                        "why": "2 of 9 dbt nodes failed: model customers: Could not convert string '…' to INT32",
                        "what to do": "Correct them, then retry this run",
                        "parts": [
                            (
                                "model.shop.customers (error, owner @here): "
                                "Conversion Error: Could not convert string '…' to INT32"
                            ),
                            "test.shop.unique_id (fail): Got 3 results, configured to fail",
                        ],
                    }
                },
                "what to rerun": f"Press Retry on the run's page, or run: flows resume {RUN}. {REUSED}",
                "warnings": ["exchange-rates: source.shop.raw_orders is not fresh (warn: last loaded)"],
            },
        },
    }


def test_a_recovery_is_short_and_says_how_the_run_before_ended() -> None:
    """Nothing to rerun; a run without an address is named with its id."""
    answer = RunSummary("daily-pipeline", RUN, "keen-owl", Verdict.COMPLETED, FAILED.outcomes[:1])
    told = replace(of_summary(answer, "production", {}, tries=1), recovered_from="cancelled", warnings=())
    assert message(told) == {
        "text": "✅ daily-pipeline recovered (production): 1 of 1 steps completed",
        "blocks": [
            {
                "type": "header",
                "text": {"type": "plain_text", "text": "✅ daily-pipeline recovered (production)", "emoji": True},
            },
            section(f"1 of 1 steps completed. The run before it was cancelled. Run `keen-owl` (`{RUN}`)."),
        ],
    }


def test_an_error_of_the_run_itself_is_told_and_of_a_bug_only_its_kind() -> None:
    """The words of an unexpected exception may be data."""
    answer = RunSummary("daily-pipeline", RUN, "keen-owl", Verdict.FAILED, ())
    known = ConfigurationError("There is no run 7", location="http://api", hint="copy the id")
    (failure,) = of_summary(answer, "production", {}, tries=1, error=known).failures
    assert (failure.cause, failure.why, failure.todo) == (
        "configuration",
        "There is no run 7. Where: http://api.",
        "Copy the id",
    )
    (failure,) = of_summary(answer, "production", {}, tries=1, error=KeyError("Ann")).failures
    assert (failure.cause, failure.why, failure.todo) == (
        "error",
        "The parent ended with KeyError",
        "Read the traceback in the run's log.",
    )


def test_five_hundred_nodes_and_fifty_steps_are_a_message_that_slack_takes() -> None:
    """Bounded lists, which say how much is left out; at most 50 blocks of 3,000 characters."""
    problems = tuple(Problem(name=f"n{n}", status="error", message="x" * 900) for n in range(500))
    warned = tuple(f"w{n}" for n in range(40))
    report = ChildReport(summary="bad " * 400, problems=problems, warnings=warned)
    outcomes = tuple(
        Outcome(f"step-{n}", StepState.FAILED, Cause.ERROR, child=child_run(f"s{n}"), report=report) for n in range(50)
    )
    told = notice(RunSummary("daily-pipeline", RUN, "keen-owl", Verdict.FAILED, outcomes))
    assert (len(told.failures), told.more_failures) == (MOST_STEPS, 50 - MOST_STEPS)
    assert (len(told.failures[0].parts), told.failures[0].more) == (MOST_NODES, 500 - MOST_NODES)
    assert told.warnings[-1] == f"and {50 * 40 - MOST_WARNINGS} more"
    blocks = message(told)["blocks"]
    assert len(blocks) == MOST_STEPS + 5
    assert max(len(block["text"]["text"]) for block in blocks) <= SECTION
    assert len(properties(told)["payload"]["summary"]) <= 1024


@pytest.mark.parametrize(
    ("verdict", "before", "warned", "finished", "slack", "incident"),
    [
        ("failed", None, False, "on-failure", True, "trigger"),
        ("failed", "failed", False, "on-change", True, "trigger"),
        ("cancelled", "completed", False, "on-failure", True, "trigger"),
        ("degraded", "degraded", False, "on-failure", True, None),
        ("degraded", "crashed", False, "on-failure", True, "resolve"),
        ("completed", None, False, "on-failure", False, None),
        ("completed", None, False, "on-change", False, None),
        ("completed", None, False, "always", True, None),
        ("completed", "completed", False, "on-change", False, None),
        ("completed", "degraded", False, "on-change", True, None),
        ("completed", "degraded", False, "on-failure", False, None),
        ("completed", "completed", True, "on-failure", True, None),
        ("completed", "failed", False, "on-failure", True, "resolve"),
        ("completed", "crashed", False, "on-failure", True, "resolve"),
        ("completed", "cancelled", False, "on-failure", True, "resolve"),
    ],
)
def test_who_is_told(  # noqa: PLR0917 - one row of the table
    verdict: str,
    before: str | None,
    warned: bool,  # noqa: FBT001
    finished: str,
    slack: bool,  # noqa: FBT001
    incident: str | None,
) -> None:
    """By the end of this run and of the one before."""
    found = Verdict(verdict)
    recovered = notification.recovered_from(found, before, partial=False)
    told = notice(verdict=found, recovered_from=recovered, warnings=("late",) if warned else ())
    assert notification.should_notify_slack(told, before, Finished(finished), warnings=True) is slack
    assert notification.incident_action(told) == (IncidentAction(incident) if incident else None)


def test_a_partial_run_makes_good_for_nothing_and_warnings_can_be_left_out() -> None:
    """`only` and `skip` leave out what may be what failed."""
    assert notification.recovered_from(Verdict.COMPLETED, "failed", partial=True) == ""
    told = notice(verdict=Verdict.COMPLETED, warnings=("late",))
    assert notification.should_notify_slack(told, "completed", Finished.ON_FAILURE, warnings=False) is False


def test_evidence_is_the_same_for_the_same_end_only() -> None:
    """A new attempt is another child. A run that completes again sends no alert. Without a child the start counts."""
    again = replace(FAILED.outcomes[1], child=child_run("dbt-build", StateType.FAILED, attempt=2))
    first = evidence(Verdict.FAILED, FAILED.outcomes, 1)
    assert evidence(Verdict.FAILED, FAILED.outcomes, 2) == first
    assert evidence(Verdict.FAILED, (again,), 2) != first
    assert evidence(Verdict.COMPLETED, (), 1) == evidence(Verdict.COMPLETED, (), 2)
    assert evidence(Verdict.FAILED, (), 1) != evidence(Verdict.FAILED, (), 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Got 3 results, configured to fail if != 0", "Got 3 results, configured to fail if != 0"),
        ("two\n  lines", "two lines"),
        (
            'Conversion Error: Could not convert string "c4nary" to INT32',
            'Conversion Error: Could not convert string "…" to INT32',
        ),
        ("Numeric value 'c4nary' is not recognized", "Numeric value '…' is not recognized"),
        ('Table with name "shop.raw_orders" does not exist', 'Table with name "shop.raw_orders" does not exist'),
        ('null value in column "id" of "c4nary"', 'null value in column "id" of "…"'),
        ("Object 'SHOP.RAW' does not exist", "Object 'SHOP.RAW' does not exist"),
        ("table 'c4nary is here'", "table '…'"),
        ('for type integer: "c4nary"', 'for type integer: "…"'),
        ('a name "c4nary"', 'a name "…"'),
        ("Failed to cast variant value c4nary to FIXED", "Failed to cast variant value … to FIXED"),
        ("Type INT64 with value 4242 can't be cast", "Type INT64 with value … can't be cast"),
        ("it's fine, isn't it", "it's fine, isn't it"),
        ("the value 'it''s c4nary' is bad", "the value '…' is bad"),
        (
            "duplicate key value violates it DETAIL: Key (id)=(c4nary) already exists.",
            "duplicate key value violates it DETAIL: …",
        ),
        ("Key (id)=(c4nary) is there", "Key (id)=(…) is there"),
        ('Duplicate row detected Row Values: [1, "c4nary"]', "Duplicate row detected Row Values: …"),
        ("Failing row contains (1, c4nary, null).", "Failing row contains …"),
        ("column x does not exist LINE 1: select c4nary", "column x does not exist LINE 1: …"),
        ("actual differs from expected: | id | c4nary |", "actual differs from expected …"),
        ("see https://me:c4nary@host.example:8443/x?sig=c4nary now", "see https://host.example:8443/… now"),
        ("s3://bucket/key?X-Amz-Signature=c4nary", "s3://bucket/…"),
        ("password=c4nary token: c4nary", "password=… token: …"),
        ("AKIAABCDEFGHIJKLMNOP was refused", "… was refused"),
        ("ghp_c4nary0000 and xoxb-c4nary", "… and …"),
        ("-----BEGIN PRIVATE KEY-----\nc4nary\n-----END PRIVATE KEY----- x", "… x"),
    ],
)
def test_values_of_rows_and_secrets_are_hidden(text: str, expected: str) -> None:
    """What a warehouse quotes, what looks like a credential; the rest stays."""
    assert redact_line(text) == expected


def test_a_long_text_is_cut_and_the_lines_of_a_traceback_stay() -> None:
    """Bounds."""
    assert redact_line("x" * 1000) == "x" * (MOST_CHARACTERS - 1) + "…"
    assert redact_text("a\n  b https://hooks.slack.com/services/T/B/c4nary\n") == "a\n  b https://hooks.slack.com/…\n"


def test_slack_calls_nobody_and_links_nothing_of_its_own_accord() -> None:
    """Names of steps, runs and owners are other people's words."""
    assert escape("<!channel> @here & `code` <http://x|y>") == (
        "&lt;!channel&gt; @\u200bhere &amp; 'code' &lt;http://x|y&gt;"
    )
