"""The changelog: the form of Keep a Changelog, and the version that the package has."""

from __future__ import annotations

import re
import tomllib

from tests.commands import REPOSITORY

HEADING = re.compile(r"^## \[(Unreleased|\d+\.\d+\.\d+)\](?: - \d{4}-\d{2}-\d{2})?$")
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
LINES = (REPOSITORY / "CHANGELOG.md").read_text().splitlines()


def test_the_changelog_has_the_form_of_keep_a_changelog() -> None:
    """Unreleased first, then the versions, newest first, each with the kinds of changes that the form knows."""
    headings = [HEADING.match(line) for line in LINES if line.startswith("## ")]
    assert None not in headings
    versions = [heading[1] for heading in headings if heading]
    assert versions[0] == "Unreleased"
    assert versions[1:] == sorted(versions[1:], key=lambda each: [*map(int, each.split("."))], reverse=True)
    assert {line.removeprefix("### ") for line in LINES if line.startswith("### ")} <= KINDS


def test_the_newest_version_of_the_changelog_is_not_ahead_of_the_package() -> None:
    """The release workflow requires a section of the package's version; until then it is Unreleased."""
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    released = [match[1] for line in LINES if (match := HEADING.match(line)) and match[1] != "Unreleased"]
    assert released[:1] in ([], [version])
