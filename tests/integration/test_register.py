"""`flows register` against a real Prefect server: converges, is idempotent, undoes what it cannot finish."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.errors import ConfigurationError, PlatformError
from flows.register import declared
from flows.register.doors import Queues
from flows.register.plan import Action, Item, Kind, Plan
from flows.register.registration import register
from flows.settings import Settings
from tests.commands import FLOWS, REPOSITORY, environment, flows, refused
from tests.conditions import eventually
from tests.fixtures.http_server import listening
from tests.fixtures.server import Embedded

TEMPLATE = {
    "job_configuration": {"command": "{{ command }}", "image": "{{ image }}", "memory": "{{ memory_limit }}"},
    "variables": {
        "type": "object",
        "properties": {
            "command": {"type": "string", "default": "python -m flows.pod"},
            "image": {"type": "string"},
            "memory_limit": {"type": "string"},
        },
        "additionalProperties": False,
    },
}
AUTOMATION = {
    "name": "tell",
    "description": "Tells.",
    "trigger": {"type": "event", "expect": ["prefect.flow-run.Failed"], "posture": "Reactive", "threshold": 1},
    "actions": [{"type": "cancel-flow-run"}],
}


@dataclass
class Project:
    """A prefect.yaml and a registration.yaml of one test, in a work pool of its own."""

    folder: Path
    api: str
    client: SyncPrefectClient
    name: str = field(default_factory=lambda: f"reg-{uuid4().hex[:8]}")
    deployments: dict[str, dict[str, Any]] = field(default_factory=dict)
    registration: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Two deployments, one of them scheduled."""
        self.deploy("first", schedules=[{"cron": "0 6 * * *", "timezone": "UTC"}], concurrency_limit=2)
        self.deploy("second", entrypoint="tests.children.broken")
        self.registration = {
            "version": 1,
            "workPool": {"name": self.name, "type": "kubernetes", "concurrencyLimit": 3, "baseJobTemplate": TEMPLATE},
            "image": "shop:1",
            "owner": f"{self.name}/release",
        }

    def deploy(self, name: str, *, entrypoint: str = "tests.children.work", **more: Any) -> None:
        """Declare a deployment."""
        entry = {"name": f"{self.name}-{name}", "entrypoint": entrypoint, "tags": ["flow-of-flows", "child"]}
        self.deployments[name] = entry | more

    def settings(self) -> Settings:
        """Write both files; the settings that name them."""
        deployed, registration = self.folder / "prefect.yaml", self.folder / "registration.yaml"
        pull = [{"prefect.deployments.steps.set_working_directory": {"directory": "/opt/flow-of-flows"}}]
        deployed.write_text(yaml.safe_dump({"pull": pull, "deployments": list(self.deployments.values())}))
        registration.write_text(yaml.safe_dump(self.registration))
        return Settings(deployments=deployed, registration=registration)

    def register(self, *, only_plan: bool = False, api: str | None = None, seconds: float = 30) -> tuple[Plan, str]:
        """Register; the plan, and what was said."""
        said: list[str] = []
        with temporary_settings({PREFECT_API_URL: api or self.api}):
            plan = asyncio.run(register(self.settings(), only_plan=only_plan, seconds=seconds, say=said.append))
        return plan, "\n".join(said)

    def found(self, name: str, *, flow: str = "work") -> DeploymentResponse:
        """A deployment, as the API has it."""
        return self.client.read_deployment_by_name(f"{flow}/{self.name}-{name}")

    def state(self) -> dict[str, Any]:
        """Everything that the API has of this project."""
        pool = self.client.read_work_pool(self.name)
        found = [one for one in self.client.read_deployments(limit=200) if one.name.startswith(self.name)]
        # A limit that is put back is a new object; its value is what counts.
        volatile = {"updated", "status", "last_polled", "schedules", "version_id", "work_queue_id"}
        volatile |= {"global_concurrency_limit"}
        queues = self.client.read_work_queues(work_pool_name=self.name)
        return {
            "pool": pool.model_dump(include={"base_job_template", "concurrency_limit", "type"}),
            "queues": {one.name: (one.priority, one.concurrency_limit) for one in queues},
            "deployments": {one.name: one.model_dump(exclude=volatile) for one in found},
            "limits": {one.name: one.global_concurrency_limit and one.global_concurrency_limit.limit for one in found},
            "schedules": {one.name: [s.schedule.model_dump() for s in one.schedules] for one in found},
        }


