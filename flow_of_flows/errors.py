"""Every error of this package and the closed list of causes. Raised by all hops, read by dispatch, reports and the CLI.

    FlowsError
    ├── ConfigurationError   the author of a pipeline, a setting or a project must act
    ├── DataError            the analyst must act: a source, a model or a test
    └── PlatformError        the operator must act: an API, a warehouse, a disk (the only family that may be retried)

A message says what happened, where, and what to do next. It never carries the value of a secret.
"""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from flow_of_flows.messages import plain, shortened
from flow_of_flows.redaction import redact

if TYPE_CHECKING:
    from flow_of_flows.child_report import Problem


class Cause(StrEnum):
    """Why a step did not complete. `flow_of_flows.runs.causes` has a rule for each."""

    DBT_NODES_FAILED = "dbt-nodes-failed"
    DATA_TESTS_FAILED = "data-tests-failed"
    DATA = "data"
    CONFIGURATION = "configuration"
    PLATFORM = "platform"
    BUSY = "busy"
    ERROR = "error"
    OUT_OF_MEMORY = "out-of-memory"
    EVICTED = "evicted"
    PREEMPTED = "preempted"
    NODE_LOST = "node-lost"
    POD_DELETED = "pod-deleted"
    CRASHED = "crashed"
    IMAGE = "image"
    UNSCHEDULABLE = "unschedulable"
    NEVER_STARTED = "never-started"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    UPSTREAM = "upstream"

    def prefix(self, text: str) -> str:
        """Return a state message that begins with this cause, for `from_message`."""
        return f"{self}: {text}"

    @classmethod
    def from_message(cls, message: str) -> Cause | None:
        """Return the cause that a state message begins with; None if this package did not write the message."""
        word, colon, _ = message.partition(": ")
        return cls(word) if colon and word in set(cls) else None


class ExitCode:
    """Exit codes of the command line, for scripts."""

    OK = 0
    FAILED = 1
    CONFIGURATION = 2
    PLATFORM = 3
    CANCELLED = 130


class FlowsError(Exception):
    """An error somebody can act on.

    Args:
        message: one sentence: what happened, with its root message.
        location: file, table, URL without credentials, or setting.
        hint: the next thing to do, as an imperative sentence.
        cause: overrides the cause of the family.
        problems: the parts that failed (dbt nodes, rows), for the report.
        skipped: the parts that were not run because of them.
        warnings: what else there is to say, found before it failed.
    """

    default_cause: ClassVar[Cause] = Cause.ERROR
    exit_code: ClassVar[int] = ExitCode.FAILED
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        location: str | None = None,
        hint: str | None = None,
        cause: Cause | None = None,
        problems: tuple[Problem, ...] = (),
        skipped: tuple[str, ...] = (),
        warnings: tuple[str, ...] = (),
    ) -> None:
        # What foreign libraries say may hold a secret; here it is still whole, and on no terminal that folds it.
        self.message = redact(plain(message))
        self.location = location if location is None else redact(location)
        self.hint = hint if hint is None else redact(hint)
        self.problems = problems
        self.skipped = skipped
        self.warnings = warnings
        self.cause = cause or type(self).default_cause
        super().__init__(self.message, self.location, self.hint)

    @property
    def fact(self) -> str:
        """Return what happened and where, without what to do next."""
        sentence = self.message.rstrip(".") + "."
        return f"{sentence} Where: {self.location}." if self.location else sentence

    @property
    def short(self) -> str:
        """Return the sentence for a terminal or a state: what happened is shortened, what to do next is complete."""
        return self._with_hint(shortened(self.fact))

    def _with_hint(self, fact: str) -> str:
        return f"{fact} Next: {self.hint.rstrip('.')}." if self.hint else fact

    def __str__(self) -> str:
        return self._with_hint(self.fact)


class ConfigurationError(FlowsError):
    """The author of a pipeline, a setting or a project must act."""

    default_cause = Cause.CONFIGURATION
    exit_code = ExitCode.CONFIGURATION


class DataError(FlowsError):
    """The analyst must act: a source, a model or a test."""

    default_cause = Cause.DATA


class PlatformError(FlowsError):
    """The operator must act: an API, a warehouse, a disk."""

    default_cause = Cause.PLATFORM
    exit_code = ExitCode.PLATFORM
    retryable = True


FULL = {errno.ENOSPC, errno.EDQUOT}
SAID = "No space left on device"
TODO = "free space there, or give the pod a larger volume; then run this again"


def full(error: BaseException) -> PlatformError | None:
    """Return an error about a full disk if an exception was caused by one; None otherwise."""
    os_error = next((each for each in chain(error) if isinstance(each, OSError) and each.errno in FULL), None)
    if os_error is None:
        return None
    where = str(os_error.filename or tempfile.gettempdir())
    return PlatformError(f"The disk is full: {os_error.strerror or os_error}", location=where, hint=TODO)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and those that it came from, outermost first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
