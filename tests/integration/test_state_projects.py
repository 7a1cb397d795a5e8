"""Several projects in one state store, on a folder and on S3: each has its own production; upgrades move none."""

from __future__ import annotations

from uuid import UUID

import pytest

from flow_of_flows.dbt.state import Store
from flow_of_flows.dbt.state.projects import Owner, base, chosen, claim, find, listed
from flow_of_flows.dbt.state.publications import LOG, Identity
from flow_of_flows.dbt.state.publishing import Production, publish, read_log, read_production, rollback
from flow_of_flows.errors import ConfigurationError
from tests.fixtures.publications import at, do, marks
from tests.fixtures.stores import made, manifest

OWN = Owner(project="tiny", target="duckdb", adapter="duckdb", is_default=True)
FINANCE = Owner(project="finance", target="prod", adapter="postgres", source="dbt/finance")
OTHER_TARGET = Owner(project="tiny", target="review", adapter="duckdb")
# What version 0.1 left at the root of a store: a log, and files without a word of their owner.
EARLIER = """{"version":1,"publications":[{"time":"2026-01-01T12:02:00Z","run":"00000000-0000-0000-0000-000000000002",
"project":"tiny","adapter":"duckdb","dbt":"1.11.16","target":"duckdb /warehouse/warehouse.duckdb analytics","files":{
"manifest.json":"3da1ccc9a5fc9ca93ac3b90d00d8d6a6a8c4ab4b2c8fd32b0c8a9e9d7d5a6dc1"},"origin":null}]}"""


def put(store: Store, owner: Owner, minute: int, text: str) -> Store:
    """Publish artifacts of an owner, with a mark."""
    place = claim(store, owner)
    target = f"{owner.target} somewhere analytics"
    new = made(minute, project=owner.project, adapter=owner.adapter, target=target)
    files = {"manifest.json": manifest(text, project_name=owner.project, adapter_type=owner.adapter)}
    assert not hasattr(publish(place, new, {**files, "run_results.json": b"{}"}, 10), "reason")
    return place


def folder(store: Store, owner: Owner) -> str:
    """Where an owner's production is, below the root of a store."""
    return find(store, owner).describe().removeprefix(store.describe())


def current(store: Store, owner: Owner) -> str | None:
    """Run of an owner's production."""
    log, _ = read_log(find(store, owner))
    return str(log.current.run)[-2:] if log.current else None


def test_the_own_project_is_at_the_root_and_every_other_in_a_folder(store: Store) -> None:
    """Also the own one on another target; and the order of publications is each one's own."""
    put(store, FINANCE, 5, "finance")
    put(store, OTHER_TARGET, 4, "review")
    put(store, OWN, 3, "own")
    assert [folder(store, each) for each in (OWN, FINANCE, OTHER_TARGET)] == [
        "",
        "/projects/finance/prod",
        "/projects/tiny/review",
    ]
    assert [current(store, each) for each in (OWN, FINANCE, OTHER_TARGET)] == ["03", "05", "04"]
    assert marks(store) == ("own", "own")
    assert store.read("projects/finance/prod/artifacts/manifest.json") == manifest(
        "finance", project_name="finance", adapter_type="postgres"
    )


def test_a_first_run_on_another_target_does_not_take_the_root(store: Store) -> None:
    """It is for the installation's own target."""
    put(store, OTHER_TARGET, 1, "review")
    assert (store.read(LOG), folder(store, OWN)) == (None, "")


def test_projects_of_one_name_are_kept_apart_by_their_source(store: Store) -> None:
    """Two repositories, or an output that has another adapter now."""
    here = Owner(project="finance", target="prod", adapter="postgres", source="https://host/a")
    there = here.model_copy(update={"source": "https://host/b"})
    moved = here.model_copy(update={"adapter": "snowflake"})
    for minute, each in enumerate((here, there, moved)):
        put(store, each, minute, each.source)
    assert [current(store, each) for each in (here, there, moved)] == ["00", "01", "02"]
    assert folder(store, here) == "/projects/finance/prod"
    assert folder(store, there) == f"/{there.own_folder}"
    assert len({folder(store, each) for each in (here, there, moved)}) == 3


def test_the_own_project_stays_at_the_root_when_it_moves_to_a_repository(store: Store) -> None:
    """Its source is the installation's own before and after."""
    put(store, OWN, 1, "before")
    put(store, OWN.model_copy(), 2, "after")
    assert [str(entry.run)[-2:] for entry in read_log(store)[0].publications] == ["02", "01"]


