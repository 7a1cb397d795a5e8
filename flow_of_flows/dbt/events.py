"""dbt's events as they happen: events in, log lines and a snapshot of progress out. `session` passes it to `invoke`.

dbt calls it from its worker threads, hundreds of times a second: look at the name first, do nothing for the rest.
"""

from __future__ import annotations

import contextvars
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from flow_of_flows.dbt.batches import BatchProgress
from flow_of_flows.dbt.results import COUNTED, BatchCauses, Node, counts, is_operation, is_test, one_line
from flow_of_flows.messages import plain, shortened
from flow_of_flows.prefect_api import artifacts
from flow_of_flows.redaction import redact
from flow_of_flows.warehouse.transient import is_transient

logger = logging.getLogger(__name__)

# Events whose text is dbt's own line about a node, a hook or a source.
LINES = frozenset(
    {
        "LogStartLine",
        "LogModelResult",
        "LogTestResult",
        "LogSeedResult",
        "LogSnapshotResult",
        "LogNodeResult",
        "LogNodeNoOpResult",
        "LogFunctionResult",
        "LogFreshnessResult",
        "LogHookStartLine",
        "LogHookEndLine",
        "LogSkipBecauseError",
        "LogStartBatch",
        "LogBatchResult",
        "SkippingDetails",
        "LogCancelLine",
        "JinjaLogInfo",
        "PrintEvent",
        "ConcurrencyLine",
    }
)
# They repeat, at the end and with a level of error, what the line of the node has said, or what we raise.
REPEATS = frozenset(
    {
        "MainEncounteredError",
        "MainStackTrace",
        "RunResultError",
        "RunResultErrorNoMessage",
        "RunResultFailure",
        "RunResultWarning",
        "RunResultWarningMessage",
        "RunResultWarningMessageSummary",
        "CheckNodeTestFailure",
        "SQLCompiledPath",
        "EndOfRunSummary",
        "NothingToDo",
        # Counts the deprecations that were warned of.
        "DeprecationsSummary",
    }
)
# What dbt says of an exception in a thread, before the line of the node or batch that ended with it.
EXCEPTIONS = frozenset({"CatchableExceptionOnRun", "GenericExceptionOnRun", "InternalErrorOnRun"})
LEVELS = {"warn": logging.WARNING, "error": logging.ERROR}
_DOTS = re.compile(r" ?\.{3,} ?")


