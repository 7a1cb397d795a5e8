"""Why a child did not complete, from what is known of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import StateType
from prefect_kubernetes.diagnostics import DiagnosisCategory

from flow_of_flows.errors import Cause
from flow_of_flows.pod.acquisition import exhausted
from flow_of_flows.pod.engine import Kills
from flow_of_flows.runs.causes import (
    BEFORE_START,
    DIAGNOSES,
    ENDED_AFTER,
    Evidence,
    Overdue,
    PodEvidence,
    classify,
    is_certain,
    own_cause,
)
from flow_of_flows.runs.outcome import ChildRun, evidence_of
from flow_of_flows.sweeper.snapshot import FindingKind, SweepAction, SweepFinding
from tests.unit.test_pod_history import history

KILLED = "Process exited with status code: -9. The process was killed by the operating system (SIGKILL)."
NO_POD = "No active or succeeded pods found for any job"
SUBMIT = "Failed to submit flow run to infrastructure: "


def crashed(message: str = KILLED, *pods: PodEvidence) -> Evidence:
    """A run that had begun, in a pod."""
    return Evidence(StateType.CRASHED, message, started=True, has_job=True, pods=pods)


def failed(reported: Cause | None = None, message: str = "Flow run encountered an exception") -> Evidence:
    """A run that ended itself."""
    return Evidence(StateType.FAILED, message, reported, started=True, has_job=True)


def pending(*pods: PodEvidence, has_job: bool = True) -> Evidence:
    """A run that was cancelled because it did not begin."""
    return Evidence(StateType.CANCELLED, "", overdue=Overdue.PENDING, has_job=has_job, pods=pods)


TABLE = [
    (failed(Cause.DBT_NODES_FAILED), Cause.DBT_NODES_FAILED),
    (failed(Cause.DATA_TESTS_FAILED), Cause.DATA_TESTS_FAILED),
    (failed(Cause.DATA), Cause.DATA),
    (failed(Cause.PLATFORM), Cause.PLATFORM),
    (failed(Cause.BUSY), Cause.BUSY),
    (failed(Cause.UPSTREAM), Cause.UPSTREAM),
    (failed(), Cause.ERROR),
    (failed(Cause.DATA, "timeout: the Job's time is over"), Cause.TIMEOUT),
    (crashed(), Cause.CRASHED),
    (crashed("out-of-memory: the engine was killed"), Cause.OUT_OF_MEMORY),
    (crashed(KILLED, PodEvidence(diagnosis="OOMKilled")), Cause.OUT_OF_MEMORY),
    (crashed(NO_POD, PodEvidence(reason="OOMKilled", exit_code="137")), Cause.OUT_OF_MEMORY),
    (crashed(NO_POD, PodEvidence(reason="Error", exit_code="137")), Cause.CRASHED),
    (crashed(NO_POD, PodEvidence(diagnosis="Evicted")), Cause.EVICTED),
    (crashed(NO_POD, PodEvidence(disruption="EvictionByEvictionAPI")), Cause.EVICTED),
    (crashed(NO_POD, PodEvidence(disruption="TerminationByKubelet")), Cause.EVICTED),
    (crashed(NO_POD, PodEvidence(reason="Terminated", disruption="TerminationByKubelet")), Cause.NODE_LOST),
    (crashed(NO_POD, PodEvidence(reason="Preempting", disruption="TerminationByKubelet")), Cause.PREEMPTED),
    (crashed(NO_POD, PodEvidence(disruption="PreemptionByScheduler"), PodEvidence(deleted=True)), Cause.PREEMPTED),
    (crashed(NO_POD, PodEvidence(disruption="DeletionByTaintManager")), Cause.NODE_LOST),
    (crashed(NO_POD, PodEvidence(disruption="DeletionByPodGC"), PodEvidence(deleted=True)), Cause.NODE_LOST),
    (crashed(NO_POD, PodEvidence(reason="NodeLost")), Cause.NODE_LOST),
    (crashed(NO_POD, PodEvidence(reason="DeadlineExceeded")), Cause.TIMEOUT),
    (crashed(NO_POD, PodEvidence(deleted=True)), Cause.POD_DELETED),
    (crashed("Kubernetes job was deleted"), Cause.POD_DELETED),
    (crashed(KILLED, PodEvidence(diagnosis="ImagePullError")), Cause.CRASHED),
    (crashed(KILLED, PodEvidence(diagnosis="Unschedulable.Taint")), Cause.CRASHED),
    (crashed(KILLED, PodEvidence(diagnosis="OOMKilled"), PodEvidence(reason="Error")), Cause.OUT_OF_MEMORY),
    (
        crashed("something that no one has seen", PodEvidence(diagnosis="New", reason="New", disruption="New")),
        Cause.CRASHED,
    ),
    (Evidence(StateType.CRASHED, f"{SUBMIT}ValidationError: no image"), Cause.CONFIGURATION),
    (Evidence(StateType.CRASHED, f"{SUBMIT}ApiException: (422) invalid"), Cause.CONFIGURATION),
    (Evidence(StateType.CRASHED, f"{SUBMIT}ApiException: (503) unavailable"), Cause.PLATFORM),
    (Evidence(StateType.CRASHED, f"{SUBMIT}ClientConnectorError: refused"), Cause.PLATFORM),
    (
        Evidence(
            StateType.CRASHED, f"{SUBMIT}PrefectHTTPStatusError: Server error '500 Internal Server Error' for url"
        ),
        Cause.PLATFORM,
    ),
    (Evidence(StateType.CRASHED, f"{SUBMIT}ApiException: (403) exceeded quota: small"), Cause.UNSCHEDULABLE),
    (pending(PodEvidence(diagnosis="ImagePullError")), Cause.IMAGE),
    (pending(PodEvidence(reason="ErrImageNeverPull")), Cause.IMAGE),
    (pending(PodEvidence(reason="CreateContainerConfigError")), Cause.CONFIGURATION),
    (pending(PodEvidence(diagnosis="Unschedulable.InsufficientResources")), Cause.UNSCHEDULABLE),
    (pending(PodEvidence(reason="FailedCreate")), Cause.UNSCHEDULABLE),
    (pending(), Cause.UNSCHEDULABLE),
    (pending(PodEvidence()), Cause.NEVER_STARTED),
    (pending(has_job=False), Cause.NEVER_STARTED),
    (Evidence(StateType.CANCELLED), Cause.CANCELLED),
    (Evidence(StateType.CANCELLED, pods=(PodEvidence(deleted=True),)), Cause.CANCELLED),
    (Evidence(StateType.CANCELLED, overdue=Overdue.RUNNING), Cause.TIMEOUT),
    (Evidence(StateType.CANCELLING, overdue=Overdue.RUNNING), Cause.TIMEOUT),
    (Evidence(StateType.PAUSED), Cause.TIMEOUT),
]


@pytest.mark.parametrize(("evidence", "cause"), TABLE)
def test_the_cause_of_each_evidence(evidence: Evidence, cause: Cause) -> None:
    """The whole table; what nobody has an explanation for is crashed or error."""
    assert classify(evidence) is cause


def test_every_cause_has_evidence_that_leads_to_it() -> None:
    """Completeness: a cause that is never found would have a rule that never holds."""
    assert {cause for _, cause in TABLE} == set(Cause)


def test_every_diagnosis_of_prefect_is_known_or_left_to_the_state() -> None:
    """A category that a later version adds has to be thought about here."""
    known = {category for category in DiagnosisCategory if category.value.partition(".")[0] in DIAGNOSES}
    assert set(DiagnosisCategory) - known == {DiagnosisCategory.CRASH_LOOP_BACKOFF}


@pytest.mark.parametrize("said", list(Cause))
@pytest.mark.parametrize("state", [StateType.FAILED, StateType.CRASHED, StateType.CANCELLED])
def test_what_this_package_says_itself_is_believed(said: Cause, state: StateType) -> None:
    """Whoever ended the run knew why."""
    assert (
        classify(Evidence(state, said.prefix("as found"), Cause.DATA, pods=(PodEvidence(diagnosis="OOMKilled"),)))
        is said
    )


@pytest.mark.parametrize(
    ("evidence", "certain"),
    [
        (crashed(), False),
        (replace(crashed(), pods=None), False),
        (crashed(NO_POD, PodEvidence(reason="Error")), False),
        (crashed(NO_POD, PodEvidence(diagnosis="OOMKilled")), True),
        (crashed("evicted: said so"), True),
        (replace(crashed(), has_job=False), True),
        (failed(), True),
        (pending(), False),
        (Evidence(StateType.CANCELLED, has_job=True), True),
    ],
)
def test_only_a_crash_in_a_pod_that_nobody_explains_is_waited_for(evidence: Evidence, *, certain: bool) -> None:
    """On a laptop there is no pod that could tell more."""
    assert is_certain(evidence) is certain


def test_what_keeps_a_pod_from_starting_is_not_retried() -> None:
    """It would keep the next one, too."""
    from flow_of_flows.runs.causes import rule

    assert {rule(cause).retries for cause in BEFORE_START} == {0}


def ended(state: StateType, message: str, state_name: str = "") -> Evidence:
    """What is known of a child run that ended so, from the API alone."""
    child = ChildRun(uuid4(), "keen-owl", "score", 1, datetime(2026, 11, 25, tzinfo=UTC), state, state_name, message)
    return evidence_of(replace(child, run_count=1))


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        (StateType.FAILED, Cause.ERROR),
        (StateType.CRASHED, Cause.CRASHED),
        (StateType.CANCELLED, Cause.CANCELLED),
    ],
)
@pytest.mark.parametrize("word", list(Cause))
def test_a_flow_that_begins_its_message_with_the_word_of_a_cause_says_none(
    word: Cause, state: StateType, cause: Cause
) -> None:
    """`Failed("platform: …")` of another team's flow is its own message: it is not retried for it."""
    known = ended(state, word.prefix("the model server answered 503"))
    assert classify(known) is cause
    assert is_certain(known)


