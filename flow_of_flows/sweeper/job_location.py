"""Where the Job of a run is: job variables of its pool, its deployment and itself in, a place out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Place:
    """Where a Job is made.

    Attributes:
        namespace: None where the job variables do not say.
        is_other_cluster: the worker makes it in another cluster than its own.
    """

    namespace: str | None = None
    is_other_cluster: bool = False

    def elsewhere(self, namespace: str) -> str | None:
        """What to call it, seen from a namespace of the worker's own cluster; None if it is there, or nobody says."""
        if self.is_other_cluster:
            return "another cluster (`cluster_config`)"
        return f"namespace {self.namespace}" if self.namespace not in (None, namespace) else None


UNSAID = Place()


def place(*layers: Mapping[str, Any] | None) -> Place:
    """The place that job variables say, the last one counts."""
    merged = {name: value for layer in layers for name, value in (layer or {}).items()}
    namespace = merged.get("namespace")
    return Place(str(namespace) if namespace else None, is_other_cluster=bool(merged.get("cluster_config")))