@dataclass
class DbtProgress:
    """What dbt has done so far; call it with each event."""

    finished: dict[str, Node] = field(default_factory=dict)
    running: dict[str, int] = field(default_factory=dict)
    total: int = 0
    warnings: list[str] = field(default_factory=list)
    # Why batches of a microbatch model failed, by its id; dbt's results have only how many did.
    batches: BatchCauses = field(default_factory=BatchCauses)
    backfill: BatchProgress = field(default_factory=BatchProgress)
    # Set when a node has finished; cleared by who waits for it.
    changed: threading.Event = field(default_factory=threading.Event)
    # Called in dbt's own thread before it builds something, with how many nodes and batches had ended when the last of
    # them was built; dbt starts on it when this returns.
    hold: Callable[[int], None] = lambda _: None
    # Called in dbt's own thread before it sends a statement to the warehouse, which it does when this returns.
    permit: Callable[[], None] = lambda: None
    _ends: int = 0
    _built: int = 0
    _hooks: int = 0
    # Whether what a node or hook raised is transient, by its id.
    _faults: dict[str, bool] = field(default_factory=dict)
    # dbt's threads know nothing of the Prefect run; a log record finds it through the context this was made in.
    _context: contextvars.Context = field(default_factory=contextvars.copy_context)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, event: Any) -> None:
        """Take one event (an `EventMsg` of dbt)."""
        name = event.info.name
        if name == "SQLQuery":
            self.permit()
        elif name == "NodeStart":
            self._start(event.data.node_info)
        elif name == "NodeExecuting":
            self._execute(event.data.node_info.unique_id)
        elif name == "NodeFinished":
            self._finish(event.data.node_info, event.data.run_result)
        elif name in EXCEPTIONS:
            self.batches.raised(redact(one_line(event.data.exc)))
            self._raised(event.data.node_info.unique_id)
        elif name == "AdapterEventDebug":
            # The only event of an exception in a hook; of a node there is one when it has ended by it.
            if is_operation(event.data.node_info.unique_id):
                self._raised(event.data.node_info.unique_id)
        elif name in LINES:
            self._line(name, event)
        elif event.info.level in LEVELS and name not in REPEATS:
            self._warn_or_log(event)

    def snapshot(self) -> tuple[tuple[Node, ...], tuple[str, ...], int]:
        """Finished nodes, ids of running ones, and how many there are in all."""
        with self._lock:
            return tuple(self.finished.values()), tuple(self.running), self.total + self._hooks

    def checkpoint(self) -> tuple[int, tuple[Node, ...]]:
        """How many nodes and batches have ended, and every node whose end or batches a retry can use."""
        with self._lock:
            return self._ends, (*self.finished.values(), *self.backfill.unfinished(self.finished))

    def forget_hooks(self) -> None:
        """Forget the ends of hooks that another invocation of dbt ran, such as the check of freshness."""
        with self._lock:
            for name in [name for name in self.finished if is_operation(name)]:
                del self.finished[name]
            self._hooks = 0

    @property
    def transient(self) -> frozenset[str]:
        """Ids of what failed by a fault of the warehouse that passes by itself, and by nothing else."""
        with self._lock:
            return frozenset(name for name, transient in self._faults.items() if transient)

    def _raised(self, node: str) -> None:
        # dbt reports an exception from where it is handled, in the same thread, so it is the current one.
        if (error := sys.exception()) is not None:
            transient = is_transient(error)
            with self._lock:
                # Batches of one model may fail by different causes.
                self._faults[node] = transient and self._faults.get(node, True)

    def _line(self, name: str, event: Any) -> None:
        if name == "LogStartBatch":
            self.backfill.started(event.data.node_info.unique_id, event.data)
            return
        if name == "LogStartLine":
            self.total = event.data.total
        self._log(event)
        if name == "LogHookStartLine":
            self._start(event.data.node_info)
        elif name == "LogHookEndLine":
            self._finish_hook(event.data)
        elif name == "LogBatchResult":
            self._finish_batch(event.data.node_info.unique_id, event.data)

    def _finish_batch(self, model: str, line: Any) -> None:
        if line.status == "error":
            self._write(logging.ERROR, self.batches.failed(model, line.description))
        far = self.backfill.ended(model, line)
        with self._lock:
            self._ends += 1
            if line.status not in ("error", "skipped"):
                self._built = self._ends
        self.changed.set()
        if far is not None:
            self._write(logging.INFO, far)

    def _warn_or_log(self, event: Any) -> None:
        if event.info.level != "warn":
            self._log(event)
        elif (text := redact(one_line(event.info.msg))) not in self.warnings:
            # Each invocation of dbt in a run says the same of the project.
            self.warnings.append(text)
            self._log(event)

    def _start(self, node: Any) -> None:
        self.batches.begin()
        with self._lock:
            if node.unique_id not in self.running:
                # It may be built once more in this run: how it ended before says nothing of that.
                self._faults.pop(node.unique_id, None)
                self.batches.forget(node.unique_id)
            # A batch of a microbatch model starts, and finishes, under the id of the model.
            self.running[node.unique_id] = self.running.get(node.unique_id, 0) + 1

    def _execute(self, node: str) -> None:
        self.permit()
        # A test that is run twice does no harm.
        if not is_test(node):
            self.hold(self._built)

    def _finish(self, node: Any, result: Any) -> None:
        done = Node.of(_result(node.unique_id, result))
        done = replace(done, message=redact(done.message))
        with self._lock:
            if (open_ := self.running.pop(done.id, 1)) > 1:
                self.running[done.id] = open_ - 1
                return
            done = replace(self.batches.completed(done), batches=self.backfill.results(done.id))
            # A source has no end that a retry could use.
            if not done.id.startswith("source."):
                self.finished[done.id] = done
                self._ends += 1
                if done.is_done and not done.is_test:
                    self._built = self._ends
        self.changed.set()

    def _finish_hook(self, line: Any) -> None:
        """Take the end of a hook, of which dbt says no more than its status until the build is over."""
        name, seconds = line.node_info.unique_id, round(line.execution_time, 3)
        with self._lock:
            self.running.pop(name, None)
            self._hooks += name not in self.finished
            self._ends += 1
            self.finished[name] = Node(name, line.status, seconds, line.statement, None)
        self.changed.set()

    def _log(self, event: Any) -> None:
        self._write(LEVELS.get(event.info.level, logging.INFO), redact(_DOTS.sub(" ", plain(event.info.msg))))

    def _write(self, level: int, text: str) -> None:
        if text := text.strip():
            # A context can be entered by one thread at a time; a copy costs nothing.
            self._context.copy().run(logger.log, level, "%s", text)


