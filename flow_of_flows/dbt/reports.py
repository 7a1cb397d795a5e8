"""What a build did, for people: nodes in, the child's report and a table artifact out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from flow_of_flows.child_report import ChildReport
from flow_of_flows.dbt import failures
from flow_of_flows.dbt.project import ProjectRevision
from flow_of_flows.dbt.results import Freshness, Node, counts, is_test
from flow_of_flows.dbt.resumption import Remainder
from flow_of_flows.messages import shortened
from flow_of_flows.prefect_api import artifacts

logger = logging.getLogger(__name__)

KEY = "dbt-nodes"
# Characters of a message in the log; Prefect's API takes a record of at most 1 MB.
LOGGED = 100_000


def succeeded(
    done: Sequence[Node],
    sources: Sequence[Freshness],
    warnings: tuple[str, ...],
    *,
    seconds: float,
    dbt: str,
    resumed: tuple[UUID, int] | None,
    more: Mapping[str, str | int] | None = None,
    origin: ProjectRevision | None = None,
) -> ChildReport:
    """Return the report of a build without failures.

    Args:
        done: its nodes.
        sources: the verdicts on its sources.
        warnings: warnings of the run.
        seconds: how long it took.
        dbt: dbt's version.
        resumed: the run that it continued, and how many nodes were done there already.
        more: other facts: what was not built, and what was published.
        origin: the commit that was built, where the project is from a repository.
    """
    found = counts(done)
    fresh = [source for source in sources if source.verdict == "pass"]
    facts: dict[str, str | int | float] = {"nodes": len(done), "seconds": round(seconds, 1), "dbt": dbt}
    facts |= _amounts(done) | {f"nodes {status}": number for status, number in found.items()}
    if sources:
        facts |= {"sources": len(sources), "sources fresh": len(fresh)}
    if resumed is not None:
        facts |= {"retry of": str(resumed[0]), "done before": resumed[1]}
    facts |= more or {}
    if origin is not None:
        facts |= {"repository": origin.address, "commit": origin.commit}
    what = ", ".join(f"{number} {status}" for status, number in found.items())
    summary = f"{len(done)} dbt nodes: {what}" if done else "Nothing to build: nothing differs from production"
    if not done and resumed is not None:
        summary = f"Nothing was left to do of run {resumed[0]}"
    if done and resumed is not None:
        summary += f"; resumed after {resumed[1]} nodes were done already"
    if done and (rest := facts.get("not built")):
        summary += f"; {rest} not built ({facts['not built because']})"
    if origin is not None:
        summary += f" (commit {origin.commit[:12]})"
    return ChildReport(summary=summary, warnings=warnings, facts=facts)


def warnings(done: Iterable[Node]) -> list[str]:
    """Return a line for each test that found something, but less than it fails for."""
    return [f"{node.title}: {node.message or node.status}" for node in done if node.status == "warn"]


def publish_nodes(
    done: Sequence[Node],
    because: Mapping[str, Sequence[str]],
    origin: ProjectRevision | None = None,
    left: Remainder | None = None,
) -> None:
    """Publish the table of nodes on the run's page, failures first; without a run, do nothing.

    Args:
        done: the nodes.
        because: for each skipped node, the failed nodes it was skipped because of.
        origin: the commit that was built, where the project is from a repository.
        left: what was left of the run that this one continues, if it does.
    """
    if artifacts.in_run() and done:
        of = f" of {origin}" if origin else ""
        before = f". {left.sentence}" if left else ""
        table = rows(done, because, left.reasons if left else None)
        artifacts.table(KEY, table, description=f"Every node of the build{of}{before}")


def log_long(done: Iterable[Node]) -> None:
    """Write into the log the messages of failed nodes that are too long for the error's sentence."""
    for node in done:
        if node.failed and len(node.message) > failures.MOST:
            logger.error("%s: %s", node.title, shortened(node.message, LOGGED, rest="in the run's table of nodes"))


def rows(
    done: Sequence[Node], because: Mapping[str, Sequence[str]], reasons: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return the table: one row per node, failures and skips first.

    Args:
        done: the nodes.
        because: for each skipped node, the failed nodes it was skipped because of.
        reasons: of a run that continues another one, why it builds a node, by id.
    """
    order = {"skipped": 1, "warn": 2}
    ordered = sorted(done, key=lambda node: (0 if node.failed else order.get(node.status, 3), node.id))
    return [
        {
            "node": node.id,
            "status": node.status,
            "seconds": node.seconds,
            "rows": node.rows,
            "message": "because of " + ", ".join(because[node.id]) if because.get(node.id) else node.message,
            **({"built because": reasons.get(node.id, "")} if reasons is not None else {}),
        }
        for node in ordered
    ]


def _amounts(done: Sequence[Node]) -> dict[str, str | int | float]:
    """Return how many models and tests ran, and the rows of the models, if the warehouse counted any."""
    models = [node for node in done if node.id.startswith("model.")]
    written = [node.rows for node in models if node.rows is not None]
    amounts: dict[str, str | int | float] = {"models": len(models), "tests": sum(node.is_test for node in done)}
    return amounts | ({"rows": sum(written)} if written else {})


def owners(manifest: Any, ids: Iterable[str]) -> dict[str, str]:
    """Return the owner of each node that has one: its `meta.owner`, that of its group, or that of the model it tests.

    Args:
        manifest: dbt's manifest.
        ids: the nodes.
    """
    found = ((name, _owner(manifest, name)) for name in ids)
    return {name: owner for name, owner in found if owner}


def _owner(manifest: Any, name: str) -> str | None:
    node = _find(manifest, name)
    if node is None:
        return None
    own = _named(_meta(node).get("owner")) or _of_group(manifest, getattr(node, "group", None))
    if own:
        return own
    tested = getattr(node, "attached_node", None) or getattr(node, "tested_node_unique_id", None)
    if tested is None and is_test(name):
        # A singular test says only what it reads.
        above = list(node.depends_on_nodes)
        tested = above[0] if len(above) == 1 else None
    return _owner(manifest, tested) if tested and tested != name else None


def _find(manifest: Any, name: str) -> Any:
    places = (manifest.nodes, manifest.sources, manifest.unit_tests, manifest.exposures)
    return next((place[name] for place in places if name in place), None)


def _meta(node: Any) -> Mapping[str, Any]:
    meta = getattr(node, "meta", None) or getattr(getattr(node, "config", None), "meta", None)
    return meta if isinstance(meta, Mapping) else {}


def _of_group(manifest: Any, group: str | None) -> str | None:
    groups = (each for each in manifest.groups.values() if each.name == group) if group else ()
    return next((_named(each.owner.to_dict()) for each in groups), None)


def _named(owner: object) -> str | None:
    """Return an owner as people write it: a name, or a mapping with a name or an address."""
    if isinstance(owner, Mapping):
        owner = owner.get("name") or owner.get("email")
    return str(owner).strip() or None if isinstance(owner, str) else None
