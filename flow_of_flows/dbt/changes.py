"""What a change of the project touches: the manifest of an earlier run and the project now in, nodes and why out.

dbt's own `state:modified` says which nodes differ: body, configs, relation, contract and macros. It compares what is
written, so it misses what is written the same and means something else. That is compared here: configs and relations as
they are rendered, the macros of a materialization or of an override, and the values of `var()` and `env_var()`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flow_of_flows.dbt.locks.schemas import credentials
from flow_of_flows.dbt.parsed_project import Parsed
from flow_of_flows.dbt.resumption import NAMED, NEW
from flow_of_flows.dbt.state.saved_runs import Inputs
from flow_of_flows.messages import listed

MODIFIED = "modified"
LARGE_SEED = "dbt cannot tell whether it changed"
# What a node reads when the name is not written there: any of them.
ANY = "*"
READS = ("var", "env_var")
# Tests, analyses and operations are not where others read from.
RELATIONS = ("model.", "seed.", "snapshot.", "source.", "function.")


@dataclass(frozen=True)
class ProjectVersion:
    """One version of a project.

    Attributes:
        manifest: dbt's manifest of it.
        inputs: what it reads besides its nodes' code.
    """

    manifest: Any
    inputs: Inputs
    _macros: dict[str, frozenset[str]] = field(default_factory=dict)
    _reads: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    _materializations: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def macros(self, node: Any) -> frozenset[str]:
        """Return the ids of the macros that a node is built with, those of its materialization included."""
        depends = getattr(node, "depends_on", None)
        roots = (*(getattr(depends, "macros", None) or ()), *self._materialization(node))
        return frozenset().union(*(self._closure(root) for root in roots if root))

    def reads(self, function: str, node: Any) -> frozenset[str]:
        """Return the names that a node and its macros pass to `var` or `env_var`.

        Args:
            function: `var` or `env_var`.
            node: the node.
        """
        own = names_read(function, _texts(node))
        return own.union(*(self._read_by(function, macro) for macro in self.macros(node)))

    def _read_by(self, function: str, macro: str) -> frozenset[str]:
        if (function, macro) not in self._reads:
            found = self.manifest.macros.get(macro)
            self._reads[function, macro] = names_read(function, [found.macro_sql] if found else [])
        return self._reads[function, macro]

    def _closure(self, macro: str) -> frozenset[str]:
        if macro not in self._macros:
            seen: set[str] = set()
            todo = [macro]
            while todo:
                if (name := todo.pop()) not in seen and name is not None:
                    seen.add(name)
                    todo.extend(self.manifest.macros[name].depends_on.macros if name in self.manifest.macros else ())
            self._macros[macro] = frozenset(seen)
        return self._macros[macro]

    def _materialization(self, node: Any) -> tuple[str, ...]:
        kind = getattr(getattr(node, "config", None), "materialized", None)
        if not isinstance(kind, str):
            return ()
        if kind not in self._materializations:
            about = self.manifest.metadata
            macro = self.manifest.find_materialization_macro_by_name(about.project_name, kind, about.adapter_type)
            self._materializations[kind] = (macro.unique_id,) if macro is not None else ()
        return self._materializations[kind]


def inputs(parsed: Parsed) -> Inputs:
    """Return what the project reads besides its nodes' code, for `touched` of a later run.

    Args:
        parsed: the project.
    """
    manifest, where = parsed.manifest, credentials()
    files = {name: str(file.checksum.checksum) for name, file in manifest.files.items()}
    projects = {name: str(found.checksum) for name, found in manifest.state_check.project_hashes.items()}
    return Inputs(
        files=_digest([files, projects]),
        place=f"{where.type} {where.database}.{where.schema}",
        variables={
            package: {name: _digest(value) for name, value in values.items()}
            for package, values in parsed.variables.items()
        },
        environment={name: _digest(value) for name, value in manifest.env_vars.items()},
    )


def touched(earlier: Path, parsed: Parsed, before: Inputs, now: Inputs, *, same_files: bool) -> dict[str, str]:
    """Return which nodes differ from an earlier run, and why, by id; what is behind them is not among them.

    Args:
        earlier: a folder with the manifest.json of that run.
        parsed: the project.
        before: the inputs of that run.
        now: the inputs of this one.
        same_files: the project's own files are the same, so that its large seeds are.

    Raises:
        ValueError: the manifest cannot be read, or it is of another project.
    """
    from dbt.contracts.state import PreviousState

    try:
        state = PreviousState(earlier, earlier / "none", earlier)
    except Exception as error:  # a damaged file ends in whatever dbt's deserialization raises
        raise ValueError("the project changed, and its manifest of then is damaged") from error
    if state.manifest is None or state.manifest.metadata.project_name != parsed.manifest.metadata.project_name:
        raise ValueError("the project is another one")
    difference = _Difference(
        ProjectVersion(state.manifest, before), ProjectVersion(parsed.manifest, now), same_files=same_files
    )
    return _compared(state, parsed.manifest, difference)


def _compared(state: Any, manifest: Any, difference: _Difference) -> dict[str, str]:
    """Have dbt pair the nodes of both manifests and compare them, and compare the rest of each pair."""
    from dbt.exceptions import ContractBreakingChangeError
    from dbt.graph.selector_methods import StateSelectorMethod
    from dbt_common.exceptions import EventCompilationError

    found: dict[str, str] = {}

    class Modified(StateSelectorMethod):
        """dbt's `state:modified`, in which a broken contract is a change and no error."""

        def check_modified_content(self, old: Any, new: Any, adapter_type: str) -> bool:
            if new is None:
                return False
            reason = difference.reason(old, new)
            if reason is None and not _is_large_seed(new):
                try:
                    reason = MODIFIED if super().check_modified_content(old, new, adapter_type) else None
                except (ContractBreakingChangeError, EventCompilationError):
                    reason = MODIFIED
            if reason is not None:
                found[new.unique_id] = reason
            return reason is not None

    ids = {*manifest.nodes, *manifest.sources, *manifest.unit_tests, *manifest.functions}
    list(Modified(manifest, state, []).search(ids, "modified"))
    return found


