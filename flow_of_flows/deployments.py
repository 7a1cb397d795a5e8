"""The deployments of the project by name: prefect.yaml is the only list of pipelines and children."""

from __future__ import annotations

from flow_of_flows.dispatch.pipeline import Pipeline, declared
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.project import current_project, refuse_unknown
from flow_of_flows.registration.prefect_yaml import Deployment, read
from flow_of_flows.settings import Settings


def find(name: str, settings: Settings) -> Deployment:
    """Return the entry of prefect.yaml with this name.

    Args:
        name: name of a deployment.
        settings: say which file.

    Raises:
        ConfigurationError: there is none, or the file is not valid.
    """
    refuse_unknown(name, settings.deployments)
    return next(entry for entry in read(settings.deployments) if entry.name == name)


def pipeline(name: str, settings: Settings) -> Pipeline:
    """Return the pipeline of this name, as the settings make it.

    Args:
        name: name of its deployment.
        settings: say which file, and which steps and children the pipeline has.

    Raises:
        ConfigurationError: there is none, its flow does not import, or it is a child.
    """
    entry = find(name, settings)
    current_project().make_importable()
    pipeline = declared(entry.flow())
    if pipeline is None:
        raise ConfigurationError(
            f"{name} is not a pipeline",
            location=f"{settings.deployments}, entrypoint {entry.entrypoint}",
            hint="name one",
        )
    return pipeline.configured(settings)


def declared_by(flow: str, settings: Settings) -> Pipeline | None:
    """Return the pipeline of the project whose flow has this name, as it is declared.

    A deployment of the flow's own name is looked at first; if there is one, no other module is imported.

    Args:
        flow: name of a flow, as a run's page shows it.
        settings: say which file.

    Returns:
        The pipeline; None if the project does not declare one.

    Raises:
        ConfigurationError: prefect.yaml is not valid, or an entrypoint does not import.
    """
    current_project().make_importable()
    entries = read(settings.deployments)
    entries = tuple(entry for entry in entries if entry.name == flow) or entries
    plans = (declared(entry.flow()) for entry in entries)
    return next((plan for plan in plans if plan is not None and plan.name == flow), None)
