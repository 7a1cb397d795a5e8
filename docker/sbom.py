"""Joins two lists into one CycloneDX bill of materials; the image's build runs it.

Usage: `sbom.py PYTHON.json STATUS WHOLE.json`, with what cyclonedx-py wrote and dpkg's /var/lib/dpkg/status.
"""

import json
import sys
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from urllib.parse import quote


def debian(status: str) -> Iterator[dict[str, str]]:
    """Installed Debian packages as components, named as vulnerability scanners look them up."""
    for paragraph in status.strip().split("\n\n"):
        package = HeaderParser().parsestr(paragraph)
        if package["Status"].endswith(" installed"):
            name, version = package["Package"], package["Version"]
            url = f"pkg:deb/debian/{name}@{quote(version, safe='')}?arch={package['Architecture']}"
            yield {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url}


def main(python: Path, status: Path, whole: Path) -> None:
    """Read two files and write the third."""
    bill = json.loads(python.read_text())
    bill["components"] += debian(status.read_text())
    whole.write_text(json.dumps(bill, indent=1) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
