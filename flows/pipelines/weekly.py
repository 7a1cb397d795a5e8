"""weekly-full-refresh: every Sunday at 02:00 UTC."""

from flow_of_flows import Step, dbt_step, pipeline

weekly_full_refresh = pipeline(
    "weekly-full-refresh",
    Step("currencies"),
    dbt_step("weekly-full-refresh", after="currencies", parameters={"full_refresh": True}),
    overlap="wait",
    description="Reload the list of currencies and rebuild every model from scratch.",
)
