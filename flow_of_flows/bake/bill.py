"""The bill of materials of an environment in CycloneDX: Python distributions, and the packages of a Debian below it.

`python -m flow_of_flows.bake.bill FILE` writes one. The same environment gives the same file, byte for byte.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from flow_of_flows.bake.distributions import PLATFORM

FILE = "sbom.cdx.json"
DEBIAN = Path("/var/lib/dpkg/status")
Component = dict[str, Any]


def of_environment() -> Path:
    """Return where an image of the platform keeps its bill."""
    return Path(sys.prefix, FILE)


def write(file: Path) -> None:
    """Write the bill of the environment that this process runs in.

    Args:
        file: where to.
    """
    status = DEBIAN.read_text(encoding="utf-8") if DEBIAN.is_file() else ""
    file.write_text(json.dumps(bill(list(metadata.distributions()), status), indent=1) + "\n", encoding="utf-8")


def bill(distributions: list[metadata.Distribution], status: str) -> Component:
    """Return a bill of materials.

    Args:
        distributions: those of Python.
        status: dpkg's list of packages; empty outside Debian.
    """
    own = {_name(each): each for each in distributions}
    references = {name: _reference(name, each.version) for name, each in sorted(own.items())}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _component(own[PLATFORM], kind="application")},
        "components": [
            *(_component(own[name]) for name in references if name != PLATFORM),
            *debian(status),
        ],
        "dependencies": [
            {"ref": reference, "dependsOn": sorted(references[need] for need in _needs(own[name]) & references.keys())}
            for name, reference in references.items()
        ],
    }


def debian(status: str) -> Iterator[Component]:
    """Yield the installed packages of Debian, named as vulnerability scanners look them up.

    Args:
        status: content of /var/lib/dpkg/status.
    """
    for paragraph in filter(None, status.strip().split("\n\n")):
        package = HeaderParser().parsestr(paragraph)
        if package["Status"].endswith(" installed"):
            name, version = package["Package"], package["Version"]
            url = f"pkg:deb/debian/{name}@{quote(version, safe='')}?arch={package['Architecture']}"
            yield {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url}


def _component(distribution: metadata.Distribution, kind: str = "library") -> Component:
    url = _reference(_name(distribution), distribution.version)
    version = distribution.version
    component = {"type": kind, "bom-ref": url, "name": _name(distribution), "version": version, "purl": url}
    if "License-Expression" in distribution.metadata:
        return component | {"licenses": [{"expression": distribution.metadata["License-Expression"]}]}
    classifiers = distribution.metadata.get_all("Classifier") or ()
    names = sorted({each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License :: ")})
    return component | ({"licenses": [{"license": {"name": name}} for name in names]} if names else {})


def _needs(distribution: metadata.Distribution) -> set[str]:
    """Return what a distribution needs, whatever its extras: those that are not installed are left out later."""
    names: set[str] = {canonicalize_name(Requirement(text).name) for text in distribution.requires or ()}
    return names - {_name(distribution)}


def _name(distribution: metadata.Distribution) -> str:
    return canonicalize_name(distribution.name)


def _reference(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{quote(version, safe='')}"


if __name__ == "__main__":
    write(Path(sys.argv[1]))