@pytest.fixture
def project(embedded: Embedded, tmp_path: Path) -> Project:
    """A project of this test."""
    return Project(tmp_path, embedded.api, embedded.client)


def actions(plan: Plan) -> dict[str, Action]:
    """What a plan does, by name of the thing."""
    return {change.name: change.action for change in plan}


@contextmanager
def answering(api: str, *, status: int, method: str, path: str, body: str = "") -> Iterator[str]:
    """A real proxy before an API that answers requests of its own accord where method, path and body match."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.command == method and re.search(path, self.path) and re.search(body, content.decode()):
                code, kind, answer = status, "application/json", b'{"detail": "it is broken"}'
            else:
                kept = {k: v for k, v in self.headers.items() if k.lower() not in {"host", "accept-encoding"}}
                url = api.removesuffix("/api") + self.path
                got = httpx.request(self.command, url, content=content, headers=kept, timeout=30)
                code, kind, answer = got.status_code, got.headers.get("content-type", ""), got.content
            self.send_response(code)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            with suppress(BrokenPipeError):  # whoever asked is told to stop
                self.wfile.write(answer)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any  # noqa: N815 - the standard library's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with listening(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        yield f"{address}/api"


def test_everything_is_registered_and_the_second_time_nothing_changes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pool, template, deployments, limit, block, automation; ids stay, no secret is printed."""
    monkeypatch.setenv("REGISTER_TEST_SECRET", "c4nary")
    project.registration |= {
        "jobVariables": {
            "byTag": {"child": {"memory_limit": "1Gi", "command": "tag"}},
            "byDeployment": {f"{project.name}-second": {"memory_limit": "4Gi"}},
        },
        "concurrencyLimits": {f"{project.name}-limit": 4},
        "blocks": [{"type": "secret", "name": project.name, "values": {"value": {"env": "REGISTER_TEST_SECRET"}}}],
        "automations": [AUTOMATION | {"name": project.name}],
    }
    project.deploy("second", entrypoint="tests.children.broken", work_pool={"job_variables": {"command": "own"}})
    plan, said = project.register()
    assert [change.action for change in plan] == [Action.CREATE] * 9
    assert "c4nary" not in said
    before = project.state()
    assert before["pool"] == {"type": "kubernetes", "base_job_template": TEMPLATE, "concurrency_limit": None}
    assert before["queues"] == {"pipelines": (1, None), "default": (2, None), "children": (3, 3)}
    first, second = project.found("first"), project.found("second", flow="broken")
    assert first.job_variables == {"image": "shop:1", "memory_limit": "1Gi", "command": "tag"}
    assert second.job_variables == {"image": "shop:1", "memory_limit": "4Gi", "command": "own"}
    assert first.global_concurrency_limit is not None
    assert (first.global_concurrency_limit.limit, first.version, first.path) == (2, "0.1.0", None)
    assert [schedule.active for schedule in first.schedules] == [True]
    again, said = project.register()
    assert {change.action for change in again} == {Action.UNCHANGED}
    assert said.endswith("Plan: 0 create, 0 update, 9 unchanged, 0 delete.")
    assert project.state() == before
    monkeypatch.setenv("REGISTER_TEST_SECRET", "c4nary-2")
    changed, said = project.register()
    assert [change.name for change in changed if change.action is Action.UPDATE] == [f"secret/{project.name}"]
    assert "c4nary" not in said
    del project.registration["automations"]
    gone, _ = project.register()
    assert [change.name for change in gone if change.action is Action.DELETE] == [project.name]


