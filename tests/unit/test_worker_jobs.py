"""What the worker copies of its own settings into a Job: settings in, the variables of a flow run out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.context import SettingsContext, get_settings_context
from prefect.settings import Settings
from prefect.workers.base import BaseJobConfiguration

from flow_of_flows.worker import keep_secrets_out_of_jobs
from tests.fixtures.environment import set_variables

REFERENCE = "PREFECT_INTEGRATIONS_KUBERNETES_WORKER"
SECRETS = {
    "PREFECT_API_KEY": "pnu_canary",
    "PREFECT_API_AUTH_STRING": "admin:canary",
    "PREFECT_CLIENT_CUSTOM_HEADERS": '{"X-Edge": "canary"}',
    "PREFECT_SERVER_API_AUTH_STRING": "admin:canary",
    # An older name of PREFECT_SERVER_DATABASE_CONNECTION_URL, under which Prefect copies it.
    "PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://prefect:canary@db/prefect",
    "PREFECT_SERVER_DATABASE_PASSWORD": "canary",
}
PLAIN = {"PREFECT_API_URL": "http://api/api", "PREFECT_LOGGING_LEVEL": "INFO"}
Copied = Callable[[Mapping[str, str]], dict[str, str]]


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> Copied:
    """Return what a job of a worker with these variables gets of them."""
    monkeypatch.setattr(BaseJobConfiguration, "_base_environment", BaseJobConfiguration.__dict__["_base_environment"])
    keep_secrets_out_of_jobs()

    def copy(variables: Mapping[str, str]) -> dict[str, str]:
        set_variables(monkeypatch, variables)
        with SettingsContext(profile=get_settings_context().profile, settings=Settings()):
            configuration = BaseJobConfiguration()
            configuration.prepare_for_flow_run(FlowRun(id=uuid4(), name="keen-owl", flow_id=uuid4()))
        return {name: str(value) for name, value in configuration.env.items()}

    return copy


def test_no_secret_is_copied_in_plain(copied: Copied) -> None:
    """Whatever name it was given by; what is not a secret is copied as before."""
    found = copied({**SECRETS, **PLAIN})
    assert "canary" not in str(found)
    assert {name: found[name] for name in PLAIN} == PLAIN


@pytest.mark.parametrize(
    ("option", "kept"),
    [
        ("API_KEY_SECRET_NAME", {"PREFECT_API_KEY"}),
        ("CREATE_SECRET_FOR_API_KEY", {"PREFECT_API_KEY"}),
        ("API_AUTH_STRING_SECRET_NAME", {"PREFECT_API_AUTH_STRING"}),
    ],
)
def test_what_the_worker_replaces_by_a_reference_stays_to_be_replaced(
    copied: Copied, option: str, kept: set[str]
) -> None:
    """Prefect's Kubernetes worker replaces an entry that is there, and adds none."""
    found = copied({**SECRETS, f"{REFERENCE}_{option}": "true"})
    assert {name for name, value in found.items() if "canary" in value} == kept
