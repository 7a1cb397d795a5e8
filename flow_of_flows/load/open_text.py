"""An address in, an open text stream out, and each way that can fail as one clear error."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

from flow_of_flows.address import public
from flow_of_flows.errors import ConfigurationError, DataError, FlowsError, PlatformError

# The driver of an fsspec scheme, in an extra of this package.
EXTRAS = {"s3": "s3", "s3a": "s3", "http": "http", "https": "http"}
# Libraries below fsspec whose errors are no OSError.
REMOTE_LIBRARIES = frozenset({"botocore", "aiobotocore", "aiohttp"})


@contextmanager
def open_text(address: str, setting: str) -> Iterator[io.TextIOWrapper]:
    """Open a file as UTF-8 text, with or without byte order mark, read as a stream.

    Args:
        address: a path or any fsspec URL.
        setting: where the address comes from, for messages.

    Raises:
        ConfigurationError: unknown scheme, missing driver, no such folder.
        DataError: no such file.
        PlatformError: it is there and cannot be read.
    """
    import fsspec  # type: ignore[import-untyped] # has no types

    where = public(address)
    try:
        with fsspec.open(address, "rb") as file:
            yield io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    except ImportError as error:
        raise _driver(address) from error
    except FileNotFoundError as error:
        # fsspec's HTTP driver says so of a server that does not answer, too.
        if isinstance(error.__cause__, OSError):
            raise _unreadable(error.__cause__, where) from error
        raise _missing(address, setting) from error
    except OSError as error:
        raise _unreadable(error, where) from error
    except FlowsError:
        raise
    except Exception as error:
        raise _remote(error, where, setting) from error


def _unreadable(error: OSError, where: str) -> PlatformError:
    reason = error.strerror or type(error).__name__
    todo = "check the address and that this account may read it"
    return PlatformError(f"The source cannot be read: {reason}", location=where, hint=todo)


def _driver(address: str) -> ConfigurationError:
    scheme = address.partition("://")[0]
    extra = EXTRAS.get(scheme)
    todo = f"install the extra `{extra}` of flow-of-flows" if extra else f"install the fsspec driver for {scheme}://"
    return ConfigurationError(f"No driver to read {scheme}:// is installed", location=public(address), hint=todo)


def _missing(address: str, setting: str) -> FlowsError:
    """Tell a missing folder (a setting) from a missing file (the export)."""
    from fsspec.core import url_to_fs  # type: ignore[import-untyped] # has no types

    folder, _, name = public(address).rpartition("/")
    files, path = url_to_fs(address)
    parent = path.rpartition("/")[0]
    if files.exists(parent) or "://" in address:
        found = _names(files, parent)
        return DataError(
            f"{name} is not in the source; found there: {found}", location=folder, hint=f"export {name} to that folder"
        )
    return ConfigurationError("The source folder does not exist", location=folder, hint=f"correct {setting}")


def _names(files: object, folder: str) -> str:
    try:
        listed: list[str] = files.ls(folder, detail=False)  # type: ignore[attr-defined]
    except (OSError, NotImplementedError):
        return "nothing that can be listed"
    return ", ".join(sorted(path.rstrip("/").rpartition("/")[2] for path in listed)[:20]) or "nothing"


def _remote(error: Exception, where: str, setting: str) -> Exception:
    if isinstance(error, ValueError) and "Protocol not known" in str(error):
        return ConfigurationError(
            "The scheme of the source is unknown", location=where, hint=f"set {setting} to a folder or an fsspec URL"
        )
    if type(error).__module__.partition(".")[0] in REMOTE_LIBRARIES:
        todo = "check the address, the network and the credentials"
        return PlatformError(f"The source cannot be read: {type(error).__name__}", location=where, hint=todo)
    return error
