"""Models that were built twice: what the attempts of a run did in, models that succeeded more than once out. Pure.

An attempt is known by a run_results.json of its own work, or by its log (dbt's lines `OK created … model schema.name`).
What the state store keeps under a run's id has what earlier attempts did, too: `added` takes that away.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

# dbt's statuses of what a retry has nothing to do for.
SUCCEEDED = frozenset({"success", "pass", "warn", "no-op", "reused"})
# dbt's line of a model, seed or snapshot that succeeded, as `flow_of_flows.dbt.events` logs it.
_LINE = re.compile(r"\bOK (?:created|snapshotted|loaded|sql|python).*? (?P<name>[\w$\"`]+\.[\w$\"`]+)(?: \[.*)?$")


def succeeded_in(results: Mapping[str, Any]) -> set[str]:
    """Ids of the nodes that succeeded in a run_results.json."""
    return {result["unique_id"] for result in results["results"] if result["status"] in SUCCEEDED}


def added(saved: Iterable[Mapping[str, Any]]) -> list[set[str]]:
    """What each attempt added, from the run_results.json that the state store had after each, oldest first."""
    known: set[str] = set()
    steps = []
    for results in saved:
        now = succeeded_in(results)
        steps.append(now - known)
        known |= now
    return steps


def logged(messages: Iterable[str]) -> list[str]:
    """Relations that were built, as `schema.name`, once for each time, from the messages of a run's log."""
    return [found["name"] for message in messages if (found := _LINE.search(message.strip()))]


def rebuilt(attempts: Iterable[Iterable[str]]) -> dict[str, int]:
    """What succeeded more than once, and how often beyond the first: ids (or relations) of each attempt's successes."""
    count = Counter(name for attempt in attempts for name in attempt)
    return {name: times - 1 for name, times in sorted(count.items()) if times > 1}
