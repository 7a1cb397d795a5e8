"""Records at the Prefect API with compare-and-swap, which it does not have: each version is a variable of its own.

A variable's name is unique, so of two writers that saw the same version one creates the next. Prefect's concurrency
limits do not serve: their lease lasts a minute at least and is checked later, and a server that restarts forgets it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError

from flow_of_flows.dbt.state import Stored
from flow_of_flows.errors import ConfigurationError, PlatformError

SETTINGS = {"timeout": 10.0}
REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


@dataclass(frozen=True)
class PrefectVariables:
    """The variables of the Prefect API that this process uses.

    A record's bytes are the variable's tag: its value may have 5,000 characters at most.
    """

    client: SyncPrefectClient = field(default_factory=lambda: get_client(SETTINGS, sync_client=True))

    def look(self, key: str) -> Stored | None:
        """Return the newest version of a record, None if there is none."""
        with self._translated("read"):
            found = self._versions(key)
        if not found:
            return None
        newest = max(found)
        return Stored(str(found[newest]["tags"][0]).encode(), str(newest))

    def replace(self, key: str, data: bytes, version: str | None) -> bool:
        """Create the version after the one that was seen, and remove that one."""
        mine = int(version or 0) + 1
        with self._translated("write"):
            if not self._create(key, mine, data):
                return False
            found = self._versions(key)
            # A writer that slept creates a version that others have passed: the newest alone counts.
            superseded = mine != max(found, default=mine)
            for number, variable in found.items():
                if number < mine or (superseded and number == mine):
                    self._delete(variable["id"])
        return not superseded

    def describe(self) -> str:
        """Return the address of the API."""
        return str(self.client.api_url)

    def _versions(self, key: str) -> dict[int, dict[str, Any]]:
        """Return the variables of a record by version."""
        prefix = _prefix(key)
        answer = self.client.request("POST", "/variables/filter", json={"variables": {"name": {"like_": prefix}}})
        named = ((variable["name"].removeprefix(prefix), variable) for variable in answer.json())
        return {int(number): variable for number, variable in named if number.isdigit()}

    def _create(self, key: str, version: int, data: bytes) -> bool:
        value = f"dbt builds that run now: {len(json.loads(data)['holders'])}; deleting this breaks their locks"
        body = {"name": f"{_prefix(key)}{version}", "value": value, "tags": [data.decode()]}
        try:
            self.client.request("POST", "/variables/", json=body)
        except PrefectHTTPStatusError as error:
            if error.response.status_code != HTTPStatus.CONFLICT:
                raise
            return self._is_mine(key, version, data)
        return True

    def _is_mine(self, key: str, version: int, data: bytes) -> bool:
        """Return whether the version is this writer's: a request whose answer was lost is sent again."""
        found = self._versions(key).get(version)
        return found is not None and found["tags"] == [data.decode()]

    def _delete(self, identifier: str) -> None:
        try:
            self.client.request("DELETE", "/variables/{id}", path_params={"id": identifier})
        except PrefectHTTPStatusError as error:
            # Another writer has removed it.
            if error.response.status_code != HTTPStatus.NOT_FOUND:
                raise

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (PrefectHTTPStatusError, httpx.HTTPError) as error:
            if isinstance(error, PrefectHTTPStatusError) and error.response.status_code in REFUSED:
                raise ConfigurationError(
                    f"The Prefect API does not let this process {verb} variables, where dbt's schema locks are",
                    location=self.describe(),
                    hint="allow the API key of the job pods to read, create and delete variables",
                ) from error
            raise PlatformError(
                f"The Prefect API did not {verb} a schema lock: {error or type(error).__name__}",
                location=self.describe(),
                hint="bring the server back, then run again",
            ) from error


def _prefix(key: str) -> str:
    return "flows-" + re.sub(r"[^a-z0-9]+", "-", key) + "-"
