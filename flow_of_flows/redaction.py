"""The secrets that this process has read, and the one function that removes them from a text.

Whoever reads a secret calls `remember`; every edge where text leaves the process calls `redact` (see `output` and
`prefect_requests`). Foreign libraries print a value escaped, encoded or shortened: `redact` knows those forms,
too. A value of fewer than 6 characters is not searched for, since its letters occur in ordinary words.
"""

from __future__ import annotations

import base64
import html
import json
import re
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

LEAST_CHARACTERS = 6
HIDDEN = "*****"
ESCAPED_TIMES = 3

# pydantic prints the start and the end of a long input.
_SHOWN_WHOLE, _SHOWN_START, _SHOWN_END = 50, 25, 24
_PEM_FRAME = re.compile(r"-{3,}")
_USER_INFO = (re.compile(r"://([^:/?#@\s]*):(\S*)@"), re.compile(r"://([^:/?#@\s]*):([^@/]*)@"))
_TOKEN_AS_USER = re.compile(r"^https?://([^:/?#@\s]+)@", re.IGNORECASE)
_PASSWORD_PARAMETER = re.compile(r"\b(?:password|passwd|token|secret|api_?key)=([^&\s'\"]+)", re.IGNORECASE)


class Redactor:
    """Known secrets, and the forms in which they may appear in a text. Safe for threads."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._forms: set[str] = set()
        self._short: set[str] = set()
        # Longest first, so that a part of a secret does not hide the rest of it; and those without another in them.
        self._ordered: tuple[str, ...] = ()
        self._telling: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def remember(self, value: str, name: str) -> None:
        """Search for a value from now on.

        Args:
            value: the secret; line breaks and blanks around it do not count.
            name: the variable or secret it comes from, for the list of values that are too short.
        """
        value = value.strip()
        if not value:
            return
        if len(value) < LEAST_CHARACTERS:
            self._short.add(name)
            return
        if value in self._values:
            return
        with self._lock:
            if not self._forms.issuperset(forms := set(_forms(value))):
                self._forms |= forms
                self._ordered = tuple(sorted(self._forms, key=len, reverse=True))
                self._telling = _without_others(self._ordered)
            # Last, since other threads look without the lock: a value is known once its forms are searched for.
            self._values.add(value)

    def redact(self, text: str) -> str:
        """Return the text with every known secret replaced."""
        # Ten times faster than a regular expression of all forms, which matters for every line of a log.
        if any(form in text for form in self._telling):
            for form in self._ordered:
                text = text.replace(form, HIDDEN)
        return text

    @property
    def too_short(self) -> tuple[str, ...]:
        """Names of the secrets that are too short to be searched for."""
        return tuple(sorted(self._short))


_process = Redactor()


def remember(value: str, name: str) -> None:
    """Remove a value from every text that leaves this process from now on.

    Args:
        value: the secret.
        name: the variable or secret it comes from.
    """
    _process.remember(value, name)


def remember_url(value: str, name: str) -> None:
    """Remember the passwords and tokens that are part of a URL or of a connection string.

    Args:
        value: the URL.
        name: name of the secret, for messages.
    """
    for pattern in _USER_INFO:
        for match in pattern.findall(value):
            _remember_encoded(match[1], name)
    for pattern in (_TOKEN_AS_USER, _PASSWORD_PARAMETER):
        for match in pattern.findall(value):
            _remember_encoded(match, name)


def redact(text: str) -> str:
    """Return the text without the secrets that this process has read."""
    return _process.redact(text)


def redact_values(value: Any) -> Any:
    """Return a JSON value whose texts are redacted; keys stay."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: redact_values(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [redact_values(each) for each in value]
    return value


class RedactedError(Exception):
    """An exception of a library in other words, since its own held a secret."""


def without_secrets(error: Exception) -> Exception:
    """Return the exception; or, where its text or traceback holds a secret, one that has its text without it."""
    text = "".join(traceback.format_exception(error))
    return error if redact(text) == text else RedactedError(redact(f"{type(error).__name__}: {error}"))


def too_short() -> tuple[str, ...]:
    """Return the names of the secrets that are too short to be redacted."""
    return _process.too_short


def _without_others(ordered: Sequence[str]) -> tuple[str, ...]:
    """Return the texts that have none of the others in them, shortest first."""
    kept_forms: list[str] = []
    for form in reversed(ordered):
        if not any(other in form for other in kept_forms):
            kept_forms.append(form)
    return tuple(kept_forms)


def _remember_encoded(value: str, name: str) -> None:
    remember(value, name)
    remember(unquote(value), name)


def _forms(value: str) -> Iterator[str]:
    """Yield a value as it is, line by line, on one line, and each of those escaped and encoded."""
    lines = [line.strip() for line in value.splitlines() if not _PEM_FRAME.match(line.strip())]
    for part in {value, " ".join(value.split()), *lines}:
        if len(part) >= LEAST_CHARACTERS:
            yield from (form for form in _encoded(part) if len(form) >= LEAST_CHARACTERS)


def _encoded(part: str) -> Iterator[str]:
    forms = level = {part}
    # Such as the repr of an exception whose text is JSON that holds the repr of a header.
    for _ in range(ESCAPED_TIMES):
        level = {escaped for form in level for escaped in _escaped(form)} - forms
        forms = forms | level
    yield from forms
    yield html.escape(part)
    yield from (quote(part), quote(part, safe=""), quote_plus(part))
    yield from _base64(part.encode())
    shown = repr(part)
    if len(shown) > _SHOWN_WHOLE:
        yield f"{shown[:_SHOWN_START]}...{shown[-_SHOWN_END:]}"


def _escaped(text: str) -> Iterator[str]:
    """Yield a text as it is within a longer one that is printed by JSON or by Python."""
    yield from (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    for shown in (repr('"' + text)[2:-1], repr(b'"' + text.encode())[3:-1]):
        # Whether an apostrophe is escaped depends on the text around it.
        yield from (shown, shown.replace("\\'", "'"))


def _base64(value: bytes) -> Iterator[str]:
    """Yield what is the same in the base64 of every text with the value in it, as in Basic authentication."""
    for before in range(3):
        text = base64.b64encode(bytes(before) + value).decode().rstrip("=")
        # The first and the last character also carry bits of what stands around the value.
        core = text[(0, 2, 3)[before] : len(text) - bool((before + len(value)) % 3)]
        yield core
        yield core.replace("+", "-").replace("/", "_")


def file_in(folder: str, name: str) -> str:
    """Return the address of a file in a folder; a query (a signed URL) stays at the end.

    Args:
        folder: a path or a URL.
        name: the file's name.
    """
    if "://" not in folder:
        return f"{folder.rstrip('/')}/{name}"
    parts = urlsplit(folder)
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/{name}{query}"


def public(address: str) -> str:
    """Return the address without user, password, query and fragment."""
    if "://" not in address:
        return address
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
