"""The batches of microbatch models: what dbt says of each in, what is done, what is left and until when out.

dbt has the results of a model's batches when the last one has ended. A run that is killed before has them from here, in
the form of run_results.json, so that `dbt retry` builds the missing ones alone.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from flow_of_flows.dbt.results import Batches, Node, batch_of, title

# Between two lines of the log about one model.
LOG_SECONDS = 60.0
# The size of a batch and how dbt writes its start, by the length of that.
FORMATS = {4: ("year", "%Y"), 7: ("month", "%Y-%m"), 10: ("day", "%Y-%m-%d"), 13: ("hour", "%Y-%m-%dT%H")}

Batch = tuple[datetime, datetime]


@dataclass
class ModelBatches:
    """The batches of one model in this invocation of dbt.

    Attributes:
        expected: those that it builds.
        before: those that an earlier run has built.
        ended: whether each batch that has ended succeeded, by its start.
        began: when the first one started, on the clock of `time.monotonic`.
        logged: when the log last said how far it is.
    """

    expected: tuple[Batch, ...] = ()
    before: tuple[Batch, ...] = ()
    ended: dict[datetime, bool] = field(default_factory=dict)
    began: float = 0.0
    logged: float = 0.0

    @property
    def done(self) -> int:
        """How many batches are built, those of an earlier run included."""
        return len(self.before) + sum(self.ended.values())

    @property
    def total(self) -> int:
        """How many there are, those of an earlier run included."""
        return len(self.before) + len(self.expected)

    @property
    def failed(self) -> int:
        """How many have failed."""
        return len(self.ended) - sum(self.ended.values())

    @property
    def left(self) -> int:
        """How many have not ended."""
        return len(self.expected) - len(self.ended)

    @property
    def results(self) -> Batches:
        """The batches as dbt would write them if it ended now: what has not succeeded has failed."""
        built = [batch for batch in self.expected if self.ended.get(batch[0])]
        rest = [batch for batch in self.expected if not self.ended.get(batch[0])]
        return Batches(tuple(map(_texts, sorted([*self.before, *built]))), tuple(map(_texts, rest)))

    def expected_end(self) -> str:
        """Return when the last batch will have ended if the rest takes as long as what has ended; `?` before any."""
        if not self.ended:
            return "?"
        seconds = (time.monotonic() - self.began) / len(self.ended) * self.left
        return f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%d %H:%M} UTC"


@dataclass
class BatchProgress:
    """The batches of every microbatch model, gathered from dbt's threads."""

    _models: dict[str, ModelBatches] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, start: bytes | None) -> None:
        """Forget the batches of an earlier invocation.

        Args:
            start: the run_results.json that `dbt retry` continues; None for a build.
        """
        with self._lock:
            self._models = {model: _resumed(batches) for model, batches in _partly_built(start)}

    def started(self, model: str, line: Any) -> None:
        """Take the start of a batch.

        Args:
            model: unique id of the model.
            line: data of dbt's event.
        """
        with self._lock:
            found = self._models.setdefault(model, ModelBatches())
            found.expected = found.expected or _expected(line.description, line.batch_index, line.total_batches)
            found.began = found.began or time.monotonic()
            found.logged = found.logged or found.began

    def ended(self, model: str, line: Any) -> str | None:
        """Take the end of a batch; return a line for the log from time to time, and with the last one.

        Args:
            model: unique id of the model.
            line: data of dbt's event.
        """
        found = self._models[model]
        with self._lock:
            # A batch that dbt skips after another one has not run.
            if line.status != "skipped":
                found.ended[_start(line.description)[0]] = line.status != "error"
            if len(found.expected) == 1 or (found.left and time.monotonic() - found.logged < LOG_SECONDS):
                return None
            found.logged = time.monotonic()
            until = f", expected end {found.expected_end()}" if found.left else ""
            return f"Batches of {title(model)}: {found.done} of {found.total} done, {found.left} left{until}"

    def results(self, model: str) -> Batches | None:
        """Return the batches of a model; None for one without batches, or of which none is known yet."""
        with self._lock:
            found = self._models.get(model)
            return found.results if found is not None and (found.ended or found.before) else None

    def unfinished(self, finished: Collection[str]) -> Iterator[Node]:
        """Yield models that dbt still builds as they would end now; those without a batch that succeeded are not begun.

        Args:
            finished: ids of the models that have ended.
        """
        for model in set(self._models) - set(finished):
            batches = self.results(model)
            if batches is not None and batches.successful and self._models[model].began:
                yield Node(model, batches.status, 0.0, batches.message, None, batches)

    def complete(self, run_results: bytes) -> bytes:
        """Return a run_results.json with the batches of models that dbt gave up: by `fail_fast`, or by an exception."""
        if not self._models:
            return run_results
        document = json.loads(run_results)
        for result in document["results"]:
            batches = self.results(result["unique_id"])
            if batches is None or not batches.successful or result["batch_results"] or result["status"] == "success":
                continue
            cause = f"{batches.message}; {result['message']}" if result["message"] else batches.message
            result |= {"status": batches.status, "message": cause, "batch_results": batches.as_json()}
        return json.dumps(document).encode()

    def markdown(self) -> list[str]:
        """Return lines that show how far the models with several batches are; none without such a model."""
        with self._lock:
            shown = [(model, found) for model, found in self._models.items() if found.began and found.total > 1]
            rows = [
                f"| {title(model)} | {found.done} of {found.total} | {found.failed} | {found.left} "
                f"| {found.expected_end() if found.left else ''} |"
                for model, found in shown
            ]
        head = ["| batches of | done | failed | left | expected end |", "|---|---|---|---|---|"]
        return [*head, *rows, ""] if rows else []


