"""What `flows register` registers for alerts: blocks with the addresses, and automations for pipelines that crash.

Reads secrets and the API, and writes nothing. A parent sends the alerts about its own end; one whose pod died cannot.
If nothing restarts its run, the Prefect server sends the alert. The fields of an automation, desired or current, are
JSON values in a fixed order that can be compared.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from prefect.events.schemas.automations import AutomationCore

from flow_of_flows import secrets
from flow_of_flows.alerts.slack_webhook import SLACK_TYPE
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.limits import MAX_RESTARTS, UNRESTARTED_ALERT
from flow_of_flows.prefect_api.client import PrefectApi
from flow_of_flows.registration import ownership
from flow_of_flows.registration.config import Request
from flow_of_flows.registration.desired import PIPELINE, TAG
from flow_of_flows.registration.plan import Item, ResourceKind
from flow_of_flows.registration.resources import BY_NAME
from flow_of_flows.runs.causes import NOT_SUBMITTED
from flow_of_flows.runs.resume import RESTARTED
from flow_of_flows.settings import Settings
from flow_of_flows.summary.terminal import of_readers

# Sets in Prefect's model, which are written in an order that depends on the process: here and on the server.
SETS = ("after", "expect", "for_each")

PAGERDUTY = "pager-duty-webhook"
RESTARTED_STATES = ("AwaitingRetry", "Cancelled", "Completed", "Failed", "Pending", "Running", "Scheduled")
NO_ID = "00000000-0000-0000-0000-000000000000"
BODY = (
    "{{ flow.name }} crashed, and was not started again within %(minutes)d minutes (%(environment)s).\n"
    "Run {{ flow_run.name }}: {{ flow_run|ui_url }}\n"
    "Its process or pod died; the run's page has what is known. The children that ran went on.\n"
    "What to rerun: press Retry on the run's page, or run: %(resume)s"
)


def fields(automation: AutomationCore) -> dict[str, Any]:
    """Return the fields of an automation by the API's names, without those that the server sets."""
    values = automation.model_dump(mode="json", exclude={"id", "owner_resource"})
    return {**values, "trigger": _ordered(values["trigger"])}


def current(automation: AutomationCore) -> dict[str, Any]:
    """Return the fields of an automation of the API, with the owner that its description names."""
    text, owner = ownership.unsigned(automation.description)
    return fields(automation) | {"description": text, "owner": owner}


def desired(automation: AutomationCore, owner: str) -> dict[str, Any]:
    """Return the fields of a desired automation; whether it is enabled stays as a person set it.

    Args:
        automation: the desired automation.
        owner: who registers it.
    """
    values = fields(automation) | {"description": automation.description.strip(), "owner": owner}
    if "enabled" not in automation.model_fields_set:
        del values["enabled"]
    return values


def _ordered(trigger: dict[str, Any]) -> dict[str, Any]:
    """Return the trigger, and the triggers in it, with their sets in alphabetical order."""
    ordered = {name: sorted(value) if name in SETS and value else value for name, value in trigger.items()}
    if "triggers" in ordered:
        ordered["triggers"] = [_ordered(inner) for inner in ordered["triggers"]]
    return ordered


async def alerting(api: PrefectApi, settings: Settings, request: Request) -> list[Item]:
    """Return the blocks and automations of the channels that are on.

    Args:
        api: the API to read.
        settings: which channels are on, and the names of their secrets.
        request: owner and work pool of the registration.

    Raises:
        ConfigurationError: a channel is on, and its secret does not exist.
        PlatformError: Secrets Manager or the Prefect API does not answer.
    """
    items: list[Item] = []
    if settings.alerts.to_slack(settings.environment):
        items += await _slack(api, settings, request)
    if settings.alerts.pagerduty:
        items += await _pagerduty(api, settings, request)
    return items


async def _slack(api: PrefectApi, settings: Settings, request: Request) -> list[Item]:
    name = f"{SLACK_TYPE}/{settings.slack_block}"
    items = []
    try:
        secret = secrets.read(settings.secrets.slack, secrets.SlackWebhook, settings.secrets)
        items = [
            Item(ResourceKind.BLOCK, name, {"data": {"url": secret.url.get_secret_value()}, "owner": request.owner})
        ]
    except ConfigurationError as error:
        # A person may have created the block in the Prefect UI.
        if await _id(api, name) is None:
            todo = f"{error.hint}, or set FLOWS_ALERTS_SLACK=false"
            raise ConfigurationError(error.message, location=error.location, hint=todo) from error
    return [*items, await _automation(api, settings, request, channel="Slack", block=name)]


