"""An API that does not know the run, or does not answer, as one sentence of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.exceptions import ObjectNotFound

from flow_of_flows.api_errors import detail
from flow_of_flows.errors import ConfigurationError, PlatformError
from flow_of_flows.pod.lease_records import API_ERRORS, Claims


@contextmanager
def translated(claims: Claims, *, then: str = "the run starts again") -> Iterator[None]:
    """Inside, what the API refuses is an error of ours; `then` says what becomes of the run once it answers.

    Raises:
        ConfigurationError: there is no such run.
        PlatformError: no answer.
    """
    where = str(claims.client.api_url)
    try:
        yield
    except ObjectNotFound as error:
        raise ConfigurationError(
            f"There is no flow run {claims.run}", where=where, todo="see whether this is the API that it was made on"
        ) from error
    except API_ERRORS as error:
        raise PlatformError(
            f"The Prefect API does not answer: {detail(error)}", where=where, todo=f"bring it back; {then}"
        ) from error