def writings() -> dict[str, tuple[StateType, str | None, Cause]]:
    """What this package writes into the state of a run, by those who write it."""
    found = SweepFinding(FindingKind.GONE, SweepAction.CRASH, "run owl", "its node is gone", cause=Cause.NODE_LOST)
    killed = Kills(2, 2**28).said(Kills(1, 2**28))
    return {
        "crashed": (StateType.FAILED, exhausted(history("SPRC" * 4 + "SP")), Cause.CRASHED),
        "crashed for its memory": (
            StateType.FAILED,
            exhausted(history("SPRC" * 4 + "SP", "out-of-memory: at its limit")),
            Cause.OUT_OF_MEMORY,
        ),
        "started": (StateType.FAILED, exhausted(history("SPR" * 10)), Cause.CRASHED),
        "deadline": (StateType.FAILED, Cause.TIMEOUT.prefix(f"{ENDED_AFTER} 24 s, before its Job"), Cause.TIMEOUT),
        "kernel": (StateType.CRASHED, Cause.OUT_OF_MEMORY.prefix(killed or ""), Cause.OUT_OF_MEMORY),
        "sweeper": (StateType.CRASHED, found.message, Cause.NODE_LOST),
    }


@pytest.mark.parametrize("writer", writings())
def test_what_this_package_writes_about_a_run_is_its_cause(writer: str) -> None:
    """By the whole sentence, with what each writer really writes; a state that it does not write counts as it is."""
    state, message, cause = writings()[writer]
    assert message
    assert classify(ended(state, message)) is cause
    assert own_cause(StateType.CANCELLED, message) is None


def test_a_flow_that_took_longer_than_its_own_timeout_is_late() -> None:
    """`timeout_seconds` of the flow, not of the step."""
    message = "Flow run exceeded timeout of 2.0 second(s)"
    assert classify(ended(StateType.FAILED, message, "TimedOut")) is Cause.TIMEOUT
    assert classify(ended(StateType.FAILED, message, "Failed")) is Cause.ERROR
