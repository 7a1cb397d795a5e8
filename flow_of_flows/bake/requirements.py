"""A project's own requirements: read from its folder, installed by uv, and never at the cost of the platform's."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from flow_of_flows.bake.distributions import PLATFORM, constraints, platform_versions, refuse_other_platform
from flow_of_flows.errors import ConfigurationError, FlowsError, PlatformError
from flow_of_flows.messages import one_line
from flow_of_flows.redaction import redact

REQUIREMENTS, PYPROJECT = "requirements.txt", "pyproject.toml"
# An entry of requirements.txt that names the platform; options such as hashes may follow it.
_PLATFORM_ENTRY = re.compile(
    r"^\s*(flow[-_.]of[-_.]flows(?![\w.-])[^#\n]*?)(?:\s+--.*|\s+#.*)?\s*$", re.IGNORECASE | re.MULTILINE
)
_CONTINUED = re.compile(r"\\\n")
_CONFLICT = re.compile(r"No solution found.*?cause: (?P<why>.*)")
_TWO_SIDES = re.compile(r"^Because you require (?P<one>\S+) and (?P<other>\S+), we can conclude")
_INSTALLED = re.compile(r"^ \+ (\S+)", re.MULTILINE)
_DENIED = re.compile(r"\b40[137]\b|authentication credentials|Authentication failed|could not read Username")
_UNREACHED = re.compile(
    r"error sending request|dns error|tcp connect|timed? ?out|Could not resolve host|Failed to connect"
    r"|Connection re(?:fused|set)|network was disabled|HTTP status server error",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ProjectRequirements:
    """What a project needs in addition to the platform.

    Attributes:
        file: requirements.txt, or pyproject.toml with its `[project] dependencies`; None without any.
        platform: the entries that name the platform, each with the file it is in.
    """

    file: Path | None
    platform: tuple[tuple[Requirement, Path], ...] = ()

    @classmethod
    def read(cls, folder: Path) -> ProjectRequirements:
        """Read the requirements of the project in a folder.

        Raises:
            ConfigurationError: a file cannot be read, or an entry in it is not a requirement.
        """
        requirements, pyproject = folder / REQUIREMENTS, folder / PYPROJECT
        declared = _declared(pyproject)
        platform = [(entry, pyproject) for entry in declared if _is_platform(entry)]
        if not requirements.is_file():
            return cls(pyproject if len(declared) > len(platform) else None, tuple(platform))
        listed = [(_requirement(text, requirements), requirements) for text in _platform_entries(_text(requirements))]
        return cls(requirements, (*platform, *listed))

    def refuse_other_platform(self) -> None:
        """Refuse a platform that is not the one that the project requires.

        Raises:
            ConfigurationError: its version does not fit, or an extra of it is not installed.
        """
        for entry, file in self.platform:
            refuse_other_platform([entry], str(file))


def install(file: Path, *, only_check: bool) -> tuple[str, ...]:
    """Install requirements into the environment of this process; no distribution of the platform changes.

    Args:
        file: requirements.txt or pyproject.toml.
        only_check: find out whether they can be installed, and change nothing.

    Returns:
        What was installed, each as `name==version`.

    Raises:
        ConfigurationError: they conflict with the platform or with each other, or cannot be installed.
        PlatformError: an index cannot be reached.
    """
    with tempfile.TemporaryDirectory() as folder:
        platform, excludes = Path(folder, "platform.txt"), Path(folder, "excludes.txt")
        platform.write_text(constraints())
        # It is here, and its version was checked; an index may not have it.
        excludes.write_text(f"{PLATFORM}\n")
        # Byte code of what is new is made afterwards: uv would compile the whole environment again.
        options = ("--no-compile-bytecode", *(["--dry-run"] if only_check else []))
        done = _uv(file, f"--constraints={platform}", f"--excludes={excludes}", *options)
    if done.returncode != 0:
        raise refusal(done.stderr, file, platform_versions())
    return tuple(_INSTALLED.findall(done.stderr))


def _uv(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        raise ConfigurationError("uv is not installed", location="PATH", hint="install it, `pip install uv`")
    command = [uv, "pip", "install", f"--python={sys.executable}", "--color=never", "--no-progress"]
    return subprocess.run(  # noqa: S603 - a fixed program
        [*command, f"--requirements={file}", *options],
        cwd=file.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def refusal(said: str, file: Path, versions: Mapping[str, str]) -> FlowsError:
    """Return the error for what uv said.

    Args:
        said: its output.
        file: the file with the requirements.
        versions: those of the platform.
    """
    what = redact(one_line(said.partition("error: ")[2] or said))
    if (found := _CONFLICT.search(what)) and not _DENIED.search(what):
        return _conflict(found["why"], file, versions)
    if _DENIED.search(what):
        return ConfigurationError(
            f"A package index refuses access: {what}",
            location=str(file),
            hint="give the build the credentials of the index as a secret (docs/image.md)",
        )
    if _UNREACHED.search(what):
        return PlatformError(
            f"A package index or another source of a requirement cannot be reached: {what}",
            location=str(file),
            hint="check the network of the build and the address of the index (UV_DEFAULT_INDEX), then build again",
        )
    return ConfigurationError(
        f"The project's requirements cannot be installed: {what}", location=str(file), hint="correct the requirements"
    )


def _conflict(why: str, file: Path, versions: Mapping[str, str]) -> ConfigurationError:
    """Return the error of requirements that no set of versions satisfies."""
    pins = {f"{name}=={version}": f"{name} {version}" for name, version in versions.items()}
    named = [pins[word] for word in dict.fromkeys(re.findall(r"[\w.-]+==[\w.!+-]*\w", why)) if word in pins]
    hint = "change the requirement, or build the image FROM a base image whose versions fit"
    if (sides := _TWO_SIDES.match(why)) and named:
        own = sides["one"] if sides["other"] in pins else sides["other"]
        what = f"The project's requirements conflict with the platform: they ask for {own}, and it has {named[0]}"
        return ConfigurationError(what, location=str(file), hint=hint)
    if named:
        what = f"The project's requirements conflict with the platform, which has {', '.join(named)}: {why}"
        return ConfigurationError(what, location=str(file), hint=hint)
    return ConfigurationError(
        f"The project's requirements cannot be resolved: {why}", location=str(file), hint="correct the requirements"
    )


def _declared(pyproject: Path) -> tuple[Requirement, ...]:
    """Return `[project] dependencies` of a pyproject.toml; none if it has no such table."""
    if not pyproject.is_file():
        return ()
    try:
        content = tomllib.loads(_text(pyproject))
        return tuple(_requirement(text, pyproject) for text in content.get("project", {}).get("dependencies", ()))
    except (ValueError, TypeError, AttributeError) as error:
        raise _unreadable(pyproject, error) from error


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> ConfigurationError:
    return ConfigurationError(f"It cannot be read: {one_line(error)}", location=str(file), hint="correct the file")


def _platform_entries(text: str) -> Iterator[str]:
    """Yield the entries of a requirements.txt that name the platform, without their options."""
    return (found[1] for found in _PLATFORM_ENTRY.finditer(_CONTINUED.sub(" ", text)))


def _requirement(text: str, file: Path) -> Requirement:
    try:
        return Requirement(text)
    except InvalidRequirement as error:
        raise ConfigurationError(
            f"{text!r} is not a requirement: {one_line(error)}", location=str(file), hint="correct the requirement"
        ) from error


def _is_platform(requirement: Requirement) -> bool:
    return canonicalize_name(requirement.name) == PLATFORM
