"""What a person reads in one message: plain text of a bounded length."""

from __future__ import annotations

import re

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
