"""Packages and parse of a repository's commit, taken from the state store where an earlier pod has left them.

A session and the store in, the session to go on with out. What a store cannot give is made anew.

    packages/<hash>/dbt_packages.tar.gz      of the lock file; without one, of the commit: what it names may move
    parses/<hash>/partial_parse.msgpack.gz   of commit, target, vars and version of dbt
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import logging
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from flow_of_flows.dbt import runner as invoke
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.project import PARSE_FILE, DbtProject
from flow_of_flows.dbt.session import DbtSession, Parsed
from flow_of_flows.dbt.state import Store
from flow_of_flows.errors import PlatformError
from flow_of_flows.warehouse.targets import full_name

logger = logging.getLogger(__name__)
Warn = Callable[[str], None]

KEPT = 20
LOCK_FILE = "package-lock.yml"
NAMING = ("packages.yml", "dependencies.yml", LOCK_FILE)
# Compression is there for its check sum, and to send less.
LEVEL = 1


def install_packages(session: DbtSession, options: Options, store: Store, warn: Warn) -> None:
    """Install the project's packages, if it lacks them.

    Args:
        session: dbt on the project.
        options: with the variables of the project.
        store: has the packages of earlier runs.
        warn: takes what could not be reused.
    """
    project = session.project
    if project.origin is None or not project.lacks_packages:
        session.install_packages(options)
        return
    key = f"packages/{_packages_key(project)}/dbt_packages.tar.gz"
    if (kept := _read(store, key, warn)) is not None:
        if _unpacked(kept, project.packages):
            logger.info("The project's packages are those of an earlier run")
            return
        warn(f"The packages under {key} in {store.describe()} are damaged, so they are installed anew")
    session.install_packages(options)
    if (packed := _packed(project.packages)) is not None:
        _write(store, key, packed, warn)


def parse(session: DbtSession, options: Options, store: Store, warn: Warn) -> tuple[DbtSession, Parsed]:
    """Parse the project, or what changed in it since it was parsed; keep the parse for the next run.

    Args:
        session: dbt on the project.
        options: with the variables of the project.
        store: has the parses of earlier runs.
        warn: takes what could not be reused.
    """
    if session.project.origin is None:
        parsed = session.parse(options)
        return session.keep_parse(), parsed
    key = f"parses/{_parse_key(session, options)}/{PARSE_FILE}.gz"
    taken = _taken(session, key, store, warn)
    before = replace(session, paths=replace(session.paths, parse=taken)) if taken else session
    parsed = before.parse(options)
    after = before.keep_parse()
    if after.paths.parse is not None and (taken is None or after.paths.parse != taken):
        _write(store, key, gzip.compress(after.paths.parse.read_bytes(), LEVEL), warn)
    return after, parsed


def _taken(session: DbtSession, key: str, store: Store, warn: Warn) -> Path | None:
    """Return the parse of this commit that an earlier run has left, as a file of this run."""
    kept = _read(store, key, warn)
    if kept is None:
        return None
    try:
        content = gzip.decompress(kept)
    except (OSError, EOFError, zlib.error):
        warn(f"The parse under {key} in {store.describe()} is damaged, so the project is parsed anew")
        return None
    file = session.paths.work / f"taken-{PARSE_FILE}"
    file.write_bytes(content)
    logger.info("The project's parse is that of an earlier run")
    return file


def _packages_key(project: DbtProject) -> str:
    """Return a hash of the files that name the packages, and of the commit where no lock file fixes their versions."""
    digest = hashlib.sha256(invoke.version().encode())
    for file in (project.folder / name for name in NAMING):
        digest.update(file.name.encode() + b"\0" + (file.read_bytes() if file.is_file() else b"") + b"\0")
    if not (project.folder / LOCK_FILE).is_file():
        digest.update(str(project.origin).encode())
    return digest.hexdigest()[:32]


def _parse_key(session: DbtSession, options: Options) -> str:
    same = [
        str(session.project.origin),
        full_name(session.target),
        invoke.version(),
        json.dumps(options.vars, sort_keys=True),
    ]
    return hashlib.sha256("\0".join(same).encode()).hexdigest()[:32]


def _packed(folder: Path) -> bytes | None:
    """Return the installed packages; None where one is a link into the project, which is quickly made."""
    if not folder.is_dir() or any(
        Path(parent, name).is_symlink() for parent, folders, files in os.walk(folder) for name in (*folders, *files)
    ):
        return None
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=LEVEL) as archive:
        archive.add(folder, arcname=".")
    return packed.getvalue()


def _unpacked(packed: bytes, folder: Path) -> bool:
    """Return whether the packages are now in their folder."""
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError, OSError, zlib.error):
        shutil.rmtree(folder, ignore_errors=True)
        return False
    return True


def _read(store: Store, key: str, warn: Warn) -> bytes | None:
    try:
        return store.read(key)
    except PlatformError as error:
        warn(f"Nothing of earlier runs is reused: {error}")
        return None


def _write(store: Store, key: str, data: bytes, warn: Warn) -> None:
    try:
        store.write(key, data)
        store.prune(key.partition("/")[0], KEPT)
    except PlatformError as error:
        warn(f"Later runs cannot reuse {key}: {error}")
