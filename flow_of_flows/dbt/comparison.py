"""A run that compares with production: a store and what to build in, what is left to build out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from flow_of_flows.dbt import changes
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.changes import CHANGED
from flow_of_flows.dbt.session import DbtSession, Parsed
from flow_of_flows.dbt.state import Store, production
from flow_of_flows.dbt.state.manifests import Identity
from flow_of_flows.dbt.state.production import Missing, Production


@dataclass
class Comparison:
    """What is compared with; `production` is None where there is nothing, or nothing is asked for."""

    store: Store
    work: Path
    mine: Identity
    warn: Callable[[str], None]
    production: Production | None = None

    @classmethod
    def of(cls, session: DbtSession, store: Store, warn: Callable[[str], None]) -> Comparison:
        """For one run."""
        return cls(store, session.paths.work, session.identity, warn)

    def prepare(self, options: Options, parsed: Parsed) -> Options:
        """Give a selection that compares what to compare with; without it, everything is to be built.

        Args:
            options: what to build.
            parsed: the project.

        Raises:
            ConfigurationError: what is there is of another project or adapter.
        """
        if not changes.compares(options, parsed.default_methods):
            return options
        found = production.read(self.store, self.mine)
        if isinstance(found, Missing):
            self.warn(f"{found.reason}, so everything is built")
            return changes.in_full(options, parsed.default_selector)
        self.production = found
        for warning in found.warnings:
            self.warn(warning)
        folder = self.work / "state"
        found.write(folder)
        return replace(options, state=folder)

    def onto(self, options: Options) -> str | None:
        """What the rest of production has to be for these options to make it whole: the id of a publication.

        Empty where another tool's manifest was compared with; None where everything is built.
        """
        if options.state is None or self.production is None:
            return None
        return self.production.publication.id if self.production.publication else ""

    def narrow(self, options: Options, parsed: Parsed, sources: bytes | None) -> Options:
        """What the comparison of sources leaves to build; everything where they cannot be compared.

        Args:
            options: what to build, prepared.
            parsed: the project.
            sources: sources.json of now.
        """
        if self.production is None:
            return options
        if lack := changes.lacks(options, self.production, parsed.checked_sources, sources):
            self.warn(f"Everything is built: which sources are fresher is not known, for {lack}")
            return changes.in_full(options, parsed.default_selector)
        if options.select == CHANGED and (blind := changes.unwatched(parsed.sources, parsed.checked_sources)):
            self.warn(blind)
        return changes.narrowed(options, parsed.checked_sources)
