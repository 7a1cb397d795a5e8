"""jaffle-shop: everything that needs no credentials. Started with `flows run jaffle-shop` or from the Prefect UI."""

from flow_of_flows import Step, dbt_step, pipeline
from flows.pipelines.staging import staging

jaffle_shop = pipeline(
    "jaffle-shop",
    Step("staging", pipeline=staging, continues="resume_from"),
    Step("exchange-rates"),
    Step("currencies"),
    dbt_step("jaffle-shop", after=("staging", "exchange-rates", "currencies")),
    Step("dashboard-customers", after="dbt-build"),
    Step("dashboard-sales", after="dbt-build"),
    description="Load the shop, exchange rates and currencies, build the dbt project, refresh the dashboards.",
)
