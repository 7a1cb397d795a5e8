"""Redacts texts of other systems for a chat room: no secret, no value of a row, bounded length.

`redaction` removes the secrets that this process has read, as everywhere; a chat room also gets nothing that only looks
like a secret.

A warehouse's message may quote a value that it rejected. It quotes names as well: a name after a word such as table or
column stays, everything else between quotes goes. The whole message is one click away, on the run's page.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from flow_of_flows.messages import one_line
from flow_of_flows.redaction import redact

MOST_CHARACTERS = 300
HIDDEN = "…"

# The words before a name in a warehouse's message.
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


def _quoted(match: re.Match[str]) -> str:
    word, gap, quote, text = match.groups()
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


def redact_line(text: str, most: int = MOST_CHARACTERS) -> str:
    """Return one line without possible secrets and parts of rows.

    Args:
        text: a text of another system.
        most: the most characters to return.
    """
    return cut(one_line(redact_text(text)), most)


def redact_text(text: str) -> str:
    """Return the text without possible secrets and parts of rows; keep its lines, for a traceback."""
    text = redact(text)
    for pattern, substitute in _SUBSTITUTES:
        text = pattern.sub(substitute, text)
    return text


def cut(text: str, most: int) -> str:
    """Return the text, or its beginning.

    Args:
        text: the text.
        most: the most characters to return.
    """
    return text if len(text) <= most else text[: most - 1].rstrip() + HIDDEN
