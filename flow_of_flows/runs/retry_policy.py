"""What follows from each cause: whether a step is tried again, how, and what the reader should do. Pure.

A child retries its own tasks; what is retried here is a whole child run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from flow_of_flows.errors import Cause


class AttemptChange(StrEnum):
    """What is different about the next attempt."""

    NOTHING = "nothing"
    MEMORY = "memory"
    NODES = "nodes"


@dataclass(frozen=True)
class Rule:
    """One cause's row of policy.

    Attributes:
        advice: what the reader should do once the attempts are used up.
        retries: further attempts after the first one that ended by this cause.
        change: what is different about them.
        pauses: seconds before each of them; the last one holds for the rest. Jitter is added.
    """

    advice: str
    retries: int = 0
    change: AttemptChange = AttemptChange.NOTHING
    pauses: tuple[float, ...] = (0.0,)

    def pause(self, retry: int) -> float:
        """Return the seconds before a retry (the first is 1)."""
        return self.pauses[min(retry, len(self.pauses)) - 1]


POLICY: Mapping[Cause, Rule] = {
    Cause.DBT_NODES_FAILED: Rule(
        "Correct the failed models, or what they read. A rerun goes on from the failed nodes."
    ),
    Cause.DATA_TESTS_FAILED: Rule("Look at the rows that fail the tests; correct the data or the test."),
    Cause.DATA: Rule("Correct the data at its source."),
    Cause.CONFIGURATION: Rule("Correct the setting or parameter that the message names."),
    Cause.PLATFORM: Rule(
        "Bring back the system that the message names; nothing in the code needs a change.",
        retries=2,
        pauses=(15.0, 60.0),
    ),
    Cause.BUSY: Rule("Rerun it when the other build is over, or let it wait (`when_busy: wait`)."),
    Cause.ERROR: Rule("Read the traceback in the child run's log."),
    Cause.OUT_OF_MEMORY: Rule(
        "Give the deployment more memory (`memory_limit`), or have it do less at once.",
        retries=2,
        change=AttemptChange.MEMORY,
    ),
    Cause.EVICTED: Rule(
        "See what fills the node (memory or disk); request what the child really uses.",
        retries=2,
        change=AttemptChange.NODES,
    ),
    Cause.PREEMPTED: Rule(
        "Give the pipeline's pods a priority class, or the cluster more room.", retries=3, change=AttemptChange.NODES
    ),
    Cause.NODE_LOST: Rule("See what happened to the node; rerun.", retries=3, change=AttemptChange.NODES),
    Cause.POD_DELETED: Rule("See who deleted the pod or its Job; rerun.", retries=2),
    Cause.CRASHED: Rule(
        "The process was killed, and nothing says by whom. Read the pod's last lines; rerun.", retries=1
    ),
    Cause.IMAGE: Rule("Correct the image's name or tag, or the node's access to its registry; then rerun."),
    Cause.UNSCHEDULABLE: Rule(
        "Make room: nodes that fit the pod's requests and selectors, or a larger quota; or ask for less. Then rerun."
    ),
    Cause.NEVER_STARTED: Rule(
        "See whether a worker polls the pool: `flows doctor` in the worker's pod, or with PREFECT_API_URL set. Rerun.",
        retries=1,
    ),
    Cause.TIMEOUT: Rule("Find out what took so long, or raise the step's timeout."),
    Cause.CANCELLED: Rule("Somebody or something cancelled the child. Rerun when it may run again."),
    Cause.UPSTREAM: Rule("Nothing: it runs once the step before it completes."),
}


def rule(cause: Cause) -> Rule:
    """Return the rule of a cause; a test shows that each cause has one."""
    return POLICY[cause]
