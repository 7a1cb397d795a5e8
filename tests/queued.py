"""Pipelines for the test of the pool's queues, one inside the other. Run by a process worker."""

from __future__ import annotations

from typing import Any

from prefect import Flow

from flow_of_flows.dispatch.flow import parent
from flow_of_flows.dispatch.pipeline import Pipeline, Step

INNER = Pipeline("queued-inner", tuple(Step(name=name, deployment="work/queued-work") for name in ("left", "right")))
OUTER = Pipeline("queued-outer", (Step(name="inner", deployment="queued-inner/queued-inner", pipeline=INNER),))

inner: Flow[..., Any] = parent(INNER)
outer: Flow[..., Any] = parent(OUTER)
