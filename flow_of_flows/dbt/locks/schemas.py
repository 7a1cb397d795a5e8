"""Which schemas of which warehouse a dbt build writes to: dbt's credentials and nodes in, keys without secrets out."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flow_of_flows.settings import from_environment

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", ""})
BUILT = frozenset({"model", "seed", "snapshot", "function"})
# Of dbt's option `--store-failures`, which is a variable, too.
STORE_FAILURES = "DBT_STORE_FAILURES"


@dataclass(frozen=True)
class WrittenSchemas:
    """What one build writes to.

    Attributes:
        warehouse: the same text wherever the warehouse is used from.
        schemas: a database and a schema each, or the whole of a DuckDB file.
    """

    warehouse: str
    schemas: frozenset[tuple[str, str]]

    @property
    def key(self) -> str:
        """Key of the warehouse's record in a lock store."""
        return f"locks/{_digest(self.warehouse, 16)}/holders.json"

    @property
    def digests(self) -> tuple[str, ...]:
        """The schemas as a record names them; warehouses compare names without case, or nearly."""
        return tuple(sorted(_digest("\0".join(pair).casefold(), 12) for pair in self.schemas))

    def __str__(self) -> str:
        names = sorted({schema for _, schema in self.schemas})
        more = f" and {len(names) - 3} more schemas" if len(names) > 3 else ""  # noqa: PLR2004 - a sentence's length
        return ", ".join(names[:3]) + more


def credentials() -> Any:
    """Return the credentials that dbt has read from the profile for its last invocation."""
    from dbt.adapters.factory import FACTORY

    (adapter,) = FACTORY.adapters.values()
    made: Any = adapter
    return made.config.credentials


def written(
    profile: Any, nodes: Iterable[Any], name: str | None = None, *, stores_failures: bool = False
) -> WrittenSchemas:
    """Return what a build of these nodes writes to.

    Args:
        profile: dbt's credentials.
        nodes: nodes of dbt's manifest that are selected.
        name: of the warehouse, where the installation gives it one.
        stores_failures: what counts for a test that does not say itself whether it stores the rows that fail it.
    """
    if file := _file(profile):
        return WrittenSchemas(name or f"{profile.type} {_file_identity(file)}", frozenset({(file.name, file.name)}))
    pairs = frozenset(
        (str(node.database or ""), str(node.schema))
        for node in nodes
        if is_written(node, stores_failures=stores_failures)
    )
    return WrittenSchemas(name or f"{profile.type} {_address(profile)}", pairs)


def is_written(node: Any, *, stores_failures: bool) -> bool:
    """Return whether a build writes to the schema of a node.

    Args:
        node: of dbt's manifest.
        stores_failures: what counts for a test that does not say itself whether it stores the rows that fail it.
    """
    if node.resource_type == "test":
        stores = node.config.store_failures
        if stores is not None:
            return bool(stores)
        chosen = from_environment(STORE_FAILURES) or ""
        return stores_failures or chosen.lower() in ("1", "true", "t", "yes", "y", "on")
    return node.resource_type in BUILT and getattr(node.config, "materialized", None) != "ephemeral"


def _address(profile: Any) -> str:
    """Return the field that dbt's adapter calls unique to a warehouse (host, account, project), and the port.

    An adapter without it has what `dbt debug` prints of the connection, which has no secrets.
    """
    if profile.type == "duckdb":
        # dbt's field has the path with its options, such as a token, and a folder of this machine.
        path = str(profile.path)
        return f"{socket.gethostname()}:{os.getpid()}" if path.startswith(":memory:") else "motherduck"
    if profile.type == "athena":
        # dbt's field is where results are kept, which differs between people who write the same schemas.
        return str(profile.region_name).lower()
    host = _unique(profile).lower().rstrip(".")
    if host in LOOPBACK or host.startswith("/"):
        # A server of this machine is another one than that of the next.
        host = socket.gethostname().lower()
    port = getattr(profile, "port", None)
    return f"{host}:{port}" if port else host


def _unique(profile: Any) -> str:
    try:
        if found := profile.unique_field:
            return str(found)
    except (NotImplementedError, AttributeError, TypeError):
        pass
    return " ".join(f"{key}={value}" for key, value in profile.connection_info() if key != "schema")


def _file(profile: Any) -> Path | None:
    """Return the file that a build writes as a whole: DuckDB's, or the main one of SQLite's.

    None in memory, and for MotherDuck, which has schemas as servers have.
    """
    match profile.type:
        case "duckdb":
            path = str(profile.path)
        case "sqlite":
            path = str(profile.schemas_and_paths.get("main", ":memory:"))
        case _:
            return None
    return None if path.startswith((":memory:", "md:", "motherduck:")) else Path(path)


def _file_identity(file: Path) -> str:
    """Return what identifies a file wherever its folder is mounted: a random text that is kept there."""
    mark = file.with_name(f".{file.name}.id")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not mark.exists():
            _create(mark)
        return mark.read_text(encoding="ascii")
    except OSError:
        # Not a folder to write to, or one without links.
        return f"{socket.gethostname()}:{file.absolute()}"


def _create(mark: Path) -> None:
    """Write a file once: of two processes the first one's stays, whole."""
    with tempfile.NamedTemporaryFile("w", dir=mark.parent, prefix=mark.name, encoding="ascii") as file:
        file.write(os.urandom(16).hex())
        file.flush()
        try:
            os.link(file.name, mark)
        except FileExistsError:
            return


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]
