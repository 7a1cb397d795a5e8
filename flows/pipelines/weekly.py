"""weekly-full-refresh: every Sunday at 02:00 UTC."""

from flows.dispatch.flow import parent
from flows.dispatch.plan import Pipeline, Step
from flows.pipelines import transform

WEEKLY = Pipeline(
    "weekly-full-refresh",
    (
        Step(name="currencies"),
        Step(
            name="dbt-build",
            choice=transform.dbt("weekly-full-refresh"),
            after=("currencies",),
            parameters={"full_refresh": True},
            continues="retry_of",
        ),
    ),
    overlap="wait",
    description="Reload the list of currencies and rebuild every model from scratch.",
)

weekly_full_refresh = parent(WEEKLY)
