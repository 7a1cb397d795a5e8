"""Why batches of microbatch models failed: dbt's events in, the messages of the models with their causes out.

dbt's results name the batches that failed and how many did, but only its events say why.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from flow_of_flows.dbt.results import Node

NAMED = 5
_OF_MODEL = re.compile(r"^batch (.+?) of .*$")
# What dbt puts before an exception of a batch.
_PREFIX = "Exception on worker thread. "


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
        found = _OF_MODEL.match(description)
        with self._lock:
            cause = self._raised.pop(threading.get_ident(), "dbt gave no cause")
            self._causes.setdefault(model, {})[found[1] if found else description] = cause
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
