"""`python -m flow_of_flows.server`: Prefect's server for a release of the chart; API and UI on port 4200.

Over SQLite `prefect server start` answers 503 to all but one of the requests that write at the same time: of four
children that are created at once, three came seconds late (measured). Here they take turns. Over Postgres, which has no
such limit, the server is Prefect's own; its URL may have the form of libpq.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

from flow_of_flows import database_url, output
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.settings import environment, from_environment


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
    for variable in database_url.URL_VARIABLES:
        if url := from_environment(variable):
            return database_url.variables(variable, url)
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
