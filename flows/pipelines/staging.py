"""staging: loads the shop's raw tables in parallel. Run by `jaffle-shop`, `daily-pipeline`, or by itself."""

from flows.dispatch.flow import parent
from flows.dispatch.plan import Pipeline, Step

STAGING = Pipeline(
    "staging",
    (Step(name="raw-customers"), Step(name="raw-orders"), Step(name="raw-payments")),
    description="Load the shop's customers, orders and payments.",
)

staging = parent(STAGING)
