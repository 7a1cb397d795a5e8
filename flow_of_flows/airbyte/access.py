"""The way into Airbyte's API: credentials in, a token that is still good out.

The official client's own client credentials do not work: it drops the path of the server and sends a form where Airbyte
wants JSON (issues 106, 112 and 126 of airbyte-api-python-sdk). So the token is fetched here, as Airbyte documents it.
"""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from flow_of_flows.airbyte import errors as failure
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.load.address import public
from flow_of_flows.redaction import remember
from flow_of_flows.secrets import AirbyteCredentials

# Airbyte's tokens live for 3 minutes (self-managed) or 15 (Cloud); one that ends during a call is of no use.
SPARE_SECONDS = 30.0
UNSAID_SECONDS = 180.0
DOING = "hand out a token"


class Token(BaseModel):
    """Airbyte's answer to client credentials."""

    model_config = ConfigDict(hide_input_in_errors=True)

    access_token: SecretStr = Field(min_length=1)
    expires_in: float = UNSAID_SECONDS


@dataclass
class Access:
    """The token of one run; it is fetched when it is needed, and again shortly before it ends."""

    credentials: AirbyteCredentials
    http: httpx.Client
    _token: SecretStr | None = None
    _until: float = field(default=0.0)

    @property
    def server(self) -> str:
        """Address of the API, without a slash at its end."""
        return self.credentials.server_url.rstrip("/")

    @property
    def where(self) -> str:
        """The same for people."""
        return public(self.server)

    def token(self) -> str:
        """A token that is good for the next call.

        Raises:
            ConfigurationError: Airbyte does not know the client, or there is no such address.
            PlatformError: no answer, or none that makes sense.
        """
        if self.credentials.token is not None:
            return self.credentials.token.get_secret_value()
        if self._token is None or time.monotonic() >= self._until:
            self._fetch()
        assert self._token is not None
        return self._token.get_secret_value()

    def renew(self) -> bool:
        """Forget the token that was refused; False where there is no other one to be had."""
        fetched, self._token = self._token is not None, None
        return fetched

    def _fetch(self) -> None:
        secret = self.credentials.client_secret
        body = {
            "client_id": self.credentials.client_id,
            "client_secret": secret.get_secret_value() if secret else None,
            "grant-type": "client_credentials",
        }
        asked = time.monotonic()
        try:
            response = self.http.post(f"{self.server}/applications/token", json=body)
        except httpx.HTTPError as error:
            raise failure.unreachable(DOING, error, self.where) from error
        if response.status_code != HTTPStatus.OK:
            refusal = failure.refused(DOING, response.status_code, response.text, self.where)
            if response.status_code == HTTPStatus.BAD_REQUEST:  # how some versions say that they do not know the client
                raise ConfigurationError(refusal.what, where=self.where, todo=failure.CREDENTIALS_TODO)
            raise refusal
        try:
            answer = Token.model_validate_json(response.content)
        except ValidationError:
            raise failure.malformed(DOING, self.where) from None
        self._token = answer.access_token
        remember(answer.access_token.get_secret_value(), "token of Airbyte's API")
        self._until = asked + answer.expires_in - min(SPARE_SECONDS, answer.expires_in / 2)


def check(server_url: str, *, plain_http: bool) -> None:
    """Refuse an address that would give the credentials away.

    Raises:
        ConfigurationError: no https to another host than this one, a user or password in it, or no address at all.
    """
    try:
        parts = urlsplit(server_url)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    if not host or parts.scheme not in {"http", "https"}:
        raise ConfigurationError("Airbyte's server_url is no address", where="secret", todo=failure.ADDRESS_TODO)
    if parts.username or parts.password or parts.query:
        raise ConfigurationError(
            "Airbyte's server_url carries more than an address", where=public(server_url), todo=failure.ADDRESS_TODO
        )
    if parts.scheme == "http" and not plain_http and not _is_loopback(host):
        raise ConfigurationError(
            "Airbyte's server_url is not https: it would show the credentials to the network",
            where=public(server_url),
            todo="use https; for an Airbyte in the cluster's own network set FLOWS_AIRBYTE_PLAIN_HTTP=true",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
