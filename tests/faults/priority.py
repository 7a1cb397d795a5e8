"""PriorityClasses of the harness's own: they belong to the cluster, so they have the namespace in their name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.kube import Namespace


@contextmanager
def priority_class(namespace: Namespace, word: str, value: int) -> Iterator[str]:
    """The name of one that is there while the block runs."""
    name = f"{namespace.name}-{word}"
    namespace.apply(
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value}
    )
    try:
        yield name
    finally:
        namespace.kubectl("delete", "priorityclass", name)