async def _pagerduty(api: PrefectApi, settings: Settings, request: Request) -> list[Item]:
    name = f"{PAGERDUTY}/{settings.deployment_name(TAG)}"
    secret = secrets.read(settings.secrets.pagerduty, secrets.PagerDutyCredentials, settings.secrets)
    if secret.api_key is None:
        # Prefect's own block asks for a second key, though PagerDuty's Events API does not.
        return []
    values = {
        "integration_key": secret.routing_key.get_secret_value(),
        "api_key": secret.api_key.get_secret_value(),
        "region_name": "eu" if ".eu." in settings.alerts.pagerduty_url else "us",
        "notify_type": "failure",
        "source": f"{TAG}/{settings.alerts.name(settings.environment)}",
    }
    block = Item(ResourceKind.BLOCK, name, {"data": values, "owner": request.owner})
    return [block, await _automation(api, settings, request, channel="PagerDuty", block=name)]


async def _automation(api: PrefectApi, settings: Settings, request: Request, *, channel: str, block: str) -> Item:
    environment = settings.alerts.name(settings.environment)
    automation = AutomationCore.model_validate(
        {
            "name": f"{TAG}: tell {channel} of crashed pipelines ({environment})",
            "description": f"Tells {channel} of pipeline runs that crashed for good.",
            "trigger": crashed(UNRESTARTED_ALERT, request.work_pool.name),
            "actions": [_notification(environment, of_readers(settings).command("flows resume {{ flow_run.id }}"))],
        }
    )
    fields = desired(automation, request.owner)
    fields["actions"][0]["block_document_id"] = await _id(api, block) or f"{BY_NAME}{block}"
    return Item(ResourceKind.AUTOMATION, automation.name, fields)


def crashed(unchanged_for: timedelta, pool: str) -> dict[str, Any]:
    """Return the trigger: a pipeline run of this pool crashed, and nothing else has happened to it since.

    Args:
        unchanged_for: how long nothing happened to it.
        pool: the work pool of the release; another release reports its own runs.
    """
    return {
        "type": "event",
        "posture": "Proactive",
        "match": {"prefect.resource.id": "prefect.flow-run.*"},
        "match_related": _pipelines_of(pool),
        "for_each": ["prefect.resource.id"],
        "after": ["prefect.flow-run.Crashed"],
        "expect": [f"prefect.flow-run.{state}" for state in RESTARTED_STATES],
        "threshold": 1,
        "within": unchanged_for.total_seconds(),
    }


def _pipelines_of(pool: str) -> list[dict[str, str]]:
    """Return the related resources of the events of pipeline runs in one work pool."""
    tags = [{"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{tag}"} for tag in (TAG, PIPELINE)]
    return [*tags, {"prefect.resource.role": "work-pool", "prefect.resource.name": pool}]


def _notification(environment: str, resume: str) -> dict[str, Any]:
    values = {"environment": environment, "resume": resume, "minutes": UNRESTARTED_ALERT.total_seconds() / 60}
    return {
        "type": "send-notification",
        "block_document_id": NO_ID,
        "subject": f"{{{{ flow.name }}}} crashed ({environment})",
        "body": BODY % values,
    }


async def _id(api: PrefectApi, name: str) -> str | None:
    kind, _, own = name.partition("/")
    document = await api.find(lambda: api.client.read_block_document_by_name(own, kind, include_secrets=False))
    return str(document.id) if document else None


def restart_automation(request: Request) -> Item:
    """Return the automation that restarts the crashed pipeline runs of a pool."""
    pool = request.work_pool.name
    automation = AutomationCore.model_validate(
        {
            "name": automation_name(pool),
            "description": "Starts pipeline runs again whose process or pod died.",
            "trigger": crashed_pipeline(pool),
            "actions": [
                {
                    "type": "change-flow-run-state",
                    "state": "SCHEDULED",
                    "name": "AwaitingRetry",
                    "message": f"{RESTARTED} by the Prefect server: its process or pod died",
                }
            ],
        }
    )
    return Item(ResourceKind.AUTOMATION, automation.name, desired(automation, request.owner))


def automation_name(pool: str) -> str:
    """Return the name of the automation for one pool; every version has created it, so its mark names the owner."""
    return f"{TAG}: revive crashed pipelines ({pool})"


def crashed_pipeline(pool: str) -> dict[str, Any]:
    """Return the trigger: a pipeline run of this pool crashed, and may be started again."""
    return {
        "type": "event",
        "posture": "Reactive",
        "match": {
            "prefect.resource.id": "prefect.flow-run.*",
            "prefect.run-count": [str(count) for count in range(1, MAX_RESTARTS + 1)],
            "prefect.state-message": f"!{NOT_SUBMITTED}*",
        },
        "match_related": _pipelines_of(pool),
        "for_each": ["prefect.resource.id"],
        "expect": ["prefect.flow-run.Crashed"],
        "threshold": 1,
        "within": 0,
    }
