"""The sweeper's Prefect client: reads the pool's runs, their parents, states and limits, and changes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from uuid import UUID, uuid5

from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterId,
    FlowRunFilterParentTaskRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType, WorkPool, WorkQueue
from prefect.client.schemas.responses import (
    DeploymentResponse,
    GlobalConcurrencyLimitResponse,
    OrchestrationResult,
    SetStateStatus,
)
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import AwaitingRetry, Cancelled, Cancelling, Crashed, to_state_create

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.limits import CRASHES_READ
from flow_of_flows.prefect_api.client import KUBERNETES, MANY, PrefectApi
from flow_of_flows.prefect_api.runs import defaults
from flow_of_flows.registration import ownership
from flow_of_flows.registration.plan import ResourceKind
from flow_of_flows.runs.resume import RESTARTED, parse_key
from flow_of_flows.summary.terminal import REGISTER
from flow_of_flows.sweeper.snapshot import UNSAID, Limit, Place, RunHistory, SweepAction, SweptRun, place

OURS = "flow-of-flows"
WORKING = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
BEGUN = [*WORKING, StateType.PAUSED]
# The name of a limit that belongs to a deployment.
OF_DEPLOYMENT = "deployment:"

STATES: dict[SweepAction, Callable[..., State[Any]]] = {
    SweepAction.RETRY: AwaitingRetry,
    SweepAction.CRASH: Crashed,
    SweepAction.CANCEL: Cancelling,
    SweepAction.END: Cancelled,
}


@dataclass(frozen=True)
class WorkPoolState:
    """The work pool with its deployments and queues, as the API has them."""

    pool: WorkPool
    deployments: tuple[DeploymentResponse, ...]
    queues: tuple[WorkQueue, ...]

    @property
    def has_jobs(self) -> bool:
        """Return whether the pool's runs are Jobs; of others nothing is known but what the API says."""
        return self.pool.type == KUBERNETES

    def paused(self) -> tuple[str, ...]:
        """Return what somebody has paused: the pool, its queues, deployments of this project."""
        names = [f"deployment {each.name}" for each in self.deployments if each.paused and OURS in each.tags]
        names += [f"work queue {each.name}" for each in self.queues if each.is_paused]
        return (*([f"work pool {self.pool.name}"] if self.pool.is_paused else []), *sorted(names))

    def place_of(self, entry: FlowRun) -> Place:
        """Return where the Job of a run is created."""
        of_deployment = (each.job_variables for each in self.deployments if each.id == entry.deployment_id)
        return place(defaults(self.pool.base_job_template), next(of_deployment, None), entry.job_variables)