@pytest.mark.parametrize("source", ["", "https://host/tiny"])
def test_what_an_earlier_version_published_stays_the_same_project_s(store: Store, source: str) -> None:
    """With its history: the next run follows, and a rollback goes back over the upgrade."""
    do(store, 1, "first")
    do(store, 2, "second")
    mine = OWN.model_copy(update={"source": source, "is_default": not source})
    assert folder(store, mine) == ""
    found = read_production(base(store, mine), Identity("tiny", "duckdb", "1.11.16"))
    assert isinstance(found, Production)
    assert found.publication is not None
    assert found.publication.run == UUID(int=2)
    put(store, mine, 3, "third")
    assert folder(store, mine) == ""
    assert [str(entry.run)[-2:] for entry in read_log(store)[0].publications] == ["03", "02", "01"]
    rollback(find(store, mine), str(UUID(int=1)), at(9), 10)
    assert marks(store) == ("first", "first")
    assert folder(store, mine.model_copy(update={"source": "another", "is_default": False})) == "/projects/tiny/duckdb"


def test_the_log_of_an_earlier_version_is_read_as_it_is(store: Store) -> None:
    """And it says whose it is."""
    store.write(LOG, EARLIER.encode())
    (found,) = listed(store)
    assert (found.title, found.folder) == ("tiny on duckdb", "")
    assert folder(store, OWN) == ""
    assert [folder(store, each) for each in (FINANCE, OTHER_TARGET)] == [
        "/projects/finance/prod",
        "/projects/tiny/review",
    ]


def test_another_project_at_the_root_keeps_it(store: Store) -> None:
    """This installation's own has a folder, and neither refuses the other."""
    do(store, 1, "theirs", made_of={"project": "another"})
    put(store, OWN, 2, "ours")
    assert (folder(store, OWN), current(store, OWN)) == ("/projects/tiny/duckdb", "02")
    assert read_log(store)[0].publications[0].project == "another"


def test_a_manifest_of_another_tool_is_taken_over_by_its_project_alone(store: Store) -> None:
    """A bucket that dbt's artifacts were copied to."""
    store.write("artifacts/manifest.json", manifest("copied"))
    assert folder(store, OWN) == ""
    assert folder(store, OWN.model_copy(update={"project": "another"})) == "/projects/another/duckdb"


def test_a_target_without_production_is_compared_with_the_project_s(store: Store) -> None:
    """With that at the root, else with the only other one; never with another project's."""
    put(store, FINANCE, 1, "finance")
    review = FINANCE.model_copy(update={"target": "review"})
    assert base(store, review).describe() == find(store, FINANCE).describe()
    assert base(store, OTHER_TARGET).describe() == find(store, OTHER_TARGET).describe()
    put(store, OWN, 2, "own")
    assert base(store, OTHER_TARGET).describe() == store.describe()
    put(store, FINANCE.model_copy(update={"target": "staging"}), 3, "staging")
    assert base(store, review).describe() == find(store, review).describe()
    put(store, OTHER_TARGET, 4, "review")
    assert base(store, OTHER_TARGET).describe() == find(store, OTHER_TARGET).describe()


def test_a_person_names_a_project_a_target_or_a_source(store: Store) -> None:
    """And gets a sentence where there is none such."""
    for minute, each in enumerate((OWN, OTHER_TARGET, FINANCE)):
        put(store, each, minute, "")
    titles = ["tiny on duckdb", "finance on prod (dbt/finance)", "tiny on review"]
    assert [state.title for state in listed(store)] == titles
    named = {
        name: [state.title for state in chosen(store, name)]
        for name in ("tiny", "tiny/review", "dbt/finance", "finance")
    }
    assert named == {
        "tiny": [titles[0], titles[2]],
        "tiny/review": [titles[2]],
        "dbt/finance": [titles[1]],
        "finance": [titles[1]],
    }
    with pytest.raises(ConfigurationError) as caught:
        chosen(store, "finanze")
    assert str(caught.value) == (
        f"The state store has nothing of finanze. Where: {store.describe()}. "
        "Next: did you mean finance/prod? it has tiny/duckdb, finance/prod, tiny/review."
    )


def test_two_first_runs_at_once_do_not_share_a_folder(store: Store) -> None:
    """Who marks it first has it."""
    there = FINANCE.model_copy(update={"source": "https://host/b"})
    place = find(store, there)
    assert place.describe() == find(store, FINANCE).describe()
    claim(store, FINANCE)
    assert claim(store, there).describe() == f"{store.describe()}/{there.own_folder}"
