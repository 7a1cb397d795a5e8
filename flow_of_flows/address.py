"""Addresses of files, folders and APIs, as text."""

from __future__ import annotations

from urllib.parse import urlsplit


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
