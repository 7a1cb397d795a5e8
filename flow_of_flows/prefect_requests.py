"""Redacts what this process sends to the Prefect API for people to read: states, logs, artifacts and events.

The only user of the classes of Prefect's client that are extended here. Parameters, blocks and job variables are sent
as they are, since other processes work with them.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient
from prefect.events.clients import EventsClient
from prefect.events.schemas.events import Event
from prefect.settings import get_current_settings
from pydantic import BaseModel, SecretStr

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.redaction import redact, redact_values, remember
from flow_of_flows.settings.variables import API_KEY, CUSTOM_HEADERS, check_header, remember_variable

READ_BY_PEOPLE = re.compile(r"/(?:set_state|logs/|artifacts/.*|events/?)$")
EVENTS = re.compile(r"/events/?$")
# Labels that Prefect and automations match; nobody reads them as text.
IDENTIFIERS = ("prefect.resource.id", "prefect.resource.role")
Build = Callable[..., httpx.Request]
_CLIENTS: tuple[type[httpx.Client | httpx.AsyncClient], ...] = (PrefectHttpxAsyncClient, PrefectHttpxSyncClient)


def guard() -> None:
    """Redact requests and events of this process, and remember the secrets in Prefect's settings and profile.

    Raises:
        ConfigurationError: a setting cannot be sent in an HTTP header.
    """
    for client in _CLIENTS:
        if not hasattr(client.build_request, "__wrapped__"):
            client.build_request = _redacting(client.build_request)  # type: ignore[method-assign]
    if not hasattr(EventsClient.emit, "__wrapped__"):
        EventsClient.emit = _redacting_events(EventsClient.emit)  # type: ignore[method-assign, assignment]
    settings = get_current_settings()
    try:
        httpx.URL(settings.api.url or "")
    except httpx.InvalidURL:
        # The error repeats a part of the address, which may be one of a password.
        raise ConfigurationError(
            "PREFECT_API_URL is not an address", location="environment", hint="write it as https://host/api"
        ) from None
    for name, value in _secrets(settings):
        remember(value, name)
        remember_variable(name, value)
    if settings.api.key is not None:
        check_header(API_KEY, settings.api.key.get_secret_value())
    if settings.client.custom_headers:
        remember_variable(CUSTOM_HEADERS, json.dumps(settings.client.custom_headers))
    for name, value in settings.client.custom_headers.items():
        check_header(f"{CUSTOM_HEADERS}, {name}", value)


def secret_variables() -> frozenset[str]:
    """Return the variables of Prefect's settings that hold secrets and are set, by the names that Prefect copies."""
    settings = get_current_settings()
    headers = {CUSTOM_HEADERS} if settings.client.custom_headers else set()
    return frozenset({name for name, _ in _secrets(settings)} | headers)


def _secrets(settings: BaseModel) -> Iterator[tuple[str, str]]:
    """Yield the secret values of a group of settings and of the groups in it, by name."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            yield f"{settings.model_config.get('env_prefix', '')}{name.upper()}", value.get_secret_value()
        elif isinstance(value, BaseModel):
            yield from _secrets(value)


def _redacting(build: Build) -> Build:
    @functools.wraps(build)
    def build_redacted(client: httpx.Client | httpx.AsyncClient, method: str, url: Any, **more: Any) -> httpx.Request:
        if READ_BY_PEOPLE.search(str(url)):
            if EVENTS.search(str(url)) and isinstance(more.get("json"), list):
                more["json"] = [redacted_event(event) for event in more["json"]]
            elif more.get("json") is not None:
                more["json"] = redact_values(more["json"])
            if isinstance(content := more.get("content"), (str, bytes)):
                more["content"] = redact(content if isinstance(content, str) else content.decode())
        return build(client, method, url, **more)

    return build_redacted


def _redacting_events(emit: Callable[[EventsClient, Event], Any]) -> Callable[[EventsClient, Event], Any]:
    @functools.wraps(emit)
    async def emit_redacted(client: EventsClient, event: Event) -> None:
        values = event.model_dump(mode="json")
        clean = redacted_event(values)
        await emit(client, event if clean == values else type(event).model_validate(clean))

    return emit_redacted


def redacted_event(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event with its texts redacted; its name, and the ids of what it is about, stay as they are.

    Args:
        values: the event, as its JSON.
    """
    return {
        **values,
        "payload": redact_values(values.get("payload") or {}),
        "resource": _labels(values["resource"]),
        "related": [_labels(resource) for resource in values.get("related") or ()],
    }


def _labels(resource: Mapping[str, str]) -> dict[str, str]:
    return {name: text if name in IDENTIFIERS else redact(text) for name, text in resource.items()}
