"""`flows state …`, `flows plan` and doctor's look at the store, as a person runs them; the store is on S3."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from flow_of_flows.dbt.state import opened
from flow_of_flows.dbt.state.publications import Log
from flow_of_flows.settings import Settings
from tests.commands import flows, refused
from tests.fixtures import dbt_projects
from tests.fixtures.dbt_builds import add_order, build, execute
from tests.fixtures.dbt_projects import Place

FILES = {
    **dbt_projects.CHAIN,
    "models/sources.yml": dbt_projects.SOURCE,
    "models/loaded.sql": "select count(*) as rows_read from {{ source('jaffle_shop', 'raw_orders') }}",
}


@pytest.fixture
def s3(bucket: Any, place: Place, monkeypatch: pytest.MonkeyPatch) -> str:
    """The bucket is the state store of a place."""
    assert place
    monkeypatch.setenv("FLOWS_STATE_STORE", f"s3://{bucket.name}")
    return f"s3://{bucket.name}"


def rows(text: str) -> list[list[str]]:
    """Lines of a table, by their columns."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]


def test_keys_are_those_that_are_documented(s3: str, place: Place, bucket: Any) -> None:
    """`s3://your-org-dbt-artifacts` has `artifacts/manifest.json`."""
    place.use(FILES)
    add_order(place, "2 hours")
    build(docs=True)
    assert s3 == "s3://your-org-dbt-artifacts"
    keys = {item.key for item in bucket.objects.all()}
    names = ("catalog.json", "manifest.json", "run_results.json", "sources.json")
    (publication,) = {key.split("/")[1] for key in keys if key.startswith("history/")}
    (run,) = {key.split("/")[1] for key in keys if key.startswith("runs/")}
    (lock,) = {key.split("/")[1] for key in keys if key.startswith("locks/")}
    assert keys == {
        f"locks/{lock}/holders.json",
        "artifacts/project.json",
        "artifacts/publications.json",
        *(f"artifacts/{name}" for name in names),
        *(f"history/{publication}/{name}" for name in names),
        *(f"runs/{run}/{name}" for name in ("run.json", "run_results.json")),
    }


def test_state_is_shown_before_and_after_the_first_publication(s3: str, place: Place) -> None:
    """And a copy that something else changed."""
    none = "no production artifacts yet: the first successful dbt-build publishes them"
    assert rows(flows("state", "show").out) == [["store", s3], ["production", none]]
    assert flows("state", "history").out == f"{s3}: {none}\n"
    place.use()
    published = str(build().facts["published"])
    shown = flows("state", "show")
    assert (shown.code, shown.err) == (0, "")
    lines = rows(shown.out)
    assert lines[0] == ["store", s3]
    assert lines[1][1].startswith(f"{published}, ")
    assert lines[4:] == [["file", "artifacts/run_results.json"], ["file", "artifacts/manifest.json"]]
    opened(Settings.load()).write("artifacts/manifest.json", b"{}")
    note = f"is not that of the publication; history/{published}/manifest.json counts, the next run copies it"
    assert rows(flows("state", "show").out)[5] == ["file", f"artifacts/manifest.json {note}"]


@pytest.mark.usefixtures("s3")
def test_a_person_rolls_back_and_sees_it_in_the_history(place: Place) -> None:
    """The next run compares with what was rolled back to."""
    project = place.use()
    first = str(build().facts["published"])
    (project / "models" / "third.sql").write_text("select id + 5 as id from {{ ref('second') }}")
    second = str(build().facts["published"])

    done = flows("state", "rollback")

    log = Log.model_validate_json(opened(Settings.load()).read("artifacts/publications.json") or b"")
    assert log.current is not None
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        f"Production is {first} again, as {log.current.id}. The state, that is: tables are as the last run left them. "
        "Runs that started before now do not publish any more.\n"
    )
    shown = rows(flows("state", "history").out)
    assert [[line[0], *line[3:]] for line in shown[1:]] == [
        [log.current.id, f"production, rollback to {first}"],
        [second, "rolled back"],
        [first],
    ]
    assert build(select="state:modified+").summary.startswith("1 dbt nodes: 1 success; 4 not built")


