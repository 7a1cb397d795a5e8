"""Parses of earlier pods, kept in the state store: a session in, the parsed project out.

parses/<hash>/partial_parse.msgpack.gz   of a repository, an image's parse or its folder, with target, vars and dbt

A parse is a beginning: dbt itself decides what of it still holds. It parses anew the files that differ from those it
has read, so a new commit costs what it changes. It parses everything anew where the version of dbt, `--vars`,
dbt_project.yml, environment variables in it, or a field of the connection differ that Jinja can see (host, port,
database, schema, user and the like; no password). So the parse of an image is of no use where the image build had
other values, and `flows bake` keeps none where it lacks a variable. Then the first pod keeps what it parsed, and the
next pods begin with that.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from flow_of_flows.aws import DeniedError
from flow_of_flows.dbt import runner
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.parsed_project import Parsed
from flow_of_flows.dbt.project import PARSE_FILE, DbtProject
from flow_of_flows.dbt.session import DbtSession
from flow_of_flows.dbt.state import FolderStore, Store
from flow_of_flows.errors import PlatformError
from flow_of_flows.warehouse.targets import full_name

logger = logging.getLogger(__name__)
Warn = Callable[[str], None]

KEPT = 20
# Compression is there for its check sum, and to send less.
LEVEL = 1


def parse(session: DbtSession, options: Options, store: Store, warn: Warn) -> tuple[DbtSession, Parsed]:
    """Parse the project, or what changed in it since it was parsed; keep the parse for the next run.

    Args:
        session: dbt on the project.
        options: with the variables of the project.
        store: has the parses of earlier pods.
        warn: takes what could not be reused.
    """
    origin = _origin(session, store)
    if origin is None:
        parsed = session.parse(options)
        return session.keep_parse(), parsed
    key = f"parses/{_hash(origin, session, options)}/{PARSE_FILE}.gz"
    taken = _taken(session, key, store, warn)
    before = replace(session, paths=replace(session.paths, parse=taken)) if taken else session
    parsed = before.parse(options)
    after = before.keep_parse()
    if after.paths.parse is not None and after.paths.parse != before.paths.parse:
        keep(store, key, gzip.compress(after.paths.parse.read_bytes(), LEVEL), warn)
    return after, parsed


def read(store: Store, key: str, warn: Warn) -> bytes | None:
    """Return what an earlier pod has kept under a key; None for nothing, or where the store is away.

    Args:
        store: where.
        key: of the content.
        warn: takes why there is nothing.
    """
    try:
        return store.read(key)
    except PlatformError as error:
        warn(f"Nothing of earlier runs is reused: {error}")
        return None


def keep(store: Store, key: str, data: bytes, warn: Warn) -> None:
    """Keep content for later pods; the oldest of its kind goes.

    A pod that may only read the store says so when it publishes.

    Args:
        store: where.
        key: of the content.
        data: the content.
        warn: takes why it is not kept.
    """
    try:
        store.write(key, data)
        store.prune(key.partition("/")[0], KEPT)
    except DeniedError as error:
        logger.info("Later runs cannot reuse %s: %s", key, error)
    except PlatformError as error:
        warn(f"Later runs cannot reuse {key}: {error}")


def _origin(session: DbtSession, store: Store) -> str | None:
    """Return what the kept parses are of; None where this machine keeps its own."""
    project = session.project
    if project.origin is not None:
        return project.origin.address
    if isinstance(store, FolderStore) and store.folder.is_relative_to(session.settings.home):
        return None
    if session.paths.parse is None:
        return f"{project.name} in {project.folder}"
    if session.paths.parse == project.baked_parse:
        return hashlib.sha256(project.baked_parse.read_bytes()).hexdigest()
    return None


def _hash(origin: str, session: DbtSession, options: Options) -> str:
    same = [origin, full_name(session.target), runner.version(), json.dumps(options.vars, sort_keys=True)]
    return hashlib.sha256("\0".join(same).encode()).hexdigest()[:32]


def _taken(session: DbtSession, key: str, store: Store, warn: Warn) -> Path | None:
    """Return the parse that an earlier pod has left, as a file of this run."""
    kept = read(store, key, warn)
    if kept is None:
        return None
    try:
        content = moved(gzip.decompress(kept), session.project)
    except (OSError, EOFError, ValueError, zlib.error):
        warn(f"The parse under {key} in {store.describe()} is damaged, so the project is parsed anew")
        return None
    file = session.paths.work / f"taken-{PARSE_FILE}"
    file.write_bytes(content)
    logger.info("The project's parse is that of an earlier run")
    return file


def moved(content: bytes, project: DbtProject) -> bytes:
    """Return a parse whose seeds are those of this folder: dbt keeps the folder of a seed, and reads it there.

    Args:
        content: of a partial_parse.msgpack.
        project: where the project is now.

    Raises:
        ValueError: it is not msgpack.
    """
    import msgpack

    manifest: dict[str, Any] = msgpack.unpackb(content, strict_map_key=False)
    is_moved = False
    for seed in (node for node in manifest["nodes"].values() if node["resource_type"] == "seed"):
        own = seed["package_name"] == project.name
        place = str(project.folder if own else project.packages / seed["package_name"])
        is_moved = is_moved or seed["root_path"] != place
        seed["root_path"] = place
    return bytes(msgpack.packb(manifest)) if is_moved else content
