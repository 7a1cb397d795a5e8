"""dbt's artifacts as values: run_results.json and sources.json in, nodes and freshness out. Pure."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from flow_of_flows.messages import plain

FAILED = frozenset({"error", "fail", "runtime error", "partial success"})
TESTS = ("test.", "unit_test.")
# How a test ends for which dbt has counted failures.
COUNTED = frozenset({"pass", "warn", "fail"})
OPERATION = "operation."


@dataclass(frozen=True)
class Batches:
    """The batches of a microbatch model that succeeded and those that did not: the start and end of each, as dbt's."""

    successful: tuple[tuple[str, str], ...]
    failed: tuple[tuple[str, str], ...]

    @property
    def status(self) -> str:
        """How a model with these batches ends."""
        return "partial success" if self.failed else "success"

    @property
    def message(self) -> str:
        """What dbt says of such a model."""
        built, total = len(self.successful), len(self.successful) + len(self.failed)
        return f"PARTIAL SUCCESS ({built}/{total})" if self.failed else "SUCCESS"

    def as_json(self) -> dict[str, list[list[str]]]:
        """Return the `batch_results` of a result in run_results.json."""
        return {"successful": [list(batch) for batch in self.successful], "failed": [list(b) for b in self.failed]}


@dataclass(frozen=True)
class Node:
    """One node of a build, as dbt reports it.

    `rows` is what the warehouse says it wrote, or for a test the rows that failed; None where it says nothing.
    `batches` are those of a microbatch model that this process has built.
    """

    id: str
    status: str
    seconds: float
    message: str
    rows: int | None
    batches: Batches | None = None

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Node:
        """Return the node of one result in the shape of run_results.json."""
        rows = result["failures"] if result["failures"] is not None else result["adapter_response"].get("rows_affected")
        return cls(
            id=result["unique_id"],
            status=result["status"],
            seconds=round(float(result["execution_time"]), 3),
            message=one_line(result["message"] or ""),
            # A warehouse says -1 where it does not know.
            rows=int(rows) if rows is not None and int(rows) >= 0 else None,
        )

    @property
    def failed(self) -> bool:
        """Whether dbt calls this node's end a failure."""
        return self.status in FAILED

    @property
    def is_done(self) -> bool:
        """Whether a retry has nothing to do for this node."""
        return not self.failed and self.status != "skipped"

    @property
    def is_test(self) -> bool:
        """Whether this is a data test or a unit test."""
        return is_test(self.id)

    @property
    def title(self) -> str:
        """The id without its package: `model customers`."""
        return title(self.id)


class FreshnessVerdict(StrEnum):
    """How fresh a source is, in dbt's words, and `unknown` for a source without an answer from dbt."""

    PASS = "pass"  # noqa: S105 - dbt's word
    WARN = "warn"
    ERROR = "error"
    RUNTIME_ERROR = "runtime error"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Freshness:
    """One source table: its verdict, and why."""

    id: str
    verdict: FreshnessVerdict
    message: str

    @property
    def stale(self) -> bool:
        """Whether the source broke its error threshold, or could not be checked."""
        return self.verdict not in (FreshnessVerdict.PASS, FreshnessVerdict.WARN)


def nodes(run_results: bytes) -> tuple[Node, ...]:
    """Return the nodes of a run_results.json."""
    return tuple(Node.of(result) for result in json.loads(run_results)["results"])


def freshness(
    sources: bytes | None, expected: Iterable[str], errors: Mapping[str, str] | None = None
) -> tuple[Freshness, ...]:
    """Return the verdict on each expected source; one that the file does not speak of is not fresh.

    Args:
        sources: content of sources.json, None if there is none.
        expected: unique ids of the sources that declare freshness.
        errors: why a source could not be checked, by its id; dbt leaves such a source out of the file.
    """
    results = json.loads(sources)["results"] if sources is not None else []
    found = {result["unique_id"]: _freshness(result) for result in results}
    return tuple(found.get(source) or _unchecked(source, errors or {}) for source in sorted(expected))


def counts(done: Iterable[Node]) -> dict[str, int]:
    """Return how many nodes ended in each status, by status."""
    return dict(sorted(Counter(node.status for node in done).items()))


