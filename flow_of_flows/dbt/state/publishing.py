"""Makes artifacts the production ones, reads them to compare with, and brings earlier ones back.

Order: first the files, in a folder of their own; then the log, on the condition that no other run has replaced it; then
the copies in `artifacts/`, manifest last. A run killed at any point has published either everything or nothing.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flow_of_flows.dbt.state import Store, saved_runs
from flow_of_flows.dbt.state.publications import (
    LOG,
    DamagedError,
    Fault,
    Identity,
    Log,
    Publication,
    identity,
    incompatibility,
    parse,
    refusal,
)
from flow_of_flows.errors import ConfigurationError, FlowsError, PlatformError

logger = logging.getLogger(__name__)

ATTEMPTS = 20
# How long a run may take from its first file to the log.
ABANDONED = timedelta(hours=1)


@dataclass(frozen=True)
class PublicationConflict:
    """Why a publication was not made, as a sentence."""

    reason: str


def read_log(store: Store) -> tuple[Log, str | None]:
    """Return the log and the version it has in the store."""
    found = store.look(LOG)
    return parse(found.data if found else None, store.describe()), found.version if found else None


def publish(
    store: Store, new: Publication, files: Mapping[str, bytes], keep: int, base: str | None = None
) -> Publication | PublicationConflict:
    """Make these the production artifacts, unless those of a newer run, or of another project, are there.

    Args:
        store: where.
        new: the publication; the hashes of its files are filled in.
        files: content by name, with at least the manifest and the run results.
        keep: how many publications stay in the log.
        base: id of the base publication of a run that built only what changed; empty for another tool's manifest.

    Raises:
        PlatformError: too many others write at the same time.
    """
    new = new.model_copy(update={"files": {name: _hash(data) for name, data in files.items()}})
    log, version = read_log(store)
    written = False
    for _ in range(ATTEMPTS):
        reason = log.conflict(new, base) or (_conflict_without_log(store, new) if version is None else None)
        if reason:
            if written:
                store.remove(new.folder)
            return PublicationConflict(reason)
        if not written:
            _write(store, new, files)
            written = True
        following = log.after(new, keep)
        if store.replace(LOG, following.model_dump_json().encode(), version):
            copy(store, new, files)
            _sweep(store, following, new)
            return new
        log, version = read_log(store)
    raise crowded(store)


def rollback(store: Store, to: str | None, now: datetime, keep: int) -> Publication:
    """Make an earlier publication production again: a new publication of the same files.

    Args:
        store: where.
        to: its id or its run's; None for the one before the current.
        now: time of the rollback; a run that started before it cannot publish.
        keep: how many publications stay in the log.

    Raises:
        ConfigurationError: there is no such publication, or its files are not what was published.
        PlatformError: a run has published meanwhile; nothing is changed.
    """
    log, version = read_log(store)
    target, current = _target(store, log, to)
    files = {name: whole(store, target, name) for name in target.files}
    # Never before the current one, whatever the clocks of two machines say.
    back = target.model_copy(update={"time": max(now, current.time), "origin": target.origin or target.id})
    _write(store, back, files)
    if not store.replace(LOG, log.after(back, keep).model_dump_json().encode(), version):
        store.remove(back.folder)
        raise PlatformError(
            "Nothing was rolled back: a run has published meanwhile",
            location=store.describe(),
            hint="look at `flows state show`, and roll back again if it is still needed",
        )
    copy(store, back, files)
    return back


def whole(store: Store, publication: Publication, name: str) -> bytes:
    """Return a file of a publication, as it was published.

    Args:
        store: where it is.
        publication: the publication.
        name: of the file.

    Raises:
        DamagedError: it is not there, or not what was published.
    """
    data = store.read(f"{publication.folder}/{name}")
    if data is None or _hash(data) != publication.files[name]:
        raise DamagedError(
            f"{name} of publication {publication.id} is {'gone' if data is None else 'not what was published'}",
            location=f"{store.describe()}/{publication.folder}",
            hint="name another publication with `flows state rollback --to`, or run dbt-build in full",
        )
    return data


def is_copy(publication: Publication, name: str, data: bytes | None) -> bool:
    """Return whether these bytes are those of a publication's file.

    Args:
        publication: the publication.
        name: of the file.
        data: the bytes to compare; None for no file.
    """
    return data is not None and publication.files.get(name) == _hash(data)


def copy(store: Store, publication: Publication, files: Mapping[str, bytes]) -> None:
    """Copy a publication's files to `artifacts/`, manifest last, for as long as it is production.

    Who replaced the log meanwhile copies its own: each file is only replaced in the version that was seen before the
    log was looked at, so the copies end as those of the newest.

    Args:
        store: where.
        publication: the publication.
        files: content by name.
    """
    for name in sorted(files, key=lambda name: (name == saved_runs.MANIFEST, name)):
        for _ in range(ATTEMPTS):
            there = store.look(f"artifacts/{name}")
            if there is not None and there.data == files[name]:
                break
            current = read_log(store)[0].current
            if current is None or current.id != publication.id:
                return
            if store.replace(f"artifacts/{name}", files[name], there.version if there else None):
                break
        else:
            raise crowded(store)


def _conflict_without_log(store: Store, new: Publication) -> str | None:
    """Return why artifacts of another tool, which has written no log, must stay; None if they may be replaced."""
    results, manifest = (
        store.read(f"artifacts/{saved_runs.RUN_RESULTS}"),
        store.read(f"artifacts/{saved_runs.MANIFEST}"),
    )
    theirs = identity(manifest) if manifest is not None else None
    if theirs is not None and (refused := incompatibility(theirs, new.identity)):
        return f"what is there is not this run's to replace: {refused.reason}"
    # Not the manifest's own time: with partial parsing dbt leaves the time of an earlier parse in it.
    started = saved_runs.started_at(results) if results is not None else None
    return "a run that started later has written its artifacts there" if started and started > new.time else None


def _write(store: Store, publication: Publication, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        store.write(f"{publication.folder}/{name}", data)


def _sweep(store: Store, log: Log, new: Publication) -> None:
    """Remove what fell off the log, and what a run left that was killed; one that publishes now has a young folder."""
    kept = {entry.id for entry in log.publications}
    try:
        folders = store.folders("history")
        now = folders.get(new.id, new.time)
        for name, written in folders.items():
            if name not in kept and written < now - ABANDONED:
                store.remove(f"history/{name}")
    except FlowsError as error:
        logger.warning("Old publications stay in the state store: %s", error)


def _target(store: Store, log: Log, to: str | None) -> tuple[Publication, Publication]:
    """Return what a rollback goes to, and what is production before it."""
    target = log.before() if to is None else log.find(to)
    known = ", ".join(entry.id for entry in log.publications) or "none"
    if target is None or log.current is None:
        what = "There is no earlier publication" if to is None else f"There is no publication {to}"
        raise ConfigurationError(what, location=f"{store.describe()} (kept: {known})", hint="see `flows state history`")
    if target == log.current:
        raise ConfigurationError(
            f"{target.id} is production already", location=store.describe(), hint="see `flows state history`"
        )
    return target, log.current


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def crowded(store: Store) -> PlatformError:
    """Return the error of a writer that others were always faster than."""
    return PlatformError(
        f"The state store was changed by others {ATTEMPTS} times in a row", location=store.describe(), hint="run again"
    )


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
        files = {
            saved_runs.MANIFEST: self.manifest,
            saved_runs.RUN_RESULTS: self.run_results,
            saved_runs.SOURCES: self.sources,
        }
        for name, data in files.items():
            if data is not None:
                (folder / name).write_bytes(data)


@dataclass(frozen=True)
class Missing:
    """Why there is nothing to compare with, as a sentence."""

    reason: str


def read_production(store: Store, mine: Identity) -> Production | Missing:
    """Return the production artifacts, all of one publication.

    Args:
        store: where they are.
        mine: what the manifests of this run are of.

    Raises:
        ConfigurationError: they are of another project or adapter; a full run would not be allowed to replace them.
    """
    try:
        found = _read_production(store)
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


def _read_production(store: Store) -> Production | None:
    current = read_log(store)[0].current
    manifest = store.read(f"artifacts/{saved_runs.MANIFEST}")
    if current is None:
        if manifest is None:
            return None
        results, sources = (store.read(f"artifacts/{name}") for name in (saved_runs.RUN_RESULTS, saved_runs.SOURCES))
        return Production(manifest, results, sources, publication=None)
    warnings: tuple[str, ...] = ()
    if not is_copy(current, saved_runs.MANIFEST, manifest):
        # Also for a moment while a run publishes.
        what = f"artifacts/{saved_runs.MANIFEST} is not that of publication {current.id}: something else changed it"
        warnings = (f"{what}, or a run was stopped while it published. That in {current.folder} is used",)
        manifest = whole(store, current, saved_runs.MANIFEST)
    results, sources = (
        whole(store, current, name) if name in current.files else None
        for name in (saved_runs.RUN_RESULTS, saved_runs.SOURCES)
    )
    return Production(manifest or b"", results, sources, current, warnings)