def _result(node: str, ended: Any) -> dict[str, Any]:
    """Return what an event says of a node's end in the shape of run_results.json.

    Args:
        node: id of the node.
        ended: `run_result` of the event; its `num_failures` is 0 also where dbt has counted none.
    """
    is_counted = is_test(node) and ended.status in COUNTED
    return {
        "unique_id": node,
        "status": ended.status,
        "execution_time": ended.execution_time,
        "message": ended.message,
        "failures": ended.num_failures if is_counted else None,
        "adapter_response": dict(ended.adapter_response),
    }


KEY = "dbt-progress"
INTERVAL_SECONDS = 2.0
# How long the end of the build waits for the last update.
FAREWELL_SECONDS = 5.0
SHOWN = 200
# Characters of a message in the view, which is sent again with each change.
SENTENCE = 400


@contextmanager
def live(progress: DbtProgress) -> Iterator[None]:
    """Show the progress on the page of the current run; without a run, do nothing."""
    if not artifacts.in_run():
        yield
        return
    over = threading.Event()
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(_keep_up, progress, over), name="dbt-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(FAREWELL_SECONDS)


def markdown(done: tuple[Node, ...], running: tuple[str, ...], total: int, batches: Sequence[str] = ()) -> str:
    """Return the view: how far it is, what runs, and the nodes that ended, failures first, then the latest.

    Args:
        done: the nodes that have ended, in that order.
        running: ids of the nodes that run.
        total: how many there are in all; 0 while dbt has not counted them.
        batches: lines on the models that are built batch by batch.
    """
    state = ", ".join(f"{number} {status}" for status, number in counts(done).items()) or "nothing finished yet"
    lines = [f"**{len(done)} of {total or '?'}** nodes: {state}", ""]
    if running:
        lines += ["Running: " + ", ".join(f"`{name}`" for name in running), ""]
    lines += batches
    lines += ["| node | status | seconds | rows | message |", "|---|---|---|---|---|"]
    latest = done[::-1]
    ordered = [node for node in latest if node.failed] + [node for node in latest if not node.failed]
    lines += [_row(node) for node in ordered[:SHOWN]]
    if len(ordered) > SHOWN:
        lines.append(f"\n… and {len(ordered) - SHOWN} more")
    return "\n".join(lines)


def _row(node: Node) -> str:
    rows = "" if node.rows is None else str(node.rows)
    message = shortened(node.message, SENTENCE).replace("|", "\\|")
    return f"| {node.title} | {node.status} | {node.seconds:.2f} | {rows} | {message} |"


def _keep_up(progress: DbtProgress, over: threading.Event) -> None:
    try:
        shown = markdown(*progress.snapshot(), progress.backfill.markdown())
        artifact = artifacts.live_markdown(KEY, shown, description="What dbt is doing")
        last = False
        while not last:
            last = over.wait(INTERVAL_SECONDS)
            text = markdown(*progress.snapshot(), progress.backfill.markdown())
            if text != shown:
                artifacts.update_markdown(artifact, text)
                shown = text
    except Exception:  # a picture of the build, not the build: its loss is logged, nothing more
        logger.warning("The live view of the build stopped", exc_info=True)
