"""Parts of a release that are away while a block runs: worker, API, its database, a system behind a Service."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.conditions import eventually
from tests.faults import node
from tests.faults.case import DOWN
from tests.faults.site import Site


@contextmanager
def away(site: Site, component: str) -> Iterator[None]:
    """`worker` or `server` has no pod; back when this returns."""
    name = f"deployment/flows-flow-of-flows-{component}"
    pods = f"app.kubernetes.io/component={component}"
    site.namespace.kubectl("scale", name, "--replicas=0")
    try:
        eventually(lambda: not site.namespace.pods(pods), f"no pod of the {component} is left", within=120)
        yield
    finally:
        site.namespace.kubectl("scale", name, "--replicas=1")
        site.namespace.kubectl("rollout", "status", name, "--timeout=180s")
        eventually(lambda: answers(site), "the API answers", within=120)


@contextmanager
def unreachable(site: Site, service: str) -> Iterator[None]:
    """Nothing is behind a Service: new connections are refused."""
    found = json.loads(site.namespace.kubectl("get", "service", service, "-o", "json"))["spec"]["selector"]
    _patch(site, service, "selector", {"faults": "nothing"})
    try:
        yield
    finally:
        _patch(site, service, "selector", found)


def _patch(site: Site, service: str, name: str, value: object) -> None:
    # "add" also replaces.
    patch = [{"op": "add", "path": f"/spec/{name}", "value": value}]
    site.namespace.kubectl("patch", "service", service, "--type=json", "-p", json.dumps(patch))


@contextmanager
def silent(site: Site, standin: str) -> Iterator[None]:
    """A stand-in takes connections and answers none: its processes are stopped, from the node."""
    (pod,) = site.namespace.pods(f"app=standin-{standin}")
    # Its readiness probe is not answered either, and must not take it out of its Service.
    _patch(site, standin, "publishNotReadyAddresses", value=True)
    pids = node.freeze(pod)
    try:
        yield
    finally:
        node.thaw(pids)
        _patch(site, standin, "publishNotReadyAddresses", value=False)


@contextmanager
def kubernetes_unreachable(site: Site) -> Iterator[None]:
    """Lose the worker's packets to the API of Kubernetes: its NetworkPolicy then allows pods only."""
    policy = ("networkpolicy", "flows-flow-of-flows-worker")
    found = json.loads(site.namespace.kubectl("get", *policy, "-o", "json"))["spec"]["egress"]

    def allow(egress: list[object]) -> None:
        patch = [{"op": "replace", "path": "/spec/egress", "value": egress}]
        site.namespace.kubectl("patch", *policy, "--type=json", "-p", json.dumps(patch))

    allow([{"to": [{"namespaceSelector": {}}]}])
    try:
        yield
    finally:
        allow(found)


@contextmanager
def database_away(site: Site) -> Iterator[None]:
    """The Prefect server's database refuses every connection, and drops those that it has."""
    site.server_sql("alter database prefect allow_connections false")
    try:
        site.server_sql("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'prefect'")
        yield
    finally:
        site.server_sql("alter database prefect allow_connections true")
        eventually(lambda: answers(site), "the API answers", within=120)


@contextmanager
def internal_errors(site: Site) -> Iterator[None]:
    """The API answers 500 to whatever is about runs: a table of it has another name."""
    site.server_sql("alter table flow_run rename to flow_run_away", database="prefect")
    try:
        yield
    finally:
        site.server_sql("alter table flow_run_away rename to flow_run", database="prefect")
        eventually(lambda: answers(site), "the API answers", within=120)


def lasts(seconds: float) -> None:
    """For how long something is away."""
    time.sleep(seconds)


def answers(site: Site) -> bool:
    """Whether the API tells of runs."""
    try:
        site.prefect.client.read_flow_runs(limit=1)
    except DOWN:
        return False
    return True
