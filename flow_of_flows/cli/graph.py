"""`flows graph`: a pipeline as text in the terminal and as a picture file."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from rich.console import Console

from flow_of_flows import deployments
from flow_of_flows.dispatch.pipeline import Overlap, Pipeline
from flow_of_flows.errors import ConfigurationError, ExitCode, PlatformError
from flow_of_flows.settings import Settings
from flow_of_flows.summary import graph

FORMATS = {".png", ".svg"}
OVERLAPS = {
    Overlap.WAIT: "overlap: a run waits until the earlier runs of this pipeline are over",
    Overlap.SKIP: "overlap: a run is skipped while an earlier run of this pipeline is not over",
}


def draw(name: str, output: Path | None) -> int:
    """Print the graph of a pipeline, and write its picture if a file is named.

    Args:
        name: name of the pipeline in prefect.yaml.
        output: file for its picture, .png or .svg.

    Raises:
        ConfigurationError: an unknown pipeline, a picture of another kind than PNG or SVG, or no library to draw it.
        PlatformError: the file cannot be written.
    """
    pipeline = deployments.pipeline(name, Settings.load())
    if output and output.suffix not in FORMATS:
        raise ConfigurationError(
            f"A picture is a .png or .svg file, not {output.suffix or 'a file without an ending'}",
            location=str(output),
            hint="name it so",
        )
    nested, states = nested_edges(pipeline), dict(configured_states(pipeline))
    text = graph.as_text(pipeline.name, pipeline.edges, nested, states)
    Console().print(text, highlight=False, soft_wrap=True, markup=False)
    if said := OVERLAPS.get(Overlap(pipeline.overlap)):
        Console().print(said, highlight=False, soft_wrap=True, markup=False)
    for step in pipeline.steps:
        if step.absent:
            Console().print(f"{step.name} is left out: {step.absent}", highlight=False, soft_wrap=True, markup=False)
    if output:
        _refuse_without_library()
        kind: Literal["png", "svg"] = "svg" if output.suffix == ".svg" else "png"
        _write(output, graph.as_picture(pipeline.name, pipeline.edges, nested, states, kind=kind))
        Console().print(f"Picture: {output}", highlight=False, soft_wrap=True)
    return ExitCode.OK


def nested_edges(pipeline: Pipeline) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the edges of every step that is itself a pipeline."""
    return {step.name: step.nested.edges for step in pipeline.steps if step.nested}


def configured_states(pipeline: Pipeline, path: str = "") -> Iterator[tuple[str, str]]:
    """Return what the settings change about the steps, by path: left out, or another child than the default.

    Args:
        pipeline: the pipeline.
        path: path of the pipeline within the outer ones.
    """
    for step in pipeline.steps:
        if step.absent:
            yield path + step.name, "left out"
        elif step.deployment != step.deployments[0]:
            yield path + step.name, f"by {step.deployment.partition('/')[2]}"
        if step.nested:
            yield from configured_states(step.nested, f"{path}{step.name}/")


def _refuse_without_library() -> None:
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigurationError(
            "A picture needs matplotlib, which is not installed",
            location="--output",
            hint="install flow-of-flows[pictures]",
        )


def _write(file: Path, picture: bytes) -> None:
    try:
        file.write_bytes(picture)
    except OSError as error:
        raise PlatformError(
            f"The picture cannot be written: {error.strerror}", location=str(file), hint="name another file"
        ) from error