class Prefect:
    """What a sweep reads and changes.

    Args:
        api: an API that answers.
        pool: name of the work pool.
    """

    def __init__(self, api: PrefectApi, pool: str) -> None:
        self._api = api
        self._client = api.client
        self._pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
        self._pool_name = pool

    async def runs(self, of_jobs: Iterable[UUID], pool: WorkPoolState) -> tuple[dict[UUID, SweptRun], frozenset[UUID]]:
        """Read every run that a sweep judges, with its parent: those of the pool, and children of its pipelines.

        Args:
            of_jobs: ids of the runs that have Jobs.
            pool: the work pool.

        Returns:
            The runs by id, and the ids of those that the API does not know.
        """
        now = datetime.now(UTC)
        due = FlowRunFilterExpectedStartTime(before_=now)
        found = await self._filtered(FlowRunFilter(state=of_types(BEGUN)), in_pool=True)
        found += await self._filtered(
            FlowRunFilter(state=of_types([StateType.SCHEDULED]), expected_start_time=due), in_pool=True
        )
        crashed = FlowRunFilter(
            state=of_types([StateType.CRASHED]),
            tags=FlowRunFilterTags(all_=[PIPELINE]),
            expected_start_time=FlowRunFilterExpectedStartTime(after_=now - CRASHES_READ),
        )
        found += await self._filtered(crashed, in_pool=True)
        known = {entry.id: run(entry, pool.place_of(entry)) for entry in found}
        with_jobs = set(of_jobs)
        known |= await self._by_id(with_jobs - set(known))
        parents = {each.parent for each in known.values() if each.parent and not each.is_over}
        known |= await self._by_id(parents - set(known))
        known |= await self._children_elsewhere(known)
        return known, frozenset(with_jobs - set(known))

    async def _children_elsewhere(self, known: Mapping[UUID, SweptRun]) -> dict[UUID, SweptRun]:
        """Read the active children that pipelines of this pool have in other pools, and those pipelines.

        Args:
            known: runs that have been read.
        """
        which = FlowRunFilter(
            state=of_types([*BEGUN, StateType.SCHEDULED]),
            parent_task_run_id=FlowRunFilterParentTaskRunId(is_null_=False),
        )
        read = [self._swept(entry) for entry in await self._filtered(which)]
        children = {each.id: each.parent for each in read if each.is_foreign and each.parent}
        parents = await self._by_id(set(children.values()) - set(known))
        own = {each.id: each for each in (*known.values(), *parents.values()) if not each.is_foreign}
        found = {each.id: each for each in read if children.get(each.id) in own}
        return found | {parent: own[parent] for each in found if (parent := children[each])}

    async def history(self, of: UUID) -> tuple[RunHistory, ...]:
        """Read the states that a run was in, oldest first."""
        states = await self._api.call(lambda: self._client.read_flow_run_states(of))
        past = (RunHistory(state.type, state.name or "", state.timestamp) for state in states)
        return tuple(sorted(past, key=lambda one: one.at))

    async def limits(self, own: UUID | None, pool: WorkPoolState) -> tuple[Limit, ...]:
        """Read the limits with slots that are taken, except another owner's, and how many runs can hold one.

        Args:
            own: the run that sweeps.
            pool: the work pool.
        """
        every = await self._api.all(
            lambda offset: self._client.read_global_concurrency_limits(limit=MANY, offset=offset)
        )
        # A rate limit frees its slots by itself.
        taken = [limit for limit in every if limit.active_slots and not limit.slot_decay_per_second]
        if not taken:
            return ()
        taken = [limit for limit in taken if await self._may_free(limit, pool)]
        working = [entry for entry in await self._filtered(FlowRunFilter(state=of_types(WORKING))) if entry.id != own]
        return tuple([await self._limit(limit, len(working)) for limit in taken])

    async def _may_free(self, limit: GlobalConcurrencyLimitResponse, pool: WorkPoolState) -> bool:
        """Return whether a limit is of a deployment of this pool, or has a name and no mark of another owner."""
        deployment = limit.name.removeprefix(OF_DEPLOYMENT)
        if deployment != limit.name:
            return any(str(each.id) == deployment for each in pool.deployments)
        mark = ownership.variable_name(ResourceKind.LIMIT, limit.name)
        variable = await self._api.call(lambda: self._client.read_variable_by_name(mark))
        owner = ownership.owner_in(variable.value, limit.id) if variable else None
        return owner in (None, ownership.unsigned(pool.pool.description)[1])

    async def _limit(self, limit: GlobalConcurrencyLimitResponse, working: int) -> Limit:
        owner = limit.name.removeprefix(OF_DEPLOYMENT)
        if owner == limit.name:
            return Limit(limit.id, limit.name, limit.active_slots, working)
        deployment = UUID(owner)
        which = FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
            state=of_types([*WORKING, StateType.SCHEDULED]),
        )
        runs = await self._filtered(which)
        holders = [entry for entry in runs if entry.state and holds(entry.state)]
        return Limit(limit.id, limit.name, limit.active_slots, len(holders), deployment)

    async def pool(self) -> WorkPoolState:
        """Read the work pool with its deployments and queues."""
        try:
            pool = await self._api.call(lambda: self._client.read_work_pool(self._pool_name))
        except ObjectNotFound as error:
            raise ConfigurationError(
                f"There is no work pool {self._pool_name}",
                location=self._api.url,
                hint=f"{REGISTER}, or correct FLOWS_WORK_POOL",
            ) from error
        deployments = await self._api.all(
            lambda offset: self._client.read_deployments(work_pool_filter=self._pool, limit=MANY, offset=offset)
        )
        queues = await self._api.all(
            lambda offset: self._client.read_work_queues(work_pool_name=pool.name, limit=MANY, offset=offset)
        )
        return WorkPoolState(pool, tuple(deployments), tuple(queues))

    async def read(self, of: UUID) -> SweptRun | None:
        """Read a run as it is now; None when it is gone."""
        return (await self._by_id({of})).get(of)

    async def change(self, of: UUID, seen: UUID, action: SweepAction, message: str) -> bool:
        """Set the state of a run that is still in the state that was judged.

        Of several sweeps that judged the same state only one changes it: their transitions have one id, and the API
        rejects a transition that the run has just made.

        Args:
            of: the run.
            seen: id of the state that was judged.
            action: what to do.
            message: of the new state.

        Returns:
            Whether the API accepted it.
        """
        if action is SweepAction.RETRY:
            message = f"{RESTARTED} by the sweeper: {message}"
        proposed = to_state_create(STATES[action](message=message))
        proposed.state_details.flow_run_id = of
        proposed.state_details.transition_id = uuid5(seen, action)
        # The API would turn down what is final for a run that it thinks is at work: that is what it is wrong about.
        force = action is SweepAction.END
        try:
            answer = await self._client.request(
                "POST",
                "/flow_runs/{id}/set_state",
                path_params={"id": of},
                json={"state": proposed.model_dump(mode="json", serialize_as_any=True), "force": force},
            )
        except PrefectHTTPStatusError as error:
            if error.response.status_code == HTTPStatus.NOT_FOUND:
                return False
            raise
        result: OrchestrationResult[Any] = OrchestrationResult.model_validate(answer.json())
        # A run that waits has no process to ask: the API makes it Cancelled at once, and calls that a refusal.
        at_once = action is SweepAction.CANCEL and result.state is not None and result.state.is_cancelled()
        return result.status is SetStateStatus.ACCEPT or at_once

    async def free(self, limit: Limit, remain: int) -> None:
        """Free the slots of a limit but for some.

        Args:
            limit: the limit.
            remain: how many slots stay taken.
        """
        await self._client.update_global_concurrency_limit(
            limit.name, GlobalConcurrencyLimitUpdate(active_slots=remain)
        )

    async def _by_id(self, ids: set[UUID]) -> dict[UUID, SweptRun]:
        found: list[FlowRun] = []
        ordered = sorted(ids)
        for start in range(0, len(ordered), MANY):
            part = ordered[start : start + MANY]
            found += await self._filtered(FlowRunFilter(id=FlowRunFilterId(any_=part)))
        return {entry.id: self._swept(entry) for entry in found}

    def _swept(self, entry: FlowRun) -> SweptRun:
        return replace(run(entry), is_foreign=entry.work_pool_name != self._pool_name)

    async def _filtered(self, which: FlowRunFilter, *, in_pool: bool = False) -> list[FlowRun]:
        async def page(offset: int) -> list[FlowRun]:
            return await self._client.read_flow_runs(
                flow_run_filter=which,
                work_pool_filter=self._pool if in_pool else None,
                sort=FlowRunSort.EXPECTED_START_TIME_ASC,
                limit=MANY,
                offset=offset,
            )

        return await self._api.all(page)


PIPELINE = "pipeline"


def run(entry: FlowRun, place: Place = UNSAID) -> SweptRun:
    """Return a run of the API as a value.

    Args:
        entry: as the API returned it.
        place: where its Job is created.
    """
    state = entry.state
    if state is None:
        # Prefect makes every run with a state; one without would be neither active nor over.
        state = State(type=StateType.SCHEDULED)
    key = parse_key(entry.idempotency_key)
    return SweptRun(
        id=entry.id,
        name=entry.name,
        deployment=entry.deployment_id,
        state=state.id,
        type=state.type,
        state_name=state.name or "",
        since=state.timestamp,
        message=state.message or "",
        run_count=entry.run_count,
        is_pipeline=PIPELINE in entry.tags,
        parent=key[0] if key else None,
        due=entry.next_scheduled_start_time or entry.expected_start_time,
        place=place,
    )


def holds(state: State[Any]) -> bool:
    """Return whether a run in this state can hold a slot of its deployment's limit."""
    # A run that waits for its next try in the same process keeps its slot.
    return state.type is not StateType.SCHEDULED or state.name == "AwaitingRetry"


def of_types(types: Iterable[StateType]) -> FlowRunFilterState:
    """Return the filter of runs in a state of one of these types."""
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types)))
