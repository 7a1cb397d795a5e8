"""Parents of the fault matrix: the product's own dispatcher over children of `.children`. In job pods."""

from __future__ import annotations

from datetime import timedelta

from flow_of_flows.dispatch.flow import parent
from flow_of_flows.dispatch.pipeline import Pipeline, Step

SLEEPER = "faults-sleeper/faults-sleeper"
NOOP = "faults-noop/faults-noop"


def sleeping(name: str, *, after: tuple[str, ...] = (), timeout: timedelta = timedelta(hours=1)) -> Step:
    """A step that works for a while; its rows have its name."""
    return Step(name=name, deployment=SLEEPER, after=after, parameters={"label": name}, timeout=timeout)


PAIR = Pipeline("faults-pair", (sleeping("left"), sleeping("right"), sleeping("last", after=("left", "right"))))
ONE = Pipeline("faults-one", (sleeping("only"),))
SHORT = Pipeline("faults-short", (sleeping("slow", timeout=timedelta(seconds=40)),))
HOGS = Pipeline("faults-hogs", (Step(name="hog", deployment="faults-hog/faults-hog"),))
FULL_DISK = Pipeline("faults-full-disk", (Step(name="filler", deployment="faults-filler/faults-filler"),))
FAILING = Pipeline("faults-failing-step", (Step(name="failing", deployment="faults-failing/faults-failing"),))
PLAIN = Pipeline("faults-plain-step", (Step(name="plain", deployment="faults-plain/faults-plain"),))
NESTED = Pipeline(
    "faults-nested",
    (Step(name="inner", deployment="faults-pair/faults-pair", pipeline=PAIR), sleeping("outer", after=("inner",))),
)
FAN_2 = Pipeline("faults-fan-2", tuple(Step(name=f"child-{number}", deployment=NOOP) for number in range(2)))
FAN_200 = Pipeline("faults-fan-200", tuple(Step(name=f"child-{number}", deployment=NOOP) for number in range(200)))

pair = parent(PAIR)
one = parent(ONE)
short = parent(SHORT)
hogs = parent(HOGS)
full_disk = parent(FULL_DISK)
failing_step = parent(FAILING)
plain_step = parent(PLAIN)
nested = parent(NESTED)
fan_2 = parent(FAN_2)
fan_200 = parent(FAN_200)
