"""How a project depends on this platform: on the version that runs now, from where that was installed (PEP 610)."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from packaging.version import Version

PACKAGE = "flow-of-flows"


def version() -> str:
    """Return the version of the platform that runs now."""
    return importlib.metadata.version(PACKAGE)


def python() -> str:
    """Return the versions of Python that the platform runs on."""
    return importlib.metadata.metadata(PACKAGE)["Requires-Python"]


def requirement(extras: Iterable[str], installed: str) -> str:
    """Return the requirement of a project: this version, and later ones that keep what it promises.

    Args:
        extras: what the project needs of the platform.
        installed: the version that runs now.
    """
    now = Version(installed)
    lowest = installed.removesuffix(".0") if now.micro == 0 and not now.is_prerelease else installed
    # Before 1.0 a minor version may change the API.
    end = f"0.{now.minor + 1}" if now.major == 0 else str(now.major + 1)
    return f"{PACKAGE}[{','.join(extras)}]>={lowest},<{end}"


def installed_from() -> dict[str, Any] | None:
    """Return where the platform was installed from, as PEP 610 has it; None for a package index."""
    text = importlib.metadata.distribution(PACKAGE).read_text("direct_url.json")
    return dict(json.loads(text)) if text else None


def source(origin: Mapping[str, Any] | None) -> str | None:
    """Return the value in `[tool.uv.sources]` that installs the platform from the same place.

    Args:
        origin: content of direct_url.json; None for a package index.

    Returns:
        An inline table of TOML; None for a package index.
    """
    if origin is None:
        return None
    url = _without_credentials(str(origin["url"]))
    folder = {"subdirectory": origin["subdirectory"]} if "subdirectory" in origin else {}
    if vcs := origin.get("vcs_info"):
        return _table({"git": url, "rev": vcs["commit_id"], **folder})
    if checkout := _checkout(url):
        editable = {"editable": True} if origin.get("dir_info", {}).get("editable") else {}
        return _table({"path": str(checkout), **editable})
    return _table({"url": url, **folder})


def address(origin: Mapping[str, Any] | None) -> str | None:
    """Return where the platform was installed from, as the direct reference of a requirement.

    Args:
        origin: content of direct_url.json; None for a package index.
    """
    if origin is None:
        return None
    url = _without_credentials(str(origin["url"]))
    if vcs := origin.get("vcs_info"):
        url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
    return f"{url}#subdirectory={origin['subdirectory']}" if "subdirectory" in origin else url


def chart(origin: Mapping[str, Any] | None) -> str:
    """Return where Helm finds the chart: in the checkout that the platform runs from, else in the registry.

    Args:
        origin: content of direct_url.json; None for a package index.
    """
    checkout = _checkout(str(origin["url"])) if origin and "dir_info" in origin else None
    if checkout and (checkout / "helm" / "Chart.yaml").is_file():
        return str(checkout / "helm")
    return f"oci://ghcr.io/your-org/charts/{PACKAGE} --version {version()}"


def _checkout(url: str) -> Path | None:
    """Return the path of a file URL; None for another."""
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _without_credentials(url: str) -> str:
    """Return a URL without user and password; the user of ssh is part of the address."""
    parts = urlsplit(url)
    if "@" not in parts.netloc or parts.scheme.endswith("ssh"):
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(SplitResult(parts.scheme, host, parts.path, parts.query, parts.fragment))


def _table(values: Mapping[str, str | bool]) -> str:
    """Return an inline table of TOML; its texts and booleans are those of JSON."""
    return f"{{ {', '.join(f'{key} = {json.dumps(value)}' for key, value in values.items())} }}"
