"""staging: loads the shop's raw tables in parallel. A step of `jaffle-shop` and `daily-pipeline`, or run by itself."""

from flow_of_flows import Step, pipeline

staging = pipeline(
    "staging",
    Step("raw-customers"),
    Step("raw-orders"),
    Step("raw-payments"),
    description="Load the shop's customers, orders and payments.",
)
