"""How fresh the sources were that a run in dbt Cloud checked: a run in, verdicts out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from flow_of_flows.dbt.results import Freshness, freshness
from flow_of_flows.dbt_cloud.api import Cloud
from flow_of_flows.dbt_cloud.models import CloudRun, CloudStep

# A command of the job, or what the job's option "run source freshness" adds.
_CHECKS = re.compile(r"`dbt\b[^`]*\bsource (snapshot-)?freshness\b")


def checks_sources(step: CloudStep) -> bool:
    """Whether a step checks sources."""
    return bool(_CHECKS.search(step.name))


def verdicts(cloud: Cloud, run: CloudRun, warn: Callable[[str], None]) -> tuple[Freshness, ...]:
    """The verdicts of every step that checked sources; what cannot be read is said."""
    found: dict[str, Freshness] = {}
    for step in run.steps:
        if checks_sources(step) and step.status.is_final:
            found |= {source.id: source for source in _of_step(cloud, run, step, warn)}
    for source in found.values():
        if source.verdict != "pass":
            warn(f"{source.id} is not fresh ({source.verdict}: {source.message})")
    return tuple(found.values())


def _of_step(cloud: Cloud, run: CloudRun, step: CloudStep, warn: Callable[[str], None]) -> tuple[Freshness, ...]:
    content = cloud.artifact(run.id, "sources.json", step=step.index)
    if content is None:
        warn(f"dbt Cloud has no sources.json of step {step.index} ({step.name})")
        return ()
    try:
        return freshness(content, [result["unique_id"] for result in json.loads(content)["results"]])
    except (ValueError, KeyError, TypeError) as error:
        warn(f"sources.json of step {step.index} ({step.name}) is malformed: {type(error).__name__}")
        return ()
