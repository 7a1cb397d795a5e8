"""Tells the errors of a warehouse that pass by themselves from those of a statement: an exception in, a verdict out.

A driver's code decides: an SQLSTATE, a number of Snowflake, an HTTP status, or the class of the exception. Text decides
only for DuckDB, whose exceptions have no code. An exception of a driver that is not known here is transient if dbt's
adapter would have retried it. Pure; imports no driver.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from types import TracebackType

from flow_of_flows.errors import chain

# Connection lost; transaction rolled back by another one; no resources left.
SQLSTATE_CLASSES = ("08", "40", "53")
SQLSTATES = frozenset(
    {
        "25P03",  # a session ended that was idle in a transaction
        "55P03",  # a lock was not to be had in time
        "57P01",  # ended by an administrator, or by a failover
        "57P02",  # another session crashed the server
        "57P03",  # the server starts or stops, or a warehouse is suspended
        "57P05",  # a session ended that was idle
        "58000",  # an error of the system below the server
        "58030",  # an input or output error
    }
)
# Of those classes: a deferred constraint that does not hold, and a limit that one query is too large for.
SQLSTATES_OF_STATEMENTS = frozenset({"40002", "53400"})

SNOWFLAKE_NUMBERS = frozenset(
    {
        603,  # an internal error
        608,  # the warehouse is suspended
        625,  # too many statements wait for a lock
        90073,  # a resource monitor keeps the warehouse suspended
        390111,  # the session is gone
        390112,  # the session has expired
        390114,  # the session's token has expired
        390115,  # the token that renews it has expired
    }
)
# Although their class or SQLSTATE is one of those above: no warehouse is chosen, and a value that the connector
# cannot convert.
SNOWFLAKE_NUMBERS_OF_STATEMENTS = frozenset({606, 252005, 255001})
SNOWFLAKE_CLASSES = frozenset(
    {
        "OperationalError",
        "InterfaceError",
        "InternalError",
        "InternalServerError",
        "BadGatewayError",
        "ServiceUnavailableError",
        "GatewayTimeoutError",
        "RequestTimeoutError",
        "TooManyRequests",
        "OtherHTTPRetryableError",
        "RequestExceedMaxRetryError",
        "BindUploadError",
    }
)

DUCKDB_CLASSES = frozenset({"ConnectionException", "FatalException"})
# Classes that also stand for errors of a statement, such as a file that does not exist.
DUCKDB_CLASSES_BY_TEXT = frozenset({"IOException", "TransactionException", "HTTPException", "Error"})
DUCKDB_TEXTS = (
    "Could not set lock on file",
    "Conflict on ",
    "write-write conflict",
    "Could not read from file",
    "Could not write file",
    "Could not write to file",
    "Could not sync file",
    "Could not fsync",
    "Could not establish connection",
    " error for HTTP ",  # whatever the connection's fault was
    "Connection reset",
    "Timeout was reached",
    "Resource temporarily unavailable",
    "Stale file handle",
    "Input/output error",
    "Too many open files",
    "No space left on device",
    "Failed to download extension",
)

HTTP_STATUSES = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
# Classes of HTTP clients, which have no base class in common with Python's own.
NETWORK_CLASSES = frozenset(
    {
        ("requests.exceptions", "ConnectionError"),
        ("requests.exceptions", "Timeout"),
        ("requests.exceptions", "ChunkedEncodingError"),
        ("urllib3.exceptions", "ProtocolError"),
        ("urllib3.exceptions", "TimeoutError"),
        ("urllib3.exceptions", "MaxRetryError"),
        ("httpx", "TransportError"),
        ("botocore.exceptions", "HTTPClientError"),
        ("google.api_core.exceptions", "RetryError"),
        ("google.auth.exceptions", "TransportError"),
        ("trino.exceptions", "TrinoConnectionError"),
        ("py4j.protocol", "Py4JNetworkError"),
        ("databricks.sql.exc", "RequestError"),
        ("thrift.transport.TTransport", "TTransportException"),
    }
)
# What drivers of other adapters say in words of their own: SQLite's result codes, Trino's types of errors, BigQuery's
# reasons, and codes of AWS. Each is an attribute, or an entry of one, that only that driver has.
SQLITE_NAMES = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_FULL", "SQLITE_PROTOCOL")
TRINO_TYPES = frozenset({"INTERNAL_ERROR", "INSUFFICIENT_RESOURCES", "EXTERNAL"})
BIGQUERY_REASONS = frozenset(
    {"rateLimitExceeded", "jobRateLimitExceeded", "backendError", "jobBackendError", "internalError", "badGateway"}
)
AWS_CODES = ("Throttling", "TooManyRequests", "ServiceUnavailable", "InternalServer", "InternalFailure", "SlowDown")
# Name of the argument by which adapters tell dbt's connection manager what it may retry.
RETRYABLE = "retryable_exceptions"
SQLSTATE_LENGTH = 5


def is_transient(error: BaseException) -> bool:
    """Return whether the same statement may succeed later, without a change by its author.

    Args:
        error: an exception of a driver, or one that was raised because of one.
    """
    causes = tuple(chain(error))
    verdict = next((found for one in causes if (found := _verdict(one)) is not None), None)
    return _retried_by_adapter(causes) if verdict is None else verdict


def _verdict(error: BaseException) -> bool | None:
    """Return what an exception tells by itself; None where it is of no driver, or tells nothing."""
    match type(error).__module__.partition(".")[0]:
        case "psycopg2":
            return _of_postgres(error)
        case "snowflake":
            return _of_snowflake(error)
        case "duckdb" | "_duckdb":
            return _of_duckdb(error)
        case _:
            return _of_another(error)


def _of_postgres(error: BaseException) -> bool:
    code = getattr(error, "pgcode", None)
    if code is not None:
        return _is_transient_state(code)
    # libpq has no code for a connection that broke or was not made; neither is the fault of a statement.
    # "error with status PGRES_TUPLES_OK and no message from the libpq" has the base class alone.
    return type(error).__name__ == "DatabaseError" or bool(_classes(error) & {"OperationalError", "InterfaceError"})


def _of_snowflake(error: BaseException) -> bool:
    number = getattr(error, "errno", None)
    if number in SNOWFLAKE_NUMBERS or number in SNOWFLAKE_NUMBERS_OF_STATEMENTS:
        return number in SNOWFLAKE_NUMBERS
    classes = _classes(error)
    # The connector says of some failures of TLS that another try cannot succeed.
    lasting = "NonRetryableTlsError" in classes
    return _is_transient_state(_state(error) or "") or bool(classes & SNOWFLAKE_CLASSES and not lasting)


def _of_duckdb(error: BaseException) -> bool:
    name = type(error).__name__
    if name in DUCKDB_CLASSES or getattr(error, "status_code", None) in HTTP_STATUSES:
        return True
    return name in DUCKDB_CLASSES_BY_TEXT and any(text in str(error) for text in DUCKDB_TEXTS)


def _of_another(error: BaseException) -> bool | None:
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    if {(base.__module__, base.__name__) for base in type(error).__mro__} & NETWORK_CLASSES:
        return True
    if (told := _in_words_of_its_own(error)) is not None:
        return told
    if (state := _state(error)) is not None:
        return _is_transient_state(state)
    return True if _http_status(error) in HTTP_STATUSES else None


def _in_words_of_its_own(error: BaseException) -> bool | None:
    """Return what a driver says by an attribute that no standard has; None where it has none of them."""
    retryable = getattr(error, "retryable", None)
    if isinstance(retryable, bool):
        return retryable
    if isinstance(name := getattr(error, "sqlite_errorname", None), str):
        return name.startswith(SQLITE_NAMES)
    told = (
        getattr(error, "error_type", None) in TRINO_TYPES,
        _reason(error) in BIGQUERY_REASONS,
        _aws_code(error).startswith(AWS_CODES),
    )
    return True if any(told) else None


def _reason(error: BaseException) -> object:
    errors = getattr(error, "errors", None)
    first = errors[0] if isinstance(errors, Sequence) and errors else None
    return first.get("reason") if isinstance(first, Mapping) else None


def _aws_code(error: BaseException) -> str:
    response = getattr(error, "response", None)
    found = response.get("Error") if isinstance(response, Mapping) else None
    return str(found.get("Code", "")) if isinstance(found, Mapping) else ""


def _is_transient_state(state: str) -> bool:
    if state in SQLSTATES_OF_STATEMENTS:
        return False
    return state in SQLSTATES or state.startswith(SQLSTATE_CLASSES)


def _state(error: BaseException) -> str | None:
    """Return the SQLSTATE where drivers have it: as an attribute, in a mapping of fields, or as the first argument."""
    first = error.args[0] if error.args else None
    fields = first.get("C") if isinstance(first, dict) else first
    candidates = (getattr(error, "sqlstate", None), getattr(error, "pgcode", None), fields)
    return next((one for one in candidates if isinstance(one, str) and _looks_like_state(one)), None)


def _looks_like_state(text: str) -> bool:
    return len(text) == SQLSTATE_LENGTH and text.isascii() and text.isalnum() and text[:2].upper() == text[:2]


def _http_status(error: BaseException) -> object:
    response = getattr(error, "response", None)
    candidates = (getattr(error, "code", None), getattr(error, "status_code", None))
    return next((one for one in candidates if isinstance(one, int)), getattr(response, "status_code", None))


def _classes(error: BaseException) -> set[str]:
    return {base.__name__ for base in type(error).__mro__}


def _retried_by_adapter(causes: tuple[BaseException, ...]) -> bool:
    """Return whether an adapter has named one of these to dbt's connection manager, which they were raised through."""
    declared = tuple(kind for one in causes for kind in _declared(one.__traceback__))
    return any(isinstance(one, declared) for one in causes)


def _declared(traceback: TracebackType | None) -> Iterator[type[BaseException]]:
    while traceback is not None:
        kinds = traceback.tb_frame.f_locals.get(RETRYABLE, ())
        yield from (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseException))
        traceback = traceback.tb_next
