"""What a publication meets in the store, on a folder and on S3: another project's, another tool's, what is damaged."""

from __future__ import annotations

import pytest

from flow_of_flows.dbt.state import Store, publishing
from flow_of_flows.dbt.state.publications import LOG
from flow_of_flows.dbt.state.publishing import Missing
from flow_of_flows.errors import ConfigurationError
from tests.fixtures.publications import ME, at, do, marks
from tests.fixtures.stores import made, manifest


@pytest.mark.parametrize(("what", "theirs"), [("project", "another"), ("adapter", "snowflake")])
def test_what_belongs_to_another_is_not_replaced(store: Store, what: str, theirs: str) -> None:
    """The store is not this run's, whoever is newer; nor is it compared with."""
    do(store, 1, "theirs", made_of={what: theirs})
    own = {"project": "tiny", "adapter": "duckdb"}[what]
    reason = f"it is of another {what}: {theirs}, and this run's is {own}"
    assert do(store, 2, "ours") == f"what is there is not this run's to replace: {reason}"
    store.write("artifacts/publications.json", b'{"publications": []}')
    key = {"project": "project_name", "adapter": "adapter_type"}[what]
    store.write("artifacts/manifest.json", manifest("theirs", **{key: theirs}))
    with pytest.raises(ConfigurationError) as caught:
        publishing.read_production(store, ME)
    assert str(caught.value) == (
        f"The production manifest is refused: {reason}. Where: {store.describe()}. "
        "Next: set FLOWS_STATE_STORE to the store of this project and warehouse."
    )


def test_a_manifest_that_another_tool_put_there_is_used_until_the_first_publication(store: Store) -> None:
    """As a bucket that dbt's artifacts were copied to before."""
    store.write("artifacts/manifest.json", manifest("copied"))
    assert marks(store) == ("copied", "copied")
    assert do(store, 1, "ours") is None
    assert marks(store) == ("ours", "ours")


def test_a_stranger_of_another_project_is_not_replaced(store: Store) -> None:
    """Its manifest says whose it is."""
    store.write("artifacts/manifest.json", manifest("theirs", project_name="another"))
    assert do(store, 1, "ours") == (
        "what is there is not this run's to replace: it is of another project: another, and this run's is tiny"
    )


@pytest.mark.parametrize(
    ("started", "reason"), [(2, "a run that started later has written its artifacts there"), (0, None)]
)
def test_run_results_of_another_tool_say_how_new_they_are(store: Store, started: int, reason: str | None) -> None:
    """As an earlier version of this package wrote them, without a log."""
    content = f'{{"metadata": {{"invocation_started_at": "{at(started).isoformat()}"}}}}'
    store.write("artifacts/run_results.json", content.encode())
    assert do(store, 1, "ours") == reason


BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is not JSON, or only a part of it"),
    "half": (manifest("whole")[:100], "it is not JSON, or only a part of it"),
    "not text": (b"\xff\x00", "it is not JSON, or only a part of it"),
    "a list": (b"[]", "it is not a manifest of dbt: it has no metadata or no nodes"),
    "run results": (b'{"metadata": {}, "results": []}', "it is not a manifest of dbt: it has no metadata or no nodes"),
    "another schema": (manifest(dbt_schema_version="v12"), "it is not a manifest of dbt: its schema is v12"),
    "an older dbt": (
        manifest(dbt_version="1.9.3"),
        "it is of another version of dbt: 1.9.3, and this run's is 1.11.16",
    ),
    "a newer dbt": (
        manifest(dbt_version="2.0.0"),
        "it is of another version of dbt: 2.0.0, and this run's is 1.11.16",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_manifest_that_is_of_no_use_is_refused_with_its_reason(store: Store, case: str) -> None:
    """And replaced by the next publication."""
    data, reason = BROKEN[case]
    store.write("artifacts/manifest.json", data)
    assert publishing.read_production(store, ME) == Missing(f"The production manifest is refused: {reason}")
    assert do(store, 1, "ours") is None
    assert marks(store) == ("ours", "ours")


def test_a_manifest_of_another_patch_of_dbt_is_used(store: Store) -> None:
    """Only a minor version changes what everything is made of."""
    store.write("artifacts/manifest.json", manifest("patch", dbt_version="1.11.2"))
    assert marks(store) == ("patch", "patch")


def test_a_damaged_publication_is_refused_with_its_reason(store: Store) -> None:
    """Something else wrote over the manifest, in both places."""
    do(store, 1, "ours")
    store.write("artifacts/manifest.json", b"{")
    store.write(f"{made(1).folder}/manifest.json", b"{")
    assert publishing.read_production(store, ME) == Missing(
        f"The production artifacts are refused: manifest.json of publication {made(1).id} is not what was published. "
        f"Where: {store.describe()}/{made(1).folder}."
    )


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (b"{", "Invalid JSON: EOF while parsing an object at line 1 column 1"),
        (b'{"version": 2}', "version: Input should be 1"),
    ],
)
def test_a_log_that_cannot_be_read_is_neither_used_nor_replaced(store: Store, log: bytes, reason: str) -> None:
    """A later version of this package may have written it."""
    store.write(LOG, log)
    fact = f"The log of publications cannot be read: {reason}. Where: {store.describe()}/{LOG}."
    assert publishing.read_production(store, ME) == Missing(f"The production artifacts are refused: {fact}")
    with pytest.raises(ConfigurationError) as caught:
        do(store, 1, "ours")
    assert caught.value.fact == fact
    assert store.read(LOG) == log