def names_read(function: str, texts: Iterable[str]) -> frozenset[str]:
    """Return the names that templates pass to a function; `ANY` where one is not written there.

    Args:
        function: `var` or `env_var`.
        texts: the templates.
    """
    written = re.compile(rf"\b{function}\b")
    return frozenset(name for text in texts if written.search(text) for name in _names(function, text))


def _names(function: str, text: str) -> Iterator[str]:
    from dbt_common.clients.jinja import get_environment
    from jinja2 import TemplateError, nodes

    try:
        tree = get_environment().parse(text)
    except TemplateError:
        yield ANY
        return
    uses = sum(name.name == function for name in tree.find_all(nodes.Name))
    for call in tree.find_all(nodes.Call):
        callee = call.node.node if isinstance(call.node, nodes.Getattr) else call.node
        if isinstance(callee, nodes.Name) and callee.name == function:
            first = call.args[0] if call.args else None
            uses -= 1
            yield first.value if isinstance(first, nodes.Const) and isinstance(first.value, str) else ANY
    if uses:
        yield ANY


@dataclass(frozen=True)
class _Difference:
    """What dbt's comparison of two versions of a node does not see."""

    before: ProjectVersion
    now: ProjectVersion
    same_files: bool

    def reason(self, old: Any, new: Any) -> str | None:
        """Return why a node is another one than before; None where only dbt can say.

        Args:
            old: the node in the earlier manifest; None if it was not there.
            new: the node now.
        """
        if old is None:
            return NEW
        own = new.package_name == self.now.manifest.metadata.project_name
        if _is_large_seed(new) and not (own and self.same_files):
            return LARGE_SEED
        if getattr(old, "raw_code", None) != getattr(new, "raw_code", None):
            return MODIFIED
        details = self._details(old, new)
        return f"{MODIFIED}: {details}" if details else None

    def _details(self, old: Any, new: Any) -> str | None:
        """Return what means something else although it is written the same."""
        if _relation(old) != _relation(new):
            return f"it is built as {_relation(new)}"
        if not _same_config(old, new):
            return "its rendered configuration"
        if macros := self._changed_macros(old, new):
            return f"macro {listed(macros, NAMED)}"
        for function in READS:
            if names := self._changed_values(function, new):
                return f"{function} {listed(names, NAMED)}"
        return None

    def _changed_macros(self, old: Any, new: Any) -> list[str]:
        before, now = self.before.macros(old), self.now.macros(new)
        mine, others = self.now.manifest.macros, self.before.manifest.macros
        # While dbt builds, it adds macros of its own to what a test depends on.
        internal = {"dbt", f"dbt_{self.now.manifest.metadata.adapter_type}"}
        both = {name for name in before | now if name in before & now or name.split(".")[1] in internal}
        same = {name for name in both if _sql(mine, name) == _sql(others, name)}
        return sorted({name.rpartition(".")[2] for name in (before | now) - same})

    def _changed_values(self, function: str, node: Any) -> list[str]:
        before, now = self.before.inputs, self.now.inputs
        if function == "var":
            package = node.package_name
            changed = _unequal(before.variables.get(package, {}), now.variables.get(package, {}))
        else:
            changed = _unequal(before.environment, now.environment)
        if not changed:
            return []
        read = self.now.reads(function, node)
        return sorted(changed if ANY in read else changed & read)


def _is_large_seed(node: Any) -> bool:
    """Return whether a node is a seed that dbt does not read for being too large, so that it only knows its path."""
    return bool(node.unique_id.startswith("seed.") and node.checksum.name == "path")


def _sql(macros: Mapping[str, Any], name: str) -> str | None:
    return macros[name].macro_sql if name in macros else None


def _relation(node: Any) -> str | None:
    return getattr(node, "relation_name", None) if node.unique_id.startswith(RELATIONS) else None


def _same_config(old: Any, new: Any) -> bool:
    """Return whether the configurations mean the same, by dbt's own choice of what matters in them."""
    before, now = _config(old), _config(new)
    return before is None or now is None or bool(now.same_contents(now.to_dict(), before.to_dict()))


def _config(node: Any) -> Any:
    config = getattr(node, "config", None)
    return config if hasattr(config, "same_contents") else None


def _texts(node: Any) -> Iterator[str]:
    """Return what dbt renders of a node: its code, hooks, and the arguments of a test."""
    if getattr(node, "language", "sql") != "python":
        yield getattr(node, "raw_code", None) or ""
    config = _config(node)
    yield from _strings(config.to_dict() if config is not None else None)
    yield from _strings(getattr(getattr(node, "test_metadata", None), "kwargs", None))


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for each in value.values():
                yield from _strings(each)
        case list() | tuple():
            for each in value:
                yield from _strings(each)


def _unequal(before: Mapping[str, str], now: Mapping[str, str]) -> set[str]:
    return {name for name in {*before, *now} if before.get(name) != now.get(name)}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
