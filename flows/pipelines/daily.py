"""daily-pipeline: every day at 06:00 UTC."""

from flow_of_flows import Step, dbt_step, pipeline
from flow_of_flows.settings import Settings
from flows.pipelines.staging import staging
from flows.settings import Daily


def _without_hubspot(settings: Settings) -> str | None:
    return None if settings.airbyte.enabled else "no Airbyte is configured (FLOWS_AIRBYTE_ENABLED)"


def _without_staging(_: Settings) -> str | None:
    return None if Daily.load().staging else "it is configured so (FLOWS_DAILY_STAGING)"


daily_pipeline = pipeline(
    "daily-pipeline",
    Step("exchange-rates"),
    Step("hubspot", without=_without_hubspot),
    Step("staging", pipeline=staging, continues="resume_from", without=_without_staging),
    dbt_step("daily-pipeline", after=("exchange-rates", "hubspot", "staging")),
    Step("dashboard-customers", after="dbt-build"),
    Step("dashboard-sales", after="dbt-build"),
    overlap="wait",
    description="Load what is new, build the dbt project, refresh the dashboards.",
)
