"""The protocol of a state store: bytes by key, and replacement on a condition."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from flow_of_flows.errors import FlowsError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stored:
    """The bytes under a key, and the version that `replace` names them by."""

    data: bytes
    version: str


class Store(Protocol):
    """Bytes by key; a write is whole or not at all. Keys are paths: `runs/<id>/run.json`.

    Every method raises a PlatformError where the store does not do its part, and a ConfigurationError where it is not
    there or not allowed.
    """

    def look(self, key: str) -> Stored | None:
        """Return the bytes under a key with their version, None if there are none."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Put bytes under a key, whatever is there.

        Args:
            key: where.
            data: what.
        """
        ...

    def replace(self, key: str, data: bytes, version: str | None) -> bool:
        """Put bytes under a key if what is there is still of this version (None: if nothing is there).

        Args:
            key: where.
            data: what.
            version: the version to replace; None for no bytes.

        Returns:
            Whether it was, and the bytes are there now; of two writers that saw the same version one is told so.
        """
        ...

    def folders(self, prefix: str) -> dict[str, datetime]:
        """Return the names of the folders right below a prefix, and when each was last written to."""
        ...

    def remove(self, prefix: str) -> None:
        """Remove everything in a folder."""
        ...

    def describe(self) -> str:
        """Return where this is, for people."""
        ...

    def read(self, key: str) -> bytes | None:
        """Return the bytes under a key, None if there are none."""
        found = self.look(key)
        return found.data if found else None

    def prune(self, prefix: str, keep: int) -> None:
        """Remove all but the folders that were written to last; what cannot be removed stays, and the log says so.

        Args:
            prefix: the folder of the folders.
            keep: how many stay.
        """
        try:
            newest = sorted(self.folders(prefix).items(), key=lambda folder: folder[1], reverse=True)
            for name, _ in newest[keep:]:
                self.remove(f"{prefix}/{name}")
        except FlowsError as error:
            logger.warning("Old folders stay in the state store: %s", error)
