"""What the worker's pod runs: arguments of `prefect worker start` in; waits for API and pool, then is that worker.

A worker that finds no server or no pool when it starts gives up its channel to the server for good (prefect 3.8,
`_worker_channel`), and with the channel what the server asks of it later: to delete the Job of a run that is cancelled
before its pod has started. Such pods would stay for ever. Registration makes the pool only after the worker is ready.
"""

from __future__ import annotations

import http.server
import importlib.metadata
import importlib.util
import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from flows import output
from flows.dispatch.api_errors import detail
from flows.errors import FlowsError

PAUSE_SECONDS = 1.0
logger = logging.getLogger("flows.worker")


def main(arguments: list[str]) -> None:
    """Wait for the pool that `--pool=NAME` names, then start the worker in this process."""
    output.begin()
    # Prefect reads its settings when it is imported: after the line breaks of Secrets are gone.
    from flows import prefect_requests

    try:
        prefect_requests.guard()
    except FlowsError as error:
        output.end(error)
    pool = next(word.removeprefix("--pool=") for word in arguments if word.startswith("--pool="))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s | %(levelname)s | %(name)s - %(message)s")
    # A line for each try is not news.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with answering_probes():
        wait_for(pool)
    # At SIGTERM Prefect's worker interrupts itself; a shell that starts it in the background has interrupts ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    witness_pods()
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="prefect")
    sys.argv = ["prefect", "worker", "start", *arguments]
    command.load()()


def witness_pods() -> None:
    """Have this worker's observer also tell why pods end; a worker without Kubernetes has none."""
    if importlib.util.find_spec("kopf"):
        from flows.witness.watch import Witness

        Witness().listen()


def wait_for(pool: str) -> None:
    """Return when the API has the pool; what is waited for is logged when it changes."""
    said = ""
    while reason := missing(pool):
        if reason != said:
            logger.info("Waiting: %s", reason)
            said = reason
        time.sleep(PAUSE_SECONDS)


def missing(pool: str) -> str | None:
    """Why the worker cannot start yet; None when it can."""
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound, PrefectException
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    try:
        with get_client(sync_client=True) as client:
            client.read_work_pool(pool)
    except ObjectNotFound:
        return f"there is no work pool {pool} yet; registration makes it (`flows register`)"
    except (httpx.HTTPError, PrefectException) as error:
        told = " ".join(detail(error).split())
        return f"the Prefect API {url} does not answer as it should: {told}"
    return None


@contextmanager
def answering_probes() -> Iterator[None]:
    """Answer the probes of the pod in the worker's place, at the worker's own address."""
    from prefect.settings import get_current_settings

    address = get_current_settings().worker.webserver
    with http.server.ThreadingHTTPServer((address.host, address.port), _Well) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


class _Well(http.server.BaseHTTPRequestHandler):
    """Well, and waiting."""

    def do_GET(self) -> None:
        """Any path."""
        body = b'{"message": "waiting for the work pool"}'
        self.send_response(http.HTTPStatus.OK)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Say nothing."""


if __name__ == "__main__":
    main(sys.argv[1:])
