"""Numbers, names and variables keep their text, by whichever way of Helm they come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import kubernetes_validate
import pytest

from tests.chart.render import EVERYTHING, KUBERNETES, Object, objects, pods, registration, variables

WORDS = ["123", "0123", "1e3", "0x1f", "true", "yes", "null", "1.10", "1_000"]
# What values decide for several pods at once; see the refusals.
KEPT = {
    "FLOWS_WORK_POOL",
    "FLOWS_SWEEP_RELEASE",
    "FLOWS_REGISTRATION",
    "FLOWS_POD_DEADLINE_SECONDS",
    "PREFECT_API_URL",
}
PARTS = {
    "server": "Deployment/server",
    "worker": "Deployment/worker",
    "jobs": "Job/flow-run",
    "registration": "Job/register",
}


@pytest.mark.parametrize("release", ["2024/123", "0123/1e3", "true/null"])
def test_a_release_and_a_namespace_may_look_like_numbers(release: str) -> None:
    """Every object is valid, and labels, variables and the owner have the name as it is."""
    namespace, name = release.split("/")
    found = objects(EVERYTHING, release=release)
    for each in found.values():
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
    worker = found["Deployment/worker"]
    assert worker["metadata"]["labels"]["app.kubernetes.io/instance"] == name
    assert worker["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"] == name
    given = variables(pods(found)["Deployment/worker"])
    assert given["FLOWS_SWEEP_RELEASE"] == name
    assert given["PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES"] == namespace
    assert found["RoleBinding/worker"]["subjects"][0]["namespace"] == namespace


def test_the_server_of_a_release_that_begins_with_a_digit_has_a_name_that_a_service_may_have() -> None:
    """A Service's name begins with a letter; the worker finds it by that name."""
    found = objects(release="data/7up")
    service = found["Service/server"]["metadata"]["name"]
    assert service == "server-7up-flow-of-flows"
    assert variables(pods(found)["Deployment/worker"])["PREFECT_API_URL"] == f"http://{service}.data.svc:4200/api"


@pytest.mark.parametrize("word", WORDS)
def test_a_name_in_quotes_stays_text_wherever_it_goes(word: str) -> None:
    """Pool, Secrets, keys, user, database, tag: all objects are valid, and have the word itself."""
    pool = word.replace(".", "-")
    values: Object = {
        "image": {"tag": word},
        "workPool": {"name": pool},
        "prefect": {"auth": {"existingSecret": pool.replace("_", "-"), "key": word}},
        "warehouse": {
            "target": "postgres",
            "postgres": {"host": word, "user": word, "database": word, "existingSecret": "s", "key": word},
        },
        "worker": {"podLabels": {"a": word}, "nodeSelector": {"a": word}, "priorityClassName": "p"},
        "settings": {"FLOWS_STATE_HISTORY": word},
    }
    found = objects(values)
    for each in found.values():
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
    job = variables(pods(found)["Job/flow-run"])
    assert [job[name] for name in ("PGHOST", "PGUSER", "PGDATABASE", "FLOWS_STATE_HISTORY")] == [word] * 4
    assert job["PGPASSWORD"] == {"secretKeyRef": {"name": "s", "key": word}}
    assert job["FLOWS_WORK_POOL"] == pool
    assert registration(values)["workPool"]["name"] == pool
    worker = found["Deployment/worker"]["spec"]["template"]
    assert worker["metadata"]["labels"]["a"] == word
    assert worker["spec"]["nodeSelector"] == {"a": word}
    assert worker["spec"]["containers"][0]["image"] == f"flow-of-flows:{word}"
    assert f"--pool={pool}" in worker["spec"]["containers"][0]["args"]


