"""dbt's artifacts as values, and what is said about them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from flow_of_flows.dbt import events, failures, reports
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.results import Freshness, FreshnessVerdict, Node, blame, counts, freshness, nodes, one_line
from flow_of_flows.dbt.resumption import (
    Continuation,
    Refused,
    Remainder,
    adapted,
    decide,
    interrupted_results,
    options,
    previous_results,
    remainder,
)
from flow_of_flows.dbt.state.saved_runs import SavedRun
from flow_of_flows.errors import Cause

RUN = UUID(int=1)
GOOD = Node("model.p.a", "success", 1.5, "OK", None)
BAD = Node("model.p.b", "error", 0.25, "no | column", None)
TEST = Node("test.p.c.0123456789", "fail", 0.1, "Got 2 results", 2)
SKIPPED = Node("model.p.d", "skipped", 0.0, "", None)
SAVED = SavedRun(project="p", target="t", dbt="1", select=None, exclude=None, vars={}, full_refresh=False)


def result(**values: object) -> dict[str, object]:
    """One result of a run_results.json."""
    base = {"unique_id": "model.p.a", "status": "success", "execution_time": 1.50049, "message": "OK"}
    return {**base, "failures": None, "adapter_response": {}, **values}


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        ({}, None),
        ({"adapter_response": {"rows_affected": 7}}, 7),
        ({"adapter_response": {"rows_affected": -1}}, None),
        ({"failures": 2}, 2),
        ({"failures": 0}, 0),
    ],
)
def test_rows_of_a_node(values: dict[str, object], rows: int | None) -> None:
    """Rows are the warehouse's count, or a test's failures; a count it does not know is none."""
    document = json.dumps({"results": [result(**values)]}).encode()

    assert nodes(document) == (Node("model.p.a", "success", 1.5, "OK", rows),)


def test_message_is_one_line_without_the_compiled_path() -> None:
    """The path of the compiled file is gone when somebody reads it."""
    text = "Runtime Error in model b\n  no column\n\n  compiled code at /tmp/x/b.sql"

    assert one_line(text) == "Runtime Error in model b no column"


def test_counts_by_status() -> None:
    """Statuses are counted in the order of their names."""
    assert counts([GOOD, BAD, GOOD]) == {"error": 1, "success": 2}


def test_freshness_of_a_source_that_is_missing_in_the_file() -> None:
    """No file, or no word on a source, is not fresh; dbt leaves out the sources it could not check."""
    fresh = {"unique_id": "source.p.a", "status": "pass", "max_loaded_at": "2026-01-01T00:00:00Z"}
    content = json.dumps({"results": [fresh]}).encode()

    found = freshness(content, ["source.p.c", "source.p.b", "source.p.a"], {"source.p.b": "no such\ntable"})

    assert found == (
        Freshness("source.p.a", FreshnessVerdict.PASS, "last loaded 2026-01-01T00:00:00Z"),
        Freshness("source.p.b", FreshnessVerdict.RUNTIME_ERROR, "no such table"),
        Freshness("source.p.c", FreshnessVerdict.UNKNOWN, "dbt reported no freshness for it"),
    )
    assert [source.stale for source in found] == [False, True, True]
    assert [source.verdict for source in freshness(None, ["source.p.a"])] == [FreshnessVerdict.UNKNOWN]


def test_skipped_node_is_blamed_on_ancestors_and_their_tests() -> None:
    """A failure elsewhere is not the reason."""
    parents = {
        "model.p.b": ["model.p.a"],
        "model.p.c": ["model.p.b"],
        "test.p.t": ["model.p.a"],
        "test.p.u": ["model.p.z"],
    }

    assert blame(["model.p.c"], ["model.p.b", "test.p.t", "test.p.u", "model.p.y"], parents) == {
        "model.p.c": ("model.p.b", "test.p.t")
    }


def test_failure_of_models() -> None:
    """The error names the failed nodes, and what was skipped."""
    error = failures.failed([GOOD, BAD, TEST, SKIPPED], {"model.p.d": ("model.p.b",)}, RUN, kept=True)

    assert error.cause is Cause.DBT_NODES_FAILED
    assert str(error) == (
        "2 of 4 dbt nodes failed: model b: no | column; test c.0123456789: Got 2 results."
        " 1 skipped because of them."
        f" Next: correct them, then retry this run, or run dbt-build with retry_of={RUN}."
    )


def test_failure_of_models_and_of_the_warehouse() -> None:
    """What failed by data is the cause and has its owner; what the warehouse failed is named as such, without one."""
    owners = {"model.p.b": "ana", "test.p.c.0123456789": "bob"}
    error = failures.failed([GOOD, BAD, TEST], {}, RUN, kept=True, owners=owners, transient={TEST.id})

    assert error.cause is Cause.DBT_NODES_FAILED
    assert error.message == (
        "1 of 3 dbt nodes failed: model b: no | column;"
        " a fault of the warehouse failed 1 more: test c.0123456789: Got 2 results"
    )
    assert [(p.name, p.status, p.owner) for p in error.problems] == [
        (BAD.id, BAD.status, "ana"),
        (TEST.id, "platform", None),
    ]


def test_failure_of_the_warehouse_alone() -> None:
    """The operator has to act, and the run may be tried again."""
    error = failures.failed([GOOD, BAD], {}, RUN, kept=True, transient={BAD.id})

    assert (error.cause, error.retryable) == (Cause.PLATFORM, True)
    assert error.message == "1 of 2 dbt nodes failed by a fault of the warehouse: model b: no | column"


def test_failure_that_was_not_kept() -> None:
    """Without saved results there is nothing to go on from; many failures are not all named."""
    error = failures.failed([TEST] * 7, {}, RUN, kept=False)

    assert error.cause is Cause.DATA_TESTS_FAILED
    assert error.message.endswith("; and 2 more")
    assert error.hint == "correct them, then run dbt-build again"


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        ({"target": "u", "dbt": "2"}, f"since run {RUN}, dbt changed and the target changed"),
        ({"select": "a"}, f"run {RUN} had other parameters"),
        ({"full_refresh": True}, f"run {RUN} had other parameters"),
    ],
)
def test_run_that_cannot_be_continued(now: dict[str, object], reason: str) -> None:
    """The reason names everything that is not the same."""
    assert decide(RUN, (SAVED, b"{}"), SAVED.model_copy(update=now)) == Refused(reason)


def test_run_that_can_be_continued() -> None:
    """The same target and dbt; parameters that are not given are those of the run, variables may be others."""
    saved = SAVED.model_copy(update={"select": "a"})

    other = SAVED.model_copy(update={"project": "q", "vars": {"v": 1}})
    assert decide(RUN, (saved, b"{}"), other) == Continuation(RUN, saved, b"{}")
    assert decide(RUN, (saved, b"{}"), SAVED) == Continuation(RUN, saved, b"{}")
    assert decide(RUN, (saved, b"{}"), saved) == Continuation(RUN, saved, b"{}")
    assert decide(RUN, (saved.model_copy(update={"done": True}), b"{}"), saved) == Refused(
        f"run {RUN} has succeeded since"
    )
    assert decide(RUN, None, saved) == Refused(f"the state store has no results of run {RUN}")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (Options(threads=2), Options(select="a", vars={"v": 1}, threads=2)),
        (Options(vars={"v": 2}), Options(select="a", vars={"v": 2})),
        (Options(select="a"), Options(select="a")),
    ],
)
def test_options_of_a_run_that_is_continued(request_: Options, expected: Options) -> None:
    """A retry without parameters has those of the run; one with parameters has its own variables."""
    saved = SAVED.model_copy(update={"select": "a", "vars": {"v": 1}})

    assert options(saved, request_) == expected


def test_results_of_a_stopped_run_get_what_was_not_reached() -> None:
    """Each node that the run should have built has a result, so that a retry runs it."""
    stopped = interrupted_results([GOOD], "1.11", datetime.now(UTC), None)

    left = remainder(stopped, {"model.p.a", "model.p.b"}, None, {"model.p.b": ["model.p.a"]})
    document = json.loads(previous_results(adapted(stopped, left, full_refresh=False), {"which": "build"}))

    assert [(r["unique_id"], r["status"]) for r in document["results"]] == [
        ("model.p.a", "success"),
        ("model.p.b", "skipped"),
    ]
    assert document["args"] == {"which": "build"}
    assert left == Remainder({"model.p.b": "did not succeed"}, frozenset(), frozenset({"model.p.a"}))
    assert left.facts == {}
    assert left.sentence == "1 of 2 nodes count as done"


CHAIN = {"model.p.b": ["model.p.a"], "model.p.c": ["model.p.b"], "test.p.t": ["model.p.c"], "model.p.z": []}
ALL = {"model.p.a", *CHAIN}


@pytest.mark.parametrize(
    ("ended", "changed", "reasons"),
    [
        ({}, {}, {}),
        ({"model.p.c": "error"}, {}, {"model.p.c": "did not succeed", "test.p.t": "downstream of model c"}),
        (
            {"model.p.c": "error", "test.p.t": "skipped"},
            {"model.p.c": "modified"},
            {"model.p.c": "did not succeed; modified", "test.p.t": "did not succeed"},
        ),
        (
            {},
            {"model.p.b": "modified: macro m"},
            {
                "model.p.b": "modified: macro m",
                "model.p.c": "downstream of model b",
                "test.p.t": "downstream of model b",
            },
        ),
        ({"model.p.z": None}, {"model.p.z": "new"}, {"model.p.z": "new"}),
        ({}, {"source.p.s": "modified"}, {}),
    ],
)
def test_what_is_left_of_a_run(ended: dict[str, str | None], changed: dict[str, str], reasons: dict[str, str]) -> None:
    """What did not succeed, what changed, and what is behind either; None stands for a node without a result."""
    statuses = dict.fromkeys(ALL, "success") | ended
    found = [result(unique_id=name, status=status) for name, status in statuses.items() if status]

    left = remainder(json.dumps({"results": found}).encode(), ALL, changed, CHAIN)

    assert left.reasons == reasons
    assert left.done == ALL - reasons.keys()


def test_batches_of_a_model_that_is_built_whole() -> None:
    """All of its batches are to be built, one stands for dbt's "some succeeded"; from scratch there are none."""
    one, two = ["2026-01-01", "2026-01-02"], ["2026-01-02", "2026-01-03"]
    batch_results = {"successful": [two, one], "failed": [two]}
    partial = result(status="partial success", batch_results=batch_results)
    document = json.dumps({"results": [partial]}).encode()

    def batches(changed: dict[str, str], *, full_refresh: bool = False) -> object:
        left = remainder(document, {"model.p.a"}, changed, {})
        return json.loads(adapted(document, left, full_refresh=full_refresh))["results"][0]["batch_results"]

    assert batches({}) == batch_results
    assert batches({"model.p.a": "modified"}) == {"successful": [two], "failed": [one, two]}
    assert batches({"model.p.a": "modified"}, full_refresh=True) is None


