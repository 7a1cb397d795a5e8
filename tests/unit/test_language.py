"""Plain English in what people read: phrases that a native speaker would stumble over stay out of docs and tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.commands import REPOSITORY

# What to write instead stands behind each.
PHRASES = {
    r"for ever": "forever, indefinitely",
    r"of ours|of our own": "our, or the thing's name",
    r"(?:am|is|are|was|were|be|been|being|not) told": "is notified, gets a message, is reported",
    r"nobody is": "no notifications, nothing",
    r"(?<!there )is no (?!longer)": "is not a",
    r"becomes? no": "does not become, fails",
    r"what becomes of": "what happens to",
    r"looks? after|looked after": "watches, manages, cleans up",
    r"beside": "next to, alongside, in addition to",
    r"(?:asked|told|said) is": "subject, verb, object",
    r"would else": "would otherwise",
    r"needs? to be allowed": "needs permission",
}
# The README also has the description of every setting.
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "helm" / "README.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def stumbles(text: str) -> list[str]:
    """Return each phrase of a text with what to write instead."""
    return [
        f"{found[0]!r} in {text[max(0, found.start() - 30) : found.end() + 30]!r}: write {instead}"
        for phrase, instead in PHRASES.items()
        for found in re.finditer(rf"\b(?:{phrase})\b", text, re.IGNORECASE)
    ]


def docstrings(file: Path) -> list[str]:
    """Return the docstrings of a module, its classes and its functions."""
    nodes = ast.walk(ast.parse(file.read_text()))
    return [ast.get_docstring(node) or "" for node in nodes if isinstance(node, DOCUMENTED)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_a_page_has_no_phrase_that_readers_stumble_over(page: Path) -> None:
    """Each is listed with what to write instead."""
    assert stumbles(page.read_text()) == []


def test_the_docstrings_of_the_tests_have_none_either() -> None:
    """They say what the platform does, in the words of the docs."""
    found = {
        str(file.relative_to(REPOSITORY)): phrases
        for file in sorted((REPOSITORY / "tests").rglob("*.py"))
        if (phrases := [phrase for text in docstrings(file) for phrase in stumbles(text)])
    }
    assert found == {}


def test_phrases_are_found_in_any_case_and_only_as_whole_words() -> None:
    """The words of good English pass."""
    assert stumbles("Besides, there is no run, it is no longer there, and nobody told us; forever.") == []
    assert [phrase.partition(" in ")[0] for phrase in stumbles("Asked is what becomes of it: it is no run.")] == [
        "'is no '",
        "'what becomes of'",
        "'Asked is'",
    ]
