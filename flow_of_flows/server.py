"""`python -m flow_of_flows.server`: Prefect's server for a release of the chart; API and UI on port 4200.

Over SQLite `prefect server start` answers 503 to all but one of the requests that write at the same time: of four
children that are created at once, three came seconds late (measured). Here they take turns. Over Postgres, which has no
such limit, the server is Prefect's own; its URL may have the form of libpq.
"""

from __future__ import annotations

import argparse

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
    """Run the server in this process."""
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.server.utilities.database import get_dialect
    from prefect.settings import get_current_settings

    from flow_of_flows.server_middleware import retry_soon, write_in_turn

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


if __name__ == "__main__":
    main()
