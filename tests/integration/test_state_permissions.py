"""The least policy of the state store is enough for all that is done there, and each part of it is needed."""

from __future__ import annotations

from typing import Any

import pytest

from flow_of_flows.dbt.state import S3Store
from flow_of_flows.dbt.state.publishing import publish, rollback
from flow_of_flows.dbt.state.s3 import probe
from flow_of_flows.dbt.state.saved_runs import save_run
from flow_of_flows.errors import ConfigurationError, DataError
from tests.fixtures.aws import BUCKET, OBJECT_ACTIONS, REGION, STATE_POLICY, allowed_only
from tests.fixtures.dbt_builds import build
from tests.fixtures.dbt_projects import Place
from tests.fixtures.environment import set_variables
from tests.fixtures.stores import NOON, SAVED, artifacts, made


@pytest.mark.usefixtures("bucket")
def test_the_least_policy_is_enough(aws_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publications, a rollback, saved runs, pruning, and what doctor tries."""
    with allowed_only(aws_endpoint, STATE_POLICY) as variables:
        set_variables(monkeypatch, variables)
        store = S3Store(BUCKET, "", REGION)
        for minute in (1, 2, 3):
            publish(store, made(minute), artifacts(str(minute)), 2)
        assert rollback(store, None, NOON.replace(year=2027), 2).origin == made(2).id
        save_run(store, made(1).run, SAVED, {"run_results.json": b"{}"})
        store.prune("runs", 0)
        assert store.folders("runs") == {}
        probe(store)


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize(
    ("missing", "what"),
    [
        ("s3:GetObject", "read, replace"),
        ("s3:PutObject", "write, replace"),
        ("s3:DeleteObject", "delete"),
        ("s3:ListBucket", "list, delete"),
    ],
)
def test_doctor_names_the_part_that_is_missing(
    aws_endpoint: str, monkeypatch: pytest.MonkeyPatch, missing: str, what: str
) -> None:
    """And what it is needed for."""
    objects, bucket = STATE_POLICY["Statement"]
    kept: dict[str, Any] = {**objects, "Action": [action for action in OBJECT_ACTIONS if action != missing]}
    statements = [kept, *([bucket] if missing != "s3:ListBucket" else [])]
    with allowed_only(aws_endpoint, {**STATE_POLICY, "Statement": statements}) as variables:
        set_variables(monkeypatch, variables)
        with pytest.raises(ConfigurationError) as caught:
            probe(S3Store(BUCKET, "", REGION))
    assert caught.value.message == f"The state store does not allow this process to {what}"
    assert missing in str(caught.value.hint)


@pytest.mark.usefixtures("bucket")
def test_to_compare_only_reading_is_enough(aws_endpoint: str, monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    """Of a laptop that is not to publish; a run that fails cannot be continued, and says so."""
    monkeypatch.setenv("FLOWS_STATE_STORE", f"s3://{BUCKET}")
    project = place.use()
    build()
    monkeypatch.setenv("FLOWS_STATE_PUBLISH", "false")
    objects, bucket = STATE_POLICY["Statement"]
    policy = {**STATE_POLICY, "Statement": [{**objects, "Action": "s3:GetObject"}, bucket]}
    with allowed_only(aws_endpoint, policy) as variables:
        set_variables(monkeypatch, variables)
        report = build(select="state:modified+")
        assert (report.summary, report.warnings) == ("Nothing to build: nothing differs from production", ())
        (project / "models" / "third.sql").write_text("select nope")
        with pytest.raises(DataError) as failure:
            build(select="state:modified+")
    (warning,) = failure.value.warnings
    assert warning.startswith("This run cannot be continued: AWS does not write to the state store: access is denied.")
