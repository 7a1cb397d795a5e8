"""`flows sample`: the sample shop data set as files."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from flows.errors import ExitCode, PlatformError
from flows.ingest.sample import generate


def write_sample(folder: Path, scale: float) -> int:
    """Write the CSV files and say where they are.

    Raises:
        PlatformError: they cannot be written.
    """
    try:
        generate(folder, scale=scale)
    except OSError as error:
        raise PlatformError(
            f"The sample cannot be written: {error.strerror}",
            where=str(error.filename or folder),
            todo="name another folder, or free some space",
        ) from error
    Console().print(f"Sample data set: {folder}", highlight=False, soft_wrap=True, markup=False)
    return ExitCode.OK
