"""Rollbacks of publications on a folder and on S3: whole, past what was withdrawn, and while runs publish."""

from __future__ import annotations

import pytest

from flow_of_flows.dbt.state import Store
from flow_of_flows.dbt.state.publications import LOG
from flow_of_flows.dbt.state.publishing import read_log, rollback
from flow_of_flows.errors import ConfigurationError, PlatformError
from tests.fixtures.publications import Watched, at, do, marks
from tests.fixtures.stores import made


def test_a_rollback_brings_an_earlier_publication_back_whole(store: Store) -> None:
    """As a new publication, so that it has its place in the order."""
    do(store, 1, "good")
    do(store, 2, "bad")
    back = rollback(store, None, at(3), keep=10)
    assert (back.origin, back.run, back.time) == (made(1).id, made(1).run, at(3))
    assert marks(store) == ("good", "good")
    assert store.read("artifacts/run_results.json") == b"results of good"
    assert len(read_log(store)[0].publications) == 3


def test_a_run_that_started_before_a_rollback_does_not_undo_it(store: Store) -> None:
    """It was built by what was rolled back from; one that starts afterwards publishes."""
    do(store, 1, "good")
    do(store, 2, "bad")
    rollback(store, None, at(5), keep=10)
    reason = f"production was rolled back to {made(1).id} after this run had started"
    assert do(store, 4, "also bad") == reason
    assert marks(store) == ("good", "good")
    assert do(store, 6, "mended") is None
    assert marks(store) == ("mended", "mended")


def test_a_run_that_publishes_while_a_rollback_is_made_is_not_lost(store: Store) -> None:
    """The rollback was decided on before it, and is refused."""
    do(store, 1, "good")
    do(store, 2, "bad")
    watched = Watched(store, before={LOG: lambda: do(store, 3, "newer")})
    with pytest.raises(PlatformError) as caught:
        rollback(watched, None, at(4), keep=10)
    assert caught.value.message == "Nothing was rolled back: a run has published meanwhile"
    assert marks(store) == ("newer", "newer")
    assert sorted(store.folders("history")) == [made(1).id, made(2).id, made(3).id]


def test_a_rollback_that_is_made_while_a_run_publishes_is_not_undone(store: Store) -> None:
    """The run looks at the log again."""
    do(store, 1, "good")
    do(store, 2, "bad")
    watched = Watched(store, before={LOG: lambda: rollback(store, None, at(4), keep=10)})
    reason = f"production was rolled back to {made(1).id} after this run had started"
    assert do(watched, 3, "also bad") == reason
    assert marks(store) == ("good", "good")


def test_rollbacks_go_back_run_by_run_and_pass_over_what_was_withdrawn(store: Store) -> None:
    """The second does not bring the first's bad run back, nor does one after a new run."""
    for minute in (1, 2, 3):
        do(store, minute, str(minute))
    rollback(store, None, at(4), keep=10)
    assert marks(store) == ("2", "2")
    rollback(store, None, at(5), keep=10)
    assert marks(store) == ("1", "1")
    do(store, 6, "6")
    rollback(store, None, at(7), keep=10)
    assert marks(store) == ("1", "1")


@pytest.mark.parametrize("name", [made(1).id, str(made(1).run)])
def test_a_rollback_goes_to_a_publication_by_its_id_or_its_runs(store: Store, name: str) -> None:
    """Any that is kept."""
    for minute in (1, 2, 3):
        do(store, minute, str(minute))
    rollback(store, name, at(4), keep=10)
    assert marks(store) == ("1", "1")


def test_a_rollback_has_somewhere_to_go(store: Store) -> None:
    """Else it says what there is."""
    for to, what in ((None, "There is no earlier publication"), ("nothing", "There is no publication nothing")):
        with pytest.raises(ConfigurationError) as caught:
            rollback(store, to, at(1), keep=10)
        assert caught.value.fact == f"{what}. Where: {store.describe()} (kept: none)."
    do(store, 1, "only")
    with pytest.raises(ConfigurationError) as caught:
        rollback(store, made(1).id, at(2), keep=10)
    assert caught.value.message == f"{made(1).id} is production already"


def test_a_rollback_never_brings_back_half_a_publication(store: Store) -> None:
    """A file that is gone, or another than was published."""
    do(store, 1, "good")
    do(store, 2, "bad")
    store.write(f"{made(1).folder}/run_results.json", b"half")
    with pytest.raises(ConfigurationError) as caught:
        rollback(store, None, at(3), keep=10)
    assert caught.value.message == f"run_results.json of publication {made(1).id} is not what was published"
    assert marks(store) == ("bad", "bad")


def test_a_clock_behind_does_not_put_a_rollback_before_what_it_replaces(store: Store) -> None:
    """Its place is after, whatever the machine's clock says."""
    do(store, 1, "good")
    do(store, 9, "bad")
    assert rollback(store, None, at(3), keep=10).time == at(9)
    assert marks(store) == ("good", "good")
