"""The images as containers: `IMAGE` and its base, run by `DOCKER` as the chart runs them, read-only, as any user."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

IMAGE = os.environ.get("IMAGE", "flow-of-flows:0.1.0")
BASE = f"{IMAGE}-base"
DOCKER = shlex.split(os.environ.get("DOCKER", "docker"))
# The host's network, because a builder's daemon may have none of its own; nothing here listens on more than loopback.
RESTRICTED = ("--network=host", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges")


@dataclass(frozen=True)
class Image:
    """An image that is there."""

    name: str

    def inspect(self) -> dict[str, Any]:
        """What the image says of itself."""
        (found,) = json.loads(docker("image", "inspect", self.name))
        return dict(found)

    def run(self, *command: str, user: int = 12345, **variables: str) -> str:
        """What a command in a container prints.

        Raises:
            CalledProcessError: it did not exit with 0; stderr says why.
        """
        environment = [f"--env={name}={value}" for name, value in variables.items()]
        return docker("run", "--rm", f"--user={user}", *RESTRICTED, *environment, self.name, *command)


def docker(*arguments: str) -> str:
    """What docker prints."""
    return subprocess.run([*DOCKER, *arguments], check=True, capture_output=True, text=True).stdout


@contextmanager
def built(folder: Path, dockerfile: str, *options: str) -> Iterator[Image]:
    """An image of a folder; removed afterwards.

    Args:
        folder: what `COPY . …` copies.
        dockerfile: what to do with it, without the first line, which is the base image.
        options: more of `docker build`.

    Raises:
        CalledProcessError: the build failed; its output says why.
    """
    image = Image(f"{IMAGE.partition(':')[0]}-test:{folder.name.replace('_', '-')[-60:].strip('-')}")
    (folder / "Dockerfile").write_text(f"FROM {BASE}\n{dockerfile}\n")
    arguments = (
        "build",
        "--network=host",
        "--progress=plain",
        "--no-cache",
        *options,
        "--tag",
        image.name,
        str(folder),
    )
    docker(*arguments)
    try:
        yield image
    finally:
        docker("image", "rm", "--force", image.name)


def refused_build(folder: Path, dockerfile: str) -> str:
    """The output of a build that fails.

    Args:
        folder: what `COPY . …` copies.
        dockerfile: what to do with it, without the first line.
    """
    with pytest.raises(subprocess.CalledProcessError) as caught, built(folder, dockerfile):
        pass
    return str(caught.value.stderr)


@pytest.fixture(scope="session")
def image() -> Image:
    """The image of this repository's project."""
    return _found(IMAGE)


@pytest.fixture(scope="session")
def base() -> Image:
    """The image of the platform alone."""
    return _found(BASE)


def _found(name: str) -> Image:
    found = Image(name)
    try:
        found.inspect()
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        pytest.exit(f"No image {name} ({error}): `make image` builds it, IMAGE names another", returncode=2)
    return found
