"""What `flows run` can start: the deployments of prefect.yaml by kind, each with its first sentence.

Nothing is imported: a module is read as text, so that a broken one hides no other.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.messages import one_line
from flow_of_flows.project import Declaration, declarations_in

_SENTENCE = re.compile(r".*?[.!?](?=\s|$)")


class FlowKind(StrEnum):
    """What an entry of prefect.yaml runs; the headings of the list."""

    PIPELINE = "Pipelines"
    CHILD = "Children"
    FLOW = "Other flows"


@dataclass(frozen=True)
class Runnable:
    """One line of the list."""

    kind: FlowKind
    name: str
    description: str


def list_deployments(file: Path) -> ConfigurationError:
    """Print what there is to run, and return the error of a command that names nothing.

    Args:
        file: a prefect.yaml.

    Raises:
        ConfigurationError: the file is missing or not valid.
    """
    found = [_described(entry, file.parent) for entry in declarations_in(file)]
    if not found:
        from flow_of_flows.registration.prefect_yaml import read

        found = [Runnable(FlowKind.FLOW, entry.name, entry.description or "") for entry in read(file)]
    sys.stderr.write("\n".join([*_lines(found), "", ""]))
    return ConfigurationError("No flow is named", location=str(file), hint="write `flows run NAME` with a name above")


def _lines(found: list[Runnable]) -> Iterator[str]:
    width = max(len(each.name) for each in found)
    for kind in FlowKind:
        if of_kind := [each for each in found if each.kind is kind]:
            yield kind
            yield from (f"  {each.name:{width}}  {each.description}".rstrip() for each in of_kind)


def _described(entry: Declaration, folder: Path) -> Runnable:
    place, _, name = entry.entrypoint.rpartition(":" if ":" in entry.entrypoint else ".")
    node = _definition(_file(place, folder), name)
    return Runnable(_kind(node, entry), entry.name, _first_sentence(entry.description or _text(node)))


def _file(place: str, folder: Path) -> Path | None:
    """Return the file of a module of the project, or of the platform."""
    if place.endswith(".py"):
        return folder / place
    path = folder.joinpath(*place.split("."))
    local = next((each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file()), None)
    if local is None and place.partition(".")[0] == "flow_of_flows":
        found = find_spec(place)
        return Path(found.origin) if found and found.origin else None
    return local


def _definition(file: Path | None, name: str) -> ast.AST | None:
    """Return the function of that name, or the call whose result has the name."""
    try:
        body = ast.parse(file.read_bytes()).body if file else []
    except (OSError, SyntaxError, ValueError):
        return None
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name:
            return node
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in node.targets):
            return node.value
    return None


def _kind(node: ast.AST | None, entry: Declaration) -> FlowKind:
    """Return what an entry runs: as its code says, else as its tags say."""
    calls = [node] if isinstance(node, ast.Call) else getattr(node, "decorator_list", [])
    names = {_called(call) for call in calls}
    if "pipeline" in names or (not names and "pipeline" in entry.tags):
        return FlowKind.PIPELINE
    return FlowKind.CHILD if "child" in names or (not names and "child" in entry.tags) else FlowKind.FLOW


def _called(node: ast.AST) -> str:
    """Return the last name of what is called, such as `child` for `flow_of_flows.child("…")`."""
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _text(node: ast.AST | None) -> str:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return ast.get_docstring(node) or ""
    keywords = node.keywords if isinstance(node, ast.Call) else []
    values = (
        each.value.value for each in keywords if each.arg == "description" and isinstance(each.value, ast.Constant)
    )
    return str(next(values, ""))


def _first_sentence(text: str) -> str:
    paragraph = one_line(text.strip().split("\n\n")[0])
    found = _SENTENCE.match(paragraph)
    return found[0] if found else paragraph
