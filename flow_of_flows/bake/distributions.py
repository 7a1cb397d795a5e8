"""The installed distributions of the platform, and whether they are what a project asks for.

`python -m flow_of_flows.bake.distributions` prints them as constraints, which an image gives to uv and pip.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from flow_of_flows.errors import ConfigurationError

PLATFORM = "flow-of-flows"
# Operators of a specifier that name a lower bound.
_AT_LEAST = (">=", ">", "==", "~=")


def platform_versions() -> dict[str, str]:
    """Return name and version of every installed distribution that the platform or one of its extras needs.

    The platform itself is not among them.
    """
    versions: dict[str, str] = {}
    extras = frozenset(_distribution(PLATFORM).metadata.get_all("Provides-Extra") or ())
    waiting, seen = [(PLATFORM, extras)], {(PLATFORM, extras)}
    while waiting:
        for requirement in _needs(*waiting.pop()):
            entry = (canonicalize_name(requirement.name), frozenset(requirement.extras))
            if entry not in seen and is_installed(entry[0]):
                seen.add(entry)
                waiting.append(entry)
                versions[entry[0]] = metadata.version(entry[0])
    return {name: version for name, version in sorted(versions.items()) if name != PLATFORM}


def constraints() -> str:
    """Return the versions of the platform as a file of constraints."""
    return "".join(f"{name}=={version}\n" for name, version in platform_versions().items())


def refuse_other_platform(requirements: Iterable[Requirement], where: str) -> None:
    """Refuse a platform that is not the one that a project requires.

    Args:
        requirements: the project's requirements that name the platform.
        where: the file that has them.

    Raises:
        ConfigurationError: the version does not fit, or an extra is not installed.
    """
    version = Version(metadata.version(PLATFORM))
    for requirement in requirements:
        if not requirement.specifier.contains(version, prereleases=True):
            raise _other_version(version, requirement, where)
        for extra in sorted(requirement.extras):
            _refuse_missing(extra, where)


def is_installed(name: str) -> bool:
    """Return whether a distribution is installed."""
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _other_version(version: Version, requirement: Requirement, where: str) -> ConfigurationError:
    bounds = (each.version.removesuffix(".*") for each in requirement.specifier if each.operator in _AT_LEAST)
    is_older = any(Version(bound) > version for bound in bounds)
    what = "is older than the project requires" if is_older else "does not fit the project"
    return ConfigurationError(
        f"The platform {what}: {PLATFORM} {version} is installed, and the project requires {requirement}",
        location=where,
        hint=f"build the image FROM a {'newer base image' if is_older else 'base image that fits'}, "
        "or change the requirement",
    )


def _refuse_missing(extra: str, where: str) -> None:
    known = _distribution(PLATFORM).metadata.get_all("Provides-Extra") or []
    if extra not in known:
        raise ConfigurationError(
            f"The platform has no extra {extra}", location=where, hint=f"the extras are {', '.join(sorted(known))}"
        )
    missing = sorted({need.name for need in _needs(PLATFORM, {extra}) if not is_installed(need.name)})
    if missing:
        raise ConfigurationError(
            f"The project requires {PLATFORM}[{extra}], and {', '.join(missing)} is not installed",
            location=where,
            hint=f"install {' '.join(missing)} first, or build the base image with this extra",
        )


def _needs(name: str, extras: Collection[str]) -> Iterator[Requirement]:
    """Yield the requirements of a distribution that apply here.

    Args:
        name: of the distribution.
        extras: its extras that are wanted.
    """
    for text in _distribution(name).requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def _distribution(name: str) -> metadata.Distribution:
    return metadata.distribution(name)


if __name__ == "__main__":
    sys.stdout.write(constraints())
