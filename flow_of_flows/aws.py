"""The only user of boto3: clients with time limits, and errors in one sentence.

Credentials come from boto3's own chain (IRSA, Pod Identity, environment). AWS_ENDPOINT_URL and AWS_CA_BUNDLE are
boto3's own variables.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flow_of_flows.errors import ConfigurationError, PlatformError
from flow_of_flows.messages import one_line
from flow_of_flows.redaction import remember

# With boto3's pauses (random, up to 1, 2, 4, 8, 16, 20, … s) ten attempts outlive some 50 s of refusals.
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 5, 20, 10
DENIED = {"AccessDenied", "AccessDeniedException", "403", "AllAccessDisabled"}
UNKNOWN_CALLER = {
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidIdentityToken",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
THROTTLED = {
    "503",
    "RequestLimitExceeded",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
ELSEWHERE = {"301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}


class DeniedError(ConfigurationError):
    """AWS knows who asks, and does not allow it; `permission` is the IAM action and its resource."""

    permission: str = ""


def client(service: str, region: str) -> Any:
    """Return a client of one AWS service, which retries calls that were throttled or lost.

    Args:
        service: name of the service, for example s3.
        region: the AWS region.

    Raises:
        ConfigurationError: boto3 is not installed.
    """
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise ConfigurationError(
            "boto3 is not installed", location=f"AWS {service}", hint="install the extra: flow-of-flows[aws]"
        ) from error
    limits = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    )
    # A session of its own: boto3's default one is not made for threads, and outlives a change of credentials.
    session = boto3.session.Session()
    service_client = session.client(service, region_name=region, config=limits)
    service_client.meta.events.register("request-created", functools.partial(_remember, session))
    return service_client


def _remember(session: Any, **_: Any) -> None:
    """Remember the credentials of a request: they may come from a file or from STS, and an error may repeat them."""
    credentials = session.get_credentials()
    if credentials is not None:
        used = credentials.get_frozen_credentials()
        for value in (used.secret_key, used.token):
            remember(value or "", "AWS credentials")


@contextmanager
def translated(doing: str, *, where: str, permission: str) -> Iterator[None]:
    """Turn boto3's errors into ours; what a caller handles itself is caught inside the block.

    Args:
        doing: the end of "AWS does not …", such as "hand out the secret".
        where: the secret, bucket or key.
        permission: the IAM action that the call needs.

    Raises:
        ConfigurationError: denied, or no usable identity.
        PlatformError: throttled, unreachable, or an answer that makes no sense.
    """
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

    try:
        yield
    except ClientError as error:
        raise _refused(doing, where, permission, code(error), str(error)) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise ConfigurationError(
            f"AWS does not {doing}: this process has no AWS identity",
            location=where,
            hint="give the job pods a role (IRSA or Pod Identity); elsewhere set AWS_PROFILE or AWS_ACCESS_KEY_ID",
        ) from error
    except BotoCoreError as error:
        raise PlatformError(
            f"AWS does not {doing}: {one_line(error)}",
            location=where,
            hint="check the network and the region, then run again",
        ) from error


def code(error: Any) -> str:
    """Return the error code of a ClientError."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _denied(doing: str, where: str, permission: str) -> DeniedError:
    error = DeniedError(
        f"AWS does not {doing}: access is denied",
        location=where,
        hint=f"allow {permission} in the role of the job pods",
    )
    error.permission = permission
    return error


def _refused(doing: str, where: str, permission: str, reason: str, text: str) -> ConfigurationError | PlatformError:
    if reason in DENIED:
        return _denied(doing, where, permission)
    if reason in UNKNOWN_CALLER:
        return ConfigurationError(
            f"AWS does not {doing}: it does not accept this process's identity ({reason})",
            location=where,
            hint="check the role's trust policy (IRSA or Pod Identity), or the credentials in the environment",
        )
    if reason == "NoSuchBucket":
        return ConfigurationError(
            f"AWS does not {doing}: there is no such bucket",
            location=where,
            hint="create the bucket, or correct its name",
        )
    if reason in ELSEWHERE:
        return ConfigurationError(
            f"AWS does not {doing}: it is in another region",
            location=where,
            hint="set FLOWS_AWS_REGION to the bucket's region",
        )
    if reason in THROTTLED:
        return PlatformError(
            f"AWS does not {doing}: too many requests, also after {ATTEMPTS} attempts",
            location=where,
            hint="run again later",
        )
    return PlatformError(f"AWS does not {doing}: {one_line(text)}", location=where, hint="look up the error code")
