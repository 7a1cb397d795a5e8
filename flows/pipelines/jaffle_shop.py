"""jaffle-shop: the demo: raw data, dbt, dashboards."""

from flows.dispatch.flow import parent
from flows.dispatch.plan import Pipeline, Step
from flows.pipelines import transform
from flows.pipelines.staging import STAGING

JAFFLE_SHOP = Pipeline(
    "jaffle-shop",
    (
        Step(name="staging", pipeline=STAGING, continues="resume_from"),
        Step(name="exchange-rates"),
        Step(name="currencies"),
        Step(
            name="dbt-build",
            choice=transform.dbt("jaffle-shop"),
            after=("staging", "exchange-rates", "currencies"),
            takes_full_refresh=True,
            continues="retry_of",
        ),
        Step(name="dashboard-customers", after=("dbt-build",)),
        Step(name="dashboard-sales", after=("dbt-build",)),
    ),
    description="Load the shop, exchange rates and currencies, build the dbt project, refresh the dashboards.",
)

jaffle_shop = parent(JAFFLE_SHOP)
