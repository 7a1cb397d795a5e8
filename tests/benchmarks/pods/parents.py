"""Parents of children that do nothing: what is left is what a pod and a parent cost."""

from flow_of_flows.dispatch.flow import parent
from flow_of_flows.dispatch.pipeline import Pipeline, Step

SMOKE = "smoke/smoke"
CHAIN = Pipeline(
    "bench-chain",
    tuple(
        Step(name=f"link-{number}", deployment=SMOKE, after=(f"link-{number - 1}",) if number else ())
        for number in range(4)
    ),
)
FAN = Pipeline("bench-fan", tuple(Step(name=f"child-{number}", deployment=SMOKE) for number in range(50)))

chain = parent(CHAIN)
fan = parent(FAN)
