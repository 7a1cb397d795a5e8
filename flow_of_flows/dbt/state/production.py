"""The production artifacts to compare with: a store in; a manifest that fits this run, or why there is none, out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from flow_of_flows.dbt.state import Store
from flow_of_flows.dbt.state import saved_runs as state
from flow_of_flows.dbt.state.publications import DamagedError, Fault, Identity, Publication, incompatibility, refusal
from flow_of_flows.dbt.state.publishing import is_copy, read_log, whole
from flow_of_flows.errors import ConfigurationError


@dataclass(frozen=True)
class Production:
    """What is production now. `publication` is None where another tool put the manifest there."""

    manifest: bytes
    run_results: bytes | None
    sources: bytes | None
    publication: Publication | None
    warnings: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """For a sentence."""
        if self.publication is None:
            return "the manifest that another tool wrote"
        return f"{self.publication.time.astimezone(UTC):%Y-%m-%d %H:%M} UTC, run {self.publication.run}"

    def write(self, folder: Path) -> None:
        """Write what dbt's `--state` reads: run results and sources are for `result:` and `source_status:`."""
        folder.mkdir(parents=True, exist_ok=True)
        files = {state.MANIFEST: self.manifest, state.RUN_RESULTS: self.run_results, state.SOURCES: self.sources}
        for name, data in files.items():
            if data is not None:
                (folder / name).write_bytes(data)


@dataclass(frozen=True)
class Missing:
    """Why there is nothing to compare with, as a sentence."""

    reason: str


def read(store: Store, mine: Identity) -> Production | Missing:
    """Return the production artifacts, all of one publication.

    Args:
        store: where they are.
        mine: what the manifests of this run are of.

    Raises:
        ConfigurationError: they are of another project or adapter; a full run would not be allowed to replace them.
    """
    try:
        found = _read(store)
    except DamagedError as error:
        return Missing(f"The production artifacts are refused: {error.fact}")
    if found is None:
        return Missing(f"First run: no production manifest in {store.describe()}")
    theirs = found.publication.identity if found.publication else None
    refused = (incompatibility(theirs, mine) if theirs else None) or refusal(found.manifest, mine)
    if refused is None:
        return found
    what = f"The production manifest is refused: {refused.reason}"
    if refused.fault is Fault.INCOMPATIBLE:
        raise ConfigurationError(
            what, location=store.describe(), hint="set FLOWS_STATE_STORE to the store of this project and warehouse"
        )
    return Missing(what)


def _read(store: Store) -> Production | None:
    current = read_log(store)[0].current
    manifest = store.read(f"artifacts/{state.MANIFEST}")
    if current is None:
        if manifest is None:
            return None
        results, sources = (store.read(f"artifacts/{name}") for name in (state.RUN_RESULTS, state.SOURCES))
        return Production(manifest, results, sources, publication=None)
    warnings: tuple[str, ...] = ()
    if not is_copy(current, state.MANIFEST, manifest):
        # Also for a moment while a run publishes.
        what = (
            f"artifacts/{state.MANIFEST} is not that of publication {current.id}: something else changed it, or a run"
        )
        warnings = (f"{what} was stopped while it published. That in {current.folder} is used",)
        manifest = whole(store, current, state.MANIFEST)
    results, sources = (
        whole(store, current, name) if name in current.files else None for name in (state.RUN_RESULTS, state.SOURCES)
    )
    return Production(manifest or b"", results, sources, current, warnings)
