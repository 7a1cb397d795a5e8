"""What a dbt command says besides the ends of its nodes, as rows: events and dbt's own result in, a table out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from flow_of_flows.dbt.command_line import AdHoc
from flow_of_flows.dbt.events import DbtProgress
from flow_of_flows.dbt.results import Node, one_line
from flow_of_flows.redaction import redact
from flow_of_flows.summary.result_table import Row
from flow_of_flows.warehouse.transient import is_transient

# Events that are what a macro prints.
PRINTED = frozenset({"PrintEvent", "JinjaLogInfo"})
MACRO_ERRORS = frozenset({"RunningOperationCaughtError", "RunningOperationUncaughtError"})


@dataclass
class CommandOutput:
    """What dbt says in events alone; call it with each event.

    Attributes:
        progress: takes each event, too.
        is_list: whether dbt prints what its result has, so that the log need not have it.
        shown: node and rows of each preview of `show`; the rows are JSON.
        printed: lines of macros, and of `deps`.
        error: why a macro failed; dbt's result of it has no message.
        is_transient: whether that was a fault of the warehouse that passes by itself.
    """

    progress: DbtProgress
    is_list: bool = False
    shown: list[tuple[str, str]] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)
    error: str = ""
    is_transient: bool = False

    def __call__(self, event: Any) -> None:
        """Take one event (an `EventMsg` of dbt)."""
        name = event.info.name
        if self.is_list and name in PRINTED:
            return
        if name == "ShowNode":
            self.shown.append((event.data.node_name, event.data.preview))
        elif name in PRINTED or (name.startswith("Deps") and event.info.msg not in self.printed[-1:]):
            self.printed.append(str(event.info.msg))
        elif name in MACRO_ERRORS:
            self.error = redact(one_line(event.data.exc))
            # dbt reports an exception from where it is handled, so it is the current one.
            self.is_transient = (raised := sys.exception()) is not None and is_transient(raised)
        self.progress(event)

    def rows(self, command: AdHoc, result: Any) -> list[Row]:
        """Return the rows that the command is run for; none where the table of nodes says everything.

        Args:
            command: the command.
            result: dbt's own result of it.
        """
        match command:
            case AdHoc.SHOW:
                return list(self._shown())
            case AdHoc.LIST:
                return [_listed(line) for line in result or ()]
            case AdHoc.COMPILE:
                return [{"node": each.node.unique_id, "sql": each.node.compiled_code} for each in result.results]
            case AdHoc.DOCS:
                return list(_catalog(result))
            case AdHoc.RUN_OPERATION | AdHoc.DEPS:
                return [{"printed": line} for line in self.printed]
        return []

    def _shown(self) -> Iterator[Row]:
        for node, preview in self.shown:
            for row in json.loads(preview):
                yield {"node": node, **row} if len(self.shown) > 1 else row


def with_error(node: Node, error: str) -> Node:
    """Return a node that failed with the error that dbt said of it elsewhere."""
    return Node(node.id, node.status, node.seconds, error, None) if node.failed and error else node


def _listed(line: str) -> Row:
    """Return a line of `dbt ls` as a row: with `--output json` it is an object of the keys that were asked for."""
    if not line.startswith("{"):
        return {"node": line}
    found: dict[str, Any] = json.loads(line)
    return found


def _catalog(catalog: Any) -> Iterator[Row]:
    for name, table in sorted({**catalog.nodes, **catalog.sources}.items()):
        relation = f"{table.metadata.schema}.{table.metadata.name}"
        yield {"node": name, "relation": relation, "type": table.metadata.type, "columns": len(table.columns)}