def blame(
    skipped: Iterable[str], failed: Iterable[str], parents: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """Return the failures that each skipped node was skipped because of.

    They are failed ancestors, and failed tests of ancestors; without any, the hooks that failed.

    Args:
        skipped: ids of the skipped nodes.
        failed: ids of the failed nodes.
        parents: what each node depends on, by id.
    """
    bad = sorted(failed)
    hooks = tuple(name for name in bad if is_operation(name))
    result: dict[str, tuple[str, ...]] = {}
    for node in skipped:
        above = ancestors(node, parents)
        tests = {f for f in bad if is_test(f) and above & set(parents.get(f, ()))}
        result[node] = tuple(f for f in bad if f in above or f in tests) or hooks
    return result


def one_line(text: str) -> str:
    """Return a message of dbt as one line, without the path of the compiled file, which is removed with the run."""
    kept = (line.strip() for line in plain(text).splitlines() if "compiled code at" not in line)
    return " ".join(line for line in kept if line)


def is_test(name: str) -> bool:
    """Return whether an id is that of a data test or a unit test."""
    return name.startswith(TESTS)


def is_operation(name: str) -> bool:
    """Return whether an id is that of a hook, `on-run-start` or `on-run-end`; dbt calls them operations."""
    return name.startswith(OPERATION)


def title(name: str) -> str:
    """Return an id without its package: `model customers`."""
    kind, _, rest = name.partition(".")
    return f"{kind} {rest.partition('.')[2] or rest}"


def merged(layers: Iterable[bytes], known: Collection[str]) -> bytes:
    """One run_results.json of several: the last result of each node that is known.

    Args:
        layers: contents, oldest first; all but the results are those of the last.
        known: ids of the nodes that there are.
    """
    documents = [json.loads(layer) for layer in layers]
    results = {result["unique_id"]: result for document in documents for result in document["results"]}
    kept = [result for name, result in results.items() if name in known]
    return json.dumps({**documents[-1], "results": kept}).encode()


def ancestors(node: str, parents: Mapping[str, Sequence[str]]) -> set[str]:
    """Return everything a node depends on.

    Args:
        node: id of the node.
        parents: what each node depends on, by id.
    """
    seen: set[str] = set()
    todo = list(parents.get(node, ()))
    while todo:
        parent = todo.pop()
        if parent not in seen:
            seen.add(parent)
            todo.extend(parents.get(parent, ()))
    return seen


def _unchecked(source: str, errors: Mapping[str, str]) -> Freshness:
    if source in errors:
        return Freshness(source, FreshnessVerdict.RUNTIME_ERROR, one_line(errors[source]))
    return Freshness(source, FreshnessVerdict.UNKNOWN, "dbt reported no freshness for it")


def _freshness(result: Mapping[str, Any]) -> Freshness:
    verdict = FreshnessVerdict(result["status"])
    if "max_loaded_at" in result:
        message = f"last loaded {result['max_loaded_at']}"
    else:
        message = one_line(str(result.get("error") or "the check failed"))
    return Freshness(result["unique_id"], verdict, message)


NAMED = 5
_OF_MODEL = re.compile(r"^batch (.+?) of .*$")
# What dbt puts before an exception of a batch.
_PREFIX = "Exception on worker thread. "


def batch_of(description: str) -> str:
    """Return the start of a batch, as in dbt's words for it: `batch 2026-01-02 of model analytics.events`."""
    found = _OF_MODEL.match(description)
    return found[1] if found else description


@dataclass
class BatchCauses:
    """The failed batches of each model with their causes, gathered from dbt's threads."""

    _raised: dict[int, str] = field(default_factory=dict)
    _causes: dict[str, dict[str, str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """Forget what this thread raised before: something else starts in it."""
        with self._lock:
            self._raised.pop(threading.get_ident(), None)

    def forget(self, model: str) -> None:
        """Forget the failed batches of a model that is built once more."""
        with self._lock:
            self._causes.pop(model, None)

    def raised(self, cause: str) -> None:
        """Keep an exception of this thread, for the batch that ends with it."""
        with self._lock:
            self._raised[threading.get_ident()] = cause.removeprefix(_PREFIX)

    def failed(self, model: str, description: str) -> str:
        """Take the end of a batch that failed in this thread; return a line for the log.

        Args:
            model: unique id of the model.
            description: dbt's words for the batch, such as `batch 2026-01-02 of model analytics.events`.
        """
        with self._lock:
            cause = self._raised.pop(threading.get_ident(), "dbt gave no cause")
            self._causes.setdefault(model, {})[batch_of(description)] = cause
        return f"{description}: {cause}"

    def completed(self, node: Node) -> Node:
        """Return a node whose message has the causes of its failed batches."""
        return replace(node, message=_with(node.message, self._causes.get(node.id, {}))) if node.failed else node

    def complete(self, run_results: bytes) -> bytes:
        """Return a run_results.json in which the messages of models have the causes of their failed batches."""
        if not self._causes:
            return run_results
        document = json.loads(run_results)
        for result in document["results"]:
            if causes := self._causes.get(result["unique_id"]):
                result["message"] = _with(result["message"] or "", causes)
        return json.dumps(document).encode()


def _with(message: str, causes: Mapping[str, str]) -> str:
    batches: dict[str, list[str]] = {}
    for batch, cause in causes.items():
        batches.setdefault(cause, []).append(batch)
    parts = [f"batch {_some(names)}: {cause}" for cause, names in list(batches.items())[:NAMED]]
    return "; ".join([message, *parts]) + (f"; and {len(batches) - NAMED} more causes" if len(batches) > NAMED else "")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(sorted(names)[:NAMED]) + more