def test_live_view_shows_failures_first() -> None:
    """Counts, what runs, then the nodes, the failed ones before the latest."""
    assert events.markdown((BAD, GOOD), ("model.p.x",), 4).splitlines() == [
        "**2 of 4** nodes: 1 error, 1 success",
        "",
        "Running: `model.p.x`",
        "",
        "| node | status | seconds | rows | message |",
        "|---|---|---|---|---|",
        "| model b | error | 0.25 |  | no \\| column |",
        "| model a | success | 1.50 |  | OK |",
    ]
    assert events.markdown((), (), 0).startswith("**0 of ?** nodes: nothing finished yet")
    assert events.markdown((GOOD,) * 201, (), 201).endswith("… and 1 more")


def test_table_puts_failures_first() -> None:
    """Failures, then skips, then the rest."""
    table = reports.rows([GOOD, SKIPPED, BAD], {"model.p.d": ("model.p.b", "test.p.t")})

    assert [row["node"] for row in table] == ["model.p.b", "model.p.d", "model.p.a"]
    assert table[1] == {
        "node": "model.p.d",
        "status": "skipped",
        "seconds": 0.0,
        "rows": None,
        "message": "because of model.p.b, test.p.t",
    }


def test_report_of_a_success() -> None:
    """Models, tests and the rows that the warehouse counted are facts; a test that warned is a warning."""
    counted = Node("model.p.e", "success", 0.5, "SELECT 7", 7)
    warned = Node("test.p.f.0123456789", "warn", 0.1, "Got 2 results", 2)
    done = [GOOD, counted, warned]

    report = reports.succeeded(done, (), ("one",), seconds=2.345, dbt="1.11", resumed=(RUN, 4))

    assert report.summary == "3 dbt nodes: 2 success, 1 warn; resumed after 4 nodes were done already"
    assert report.warnings == ("one",)
    assert report.facts == {
        "nodes": 3,
        "seconds": 2.3,
        "dbt": "1.11",
        "models": 2,
        "tests": 1,
        "rows": 7,
        "nodes success": 2,
        "nodes warn": 1,
        "retry of": str(RUN),
        "done before": 4,
    }
    assert reports.warnings(done) == ["test f.0123456789: Got 2 results"]