def test_a_rollback_to_nowhere_is_bad_input(s3: str) -> None:
    """One sentence and the exit code for it."""
    message = f"There is no publication x. Where: {s3} (kept: none). Next: see `flows state history`."
    assert flows("state", "rollback", "--to", "x") == refused(2, message)


def test_a_plan_says_what_would_run_and_why_and_runs_nothing(s3: str, place: Place) -> None:
    """On a first run, when nothing changed, and when code and rows did."""
    project = place.use(FILES)
    add_order(place, "2 hours")
    first = flows("plan", "--changed-only")
    assert (first.code, first.err) == (0, "")
    assert first.out.splitlines()[:3] == [
        f"warning: First run: no production manifest in {s3}, so everything is built",
        "6 nodes would run",
        "no estimate: 6 nodes never ran",
    ]
    assert not place.warehouse.exists()
    build()
    assert flows("plan", "--changed-only").out.startswith("0 nodes would run, 6 not built (compared with production of")
    add_order(place, "1 hours")
    (project / "models" / "second.sql").write_text("select id + 5 as id from {{ ref('first') }}")
    shown = flows("plan", "--changed-only")
    assert shown.out.startswith("3 nodes would run, 3 not built (compared with production of 20")
    expected, *nodes = rows(shown.out)[1:]
    assert [line[:2] for line in nodes] == [
        ["model loaded", "fresher source jaffle_shop.raw_orders"],
        ["model second", "modified"],
        ["model third", "downstream of model second"],
    ]
    assert [float(line[2].removesuffix(" s")) < 60 for line in nodes] == [True] * 3
    times = r"about [\d.]+ s with 4 threads: [\d.]+ s of work, critical path [\d.]+ s"
    assert re.fullmatch(rf"{times} \(medians of 1 earlier run\)", expected[0])
    assert execute(place.warehouse, "select * from analytics.third") == [(3,)]


def test_a_plan_of_a_selection(s3: str, place: Place) -> None:
    """As `dbt ls` would list it; a selection that is not understood is the author's."""
    assert s3
    place.use()
    shown = flows("plan", "--select", "second+", "--exclude", "third")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.splitlines()[0] == "1 nodes would run, 4 not built"
    assert rows(shown.out)[1:] == [["no estimate: 1 node never ran"], ["model second", "selected", "never ran"]]
    wrong = flows("plan", "--select", "foo:bar")
    assert (wrong.code, wrong.out) == (2, "")
    assert "'foo' is not a valid method name" in wrong.err


def test_doctor_tries_the_store_and_says_how_old_production_is(s3: str, place: Place, bucket: Any) -> None:
    """And leaves nothing there."""
    place.use()
    (found,) = [line for line in rows(flows("doctor").out) if line[1:2] == ["state store"]]
    assert found == ["ok", "state store", f"{s3} (no production manifest yet)"]
    assert [item.key for item in bucket.objects.all()] == []
    build()
    (found,) = [line for line in rows(flows("doctor").out) if line[1:2] == ["state store"]]
    assert found[2].startswith(f"{s3} (production is ")


def test_doctor_names_every_permission_that_is_missing(s3: str, place: Place, bucket: Any) -> None:
    """A policy that only reads."""
    place.use()
    deny = {"Effect": "Deny", "Principal": "*", "Action": ["s3:PutObject", "s3:DeleteObject"]}
    policy = {"Version": "2012-10-17", "Statement": [{**deny, "Resource": f"arn:aws:s3:::{bucket.name}/*"}]}
    bucket.Policy().put(Policy=json.dumps(policy))
    shown = flows("doctor", COLUMNS="400")
    lines = rows(shown.out)
    assert (shown.code, [line[2] for line in lines if line[1:2] == ["state store"]]) == (
        2,
        [f"The state store does not allow this process to write, replace. Where: {s3}."],
    )
