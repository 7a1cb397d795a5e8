"""What waiting costs the API: the same for two children and for fifty."""

from __future__ import annotations

from collections import Counter
from urllib.parse import urlsplit

from tests.fixtures.proxy import counting
from tests.fixtures.server import Embedded

# The embedded session's shortest interval (0.2 s) with its jitter (at most a tenth less).
SHORTEST_INTERVAL = 0.2 * 0.9
STATES_OF_A_RUN = "GET /api/flow_runs/ID"


def requests_of(embedded: Embedded, pipeline: str, children: int) -> tuple[Counter[str], float]:
    """The requests of a parent's own process, and its run time in seconds; all its children complete."""
    api = urlsplit(embedded.api)
    assert api.hostname is not None
    assert api.port is not None
    with counting(api.hostname, api.port) as proxy:
        run = embedded.end_of(embedded.start_with(pipeline, {"env": {"PREFECT_API_URL": proxy.api}}))
    assert run.state is not None
    assert len(embedded.children(run.id)) == children
    assert run.state.message == f"{children} of {children} steps completed"
    return proxy.requests, run.total_run_time.total_seconds()


def test_fifty_children_complete_with_one_filtered_read_per_interval(embedded: Embedded) -> None:
    """Fifty no-op children: one read of earlier children, one per interval, and never one per child."""
    requests, seconds = requests_of(embedded, "fifty", 50)
    reads = requests["POST /api/flow_runs/filter"]
    assert 2 <= reads <= 2 + seconds / SHORTEST_INTERVAL
    assert requests["POST /api/artifacts/filter"] == 1
    few, _ = requests_of(embedded, "diamond", 4)
    # Reads of single runs are the engine's and the run's own, so as many for four children as for fifty.
    assert requests[STATES_OF_A_RUN] == few[STATES_OF_A_RUN]
