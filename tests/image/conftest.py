"""The image as a container: `IMAGE`, run by `DOCKER` as the chart runs it, read-only, and as any numeric user."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest

IMAGE = os.environ.get("IMAGE", "flow-of-flows:0.1.0")
DOCKER = shlex.split(os.environ.get("DOCKER", "docker"))
# The host's network, because a builder's daemon may have none of its own; nothing here listens on more than loopback.
RESTRICTED = ("--network=host", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges")


@dataclass(frozen=True)
class Image:
    """An image that is there."""

    name: str

    def inspect(self) -> dict[str, Any]:
        """What the image says of itself."""
        (found,) = json.loads(self.docker("image", "inspect", self.name))
        return dict(found)

    def run(self, *command: str, user: int = 12345, **variables: str) -> str:
        """What a command in a container prints.

        Raises:
            CalledProcessError: it did not exit with 0; stderr says why.
        """
        environment = [f"--env={name}={value}" for name, value in variables.items()]
        return self.docker("run", "--rm", f"--user={user}", *RESTRICTED, *environment, self.name, *command)

    def docker(self, *arguments: str) -> str:
        """What docker prints."""
        return subprocess.run([*DOCKER, *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def image() -> Image:
    """The image under test."""
    found = Image(IMAGE)
    try:
        found.inspect()
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        pytest.exit(f"No image {IMAGE} ({error}): `make image` builds it, IMAGE names another", returncode=2)
    return found
