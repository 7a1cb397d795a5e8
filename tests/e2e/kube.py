"""A namespace of a real cluster, through the official client: what is there, and what it says."""

from __future__ import annotations

import json
import re
import select
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from tests.conditions import eventually

RUN = "prefect.io/flow-run-id"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
FORWARDING = re.compile(rb"127\.0\.0\.1:(\d+)")


@dataclass(frozen=True)
class Namespace:
    """One namespace; all answers are plain JSON values, with the names of the Kubernetes API."""

    name: str
    api: client.ApiClient

    @property
    def core(self) -> client.CoreV1Api:
        """Pods, Secrets, Services, events."""
        return client.CoreV1Api(self.api)

    @property
    def batch(self) -> client.BatchV1Api:
        """Jobs."""
        return client.BatchV1Api(self.api)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Have kubectl make these objects."""
        self.kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """What kubectl answers."""
        command = ["kubectl", "-n", self.name, *arguments]
        return subprocess.run(command, check=True, input=given, capture_output=True, text=True).stdout

    def pods(self, selector: str = "") -> list[dict[str, Any]]:
        """Pods, oldest first."""
        found = self._plain(self.core.list_namespaced_pod(self.name, label_selector=selector))
        return sorted(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def jobs(self, selector: str = "") -> list[dict[str, Any]]:
        """Jobs."""
        return self._plain(self.batch.list_namespaced_job(self.name, label_selector=selector))

    def pods_of(self, run: object) -> list[dict[str, Any]]:
        """Pods of one flow run."""
        return self.pods(f"{RUN}={run}")

    def log(self, pod: str) -> str:
        """What a pod printed, or nothing when its container has not started."""
        try:
            # Decoded here: the client hands out the text of a bytes literal.
            answer = self.core.read_namespaced_pod_log(pod, self.name, _preload_content=False)
            return str(answer.data.decode())
        except ApiException as error:
            if error.status == 400:
                return ""
            raise

    def everything(self) -> dict[str, str]:
        """Each object a person with read access sees, as JSON text, by kind and name; Secrets are not among them."""
        core, apps = self.core, client.AppsV1Api(self.api)
        lists = {
            "pod": core.list_namespaced_pod,
            "event": core.list_namespaced_event,
            "configmap": core.list_namespaced_config_map,
            "service": core.list_namespaced_service,
            "job": self.batch.list_namespaced_job,
            "deployment": apps.list_namespaced_deployment,
            "replicaset": apps.list_namespaced_replica_set,
        }
        return {
            f"{kind}/{item['metadata']['name']}": json.dumps(item)
            for kind, read in lists.items()
            for item in self._plain(read(self.name))
        }

    @contextmanager
    def forwarded(self, service: str, port: int) -> Iterator[int]:
        """A local port that leads to a Service; kubectl ends when a connection breaks, and is started again."""
        over = threading.Event()
        running = [self._forward(service, f":{port}")]
        local = _port(running[0])

        def keep() -> None:
            while not over.is_set():
                _drain(running[0])
                # A Service without a pod: each start costs a tenth of a processor second.
                if not over.wait(0.3):
                    running[0] = self._forward(service, f"{local}:{port}")

        keeper = threading.Thread(target=keep)
        keeper.start()
        try:
            yield local
        finally:
            over.set()
            running[0].terminate()
            keeper.join()

    def _forward(self, service: str, ports: str) -> subprocess.Popen[bytes]:
        command = ["kubectl", "-n", self.name, "port-forward", f"service/{service}", ports]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def _plain(self, answer: object) -> list[dict[str, Any]]:
        return list(self.api.sanitize_for_serialization(answer)["items"])


def _drain(process: subprocess.Popen[bytes]) -> None:
    """Read until it ends: kubectl prints a line for each connection, and stands still when the pipe is full (2,000)."""
    assert process.stdout is not None
    for _ in process.stdout:
        pass
    process.wait()


def _port(process: subprocess.Popen[bytes]) -> int:
    output = process.stdout
    assert output is not None
    seen = b""

    def found() -> int | None:
        nonlocal seen
        if select.select([output], [], [], 0.1)[0]:
            seen += output.read1()  # type: ignore[attr-defined]
        if process.poll() is not None:
            raise RuntimeError(f"port-forward ended: {seen.decode()}")
        match = FORWARDING.search(seen)
        return int(match[1]) if match else None

    return eventually(found, "kubectl forwards a port", within=30)


@contextmanager
def emptied(name: str) -> Iterator[Namespace]:
    """Make an empty namespace that enforces Pod Security "restricted"; it is gone at the end.

    Raises:
        ConfigException: there is no configuration of a cluster.
        HTTPError: the cluster does not answer.
        ApiException: the cluster refuses.
    """
    found = connect(name)
    found.core.create_namespace({"metadata": {"name": name, "labels": RESTRICTED}})
    try:
        yield found
    finally:
        found.core.delete_namespace(name)
        eventually(lambda: not _exists(found), f"the namespace {name} is gone", within=180)


def _exists(namespace: Namespace) -> bool:
    return any(found.metadata.name == namespace.name for found in namespace.core.list_namespace().items)


def connect(name: str) -> Namespace:
    """A namespace of the cluster that KUBECONFIG (or ~/.kube/config) names.

    Raises:
        ConfigException: there is no configuration.
    """
    return Namespace(name, config.new_client_from_config())
