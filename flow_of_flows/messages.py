"""What a person reads in one message: plain text of a bounded length."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

# A screen of 24 lines and 80 columns, with what stands around the message.
SCREEN = 1_500
# Terminal control sequences (CSI, OSC, single characters), and control characters other than tab and line ends.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])|\x9b[0-?]*[ -/]*[@-~]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """Return a text without what only a terminal understands: colours, cursor moves and other control characters."""
    return _CONTROL.sub("", _ESCAPE.sub("", text))


def one_line(text: object) -> str:
    """Return the text of a message or an exception with each run of white space, line ends too, as one space."""
    return " ".join(str(text).split())


def shortened(text: str, most: int = SCREEN, *, rest: str = "") -> str:
    """Return a text of at most so many characters, and how many are missing where it was longer.

    Args:
        text: the whole text.
        most: characters that stay.
        rest: where the others are, such as `in the log`.
    """
    if len(text) <= most:
        return text
    return f"{text[:most].rstrip()}… ({len(text) - most:,} more characters{' ' * bool(rest)}{rest})"


def listed(names: Sequence[str], most: int) -> str:
    """Return names for a sentence: the first so many, and how many more there are.

    Args:
        names: in the order of the sentence.
        most: how many are written out.
    """
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like a misspelt one; None if none is like it.

    Args:
        name: the name that is not known.
        known: the names that are.
    """
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the question that begins a hint, with a blank after it; empty if no known name is like the name.

    Args:
        name: the name that is not known.
        known: the names that are.
    """
    close = closest(name, known)
    return f"did you mean {close}? " if close else ""