def test_the_block_of_dbt_cloud_is_made_of_its_secret(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new token updates it; nothing is said of the token; a block of the file's own is not touched."""
    for token, action in (("dbtc_c4nary", Action.CREATE), ("dbtc_c4nary-2", Action.UPDATE)):
        secret = {"api_token": token, "account_id": 12, "job_id": 345, "host": "emea.dbt.com"}
        monkeypatch.setenv("DBT_CLOUD_API_CREDENTIALS", json.dumps(secret))
        plan, said = project.register()
        assert actions(plan)["dbt-cloud-credentials/dbt-cloud"] is action
        assert "c4nary" not in said
        block = project.client.read_block_document_by_name("dbt-cloud", "dbt-cloud-credentials", include_secrets=True)
        assert block.data == {"api_key": token, "account_id": 12, "domain": "emea.dbt.com"}
    assert "DbtCloudCredentials" in str(block.block_type)
    monkeypatch.setenv("DBT_CLOUD_API_CREDENTIALS", '{"api_token": "dbtc_c4nary"}')
    with pytest.raises(ConfigurationError, match=r"The secret dbt-cloud/api-credentials is malformed: account_id"):
        project.register()


def test_a_secret_of_dbt_cloud_that_is_missing_is_said_where_a_pipeline_uses_it(
    project: Project, secrets_manager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And everything else is registered."""
    assert "dbt-cloud" not in project.register()[1]
    assert secrets_manager.list_secrets()["SecretList"] == []
    monkeypatch.setenv("FLOWS_TRANSFORM_DAILY_PIPELINE", "cloud")
    plan, said = project.register()
    assert "Block dbt-cloud-credentials/dbt-cloud is not made: There is no secret dbt-cloud/api-credentials." in said
    assert {change.action for change in plan} == {Action.UNCHANGED}


def test_the_next_release_moves_images_schedules_and_deployments(project: Project) -> None:
    """A schedule that is gone is removed, a deployment pruned, and what a person paused stays paused."""
    project.deploy("third")
    project.register()
    first = project.found("first")
    project.client.pause_deployment(first.id)
    project.registration["image"] = "shop:2"
    project.deploy("first")
    del project.deployments["third"]
    plan, said = project.register()
    assert actions(plan) == {
        project.name: Action.UNCHANGED,
        f"{project.name}/pipelines": Action.UNCHANGED,
        f"{project.name}/children": Action.UNCHANGED,
        f"flow-of-flows: revive crashed pipelines ({project.name})": Action.UNCHANGED,
        f"work/{project.name}-first": Action.UPDATE,
        f"broken/{project.name}-second": Action.UPDATE,
        f"work/{project.name}-third": Action.DELETE,
    }
    assert "job_variables.image: shop:1 → shop:2" in said
    after = project.found("first")
    assert (after.id, after.paused, after.schedules, after.global_concurrency_limit) == (first.id, True, [], None)
    assert after.job_variables["image"] == "shop:2"
    with pytest.raises(ObjectNotFound):
        project.found("third")


def queue_of(project: Project, name: str) -> str | None:
    """The queue that a deployment's runs go to."""
    return project.found(name).work_queue_name


def test_each_kind_goes_to_its_queue_and_only_that_of_the_children_has_a_limit(project: Project) -> None:
    """A deployment's own queue is kept; a limit that goes is removed; what a person paused stays paused."""
    for kind in ("pipeline", "maintenance"):
        project.deploy(kind, tags=["flow-of-flows", kind])
    project.deploy("own", work_pool={"work_queue_name": "default"})
    project.register()
    found = {name: queue_of(project, name) for name in ("first", "pipeline", "maintenance", "own")}
    assert found == {"first": "children", "pipeline": "pipelines", "maintenance": "pipelines", "own": "default"}
    children = project.client.read_work_queue_by_name("children", project.name)
    project.client.update_work_queue(children.id, is_paused=True)
    del project.registration["workPool"]["concurrencyLimit"]
    plan, said = project.register()
    assert [change.name for change in plan if change.action is Action.UPDATE] == [f"{project.name}/children"]
    assert "concurrency_limit: 3 → (none)" in said
    after = project.client.read_work_queue_by_name("children", project.name)
    assert (after.id, after.concurrency_limit, after.is_paused) == (children.id, None, True)
    assert {change.action for change in project.register()[0]} == {Action.UNCHANGED}


def test_a_release_that_limited_its_pool_is_cured(project: Project) -> None:
    """Before there were queues everything was in the default one, and pipelines took the slots of their children."""
    project.register()
    project.client.update_work_pool(project.name, WorkPoolUpdate(concurrency_limit=3))
    for name in ("pipelines", "children"):
        project.client.delete_work_queue_by_id(project.client.read_work_queue_by_name(name, project.name).id)
    plan, said = project.register()
    assert actions(plan) == {
        project.name: Action.UPDATE,
        f"{project.name}/pipelines": Action.CREATE,
        f"{project.name}/children": Action.CREATE,
        f"work/{project.name}-first": Action.UPDATE,
        f"broken/{project.name}-second": Action.UPDATE,
        f"flow-of-flows: revive crashed pipelines ({project.name})": Action.UNCHANGED,
    }
    assert "concurrency_limit: 3 → (none)" in said
    assert (project.client.read_work_pool(project.name).concurrency_limit, queue_of(project, "first")) == (
        None,
        "children",
    )


def test_without_a_pool_of_its_own_a_registration_leaves_limits_alone(project: Project) -> None:
    """It makes the queues, and says nothing of how many may run at once."""
    project.client.create_work_pool(WorkPoolCreate(name=project.name, type="process", concurrency_limit=7))
    del project.registration["workPool"], project.registration["image"]
    project.registration["workPool"] = {"name": project.name}
    project.register()
    children = project.client.read_work_queue_by_name("children", project.name)
    project.client.update_work_queue(children.id, concurrency_limit=2)
    assert {change.action for change in project.register()[0]} == {Action.UNCHANGED}
    state = project.state()
    assert (state["pool"]["concurrency_limit"], state["queues"]["children"]) == (7, (3, 2))


@pytest.mark.parametrize("waits", [False, True])
def test_queues_of_a_registration_that_failed_go_again_unless_a_run_waits_in_one(project: Project, waits: bool) -> None:  # noqa: FBT001 - pytest's
    """A run without its queue would never start."""
    project.register()
    for name in ("pipelines", "children"):
        project.client.delete_work_queue_by_id(project.client.read_work_queue_by_name(name, project.name).id)
    item = Item(Kind.QUEUE, f"{project.name}/children", {})
    with temporary_settings({PREFECT_API_URL: project.api}):
        asyncio.run(written_and_removed(project, item, waits=waits))
    assert set(project.state()["queues"]) == ({"default", "children"} if waits else {"default"})


async def written_and_removed(project: Project, item: Item, *, waits: bool) -> None:
    """What a registration does that fails later; somebody may start a run meanwhile."""
    async with get_client() as client:
        await Queues().write(client, item)
        if waits:
            flow = await client.create_flow_from_name("work")
            deployment = await client.create_deployment(
                flow, f"{project.name}-hasty", work_pool_name=project.name, work_queue_name="children"
            )
            await client.create_flow_run_from_deployment(deployment)
        await Queues().remove(client, item)


def test_an_environment_without_schedules_keeps_them_inactive(project: Project) -> None:
    """Turned off, and on again, without a change of prefect.yaml."""
    project.register()
    assert [schedule.active for schedule in project.found("first").schedules] == [True]
    project.registration["schedules"] = False
    _, said = project.register()
    assert "schedules" in said
    assert [schedule.active for schedule in project.found("first").schedules] == [False]
    del project.registration["schedules"]
    project.register()
    assert [schedule.active for schedule in project.found("first").schedules] == [True]


def test_what_strangers_deployed_is_kept(project: Project) -> None:
    """Without our tag in our pool, and with our tag in another pool."""
    project.register()
    flow = project.found("first").flow_id
    other = f"{project.name}-other"
    project.client.create_work_pool(WorkPoolCreate(name=other, type="process"))
    for name, pool, tags in (("untagged", project.name, ["child"]), ("elsewhere", other, ["flow-of-flows"])):
        project.client.create_deployment(flow, f"{project.name}-{name}", work_pool_name=pool, tags=tags)
    plan, _ = project.register()
    assert {change.action for change in plan} == {Action.UNCHANGED}
    assert (project.found("untagged").tags, project.found("elsewhere").tags) == (["child"], ["flow-of-flows"])


def test_a_plan_writes_nothing(project: Project) -> None:
    """Neither a pool nor a deployment; the command prints it and exits 0."""
    settings = project.settings()
    shown = flows(
        "register",
        "--plan",
        "--file",
        str(settings.registration),
        PREFECT_API_URL=project.api,
        FLOWS_DEPLOYMENTS=str(settings.deployments),
    )
    assert (shown.code, shown.err) == (0, "")
    assert shown.out == (
        f"Prefect API {project.api}, work pool {project.name}\n"
        f"create    work pool {project.name}\n"
        f"create    work queue {project.name}/pipelines\n"
        f"create    work queue {project.name}/children\n"
        f"create    deployment work/{project.name}-first\n"
        f"create    deployment broken/{project.name}-second\n"
        f"create    automation flow-of-flows: revive crashed pipelines ({project.name})\n"
        "Plan: 6 create, 0 update, 0 unchanged, 0 delete.\n"
    )
    with pytest.raises(ObjectNotFound):
        project.client.read_work_pool(project.name)


@pytest.mark.parametrize(("status", "kind"), [(500, PlatformError), (422, ConfigurationError)])
def test_a_failure_midway_puts_everything_back(project: Project, status: int, kind: type[Exception]) -> None:
    """Template, image and schedules of the former release; what was new is gone; the message says so."""
    project.register()
    before = project.state()
    project.registration["image"] = "shop:2"
    project.registration["workPool"]["concurrencyLimit"] = 9
    project.deploy("first")
    project.deploy("new")
    project.deployments["second"] = project.deployments.pop("second")
    broken = f'"name": ?"{project.name}-second"'
    with (
        answering(project.api, status=status, method="POST", path=r"/deployments/$", body=broken) as api,
        pytest.raises(kind) as caught,
    ):
        project.register(api=api, seconds=0.5)
    assert str(caught.value).startswith(f"Registration stopped at update deployment broken/{project.name}-second: ")
    assert str(caught.value).endswith(
        "it is broken. What was changed before it is put back, and the former release goes on working. "
        f"Where: {api}. Next: mend the cause, then register again."
    )
    assert project.state() == before


def test_a_first_registration_that_fails_leaves_nothing(project: Project) -> None:
    """Not even the pool."""
    broken = f'"name": ?"{project.name}-second"'
    with (
        answering(project.api, status=500, method="POST", path=r"/deployments/$", body=broken) as api,
        pytest.raises(PlatformError),
    ):
        project.register(api=api, seconds=0.5)
    with pytest.raises(ObjectNotFound):
        project.client.read_work_pool(project.name)
    assert [one.name for one in project.client.read_deployments(limit=200) if one.name.startswith(project.name)] == []


def test_a_registration_that_is_told_to_stop_puts_everything_back(project: Project) -> None:
    """The deadline of a Job: the process gets SIGTERM, here after its second write."""
    project.register()
    before = project.state()
    project.registration["image"] = "shop:2"
    project.registration["workPool"]["concurrencyLimit"] = 9
    settings = project.settings()
    held = f'"name": ?"{project.name}-second"'
    with answering(project.api, status=503, method="POST", path=r"/deployments/$", body=held) as api:
        variables = {"PREFECT_API_URL": api, "FLOWS_DEPLOYMENTS": str(settings.deployments)}
        process = subprocess.Popen(
            [FLOWS, "register", "--file", str(settings.registration)],
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        eventually(lambda: project.found("first").job_variables["image"] == "shop:2", "the second write is done")
        process.terminate()
        assert process.wait(60) == 130
    assert project.state() == before


def test_bad_input_is_refused_before_anything_is_written(project: Project) -> None:
    """Each with a sentence that says where and what to do."""
    first = f"work/{project.name}-first"
    project.deploy("first", work_pool={"job_variables": {"memory_limt": "1Gi"}})
    assert said_of(project) == (
        f"Unknown job variable memory_limt. Where: deployment {first}, work pool {project.name}. "
        "Next: did you mean memory_limit? there are command, image, memory_limit."
    )
    project.deploy("first", work_pool={"job_variables": {"memory_limit": 7}})
    assert said_of(project).startswith("A job variable does not fit: Validation failed for field 'memory_limit'.")
    project.deploy("first", tags=["child"])
    assert said_of(project) == (
        f"Deployment {project.name}-first has the tags child. Where: prefect.yaml. "
        "Next: give it flow-of-flows and one of pipeline, child, maintenance."
    )
    project.deploy("first", entrypoint="tests.nothing.work")
    assert said_of(project).startswith(f"Deployment {project.name}-first does not load: No module named 'tests.noth")
    project.deploy("first", triggers=[])
    assert ": deployments.0.triggers: unknown key. Where: " in said_of(project)
    project.deploy("first", schedules=[{"cron": "daily at six"}])
    assert ': deployments.0.schedules.0.cron: Invalid cron string: "daily at six"' in said_of(project)
    project.deploy("first")
    project.registration["jobVariables"] = {"byDeployment": {"first": {}}}
    assert said_of(project).startswith("Job variables are given to deployment first, which does not exist. ")
    project.registration["jobVariables"] = {}
    block = {"type": "secret", "name": "mine", "values": {"value": {"env": "REGISTER_NOT_SET"}}}
    project.registration["blocks"] = [block]
    assert said_of(project) == (
        "REGISTER_NOT_SET is not set. Where: environment, named by block secret/mine. "
        "Next: set REGISTER_NOT_SET; on Kubernetes from a Secret, by registration.env or registration.envFrom."
    )
    project.registration["blocks"] = [block | {"values": {"value": "open"}}]
    assert said_of(project) == (
        "value is a secret and stands in the file. Where: registration, block secret/mine. "
        "Next: write {env: VARIABLE} as its value."
    )
    project.registration["blocks"] = [block | {"type": "sekret"}]
    assert said_of(project).startswith("Unknown type of block: sekret. Where: registration, block sekret/mine. ")
    project.registration |= {"blocks": [], "automations": [{"name": "no trigger"}]}
    assert ": trigger: Field required. Where: " in said_of(project)
    project.registration |= {"automations": [], "workpool": {}}
    assert ": workpool: unknown key. Where: " in said_of(project)
    with pytest.raises(ObjectNotFound):
        project.client.read_work_pool(project.name)


def said_of(project: Project) -> str:
    """The sentence that a registration is refused with."""
    with pytest.raises(ConfigurationError) as caught:
        project.register()
    return str(caught.value)


def test_a_pool_of_another_type_is_not_taken_over(project: Project) -> None:
    """Prefect cannot change the type of a pool."""
    project.client.create_work_pool(WorkPoolCreate(name=project.name, type="process"))
    assert said_of(project) == (
        f"Work pool {project.name} has the type process, not kubernetes. Where: {project.api}. "
        "Next: choose another name for the pool, or delete that one: the type of a pool cannot be changed."
    )


def test_wrong_credentials_are_told_at_once_and_never_printed(project: Project) -> None:
    """A server that refuses is not waited for."""
    with answering(project.api, status=401, method="POST", path="/work_pools/filter") as api:
        ended = flows("register", "--wait", "100", PREFECT_API_URL=api, PREFECT_API_AUTH_STRING="me:c4nary")
    assert ended == refused(
        2,
        f"The Prefect API does not know these credentials: it is broken. Where: {api}. "
        "Next: correct PREFECT_API_AUTH_STRING (a server's user:password) or PREFECT_API_KEY (Prefect Cloud).",
    )


def test_an_api_that_stays_away_is_one_sentence() -> None:
    """After the time that was given, with the exit code of a system that does not do its part."""
    ended = flows("register", "--wait", "0.4", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert ended == refused(
        3,
        "The Prefect API did not answer for 0 s: All connection attempts failed. Where: http://127.0.0.1:9/api. "
        "Next: start the API, or correct PREFECT_API_URL; then run this again.",
    )


@pytest.mark.parametrize("image", [None, "shop:3"])
def test_prefect_deploy_all_works_as_it_stands(embedded: Embedded, tmp_path: Path, image: str | None) -> None:
    """The real command: pool flows, no image where none is set; and `flows register` finds next to nothing to do."""
    with SyncPrefectClient(embedded.api) as client:
        client.create_work_pool(WorkPoolCreate(name="flows", type="process"), overwrite=True)
        variables = {"PREFECT_API_URL": embedded.api, "PREFECT_HOME": str(tmp_path)}
        done = subprocess.run(
            [FLOWS.with_name("prefect"), "--no-prompt", "deploy", "--all"],
            env=environment(**variables, **({"FLOWS_IMAGE": image} if image else {})),
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found = [one for one in client.read_deployments(limit=200) if "flow-of-flows" in one.tags]
    ours = {one.name: one for one in found if one.work_pool_name == "flows"}
    assert set(ours) == {one.name for one in declared.read(REPOSITORY / "prefect.yaml")}
    assert {one.job_variables.get("image") for one in ours.values()} == {image}
    assert len(ours["daily-pipeline"].schedules) == 1
