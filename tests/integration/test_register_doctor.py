"""`flows doctor` against a real Prefect server: pool, worker, template, deployments, and runs that wait."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.objects import State
from prefect.events.clients import PrefectEventsClient
from prefect.events.schemas.events import Event, Resource
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Running, Scheduled

from tests.commands import flows
from tests.conditions import eventually
from tests.fixtures.registrations import Project
from tests.fixtures.server import Embedded


def doctor(project: Project, **more: str) -> tuple[int, dict[str, str]]:
    """The exit code, and what was found of each subject that concerns a server, with what to do."""
    settings = project.settings()
    variables = {
        "PREFECT_API_URL": project.api,
        "FLOWS_WORK_POOL": project.name,
        "FLOWS_DEPLOYMENTS": str(settings.deployments),
        "FLOWS_REGISTRATION": str(settings.registration),
        # One line for each subject, also where it names every pool of a server that other tests use, too.
        "COLUMNS": "10000",
    }
    ended = flows("doctor", **(variables | more))
    found: dict[str, str] = {}
    subject = ""
    for line in ended.out.splitlines():
        cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
        if cells[0].startswith("→"):
            found[subject] += f" {cells[0]}"
        else:
            mark, subject, text = cells
            found[subject] = f"{mark}: {text}"
    kept = ("credentials", "work pool", "worker", "template", "registration", "waiting runs", "runs")
    return ended.code, {subject: found[subject] for subject in kept if subject in found}


def test_doctor_looks_at_what_is_registered(embedded: Embedded, tmp_path: Path) -> None:
    """First nothing is there, then everything but a worker, then that, too."""
    project = Project(tmp_path, embedded.api, embedded.client)
    code, found = doctor(project)
    assert (code, set(found)) == (2, {"work pool"})
    assert found["work pool"].startswith(
        f"wrong: There is no work pool {project.name}. Where: {project.api}. → correct FLOWS_WORK_POOL (there are "
    )
    project.register()
    code, found = doctor(project)
    well = {
        "work pool": f"ok: {project.name}, type kubernetes, at most 3 of queue children at once",
        "template": "ok: takes the job variables of all 2 deployments",
        "registration": "ok: 2 with shop:1",
        "waiting runs": "ok: none late or stuck",
        "runs": "ok: 0 active runs; no cluster to ask, so runs without pods and Jobs without runs are not looked for",
    }
    assert (code, found) == (
        3,
        well
        | {
            "worker": f"wrong: No worker of work pool {project.name} is online. Where: {project.api}. "
            "→ see `kubectl get pods -l app.kubernetes.io/component=worker` and the log of that pod"
        },
    )
    embedded.client._client.post(  # noqa: SLF001 - the synchronous client has no heartbeat of its own
        f"/work_pools/{project.name}/workers/heartbeat", json={"name": "worker-1"}
    ).raise_for_status()
    assert doctor(project) == (0, well | {"worker": "ok: online: worker-1"})


def test_doctor_says_why_runs_wait_and_what_does_not_fit(embedded: Embedded, tmp_path: Path) -> None:
    """The worker's own diagnosis of the pod; a template that lost a variable; a deployment that is missing."""
    project = Project(tmp_path, embedded.api, embedded.client)
    project.deploy("first", work_pool={"job_variables": {"memory_limit": "1Gi"}})
    project.register()
    client: SyncPrefectClient = embedded.client
    run = client.create_flow_run_from_deployment(project.found("first").id, state=Scheduled(name="Late"))
    asyncio.run(_diagnosed(project.api, f"prefect.flow-run.{run.id}", run.name))
    variables = {"type": "object", "properties": {"image": {"type": "string"}}}
    template = {"job_configuration": {"image": "{{ image }}"}, "variables": variables}
    client.update_work_pool(project.name, WorkPoolUpdate(base_job_template=template))
    project.deploy("fourth")

    def told() -> dict[str, str] | None:
        found = doctor(project)[1]
        return found if "ImagePullError" in found["waiting runs"] else None

    found = eventually(told, "the event is there")
    assert found["waiting runs"].startswith(f"wrong: 1 wait: {run.name} (Late: ImagePullError). Where: work pool ")
    assert found["template"].startswith("wrong: Unknown job variable memory_limit. Where: deployment ")
    assert found["registration"] == (
        f"wrong: Not registered: {project.name}-fourth. Where: {project.api}. "
        "→ run `flows register` (on a cluster: `helm upgrade`)"
    )


def test_doctor_tells_what_keeps_children_from_starting(embedded: Embedded, tmp_path: Path) -> None:
    """A full queue is not a fault; one that is paused is, and so is a limit that pipelines count against."""
    project = Project(tmp_path, embedded.api, embedded.client)
    project.registration["workPool"]["concurrencyLimit"] = 1
    project.register()
    client: SyncPrefectClient = embedded.client
    states: list[State[None]] = [Running(), Scheduled(name="Late")]
    for state in states:
        client.create_flow_run_from_deployment(project.found("first").id, state=state)
    found = doctor(project)[1]
    assert found["waiting runs"] == "ok: none late or stuck; 1 wait for a slot of children"
    queue = client.read_work_queue_by_name("children", project.name)
    client.update_work_queue(queue.id, is_paused=True)
    found = doctor(project)[1]
    assert found["work pool"] == (
        f"wrong: Work queue children of work pool {project.name} is paused. Where: {project.api}. "
        f"→ `prefect work-queue resume children --pool {project.name}`"
    )
    client.update_work_pool(project.name, WorkPoolUpdate(concurrency_limit=4))
    wrong, todo = doctor(project)[1]["work pool"].split(" → ")
    assert wrong == (
        f"wrong: Work pool {project.name} runs at most 4 at once, pipelines included: "
        f"when that many wait for children, no child can start. Where: {project.api}."
    )
    assert todo == (
        f"`prefect work-pool clear-concurrency-limit {project.name}`; "
        "the limit belongs to its queue children (workPool.concurrencyLimit of the chart)"
    )


async def _diagnosed(api: str, run: str, name: str) -> None:
    """Tell the server what the Kubernetes worker tells it of a pod whose image cannot be pulled."""
    resource = {"prefect.resource.id": "prefect.kubernetes.pod.1", "kubernetes.diagnosis": "ImagePullError"}
    related = {"prefect.resource.id": run, "prefect.resource.role": "flow-run", "prefect.resource.name": name}
    with temporary_settings({PREFECT_API_URL: api}):
        async with PrefectEventsClient() as events:
            await events.emit(
                Event(
                    occurred=datetime.now(UTC) - timedelta(seconds=1),
                    event="prefect.kubernetes.pod.pending",
                    resource=Resource(resource),
                    related=[related],
                )
            )
