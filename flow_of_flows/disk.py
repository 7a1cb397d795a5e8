"""A full disk: an exception in, one clear error out."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator

from flow_of_flows.errors import PlatformError

FULL = {errno.ENOSPC, errno.EDQUOT}
SAID = "No space left on device"
TODO = "free space there, or give the pod a larger volume; then run this again"


def full(error: BaseException) -> PlatformError | None:
    """The error of a disk that is full, if that is what an exception came from."""
    found = next((one for one in _chain(error) if isinstance(one, OSError) and one.errno in FULL), None)
    if found is None:
        return None
    where = str(found.filename or tempfile.gettempdir())
    return PlatformError(f"The disk is full: {found.strerror or found}", where=where, todo=TODO)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
