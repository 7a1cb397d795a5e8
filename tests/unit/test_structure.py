"""Two packages and one vocabulary: what the project may import, which words the platform may use, unique names."""

from __future__ import annotations

import ast
import importlib
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.commands import REPOSITORY

PLATFORM, PROJECT = REPOSITORY / "flow_of_flows", REPOSITORY / "flows"
# Names of this repository's tables, feeds and dashboards.
WORDS = re.compile(
    r"jaffle|(?<![a-z])shop(?![a-z])|hubspot|exchange[ _-]rate|(?<![a-z])currenc|(?<![a-z])ecb(?![a-z])"
    r"|raw[_-](customers|orders|payments)|dashboard[_-](customers|sales)",
    re.IGNORECASE,
)
MOST_TERMS = 30


def modules(folder: Path) -> Iterator[tuple[str, ast.Module]]:
    """Every module below a folder: its path in the repository, and what it says."""
    for file in sorted(folder.rglob("*.py")):
        yield str(file.relative_to(REPOSITORY)), ast.parse(file.read_text())


def imported(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Every name that a module imports from the platform, with the module it takes it from."""
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "flow_of_flows":
            yield from ((str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.startswith("flow_of_flows"))


def test_the_project_imports_only_what_the_platform_offers() -> None:
    """Only names in `__all__` of the package and of its documented subpackages: as another team's project would."""
    found = {(home, name) for _, module in modules(PROJECT) for home, name in imported(module)}
    assert found != set()
    assert {
        (home, name) for home, name in found if name not in getattr(importlib.import_module(home), "__all__", ())
    } == set()


def test_the_platform_contains_no_word_of_the_project() -> None:
    """Nobody has to fork the package or the chart for its names; the values of the demonstration are the project's."""
    chart = (file for file in (REPOSITORY / "helm").rglob("*.*") if file.name != "values-demo.yaml")
    lines = (
        f"{file.relative_to(REPOSITORY)}:{number}: {line.strip()}"
        for file in sorted([*PLATFORM.rglob("*.py"), *chart])
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if WORDS.search(line)
    )
    assert list(lines) == []


def test_no_class_name_is_used_twice_in_the_platform() -> None:
    """A reader who meets a class knows which one it is."""
    homes = defaultdict(set)
    for name, module in modules(PLATFORM):
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef):
                homes[node.name].add(name)
    assert {name: sorted(found) for name, found in homes.items() if len(found) > 1} == {}


def test_the_glossary_is_short_sorted_and_complete_in_each_entry() -> None:
    """At most 30 terms, each with a meaning."""
    rows = [
        line.strip("| ").split(" | ") for line in (REPOSITORY / "docs" / "glossary.md").read_text().splitlines()[6:]
    ]
    terms = [row[0] for row in rows]
    assert len(terms) <= MOST_TERMS
    assert terms == sorted(terms)
    assert [row for row in rows if len(row) != 2 or not row[1]] == []


def test_every_page_that_a_message_points_to_exists() -> None:
    """A hint that names a page of the docs leads somewhere."""
    texts = (file.read_text() for file in (*PLATFORM.rglob("*.py"), *(REPOSITORY / "helm").rglob("*.tpl")))
    pages = {page for text in texts for page in re.findall(r"docs/[a-z-]+\.md", text)}
    assert pages >= {"docs/secrets.md", "docs/snowflake.md"}
    assert [page for page in sorted(pages) if not (REPOSITORY / page).is_file()] == []
