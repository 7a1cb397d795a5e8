"""What the settings make of daily-pipeline: HubSpot where Airbyte is configured, the shop unless it is not wanted."""

from __future__ import annotations

from typing import Any

import pytest
from prefect import Flow

from flow_of_flows.dispatch.pipeline import Pipeline, declared
from flow_of_flows.settings import Settings
from flows.pipelines.daily import daily_pipeline
from flows.pipelines.weekly import weekly_full_refresh
from tests.fixtures.environment import set_variables


def pipeline(flow: Flow[..., Any]) -> Pipeline:
    """The pipeline that a flow runs."""
    found = declared(flow)
    assert found is not None
    return found


DAILY, WEEKLY = pipeline(daily_pipeline), pipeline(weekly_full_refresh)
NO_AIRBYTE = "no Airbyte is configured (FLOWS_AIRBYTE_ENABLED)"
NO_SHOP = "it is configured so (FLOWS_DAILY_STAGING)"


@pytest.mark.parametrize(
    ("variables", "absent"),
    [
        ({}, {"hubspot": NO_AIRBYTE}),
        ({"FLOWS_AIRBYTE_ENABLED": "true"}, {}),
        ({"FLOWS_DAILY_STAGING": "false"}, {"hubspot": NO_AIRBYTE, "staging": NO_SHOP}),
        ({"FLOWS_AIRBYTE_ENABLED": "true", "FLOWS_DAILY_STAGING": "false"}, {"staging": NO_SHOP}),
    ],
)
def test_steps_are_left_out_by_settings_and_say_why(
    variables: dict[str, str], absent: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is skipped in silence."""
    set_variables(monkeypatch, variables)
    found = DAILY.configured(Settings.load())
    assert {step.name: step.absent for step in found.steps if step.absent} == absent


def test_dbt_comes_after_every_ingestion_and_the_dashboards_after_dbt() -> None:
    """Transformation does not start when an ingestion has failed."""
    assert DAILY.edges == {
        "exchange-rates": (),
        "hubspot": (),
        "staging": (),
        "dbt-build": ("exchange-rates", "hubspot", "staging"),
        "dashboard-customers": ("dbt-build",),
        "dashboard-sales": ("dbt-build",),
    }


def test_the_weekly_run_loads_currencies_and_rebuilds_everything() -> None:
    """With full refresh as the step's own parameter."""
    assert WEEKLY.edges == {"currencies": (), "dbt-build": ("currencies",)}
    assert WEEKLY.step("dbt-build").parameters == {"full_refresh": True}
