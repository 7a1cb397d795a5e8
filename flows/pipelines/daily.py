"""daily-pipeline: every day at 06:00 UTC."""

from flows.dispatch.flow import parent
from flows.dispatch.plan import Pipeline, Step
from flows.pipelines import transform
from flows.pipelines.staging import STAGING

DAILY = Pipeline(
    "daily-pipeline",
    (
        Step(name="exchange-rates"),
        Step(name="staging", pipeline=STAGING, continues="resume_from"),
        Step(
            name="dbt-build",
            choice=transform.dbt("daily-pipeline"),
            after=("exchange-rates", "staging"),
            takes_full_refresh=True,
            continues="retry_of",
        ),
        Step(name="dashboard-customers", after=("dbt-build",)),
        Step(name="dashboard-sales", after=("dbt-build",)),
    ),
    description="Load what is new, build the dbt project, refresh the dashboards.",
)

daily_pipeline = parent(DAILY)
