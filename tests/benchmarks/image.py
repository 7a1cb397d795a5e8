"""The image against a plain one: `pip install` of the same packages on the same base. `make bench-image`.

Sizes are what `docker image inspect` gives, uncompressed. Writes build/bench/image.json.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from pathlib import Path

from tests.benchmarks import results
from tests.benchmarks.results import entry
from tests.fixtures.server import REPOSITORY

GOAL = 0.5
DOCKER = shlex.split(os.environ.get("DOCKER", "docker"))
IMAGE = os.environ.get("IMAGE", "flow-of-flows:0.1.0")
PLAIN = """
FROM {base}
COPY requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir -r /tmp/requirements.txt
COPY flows /app/flows
COPY docker/dbt /app/docker/dbt
"""


def arguments() -> dict[str, str]:
    """The build arguments of the Dockerfile and what they are unless given."""
    text = (REPOSITORY / "Dockerfile").read_text()
    return {name: value.strip('"') for name, value in re.findall(r'^ARG (\w+)=(".*"|\S+)$', text, re.MULTILINE)}


def requirements() -> str:
    """What the image's environment is made of, as pip reads it."""
    extras = [word for extra in arguments()["EXTRAS"].split() for word in ("--extra", extra)]
    groups = ["--no-default-groups", "--group", "project"]
    command = ["uv", "export", "--quiet", "--locked", *groups, "--no-emit-project", "--no-hashes", *extras]
    return subprocess.run(command, check=True, cwd=REPOSITORY, capture_output=True, text=True).stdout


def size(image: str) -> int:
    """Bytes."""
    command = [*DOCKER, "image", "inspect", "--format", "{{.Size}}", image]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def plain(name: str) -> int:
    """Build the plain image; bytes."""
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        (context / "requirements.txt").write_text(requirements())
        (context / "Dockerfile").write_text(PLAIN.format(base=arguments()["PYTHON_IMAGE"]))
        for part in ("flows", "docker/dbt"):
            target = context / part
            target.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-r", str(REPOSITORY / part), str(target)], check=True)
        subprocess.run([*DOCKER, "build", "--quiet", "--network", "host", "--tag", name, folder], check=True)
    return size(name)


def main() -> None:
    """Build, compare, print and write."""
    ours = size(IMAGE)
    results.say(f"{IMAGE}: {ours:,} bytes; its base: {size(arguments()['PYTHON_IMAGE']):,} bytes")
    theirs = plain("flow-of-flows-plain:bench")
    results.say(f"plain image: {theirs:,} bytes")
    entries = [entry("image / plain image of pip install", [ours / theirs], GOAL, "ratio of bytes")]
    results.show(entries)
    results.write(entries, results.FOLDER / "image.json")


if __name__ == "__main__":
    main()
