"""The variables of dbt's profile that come from secrets: FLOWS_DBT_SECRETS in, values and memory-backed files out."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from flow_of_flows import held_folders, secrets
from flow_of_flows.errors import ConfigurationError, PlatformError
from flow_of_flows.redaction import remember
from flow_of_flows.secrets import SecretText
from flow_of_flows.settings import DbtSecret, Settings, from_environment
from flow_of_flows.settings.variables import remember_variable

SETTING = "FLOWS_DBT_SECRETS"
FOLDER = "flows-secrets-"
MOUNTS = Path("/proc/self/mounts")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - memory, with a folder of this process alone in it
IN_MEMORY = frozenset({"tmpfs", "ramfs"})


@contextmanager
def opened(settings: Settings) -> Iterator[dict[str, str]]:
    """The variables that FLOWS_DBT_SECRETS maps to secrets, for as long as the block runs.

    A variable that asks for a file has the path of one in memory, of mode 0600, which is removed at the end.

    Args:
        settings: with the mapping, and where secrets are.

    Returns:
        Value of each variable, by its name.

    Raises:
        ConfigurationError: a secret or its field is missing or empty, or there is no memory-backed folder for a file.
        PlatformError: the place where a secret is kept does not answer.
    """
    mapping = settings.dbt_secrets
    names = sorted({entry.secret for entry in mapping.values()})
    texts = {name: secrets.find(name, settings.secrets, setting=SETTING) for name in names}
    values = {variable: _value(variable, entry, texts[entry.secret]) for variable, entry in mapping.items()}
    with ExitStack() as stack:
        files = {variable: value for variable, value in values.items() if mapping[variable].file}
        folder = stack.enter_context(_folder(", ".join(files))) if files else None
        yield {**values, **{name: _written(folder / name, value) for name, value in files.items() if folder}}


def _value(variable: str, entry: DbtSecret, secret: SecretText) -> str:
    """Return what a variable gets, and have it redacted from now on."""
    text = _whole(secret) if entry.field is None else _field(variable, entry, secret)
    if not entry.file:
        text = text.strip("\r\n")
    if not text.strip():
        what = entry.secret if entry.field is None else f"{entry.secret}, {entry.field}"
        raise ConfigurationError(
            f"The secret {what} is empty, and {SETTING} takes the variable {variable} from it",
            location=secret.place,
            hint=f"give it a value, or correct {SETTING}",
        )
    if entry.redact:
        _remember(text, entry)
    return text


def _whole(secret: SecretText) -> str:
    return secret.text if isinstance(secret.text, str) else json.dumps(dict(secret.text))


def _field(variable: str, entry: DbtSecret, secret: SecretText) -> str:
    fields = _fields(secret.text)
    if fields is None:
        raise ConfigurationError(
            f"The secret {entry.secret} is not a JSON object, so it has no field {entry.field} for {variable}",
            location=secret.place,
            hint=f"store an object, or leave `field` out of {SETTING} for the whole text",
        )
    if (value := fields.get(entry.field)) is None:
        known = ", ".join(sorted(fields)) or "none"
        raise ConfigurationError(
            f"The secret {entry.secret} has no field {entry.field} for the variable {variable}",
            location=secret.place,
            hint=f"add the field, or name one of those it has in {SETTING}: {known}",
        )
    return value if isinstance(value, str) else json.dumps(value)


def _fields(text: str | Mapping[str, str]) -> Mapping[Any, Any] | None:
    if not isinstance(text, str):
        return text
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _remember(text: str, entry: DbtSecret) -> None:
    """Have a value redacted; in a JSON object, such as a key file, each field with the name of a secret, too."""
    remember(text, entry.secret if entry.field is None else f"{entry.secret}, {entry.field}")
    for key, value in (_fields(text) or {}).items():
        if isinstance(value, str):
            remember_variable(str(key).upper(), value)


@contextmanager
def _folder(wanted: str) -> Iterator[Path]:
    """A folder in memory of this process alone; those of processes that were killed go first."""
    memory = _memory(wanted)
    # Those of this user; the others cannot be opened.
    held_folders.sweep(memory.glob(f"{FOLDER}*/"), _locked)
    try:
        made = Path(tempfile.mkdtemp(prefix=f".{FOLDER}", dir=memory))
        lock = _locked(made)
        # Under its name it is locked, so that no other process takes it for a leftover.
        folder = made.rename(memory / made.name.removeprefix("."))
    except OSError as error:
        raise PlatformError(
            f"The folder for the files of {SETTING} cannot be made: {error.strerror}",
            location=str(memory),
            hint="free space there, or make it writable",
        ) from error
    with held_folders.held(folder, lock):
        yield folder


def _memory(wanted: str) -> Path:
    """Return a folder that can be written and whose files are in memory, not on a disk."""
    given = from_environment("XDG_RUNTIME_DIR")
    places = [SHARED_MEMORY, *([Path(given)] if given else [])]
    found = next((place for place in places if os.access(place, os.W_OK) and _file_system(place) in IN_MEMORY), None)
    if found is None:
        raise ConfigurationError(
            f"{SETTING} asks for a file for {wanted}, and no folder here keeps files in memory",
            location=f"looked at {', '.join(map(str, places))}",
            hint=f"mount a tmpfs (an emptyDir with medium Memory) at {SHARED_MEMORY}, or leave `file` out and pass "
            "the value itself to the adapter",
        )
    return found


def _file_system(folder: Path) -> str | None:
    """Return the kind of file system that a folder is on; None where it is not known."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    mounts = {point: kind for _, point, kind, *_ in map(str.split, lines)}
    places = (folder.resolve(), *folder.resolve().parents)
    return next((mounts[str(place)] for place in places if str(place) in mounts), None)


def _locked(folder: Path) -> int | None:
    """Hold a folder until this process ends; None if another process or user holds it."""
    try:
        return held_folders.locked(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None


def _written(path: Path, text: str) -> str:
    """Write a file that only its owner may read; its path."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return str(path)
