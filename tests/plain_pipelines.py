"""Pipelines whose steps are flows of another team (tests/plain_flows.py)."""

from __future__ import annotations

from datetime import timedelta

from pydantic import JsonValue

from flow_of_flows import Step, pipeline

SCORE = "score-model/production"
AT: dict[str, JsonValue] = {"region": {"name": "south", "zones": [1, 2]}, "day": "2026-11-29", "rows": 2, "ratio": 1}


def _state(name: str, kind: str, message: str) -> Step:
    return Step(name, deployment="plain-state/plain-state", parameters={"kind": kind, "message": message})


well = pipeline(
    "plain-well",
    Step("score", deployment=SCORE, parameters=AT),
    Step("waits", deployment="plain-async/plain-async", after="score"),
    _state("says", "completed", "3 models are new"),
)
badly = pipeline(
    "plain-badly",
    _state("failed", "failed", "platform: the model server answered 503"),
    _state("cancelled", "cancelled", "out-of-memory: not today"),
    Step("several", deployment="plain-tasks/plain-tasks"),
    Step("raises", deployment="plain-raises/plain-raises"),
    Step("slow", deployment="plain-slow/plain-slow"),
    Step("behind", deployment="plain-async/plain-async", after="raises"),
)
crashed = pipeline(
    "plain-crashed",
    _state("said", "crashed", "preempted: by nobody"),
    Step("dies", deployment="plain-dies/plain-dies"),
    Step("once", deployment="plain-dies/plain-dies"),
    Step("behind", deployment="plain-async/plain-async", after="once"),
)
patient = pipeline(
    "plain-patient",
    Step("flaky", deployment="plain-flaky/plain-flaky"),
    Step("behind", deployment="plain-async/plain-async", after="flaky"),
)
held = pipeline(
    "plain-held",
    Step("holds", deployment="plain-holds/plain-holds", timeout=timedelta(seconds=30)),
    Step("behind", deployment="plain-async/plain-async", after="holds"),
)
hasty = pipeline("plain-hasty", Step("holds", deployment="plain-holds/plain-holds", timeout=timedelta(seconds=6)))
paused = pipeline("plain-paused", Step("pauses", deployment="plain-pauses/plain-pauses", timeout=timedelta(seconds=20)))
resumed = pipeline(
    "plain-resumed",
    Step("waits", deployment="plain-async/plain-async"),
    Step("raises", deployment="plain-raises/plain-raises"),
    Step("behind", deployment="plain-async/plain-async", after="raises"),
)
elsewhere = pipeline(
    "plain-elsewhere",
    Step("score", deployment="score-model/elsewhere", parameters=AT),
    Step("once", deployment="plain-dies/elsewhere", after="score"),
    Step("failed", deployment="plain-state/elsewhere", parameters={"kind": "failed", "message": "timeout: no answer"}),
    Step("holds", deployment="plain-holds/elsewhere", timeout=timedelta(seconds=60)),
)
