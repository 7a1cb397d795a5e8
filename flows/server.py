"""`python -m flows.server`: Prefect's server over SQLite for a release of the chart; API and UI on port 4200.

`prefect server start` answers 503 to all but one of the requests that write at the same time: of four children that are
created at once, three came seconds late (measured). Here they take turns. On Postgres the chart runs Prefect's command.
"""

from __future__ import annotations

import argparse

from flows import output


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m flows.server", description="Prefect over SQLite: API and UI.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=4200)
    given = parser.parse_args(arguments)
    output.begin()
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    from flows.local.api_server import retry_soon, write_in_turn

    uvicorn.run(
        retry_soon(write_in_turn(create_app())),
        host=given.host,
        port=given.port,
        log_level=get_current_settings().server.logging_level.lower(),
        lifespan="on",
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
