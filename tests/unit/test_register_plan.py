"""What is wanted and what is there in, the plan out: compared whole."""

from __future__ import annotations

from uuid import UUID

from flow_of_flows.registration.plan import Action, Item, ResourceChange, ResourceKind, lines, plan

ID = UUID(int=7)


def item(kind: ResourceKind, name: str, *, deletable: bool = False, **fields: object) -> Item:
    """A thing, as wanted."""
    return Item(kind, name, fields, deletable=deletable)


def there(kind: ResourceKind, name: str, *, deletable: bool = False, **fields: object) -> Item:
    """A thing, as found."""
    return Item(kind, name, fields, ID, deletable)


WANTED = [
    item(ResourceKind.DEPLOYMENT, "a/a", tags=["x"], job_variables={"image": "shop:2", "memory_limit": "1Gi"}),
    item(ResourceKind.DEPLOYMENT, "b/b", tags=["x"]),
    item(ResourceKind.QUEUE, "flows/pipelines", priority=1, concurrency_limit=None),
    item(ResourceKind.QUEUE, "flows/children", concurrency_limit=5),
    item(ResourceKind.POOL, "flows", type="kubernetes", concurrency_limit=None),
    item(ResourceKind.BLOCK, "secret/s", data={"value": "new-secret"}),
    item(ResourceKind.LIMIT, "warehouse", limit=4),
]
FOUND = [
    there(ResourceKind.DEPLOYMENT, "a/a", tags=["x"], job_variables={"image": "shop:1", "cpu": 1}, paused=True),
    there(ResourceKind.DEPLOYMENT, "old/old", deletable=True, tags=["x"]),
    there(ResourceKind.DEPLOYMENT, "theirs/theirs", tags=["x"]),
    there(ResourceKind.POOL, "flows", type="kubernetes", concurrency_limit=3),
    there(ResourceKind.QUEUE, "flows/children", priority=2, concurrency_limit=None),
    there(ResourceKind.BLOCK, "secret/s", data={"value": "old-secret"}),
]


def test_a_plan_has_everything_that_is_wanted_or_ours_in_the_order_of_work() -> None:
    """A stranger's is not in it; a field that nobody wants stays as it is; what is deleted comes last."""
    paused = {"tags": ["x"], "job_variables": {"image": "shop:2", "memory_limit": "1Gi"}, "paused": True}
    assert plan(WANTED, FOUND) == (
        ResourceChange(Action.CREATE, ResourceKind.LIMIT, "warehouse", None, WANTED[6]),
        ResourceChange(
            Action.UPDATE,
            ResourceKind.BLOCK,
            "secret/s",
            FOUND[5],
            Item(ResourceKind.BLOCK, "secret/s", {"data": {"value": "new-secret"}}, ID),
        ),
        ResourceChange(
            Action.UPDATE,
            ResourceKind.POOL,
            "flows",
            FOUND[3],
            Item(ResourceKind.POOL, "flows", {"type": "kubernetes", "concurrency_limit": None}, ID),
        ),
        ResourceChange(Action.CREATE, ResourceKind.QUEUE, "flows/pipelines", None, WANTED[2]),
        ResourceChange(
            Action.UPDATE,
            ResourceKind.QUEUE,
            "flows/children",
            FOUND[4],
            Item(ResourceKind.QUEUE, "flows/children", {"priority": 2, "concurrency_limit": 5}, ID),
        ),
        ResourceChange(
            Action.UPDATE, ResourceKind.DEPLOYMENT, "a/a", FOUND[0], Item(ResourceKind.DEPLOYMENT, "a/a", paused, ID)
        ),
        ResourceChange(Action.CREATE, ResourceKind.DEPLOYMENT, "b/b", None, WANTED[1]),
        ResourceChange(Action.DELETE, ResourceKind.DEPLOYMENT, "old/old", FOUND[1], None),
    )


def test_a_plan_in_words_names_what_changes_and_hides_what_blocks_hold() -> None:
    """One line for each thing, one for each value, and the sum."""
    assert list(lines(plan(WANTED, FOUND))) == [
        "create    concurrency limit warehouse",
        "update    block secret/s",
        "            data.value: *** → ***",
        "update    work pool flows",
        "            concurrency_limit: 3 → (none)",
        "create    work queue flows/pipelines",
        "update    work queue flows/children",
        "            concurrency_limit: (none) → 5",
        "update    deployment a/a",
        "            job_variables.cpu: 1 → (none)",
        "            job_variables.image: shop:1 → shop:2",
        "            job_variables.memory_limit: (none) → 1Gi",
        "create    deployment b/b",
        "delete    deployment old/old",
        "Plan: 3 create, 4 update, 0 unchanged, 1 delete.",
    ]


def test_what_a_plan_leads_to_needs_no_change() -> None:
    """Applied once, it is all unchanged."""
    after = [change.after for change in plan(WANTED, FOUND) if change.after]
    assert {change.action for change in plan(WANTED, after)} == {Action.UNCHANGED}


def test_a_block_says_which_values_change_and_none_of_them() -> None:
    """Also where a value is a structure."""
    wanted = [item(ResourceKind.BLOCK, "json/j", data={"value": {"user": "c4nary-2"}, "list": ["c4nary-3"]})]
    shown = list(lines(plan(wanted, [there(ResourceKind.BLOCK, "json/j", data={"value": {"user": "c4nary-1"}})])))
    assert shown == [
        "update    block json/j",
        "            data.list: (none) → ***",
        "            data.value.user: *** → ***",
        "Plan: 0 create, 1 update, 0 unchanged, 0 delete.",
    ]
