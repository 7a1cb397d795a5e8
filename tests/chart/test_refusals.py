"""Values that the chart refuses, each with the sentence that a person reads."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.render import RefusedError, render

CLOUD = {"accountId": "a", "workspaceId": "w"}
REMOVED: tuple[tuple[str, Any], ...] = (
    ("concurrencyLimits", {"warehouse": 4}),
    ("blocks", [{"type": "secret"}]),
    ("automations", [{"name": "tell"}]),
)
SENTENCES: list[tuple[dict[str, Any], str]] = [
    *(
        (
            {"registration": {name: value}},
            (
                f"registration.{name} is not supported any more: registration creates only what the release itself "
                "needs. Remove the value, and create them with Prefect's CLI or its Terraform provider."
            ),
        )
        for name, value in REMOVED
    ),
    (
        {"warehouse": {"duckdb": {"existingClaim": "duck", "persistence": {"enabled": True}}}},
        (
            "warehouse.duckdb.existingClaim and warehouse.duckdb.persistence are two places for the DuckDB files. "
            "Set persistence.enabled=false to use the existing claim."
        ),
    ),
    (
        {"worker": {"replicas": 2}, "warehouse": {"duckdb": {"persistence": {"enabled": True}}}},
        (
            "worker.replicas is 2, and a claim that is ReadWriteOnce is for the pods of one node. "
            "Set warehouse.duckdb.persistence.accessMode=ReadWriteMany, or worker.replicas=1."
        ),
    ),
    (
        {"stateStore": {"s3": "s3://bucket", "existingClaim": "state"}},
        "stateStore.s3 and stateStore.existingClaim are two places for dbt's state. Set one of them.",
    ),
    (
        {"prefect": {"apiUrl": "https://p.example.com/api"}},
        (
            "server.enabled is true, and prefect.apiUrl or prefect.cloud names another API. "
            "Set server.enabled=false to use that one."
        ),
    ),
    (
        {"server": {"enabled": False}},
        (
            "There is no Prefect API: server.enabled is false. "
            "Set prefect.apiUrl, or prefect.cloud, or server.enabled=true."
        ),
    ),
    (
        {"server": {"enabled": False}, "prefect": {"apiUrl": "https://p.example.com/api", "cloud": CLOUD}},
        "prefect.apiUrl and prefect.cloud name two APIs. Set one of them.",
    ),
    (
        {"server": {"enabled": False}, "prefect": {"cloud": {"accountId": "a"}}},
        "prefect.cloud needs accountId and workspaceId. Copy both from the address of the workspace.",
    ),
    (
        {"server": {"enabled": False}, "prefect": {"cloud": CLOUD}},
        "Prefect Cloud needs an API key. Put it into a Secret, and set prefect.apiKey.existingSecret to its name.",
    ),
    (
        {"server": {"enabled": False}, "prefect": {"apiUrl": "https://me:pw@p.example.com/api"}},
        (
            'prefect.apiUrl must not carry credentials. Put "user:password" into a Secret, '
            "and set prefect.auth.existingSecret to its name."
        ),
    ),
    (
        {"server": {"enabled": False}, "prefect": {"apiUrl": "https://p.example.com/"}},
        (
            "prefect.apiUrl is https://p.example.com/, and a Prefect API's address ends in /api. "
            "Set it to https://p.example.com/api if that is where the server answers."
        ),
    ),
    (
        {
            "server": {"enabled": False},
            "prefect": {"apiUrl": "https://api.prefect.cloud/api/accounts/a/workspaces/w"},
        },
        (
            "prefect.apiUrl is a workspace of Prefect Cloud. "
            "Set prefect.cloud.accountId and prefect.cloud.workspaceId instead; both are in that address."
        ),
    ),
    (
        {"server": {"database": {"existingSecret": "s"}, "persistence": {"enabled": True}}},
        (
            "server.database and server.persistence are two places for the server's runs. "
            "Set server.persistence.enabled=false to use Postgres."
        ),
    ),
    (
        {"warehouse": {"target": "postgres"}},
        "warehouse.target is postgres, and warehouse.postgres.host is empty. Set it.",
    ),
    (
        {"warehouse": {"target": "prod", "postgres": {"host": "db", "user": ""}}},
        "warehouse.target is prod, and warehouse.postgres.user is empty. Set it.",
    ),
    ({"jobs": {"children": {"memory": "1Gi"}}}, "jobs.children: there is no job variable memory. There are "),
    ({"jobs": {"retryNodes": {"nodes": "x"}}}, "jobs.retryNodes: there is no job variable nodes. There are "),
    (
        {"jobs": {"deployments": {"dbt-build": {"cpu": "1"}}}},
        "jobs.deployments.dbt-build: there is no job variable cpu. There are ",
    ),
    (
        {"image": {"tag": 83}},
        (
            "image.tag: YAML reads this as the number 83, so the chart cannot know what was written. "
            "Put it in quotes, or use --set-string."
        ),
    ),
    ({"worker": {"nodeSelector": {"gpu": True}}}, "worker.nodeSelector.gpu: YAML reads this as the boolean true, "),
    ({"jobs": {"annotations": {"version": 1.1}}}, "jobs.annotations.version: YAML reads this as the number 1.1, "),
    (
        {"jobs": {"tolerations": [{"key": "gpu", "value": True}]}},
        "jobs.tolerations[0].value: YAML reads this as the boolean true, ",
    ),
    (
        {
            "worker": {
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", 7]}]}
                            ]
                        }
                    }
                }
            }
        },
        "nodeSelectorTerms[0].matchExpressions[0].values[1]: YAML reads this as the number 7, ",
    ),
    (
        {"jobs": {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": 123, "key": "a"}}}]}},
        "jobs.env[0].valueFrom.secretKeyRef.name: YAML reads this as the number 123, ",
    ),
    ({"jobs": {"envFrom": [{"secretRef": {"name": 1}}]}}, "jobs.envFrom[0].secretRef.name: YAML reads this as "),
    ({"dbt": {"secrets": {"A": {"secret": 7}}}}, "dbt.secrets.A.secret: YAML reads this as the number 7, "),
    ({"credentials": {"mounted": {"dbt/x": 7}}}, "credentials.mounted.dbt/x: YAML reads this as the number 7, "),
    (
        {"settings": {"FLOWS_STATE_HISTORY": 9223372036854775807}},
        (
            "settings.FLOWS_STATE_HISTORY: Helm cannot keep every digit of a number beyond 9007199254740991. "
            "Put it in quotes, or use --set-string."
        ),
    ),
    ({"worker": {"env": [{"name": "A", "value": -1e300}]}}, "worker.env[0].value: Helm cannot keep every digit "),
    (
        {"jobs": {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}},
        "jobs.env sets A twice. Keep one of the two.",
    ),
    (
        {"jobs": {"volumes": [{"name": "a", "emptyDir": {}}, {"name": "a", "emptyDir": {}}]}},
        "jobs.volumes has a twice. Keep one of the two.",
    ),
    (
        {"server": {"volumeMounts": [{"name": "a", "mountPath": "/a"}, {"name": "b", "mountPath": "/a"}]}},
        "server.volumeMounts has /a twice. Keep one of the two.",
    ),
    (
        {"credentials": {"mounted": {"dbt-x": "a", "dbt/x": "b"}}},
        (
            "credentials.mounted: dbt-x and dbt/x would be mounted in one folder. "
            "Rename one of them, and set its name in credentials.names or settings."
        ),
    ),
    (
        {"worker": {"env": [{"name": "PREFECT_API_URL", "value": "http://x/api"}]}},
        "worker.env cannot set PREFECT_API_URL: several pods have to agree on it. Use prefect.apiUrl.",
    ),
    (
        {"registration": {"env": [{"name": "FLOWS_REGISTRATION", "value": "/x"}]}},
        "registration.env cannot set FLOWS_REGISTRATION: several pods have to agree on it. Use registration.",
    ),
    (
        {"settings": {"FLOWS_WORK_POOL": "other"}},
        "settings cannot set FLOWS_WORK_POOL: several pods have to agree on it. Use workPool.name.",
    ),
    (
        {"worker": {"podLabels": {"app.kubernetes.io/instance": "x"}}},
        (
            "worker.podLabels cannot set app.kubernetes.io/instance: the chart finds its pods by that label. "
            "Use another name."
        ),
    ),
    (
        {"jobs": {"labels": {"app.kubernetes.io/component": "x"}}},
        "jobs.labels cannot set app.kubernetes.io/component: the chart finds its pods by that label. ",
    ),
]
BY_THE_SCHEMA: list[tuple[dict[str, Any], str]] = [
    ({"wroker": {}}, "additional properties 'wroker' not allowed"),
    ({"worker": {"replica": 2}}, "at '/worker': additional properties 'replica' not allowed"),
    ({"image": {"tag": "latest"}}, "at '/image/tag'"),
    ({"image": {"digest": "sha256:abc"}}, "at '/image/digest'"),
    ({"workPool": {"concurrencyLimit": 0}}, "at '/workPool/concurrencyLimit': minimum: got 0, want 1"),
    ({"jobs": {"ttlSecondsAfterFinished": 60}}, "at '/jobs/ttlSecondsAfterFinished': minimum: got 60, want 3,600"),
    ({"registration": {"owner": "a\nb"}}, "at '/registration/owner'"),
    ({"deployments": {"suffix": "dev"}}, "at '/deployments/suffix'"),
    ({"dbt": {"secrets": {"A": {"field": "x"}}}}, "at '/dbt/secrets/A': missing property 'secret'"),
    ({"dbt": {"secrets": {"A-B": {"secret": "x"}}}}, "invalid propertyName 'A-B'"),
    ({"warehouse": {"target": "dev\nprod"}}, "at '/warehouse/target'"),
    ({"settings": {"PASSWORD": "x"}}, "invalid propertyName 'PASSWORD'"),
    ({"worker": {"resources": {"limits": {"memory": "1 Gi"}}}}, "at '/worker/resources/limits/memory'"),
    ({"jobs": {"resources": {"limits": {"memory": -1}}}}, "at '/jobs/resources/limits/memory': minimum: got -1"),
    ({"jobs": {"ttlSecondsAfterFinished": 2**31}}, "at '/jobs/ttlSecondsAfterFinished': maximum: got 2.147483648"),
    ({"workPool": {"name": None}}, "at '/workPool': missing property 'name'"),
    ({"credentials": {"region": None}}, "at '/credentials': missing property 'region'"),
    ({"jobs": {"env": {"A": "b"}}}, "at '/jobs/env': got object, want array"),
    ({"worker": {"env": [{"name": "A", "valuefrom": {}}]}}, "additional properties 'valuefrom' not allowed"),
    ({"server": {"env": [{"value": "b"}]}}, "at '/server/env/0': missing property 'name'"),
    ({"worker": {"resources": {"limits": {"gpu": 1}}}}, "additional properties 'gpu' not allowed"),
]


@pytest.mark.parametrize(("values", "sentence"), SENTENCES, ids=[sentence[:30] for _, sentence in SENTENCES])
def test_a_combination_that_cannot_work_is_refused_in_a_sentence(values: dict[str, Any], sentence: str) -> None:
    """What is wrong, and what to set."""
    with pytest.raises(RefusedError) as refused:
        render(values)
    assert sentence in str(refused.value)


def test_removed_values_may_be_empty() -> None:
    """`helm upgrade --reuse-values` brings the defaults of an older chart."""
    empty: dict[str, Any] = {name: type(value)() for name, value in REMOVED}
    assert render({"registration": empty}) == render()


@pytest.mark.parametrize(("values", "reason"), BY_THE_SCHEMA, ids=[reason[:30] for _, reason in BY_THE_SCHEMA])
def test_a_value_of_the_wrong_name_or_kind_is_refused_by_its_path(values: dict[str, Any], reason: str) -> None:
    """The schema is closed at the root and below."""
    with pytest.raises(RefusedError) as refused:
        render(values)
    assert reason in str(refused.value)
