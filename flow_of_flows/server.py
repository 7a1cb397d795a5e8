"""`python -m flow_of_flows.server`: Prefect's server for a release of the chart; API and UI on port 4200.

Over SQLite `prefect server start` answers 503 to all but one of the requests that write at the same time: of four
children that are created at once, three came seconds late (measured). Here they take turns. Over Postgres, which has no
such limit, the server is Prefect's own.

The URL of its database may have libpq's form, as operators write it into Secrets. Prefect takes SQLAlchemy's form with
an asynchronous driver. SQLAlchemy passes a URL's parameters to asyncpg as arguments, and asyncpg has none called
`sslmode`, so parameters of libpq become variables that asyncpg and Prefect read.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping, Sequence
from typing import Any
from urllib.parse import unquote

from flow_of_flows import output
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.settings import environment, from_environment

# Prefect takes the first of the two that is set.
URL_VARIABLES = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")
_CONNECT_ARGS = "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS"
_SEARCH_PATH = re.compile(r"\s*-c\s*search_path=([^\s\\]+)\s*")
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_TRUTH = {"true": "require", "false": "disable"}
# Parameters of libpq that asyncpg or Prefect read from a variable.
_VARIABLES = {
    "sslmode": "PGSSLMODE",
    "ssl": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcrl": "PGSSLCRL",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "krbsrvname": "PGKRBSRVNAME",
    "gsslib": "PGGSSLIB",
    "passfile": "PGPASSFILE",
    "connect_timeout": "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT",
    "application_name": f"{_CONNECT_ARGS}_APPLICATION_NAME",
    "options": f"{_CONNECT_ARGS}_SEARCH_PATH",
}
# Values that say what asyncpg does anyway.
_WITHOUT_EFFECT = {
    "channel_binding": ("disable", "prefer"),
    "gssencmode": ("disable", "prefer"),
    "client_encoding": ("auto", "utf8", "UTF8", "utf-8", "UTF-8"),
    "keepalives": ("1",),
}
_PLACES = ("host", "port", "dbname", "user", "password")
_OF_SQLALCHEMY = ("prepared_statement_cache_size", "async_fallback", "default_transaction_isolation")
# Up to the @ there may be a slash, as SQLAlchemy has it, or a question mark, as libpq has it.
_URL = re.compile(
    r"(?:(?P<user>[^:/@]*)(?::(?P<password>[^@/]*|[^@?]*))?@)?(?P<hosts>[^/?]*)(?:/(?P<dbname>[^?]*))?(?:\?(?P<query>.*))?"
)
_HOST = re.compile(r"(?:\[(?P<address>[^]]*)]|(?P<name>[^:]*))(?::(?P<port>\d*))?")


def variables(variable: str, url: str) -> dict[str, str]:
    """Return the variables with which Prefect's server uses a database.

    Args:
        variable: the one that holds the URL.
        url: in the form of libpq, of SQLAlchemy or of Prefect.

    Raises:
        ConfigurationError: it is not a URL of Postgres or SQLite, or has a parameter that cannot be honoured.
    """
    scheme, separator, rest = url.partition("://")
    family, _, driver = scheme.partition("+")
    if separator and family == "sqlite":
        return {variable: url if driver else f"sqlite+aiosqlite://{rest}"}
    if not separator or family not in {"postgres", "postgresql"}:
        raise _refused(
            "The database URL is not one of Postgres or SQLite",
            "write it as postgresql://user:password@host:5432/database; of several keys of an operator's Secret take "
            "the one that begins so (`uri`, say, and not `jdbc-uri`)",
        )
    match = _URL.fullmatch(rest)
    if match is None:
        raise _refused("The database URL cannot be read", "percent-encode user and password in it")
    parameters = _parameters(match["query"] or "")
    if driver == "asyncpg" and not set(parameters) & {*_VARIABLES, *_WITHOUT_EFFECT, *_PLACES}:
        return {variable: url}
    moved = _moved(parameters)
    kept = _kept(parameters, is_open=driver == "asyncpg")
    parts = {name: unquote(value or "") for name, value in match.groupdict().items() if name != "query"}
    parts["hosts"] = match["hosts"] if "host" not in parameters else ""
    return {variable: _rendered(parts | parameters, kept), **moved}


def _refused(what: str, todo: str) -> ConfigurationError:
    """Return an error that does not show the URL."""
    return ConfigurationError(what, location="server.database of the chart", hint=todo)


def _parameters(query: str) -> dict[str, str]:
    """Return the parameters, decoded as libpq does: a plus is a plus."""
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return {unquote(name): unquote(value) for name, _, value in pairs}


def _moved(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters that become variables."""
    moved = {}
    for name, value in parameters.items():
        if name in {"ssl", "sslmode"}:
            moved[_VARIABLES[name]] = mode = _TRUTH.get(value, value)
            if mode not in _SSL_MODES:
                raise _refused(f"The database URL has an unknown {name}", f"use one of {', '.join(_SSL_MODES)}")
        elif (name, value) == ("sslrootcert", "system"):
            raise _refused(
                "The server's driver (asyncpg) has no sslrootcert=system",
                "mount the certificates (server.volumes, server.volumeMounts), and give their file's path",
            )
        elif name == "options":
            path = _SEARCH_PATH.fullmatch(value)
            if path is None:
                raise _refused(
                    "The database URL has options that the server cannot pass on",
                    "keep `-c search_path=…` alone, and set the others for the role: alter role … set …",
                )
            moved[_VARIABLES[name]] = path[1]
        elif name in _VARIABLES:
            moved[_VARIABLES[name]] = value
    return moved


