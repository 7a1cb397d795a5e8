"""`flows graph`: a pipeline as text in the terminal and as a picture file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rich.console import Console

from flows import pipelines
from flows.dispatch.plan import Pipeline
from flows.errors import ConfigurationError, ExitCode, PlatformError
from flows.report import graph

FORMATS = {".png", ".svg"}


def draw(name: str, output: Path | None) -> int:
    """Print the graph of a pipeline, and write its picture if a file is named.

    Raises:
        ConfigurationError: an unknown pipeline, or a picture of another kind than PNG or SVG.
        PlatformError: the file cannot be written.
    """
    pipeline = pipelines.find(name)
    if output and output.suffix not in FORMATS:
        raise ConfigurationError(
            f"A picture is a .png or .svg file, not {output.suffix or 'a file without an ending'}",
            where=str(output),
            todo="name it so",
        )
    nested = nested_edges(pipeline)
    Console().print(graph.as_text(pipeline.name, pipeline.edges, nested), highlight=False, soft_wrap=True, markup=False)
    if output:
        kind: Literal["png", "svg"] = "svg" if output.suffix == ".svg" else "png"
        _write(output, graph.as_picture(pipeline.name, pipeline.edges, nested, kind=kind))
        Console().print(f"Picture: {output}", highlight=False, soft_wrap=True)
    return ExitCode.OK


def nested_edges(pipeline: Pipeline) -> dict[str, dict[str, tuple[str, ...]]]:
    """The edges of every step that is a pipeline itself."""
    return {step.name: step.pipeline.edges for step in pipeline.steps if step.pipeline}


def _write(file: Path, picture: bytes) -> None:
    try:
        file.write_bytes(picture)
    except OSError as error:
        raise PlatformError(
            f"The picture cannot be written: {error.strerror}", where=str(file), todo="name another file"
        ) from error
