"""A notice as the properties of an Events API v2 event: what PagerDuty shows of the pipeline's incident. Pure."""

from __future__ import annotations

from typing import Any

from flow_of_flows.alerts.notification import Failure, Notice
from flow_of_flows.alerts.redact import cut
from flow_of_flows.runs.outcome import Verdict
from flow_of_flows.summary.run_summary import REUSED

# The API's own limit.
SUMMARY = 1024
CLIENT = "flow-of-flows"


def properties(notice: Notice) -> dict[str, Any]:
    """What goes with a `trigger`, beside key and dedup key; without links where no address is known."""
    text = f"{notice.pipeline} {notice.verdict} ({notice.environment}): {notice.summary}"
    event: dict[str, Any] = {
        "client": CLIENT,
        "payload": {
            "summary": cut(text, SUMMARY),
            "source": f"{CLIENT}/{notice.environment}",
            "severity": "warning" if notice.verdict is Verdict.CANCELLED else "error",
            "component": notice.pipeline,
            "group": notice.environment,
            "class": str(notice.verdict),
            "custom_details": _details(notice),
        },
    }
    if notice.url:
        event |= {"client_url": notice.url, "links": [{"href": notice.url, "text": f"Run {notice.name}"}]}
    return event


def _details(notice: Notice) -> dict[str, Any]:
    details: dict[str, Any] = {
        "run": f"{notice.name} ({notice.run})",
        "failed": {failure.step: _failure(failure) for failure in notice.failures},
        "what to rerun": f"Press Retry on the run's page, or run: {notice.resume}. {REUSED}",
    }
    return details | ({"warnings": list(notice.warnings)} if notice.warnings else {})


def _failure(failure: Failure) -> dict[str, Any]:
    details: dict[str, Any] = {"cause": failure.cause, "why": failure.why, "what to do": failure.todo}
    parts = [
        f"{part.name} ({part.status}{f', owner {part.owner}' if part.owner else ''}): {part.message}"
        for part in failure.parts
    ]
    more = [f"and {failure.more} more"] if failure.more else []
    return details | ({"parts": [*parts, *more]} if parts else {})