def without_batches(start: bytes, models: Collection[str]) -> bytes:
    """Return the run_results.json for a retry that builds these models from scratch.

    `dbt retry` builds the first missing batch of a model that is fully refreshed into a new table: the batches that it
    takes for done would be lost.

    Args:
        start: the run_results.json.
        models: ids of models that are fully refreshed.
    """
    if not models:
        return start
    document = json.loads(start)
    for result in document["results"]:
        if result["unique_id"] in models:
            result["batch_results"] = None
    return json.dumps(document).encode()


def _partly_built(start: bytes | None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the models of which `dbt retry` builds some batches only."""
    for result in json.loads(start)["results"] if start is not None else ():
        batches = result.get("batch_results")
        if batches and batches["successful"] and batches["failed"]:
            yield result["unique_id"], batches


def _resumed(batches: Mapping[str, Any]) -> ModelBatches:
    expected, before = (
        tuple((datetime.fromisoformat(start), datetime.fromisoformat(end)) for start, end in batches[name])
        for name in ("failed", "successful")
    )
    # A model that is built whole in the same batches has one of them in both.
    return ModelBatches(expected, tuple(batch for batch in before if batch not in expected))


def _expected(description: str, index: int, total: int) -> tuple[Batch, ...]:
    """Return all batches of a model by one of them, as dbt makes them.

    Args:
        description: of the one.
        index: its number, from 1.
        total: how many there are.
    """
    from dbt.artifacts.resources.types import BatchSize
    from dbt.materializations.incremental.microbatch import MicrobatchBuilder

    start, size = _start(description)
    moments = [
        MicrobatchBuilder.offset_timestamp(start, BatchSize(size), number)
        for number in range(1 - index, total + 2 - index)
    ]
    return tuple(pairwise(moments))


def _start(description: str) -> tuple[datetime, str]:
    """Return when a batch starts, and its size, by dbt's words for it."""
    text = batch_of(description)
    if len(text) not in FORMATS:
        raise ValueError(f"dbt names a batch in another way: {description}")
    size, form = FORMATS[len(text)]
    return datetime.strptime(text, form).replace(tzinfo=UTC), size


def _texts(batch: Batch) -> tuple[str, str]:
    return batch[0].isoformat(), batch[1].isoformat()