def _kept(parameters: Mapping[str, str], *, is_open: bool) -> dict[str, str]:
    """Return the parameters that stay in the URL; of a URL for asyncpg, those that are asyncpg's own, too."""
    kept = {}
    for name, value in parameters.items():
        if name in _PLACES or name in _VARIABLES or value in _WITHOUT_EFFECT.get(name, ()):
            continue
        if name not in _OF_SQLALCHEMY and (not is_open or name in _WITHOUT_EFFECT):
            raise _refused(
                f"The server's driver (asyncpg) cannot honour the database URL's parameter {name}",
                "remove it; these are understood: "
                f"{', '.join(sorted({*_VARIABLES, *_WITHOUT_EFFECT, *_PLACES, *_OF_SQLALCHEMY}))}",
            )
        kept[name] = value
    return kept


def _rendered(parts: Mapping[str, str], kept: Mapping[str, str]) -> str:
    from sqlalchemy.engine import URL

    hosts = _hosts(parts)
    query: dict[str, str | Sequence[str]] = dict(kept)
    host, port = hosts[0] if hosts else (None, None)
    if len(hosts) > 1:
        query["host"] = [f"{name}:{number or 5432}" for name, number in hosts]
        host, port = None, None
    elif host is not None and host.startswith("/"):
        # The folder of a socket.
        query |= {"host": host} | ({"port": str(port)} if port else {})
        host, port = None, None
    url = URL.create(
        "postgresql+asyncpg",
        username=parts["user"] or None,
        password=parts["password"] or None,
        host=host,
        port=port,
        database=parts["dbname"] or None,
        query=query,
    )
    return url.render_as_string(hide_password=False)


def _hosts(parts: Mapping[str, str]) -> list[tuple[str, int | None]]:
    """Return hosts and ports, of the parameters `host` and `port` or of the place before the path."""
    if "host" in parts:
        names, ports = parts["host"].split(","), parts.get("port", "").split(",")
        if len(ports) not in {1, len(names)}:
            raise _refused("The database URL has not one port for each host", "give each host a port, or none")
        ports *= 1 if len(ports) == len(names) else len(names)
        return [(name, _port(port)) for name, port in zip(names, ports, strict=True)]
    hosts = []
    for each in filter(None, parts["hosts"].split(",")):
        match = _HOST.fullmatch(each)
        if match is None:
            raise _refused("The database URL has a host that cannot be read", "write it as host:5432")
        port = match["port"] or parts.get("port", "")
        hosts.append((match["address"] or unquote(match["name"]), _port(port)))
    return hosts


def _port(text: str) -> int | None:
    if text and not text.isdecimal():
        raise _refused("The database URL has a port that is not a number", "write it as host:5432")
    return int(text) if text else None


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m flow_of_flows.server", description="Prefect's server: API and UI.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=4200)
    given = parser.parse_args(arguments)
    output.begin()
    try:
        variables = database_variables()
    except ConfigurationError as error:
        output.end(error)
    # Prefect reads them when it is imported.
    with environment(variables):
        serve(given.host, given.port)


def database_variables() -> dict[str, str]:
    """Return the variables of the database, in the form that Prefect takes; none where no URL is set.

    Raises:
        ConfigurationError: the URL is not one that the server can use.
    """
    for variable in URL_VARIABLES:
        if url := from_environment(variable):
            return variables(variable, url)
    return {}


def serve(host: str, port: int) -> None:
    """Run the server in this process.

    Args:
        host: address to listen on.
        port: to listen on.
    """
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.server.utilities.database import get_dialect
    from prefect.settings import get_current_settings

    settings = get_current_settings().server
    url = settings.database.connection_url
    is_sqlite = url is None or get_dialect(url.get_secret_value()).name == "sqlite"
    app = create_app()
    uvicorn.run(
        retry_soon(write_in_turn(app)) if is_sqlite else app,
        host=host,
        port=port,
        log_level=settings.logging_level.lower(),
        lifespan="on",
        timeout_graceful_shutdown=5,
    )


Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Coroutine[Any, Any, None]]
BUSY = 503
READS = ("GET", "HEAD", "OPTIONS")
QUERIES = ("/filter", "/count", "/paginate", "/history", "/filter-minimal")


def write_in_turn(app: App) -> App:
    """Let one request write at a time.

    SQLite has one writer anyway; of two that have begun to read, one fails, and the server answers it 503 (measured: 50
    children that were created eight at a time took 279 requests).
    """
    turn = asyncio.Lock()

    async def wrapped(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in READS or scope["path"].endswith(QUERIES):
            await app(scope, receive, send)
            return
        async with turn:
            await app(scope, receive, send)

    return wrapped


def retry_soon(app: App) -> App:
    """Say `Retry-After: 0.1` with a 503, which a request still gets when the server itself writes at the same time.

    Without it Prefect's client sleeps for two seconds or more (measured: a second child was created 2 to 6 s late).
    """

    async def wrapped(scope: Message, receive: Receive, send: Send) -> None:
        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == BUSY:
                message["headers"] = [*message["headers"], (b"retry-after", b"0.1")]
            await send(message)

        await app(scope, receive, send_on)

    return wrapped


if __name__ == "__main__":
    main()