@pytest.mark.parametrize(
    ("values", "options", "text"),
    [
        ("settings: {FLOWS_X: 1000000}", [], "1000000"),
        ("settings: {FLOWS_X: 1.50}", [], "1.5"),
        ("settings: {FLOWS_X: 0.000001}", [], "0.000001"),
        ("settings: {FLOWS_X: 9007199254740991}", [], "9007199254740991"),
        ("settings: {FLOWS_X: -2592000}", [], "-2592000"),
        ("settings: {FLOWS_X: true}", [], "true"),
        ("settings: {FLOWS_X: 0}", [], "0"),
        ("settings: {FLOWS_X: false}", [], "false"),
        ("settings: {FLOWS_X: ''}", [], ""),
        ("settings: {FLOWS_X: '1e+06'}", [], "1e+06"),
        ("", ["--set", "settings.FLOWS_X=9223372036854775807"], "9223372036854775807"),
        ("", ["--set", "settings.FLOWS_X=0123"], "0123"),
        ("", ["--set-string", "settings.FLOWS_X=1000000"], "1000000"),
        ("", ["--set-json", "settings.FLOWS_X=1000000"], "1000000"),
        ("", ["--set-json", 'settings={"FLOWS_X": 1.5}'], "1.5"),
    ],
)
def test_a_setting_has_the_text_of_its_value(values: str, options: Sequence[str], text: str) -> None:
    """In the worker, in registration and in job pods."""
    found = pods(objects(values, options=options))
    for name in ("Deployment/worker", "Job/register", "Job/flow-run"):
        assert variables(found[name])["FLOWS_X"] == text


@pytest.mark.parametrize("option", ["--set", "--set-string"])
def test_digits_given_on_the_command_line_are_a_name(option: str) -> None:
    """A short commit id of digits only, say: Helm keeps those digits."""
    found = objects(options=[option, "image.tag=1234567", option, "workPool.name=2024"])
    container = pods(found)["Deployment/worker"]["containers"][0]
    assert container["image"] == "flow-of-flows:1234567"
    assert "--pool=2024" in container["args"]


@pytest.mark.parametrize("part", PARTS)
def test_a_variable_of_the_values_takes_the_place_of_the_chart_s(part: str) -> None:
    """Each of them, once, with the user's value; a reference replaces a value as a whole, and the other way round."""
    name = PARTS[part]
    own = set(variables(pods(objects(EVERYTHING))[name])) - KEPT
    entries: list[Any] = [{"name": each, "value": "mine"} for each in sorted(own)]
    reference = {"secretKeyRef": {"name": "mine", "key": "mine"}}
    entries[0] = {"name": entries[0]["name"], "valueFrom": reference}
    (container,) = pods(objects({**EVERYTHING, part: {**EVERYTHING.get(part, {}), "env": entries}}))[name]["containers"]
    names = [entry["name"] for entry in container["env"]]
    assert len(names) == len(set(names))
    assert [entry for entry in container["env"] if entry["name"] in own] == entries


def test_settings_take_the_place_of_what_the_chart_sets_and_a_pod_s_variables_of_both() -> None:
    """The nearest to the pod wins."""
    values = {
        "environment": "production",
        "warehouse": {"schema": "marts"},
        "settings": {"FLOWS_ENVIRONMENT": "development", "FLOWS_TARGET_SCHEMA": "other"},
        "jobs": {"env": [{"name": "FLOWS_TARGET_SCHEMA", "value": "nearest"}]},
    }
    found = pods(objects(values))
    job = variables(found["Job/flow-run"])
    assert (job["FLOWS_ENVIRONMENT"], job["FLOWS_TARGET_SCHEMA"]) == ("development", "nearest")
    assert variables(found["Job/register"])["FLOWS_TARGET_SCHEMA"] == "other"
    for name in ("Job/flow-run", "Job/register", "Deployment/worker"):
        names = [entry["name"] for entry in found[name]["containers"][0]["env"]]
        assert len(names) == len(set(names))


def test_two_secrets_with_long_or_similar_names_have_volumes_of_their_own() -> None:
    """A volume's name is shorter than a Secret's may be, and has no dots."""
    long = "a" * 60
    mounted = {"dbt/a": f"{long}1", "dbt/b": f"{long}2", "dbt/c": "a.b", "dbt/d": "a-b"}
    found = pods(objects({"credentials": {"mounted": mounted}}))["Job/flow-run"]
    secrets = {each["name"]: each["secret"]["secretName"] for each in found["volumes"] if "secret" in each}
    assert sorted(secrets.values()) == sorted(mounted.values())
    mounts = {each["mountPath"]: secrets.get(each["name"]) for each in found["containers"][0]["volumeMounts"]}
    for name, secret in mounted.items():
        assert mounts[f"/var/run/flow-of-flows/secrets/{name.replace('/', '-')}"] == secret
