"""Where a source is: a folder or URL in, the address of one file out, and the address as people may see it. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit


def file_in(folder: str, name: str) -> str:
    """The address of a file in a folder; a query (a signed URL) stays at the end."""
    if "://" not in folder:
        return f"{folder.rstrip('/')}/{name}"
    parts = urlsplit(folder)
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/{name}{query}"


def public(address: str) -> str:
    """The address without user, password, query and fragment."""
    if "://" not in address:
        return address
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
