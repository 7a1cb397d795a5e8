"""With what the matrix was run: one sentence for the head of its table."""

from __future__ import annotations

import importlib.metadata
from datetime import UTC, datetime

from kubernetes import client, config

PACKAGES = ("prefect", "prefect-kubernetes", "dbt-core")


def head(image: str) -> str:
    """Date and versions."""
    kubernetes = client.VersionApi(config.new_client_from_config()).get_code().git_version
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; Kubernetes {kubernetes}, {packages}, image {image}."
