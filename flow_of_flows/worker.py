"""What the worker's pod runs: arguments of `prefect worker start` in; waits for API and pool, then is that worker.

A worker that finds no server or no pool when it starts gives up its channel to the server for good (prefect 3.8,
`_worker_channel`), and with the channel what the server asks of it later: to delete the Job of a run that is cancelled
before its pod has started. Such pods would stay forever. Registration makes the pool only after the worker is ready.
"""

from __future__ import annotations

import http.server
import importlib.util
import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from flow_of_flows import prefect_command
from flow_of_flows.messages import one_line
from flow_of_flows.retrying import detail
from flow_of_flows.settings.variables import API_KEY, AUTH_STRING

PAUSE_SECONDS = 1.0
logger = logging.getLogger("flow_of_flows.worker")


def main(arguments: list[str]) -> None:
    """Wait for the pool that `--pool=NAME` names, then start the worker in this process."""
    prefect_command.begin()
    pool = next(word.removeprefix("--pool=") for word in arguments if word.startswith("--pool="))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s | %(levelname)s | %(name)s - %(message)s")
    # A line for each try is not news.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with answering_probes():
        wait_for(pool)
    # At SIGTERM Prefect's worker interrupts itself; a shell that starts it in the background has interrupts ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    observe_pods()
    keep_secrets_out_of_jobs()
    prefect_command.run("worker", "start", *arguments)


def observe_pods() -> None:
    """Start the pod observer, which reports why pods end; a worker without Kubernetes has none."""
    if importlib.util.find_spec("kopf"):
        from flow_of_flows.kubernetes_api.pod_observer import PodObserver

        PodObserver().listen()


def keep_secrets_out_of_jobs() -> None:
    """Leave secrets out of the settings that Prefect's worker copies as plain text into every Job.

    Job pods have them by reference: from the chart's values, or from a Secret that the worker names.
    """
    from flow_of_flows.prefect_internals import filter_job_environment
    from flow_of_flows.prefect_requests import secret_variables

    filter_job_environment(lambda name: name not in secret_variables() - by_reference())


def by_reference() -> frozenset[str]:
    """Return the variables whose copy the worker replaces by a reference, since a Secret is named for them."""
    if importlib.util.find_spec("prefect_kubernetes") is None:
        return frozenset()
    from prefect_kubernetes.settings import KubernetesSettings

    settings = KubernetesSettings().worker
    if settings.store_env_as_secret:
        from flow_of_flows.prefect_requests import secret_variables

        return secret_variables()
    key = settings.api_key_secret_name or settings.create_secret_for_api_key
    given = {API_KEY: key, AUTH_STRING: settings.api_auth_string_secret_name}
    return frozenset(name for name, secret in given.items() if secret)


def wait_for(pool: str) -> None:
    """Return when the API has the pool; what is waited for is logged when it changes."""
    said = ""
    while reason := missing(pool):
        if reason != said:
            logger.info("Waiting: %s", reason)
            said = reason
        time.sleep(PAUSE_SECONDS)


def missing(pool: str) -> str | None:
    """Return why the worker cannot start yet; None when it can."""
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
        answer = one_line(detail(error))
        return f"the Prefect API {url} does not answer as it should: {answer}"
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
        """Answer any path."""
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
