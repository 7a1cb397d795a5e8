"""Texts of other systems in, texts for a chat room out: no secret, no value of a row, of bounded length.

Secrets that this process has read are removed by `redaction`, as everywhere; a chat room also gets nothing that only
looks like a secret.

A warehouse's message may quote the value that it could not take. It quotes names, too: those that follow a word such as
table or column stay, all else between quotes goes. The whole message is one click away, on the run's page.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from flow_of_flows.messages import one_line
from flow_of_flows.redaction import redact

MOST_CHARACTERS = 300
HIDDEN = "…"

# What a warehouse calls the things that it names.
NAMED = frozenset(
    {
        "with name",
        "relation",
        "column",
        "table",
        "schema",
        "object",
        "database",
        "identifier",
        "view",
        "sequence",
        "function",
        "role",
    }
)


def _quoted(found: re.Match[str]) -> str:
    word, gap, quote, text = found.groups()
    kept = text if word.lower() in NAMED and re.fullmatch(r"[\w.$-]+", text) else HIDDEN
    return f"{word}{gap}{quote}{kept}{quote}"


Substitute = str | Callable[[re.Match[str]], str]
_SUBSTITUTES: tuple[tuple[re.Pattern[str], Substitute], ...] = (
    (re.compile(r"-----BEGIN .*?(-----END [A-Z ]*-----|$)", re.DOTALL), HIDDEN),
    # Of an address only the host is kept: the rest may be a token, a signature or a password.
    (re.compile(r"(?<=://)[^/\s@]+@"), ""),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[\w.:-]*\w)[/?#]\S+", re.IGNORECASE), rf"\1/{HIDDEN}"),
    (
        re.compile(
            r"\b(\w*(?:password|passphrase|secret|token|api[_-]?key|routing[_-]?key)\w*)(\s*[=:]\s*)\S+", re.IGNORECASE
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), HIDDEN),
    (re.compile(r"\b(?:xox[a-z]-|gh[a-z]_|github_pat_)[\w-]+"), HIDDEN),
    # Rows: Postgres' details, Snowflake's row values, the tables of dbt's unit tests, LINE 1: of a query.
    (re.compile(r"\b(DETAIL|CONTEXT):.*", re.DOTALL), rf"\1: {HIDDEN}"),
    (re.compile(r"\b(row values|row contains|row)(:?\s*)[\[(].*", re.DOTALL | re.IGNORECASE), rf"\1\2{HIDDEN}"),
    (re.compile(r"(actual differs from expected).*", re.DOTALL), rf"\1 {HIDDEN}"),
    (re.compile(r"\b(LINE \d+):.*", re.DOTALL), rf"\1: {HIDDEN}"),
    (re.compile(r"\b((?:with|variant) values?) (?!['\"])\S+", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(r"=\s*\([^)]*\)"), f"=({HIDDEN})"),
    (re.compile(r"""(with name|\w*)(\s*)(")([^"]*)\""""), _quoted),
    (re.compile(r"(\w*)(\s+|(?<![\w']))(')((?:[^']|'')*)'(?!\w)"), _quoted),
)


def scrub(text: str, most: int = MOST_CHARACTERS) -> str:
    """One line of at most so many characters, without what may be a secret or a part of a row."""
    return cut(one_line(masked(text)), most)


def masked(text: str) -> str:
    """The text without what may be a secret or a part of a row; for a traceback, whose lines stay."""
    text = redact(text)
    for pattern, substitute in _SUBSTITUTES:
        text = pattern.sub(substitute, text)
    return text


def cut(text: str, most: int) -> str:
    """The text, or its beginning."""
    return text if len(text) <= most else text[: most - 1].rstrip() + HIDDEN
