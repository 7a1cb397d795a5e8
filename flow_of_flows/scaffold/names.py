"""The name of a project: one word that Kubernetes, Python and dbt accept."""

from __future__ import annotations

import importlib.metadata
import re
from dataclasses import dataclass
from pathlib import Path

from flow_of_flows.errors import ConfigurationError

# A DNS label that begins with a letter; with dashes as underscores it is a Python and a dbt name. Helm, Kubernetes and
# registries append to it.
PATTERN = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
LONGEST = 40
RULE = f"lower-case letters, digits and dashes, beginning with a letter, at most {LONGEST} characters"


@dataclass(frozen=True)
class ProjectName:
    """The name of a project.

    Attributes:
        text: as Kubernetes, Prefect and registries have it, such as `acme-data`.
    """

    text: str

    @property
    def module(self) -> str:
        """Return the name of its dbt project and database, such as `acme_data`."""
        return self.text.replace("-", "_")

    @property
    def package(self) -> str:
        """Return the name of its Python package; the end keeps it apart from installed packages."""
        return f"{self.module}_flows"


def project_name(given: str | None, folder: Path) -> ProjectName:
    """Return the name of a project.

    Args:
        given: the name that a person chose.
        folder: absolute path of the project; without a chosen name, its last part is the name.

    Raises:
        ConfigurationError: it is not a name, or it is that of an installed package.
    """
    text = _normalized(folder.name if given is None else given)
    where, hint = f"folder {folder}", "choose a name with --name"
    if given is not None:
        where, hint = "--name", "choose another"
    if not PATTERN.fullmatch(text) or len(text) > LONGEST:
        raise ConfigurationError(
            f"{folder.name if given is None else given!r} is not a name for Kubernetes, Python and dbt",
            location=where,
            hint=f"{hint}: {RULE}",
        )
    if text in _installed():
        raise ConfigurationError(
            f"A project cannot have the name of the installed package {text}", location=where, hint=hint
        )
    return ProjectName(text)


def _normalized(text: str) -> str:
    """Return a text with one spelling for what differs only in case and separators, as package indexes do."""
    return re.sub(r"[ ._-]+", "-", text.strip().lower()).strip("-")


def _installed() -> frozenset[str]:
    names = (found.metadata["Name"] for found in importlib.metadata.distributions())
    return frozenset(_normalized(name) for name in names if name)
