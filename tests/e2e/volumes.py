"""A default storage class for clusters that have none: volumes on the one node, bound with their first pod.

That is how the class of kind, minikube and k3d works. A cluster with a default class of its own is used as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.e2e.kube import Namespace

DEFAULT = "storageclass.kubernetes.io/is-default-class"
CLASS = "flow-of-flows-e2e"


@contextmanager
def default_storage(namespace: Namespace, *, claims: int) -> Iterator[None]:
    """Make a default storage class with so many volumes, unless the cluster has one.

    Args:
        namespace: any, for its way to the cluster.
        claims: how many volumes.
    """
    classes = json.loads(namespace.kubectl("get", "storageclass", "-o", "json"))["items"]
    if any(each["metadata"].get("annotations", {}).get(DEFAULT) == "true" for each in classes):
        yield
        return
    # Not in /tmp: the container runtime may see another one.
    with TemporaryDirectory(prefix="flow-of-flows-e2e-", dir="/var/lib") as folder:
        Path(folder).chmod(0o755)
        made = [_class(), *(_volume(Path(folder, str(number)), number) for number in range(claims))]
        namespace.apply(*made)
        try:
            yield
        finally:
            namespace.kubectl("delete", *(f"{each['kind']}/{each['metadata']['name']}".lower() for each in made))


def _class() -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": {DEFAULT: "true"}},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def _volume(folder: Path, number: int) -> dict[str, Any]:
    folder.mkdir()
    # As the provisioners of such clusters make them.
    folder.chmod(0o777)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{CLASS}-{number}"},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": CLASS,
            "hostPath": {"path": str(folder)},
        },
    }
