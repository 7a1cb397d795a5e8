"""What a plan says of values that differ: whole, down to the smallest part, and without secrets."""

from __future__ import annotations

from typing import Any

import pytest

from flow_of_flows.registration.plan import differences, shown


def said(before: Any, after: Any) -> list[str]:
    """The lines for these two values."""
    return [shown(difference) for difference in differences(before, after)]


def schedule(cron: str, *, active: bool) -> dict[str, Any]:
    """A schedule, as the API has it."""
    return {"schedule": {"cron": cron, "timezone": "Europe/Amsterdam"}, "active": active, "parameters": {}}


LONG = "x" * 400


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        pytest.param({"a": LONG}, {"a": f"{LONG}y"}, [f"a: {LONG} → {LONG}y"], id="long text is not cut"),
        pytest.param({"a": 1}, {"a": True}, ["a: 1 → true"], id="true is not one"),
        pytest.param({}, {"limit": None}, ["limit: (absent) → (none)"], id="a null that was not there"),
        pytest.param(
            {"url": "postgresql://app:pa/ss@db/shop"},
            {"url": "postgresql://app:pa/ss@db/other"},
            ["url: postgresql://app:***@db/shop → postgresql://app:***@db/other"],
            id="a password with a slash",
        ),
        pytest.param(
            {f"k{number}": number for number in range(12)},
            {f"k{number}": number + 1 for number in range(12)},
            [f"k{number}: {number} → {number + 1}" for number in (0, 1, 10, 11, *range(2, 10))],
            id="many values are all shown",
        ),
        pytest.param(
            {"schedules": [schedule("0 6 * * *", active=False)]},
            {"schedules": [schedule("0 6 * * *", active=True)]},
            ["schedules[0].active: false → true"],
            id="a field of an item of a list",
        ),
        pytest.param(
            {"schedules": [schedule("0 6 * * *", active=True)]},
            {"schedules": [schedule("0 5 * * *", active=True), schedule("0 6 * * *", active=True)]},
            [
                (
                    'schedules[0]: (none) → {"active": true, "parameters": {}, '
                    '"schedule": {"cron": "0 5 * * *", "timezone": "Europe/Amsterdam"}}'
                )
            ],
            id="an item that is put before another",
        ),
        pytest.param(
            {"tags": ["a", "b", "c"]}, {"tags": ["a", "c"]}, ["tags[1]: b → (none)"], id="an item that is gone"
        ),
        pytest.param(
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}]},
            {"env": [{"name": "N", "value": "0"}, {"name": "A", "value": "1"}, {"name": "C", "value": "4"}]},
            [
                'env[B]: {"name": "B", "value": "2"} → (none)',
                "env[C].value: 3 → 4",
                'env[N]: (none) → {"name": "N", "value": "0"}',
            ],
            id="items with names are matched by name",
        ),
        pytest.param(
            {"env": [{"name": "A"}, {"name": "B"}]},
            {"env": [{"name": "B"}, {"name": "A"}]},
            ["env (order): A, B → B, A"],
            id="only the order differs",
        ),
        pytest.param(
            {"a": {"b": [{"c": [1, 2]}, {"d": {"e": None}}]}},
            {"a": {"b": [{"c": [1, 3]}, {"d": {"e": 0}}]}},
            ["a.b[0].c[1]: 2 → 3", "a.b[1].d.e: (none) → 0"],
            id="nested as deep as it goes",
        ),
        pytest.param({"a": [1]}, {"a": {"b": 1}}, ['a: [1] → {"b": 1}'], id="another form is shown whole"),
        pytest.param({"a": "one\ntwo"}, {"a": ""}, ['a: "one\\ntwo" → ""'], id="text of several lines is one line"),
        pytest.param({"a": " b"}, {"a": "b"}, ['a: " b" → b'], id="blanks at the ends are seen"),
        pytest.param({"a": 1}, {"a": 1}, [], id="nothing differs"),
    ],
)
def test_every_value_that_differs_is_shown_whole_with_its_path(before: Any, after: Any, lines: list[str]) -> None:
    """One line each: path, old value, new value."""
    assert said(before, after) == lines


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ({"env": {"DB_PASSWORD": "c4nary"}}, {"env": {"DB_PASSWORD": "c4nary-2"}}, ["env.DB_PASSWORD: *** → ***"]),
        (
            {"env": [{"name": "API_TOKEN", "value": "c4nary"}, {"name": "A", "value": "1"}]},
            {"env": [{"name": "API_TOKEN", "value": "c4nary-2"}, {"name": "A", "value": "2"}]},
            ["env[API_TOKEN].value: *** → ***", "env[A].value: 1 → 2"],
        ),
        (
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"name": "A", "value": "1"}, {"name": "PGPASSWORD", "value": "c4nary"}]},
            ['env[PGPASSWORD]: (none) → {"name": "PGPASSWORD", "value": "***"}'],
        ),
        ({"env": {}}, {"env": {"x": {"private_key": "c4nary"}}}, ['env.x: (none) → {"private_key": "***"}']),
        ({"a": "https://me:c4nary@host/x"}, {"a": "https://host/x"}, ["a: https://me:***@host/x → https://host/x"]),
        ({"a": None}, {"a": ["https://me:c4nary@host"]}, ['a: (none) → ["https://me:***@host"]']),
    ],
)
def test_what_is_named_like_a_secret_is_masked(before: Any, after: Any, lines: list[str]) -> None:
    """Variables, fields, and the password within an address; that they change is said."""
    assert said(before, after) == lines


def test_where_a_secret_is_kept_is_no_secret() -> None:
    """References, settings that name places, and switches."""
    key = {"valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}
    before = {"env": [{"name": "PGPASSWORD", **key}], "FLOWS_SECRETS_REGION": "a", "automount_token": True}
    after = {
        "env": [{"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": {"name": "db2", "key": "password"}}}],
        "FLOWS_SECRETS_REGION": "b",
        "automount_token": False,
    }
    assert said(before, after) == [
        "FLOWS_SECRETS_REGION: a → b",
        "automount_token: true → false",
        "env[PGPASSWORD].valueFrom.secretKeyRef.name: db → db2",
    ]
