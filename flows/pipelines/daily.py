"""daily-pipeline: every day at 06:00 UTC."""

from flows.dispatch.flow import parent
from flows.dispatch.plan import Pipeline, Step
from flows.pipelines import transform
from flows.pipelines.staging import STAGING
from flows.settings import Settings


def _without_hubspot(settings: Settings) -> str | None:
    return None if settings.airbyte.enabled else "no Airbyte is configured (FLOWS_AIRBYTE_ENABLED)"


def _without_staging(settings: Settings) -> str | None:
    return None if settings.daily_staging else "it is configured so (FLOWS_DAILY_STAGING)"


DAILY = Pipeline(
    "daily-pipeline",
    (
        Step(name="exchange-rates"),
        Step(name="hubspot", without=_without_hubspot),
        Step(name="staging", pipeline=STAGING, continues="resume_from", without=_without_staging),
        Step(
            name="dbt-build",
            choice=transform.dbt("daily-pipeline"),
            after=("exchange-rates", "hubspot", "staging"),
            takes_full_refresh=True,
            continues="retry_of",
        ),
        Step(name="dashboard-customers", after=("dbt-build",)),
        Step(name="dashboard-sales", after=("dbt-build",)),
    ),
    overlap="wait",
    description="Load what is new, build the dbt project, refresh the dashboards.",
)

daily_pipeline = parent(DAILY)
