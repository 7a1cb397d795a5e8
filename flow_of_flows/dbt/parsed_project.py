"""A dbt project that dbt has parsed: its manifest, its selectors and its variables, and what is asked of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flow_of_flows.dbt.arguments import Options, methods_of_selector
from flow_of_flows.dbt.reports import owners
from flow_of_flows.dbt.results import is_operation


@dataclass(frozen=True)
class Parsed:
    """dbt's manifest of the project, and what is asked of it.

    Attributes:
        selectors: definitions of selectors.yml by name.
        variables: dbt's variables by package and name, as its nodes see them.
    """

    manifest: Any
    selectors: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def checked_sources(self) -> tuple[str, ...]:
        """Ids of the sources that declare freshness."""
        return tuple(name for name, source in self.manifest.sources.items() if source.has_freshness)

    @property
    def sources(self) -> tuple[str, ...]:
        """Ids of all sources."""
        return tuple(self.manifest.sources)

    @property
    def default_selector(self) -> str | None:
        """Name of the selector that dbt uses where nothing is selected; None where that is everything."""
        return next((name for name, selector in self.selectors.items() if selector.get("default") is True), None)

    def selector_methods(self, options: Options) -> frozenset[str]:
        """Return the selection methods of the selector that these options use, which may be the default one."""
        name = options.selector
        if name is None and options.select is None and options.exclude is None:
            name = self.default_selector
        # dbt refuses a name that there is not when it selects.
        found = self.selectors.get(name) if name else None
        return methods_of_selector(found["definition"]) if found else frozenset()

    def microbatch(self, ids: Iterable[str] | None = None) -> tuple[str, ...]:
        """Return the ids of the models that are built batch by batch, of all or of these."""
        models = self.manifest.nodes
        named = models if ids is None else (name for name in ids if name in models)
        wanted = {"materialized": "incremental", "incremental_strategy": "microbatch"}
        return tuple(
            name for name in named if all(models[name].config.get(key) == value for key, value in wanted.items())
        )

    @property
    def hooks(self) -> frozenset[str]:
        """Ids of the operations that a build runs before and after its nodes: `on-run-start` and `on-run-end`."""
        return frozenset(name for name in self.manifest.nodes if is_operation(name))

    @property
    def whole(self) -> frozenset[str]:
        """Ids of what has a result, and something to do, in a build of the whole project.

        Exposures and saved queries do nothing in the warehouse; dbt never selects a model without any SQL.
        """
        idle = {**self.manifest.exposures, **self.manifest.saved_queries}
        empty = (name for name, node in self.manifest.nodes.items() if node.empty or node.is_external_node)
        return frozenset(self.built) - {*idle, *empty}

    def refreshed(self, *, full: bool) -> frozenset[str]:
        """Return the ids of the microbatch models that a build makes anew.

        Args:
            full: whether the build has `--full-refresh`, which the configuration of a model comes before.
        """
        configured = {name: self.manifest.nodes[name].config.full_refresh for name in self.microbatch()}
        return frozenset(name for name, value in configured.items() if (full if value is None else value))

    @property
    def nodes(self) -> frozenset[str]:
        """Ids of what dbt can have a result for."""
        return frozenset({**self.manifest.nodes, **self._others})

    @property
    def built(self) -> tuple[str, ...]:
        """Ids of what a full build has a result for: ephemeral models and analyses have none."""
        kinds = ("analysis", "operation")
        named = (
            name
            for name, node in self.manifest.nodes.items()
            if node.resource_type not in kinds and node.config.materialized != "ephemeral"
        )
        return (*named, *self._others)

    @property
    def _others(self) -> dict[str, Any]:
        """What a build has a result for and dbt does not keep with the nodes."""
        manifest = self.manifest
        return {**manifest.unit_tests, **manifest.exposures, **manifest.saved_queries, **manifest.functions}

    @property
    def parents(self) -> dict[str, list[str]]:
        """What each node depends on, by id."""
        found = {**self.manifest.nodes, **self.manifest.unit_tests, **self.manifest.exposures}
        return {name: list(node.depends_on_nodes) for name, node in found.items()}

    def owners(self, ids: Iterable[str]) -> dict[str, str]:
        """Return the owners of these nodes, by id, where the project names them."""
        return owners(self.manifest, ids)
