"""The command line `flows`: words in, exit codes out. Each command is a few lines over the module that does the work.

Exit codes: 0 completed (or degraded), 1 failed, 2 bad input or configuration (also of a child that was run by itself),
3 a system or a disk does not do its part, 130 cancelled.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
import sys
from pathlib import Path
from typing import Annotated, NoReturn
from uuid import UUID

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from flow_of_flows import output
from flow_of_flows.errors import ConfigurationError, ExitCode, FlowsError
from flow_of_flows.forking.preload import everything
from flow_of_flows.local.bootstrap import bootstrapped
from flow_of_flows.project import current_project, modules_in, refuse_unknown
from flow_of_flows.settings import Settings, environment
from flow_of_flows.settings.operations import is_configured

app = App(
    name="flows",
    help="Run dbt pipelines: parents that order children, each child a flow run of its own.",
    help_epilogue=(
        "Settings are environment variables; `flows doctor` checks them. Exit codes: 0 completed (or degraded), "
        "1 failed, 2 bad input or configuration, 3 a system or a disk does not do its part, 130 cancelled."
    ),
    version=functools.partial(importlib.metadata.version, "flow-of-flows"),
    version_flags=["--version"],
    # No second name that turns an option off again: nothing here is on by default.
    default_parameter=Parameter(negative=(), show_default=False),
)
state_app = App(name="state", help="Look at dbt's production artifacts in the state store, and roll them back.")

Pipeline = Annotated[str, Parameter(help="Name of a pipeline in prefect.yaml.")]
AnyFlow = Annotated[
    str | None,
    Parameter(
        name="PIPELINE",
        help="Name of a pipeline in prefect.yaml, or of a child or another flow there; without one, they are listed.",
    ),
]
RunId = Annotated[
    UUID, Parameter(help="Id of a pipeline run: from its page in the Prefect UI, or from what `flows run` printed.")
]
Local = Annotated[
    bool,
    Parameter(help="Use the embedded server of this folder, though a Prefect API is configured (PREFECT_API_URL)."),
]
Keep = Annotated[bool, Parameter(help="Keep the server up afterwards, to look at the run; Ctrl-C ends it.")]
Follow = Annotated[bool, Parameter(help="Show the progress until the run is over; Ctrl-C asks what to do.")]


@app.command
def init(
    folder: Annotated[Path, Parameter(help="Folder of the project; `.` adds what is missing to a dbt project here.")],
    /,
    *,
    name: Annotated[str | None, Parameter(help="Name of the project; unset: that of the folder.")] = None,
    dbt: Annotated[
        str | None,
        Parameter(help="Folder or https git URL of an existing dbt project, taken as it is; unset: a small example."),
    ] = None,
    warehouse: Annotated[
        str | None,
        Parameter(help="duckdb, postgres, snowflake, or the name of another dbt adapter; unset: duckdb."),
    ] = None,
) -> int:
    """Create a project that runs at once: pipeline, dbt project, image, chart values, test and workflow.

    Nothing that exists is changed. For example: flows init acme
    """
    from flow_of_flows.cli.init import init_project

    return init_project(folder, name=name, dbt=dbt, warehouse=warehouse)


@app.command
def run(
    pipeline: AnyFlow = None,
    /,
    *,
    set_: Annotated[
        tuple[str, ...],
        Parameter(
            name="--set",
            help="STEP.PARAMETER=VALUE (PARAMETER=VALUE for a child); VALUE is JSON, else text (may be repeated).",
        ),
    ] = (),
    only: Annotated[tuple[str, ...], Parameter(help="Run this step and leave out the others (may be repeated).")] = (),
    skip: Annotated[tuple[str, ...], Parameter(help="Leave out this step (may be repeated).")] = (),
    full_refresh: Annotated[bool, Parameter(help="Rebuild incremental models from scratch.")] = False,
    resume_from: Annotated[
        UUID | None, Parameter(help="Id of an earlier run: a new run that reuses what completed there.")
    ] = None,
    local: Local = False,
    keep: Keep = False,
) -> int:
    """Run a pipeline and show its progress: on the Prefect API that is configured, else on this machine.

    On a configured API any deployment can be named, FLOW/DEPLOYMENT or DEPLOYMENT, and its own infrastructure runs it.
    On this machine there is an embedded server, and children are processes.

    For example: flows run PIPELINE --set dbt-build.select=tag:finance --skip STEP
    """
    settings = Settings.load()
    if pipeline is None:
        from flow_of_flows.cli.catalog import list_deployments

        raise list_deployments(settings.deployments)
    if _is_remote(local=local, keep=keep):
        from flow_of_flows.cli.parameters import RunOptions
        from flow_of_flows.cli.remote import run_deployment

        choice = RunOptions(set_, only, skip, full_refresh, resume_from)
        return asyncio.run(run_deployment(settings, pipeline, choice))
    # Without an import of Prefect, so that a wrong name is refused at once.
    refuse_unknown(pipeline, settings.deployments)
    with bootstrapped(settings, everything(modules_in(settings.deployments))) as bootstrap:
        # Imported only now: Prefect takes more than a second, in which the fork server imports it, too.
        from flow_of_flows.cli.parameters import RunOptions
        from flow_of_flows.cli.run import run_deployment as run_here

        choice = RunOptions(set_, only, skip, full_refresh, resume_from)
        return asyncio.run(run_here(settings, bootstrap, pipeline, choice, keep=keep))


@app.command
def resume(run_id: RunId, /, *, local: Local = False, keep: Keep = False) -> int:
    """Run the rest of a pipeline run that is over: what completed is reused, what failed gets a new attempt."""
    settings = Settings.load()
    if _is_remote(local=local, keep=keep):
        from flow_of_flows.cli import remote

        return asyncio.run(remote.resume_run(settings, run_id))
    with bootstrapped(settings, everything(modules_in(settings.deployments))) as bootstrap:
        from flow_of_flows.cli.run import resume_run

        return asyncio.run(resume_run(settings, bootstrap, run_id, keep=keep))


@app.command
def report(run_id: RunId, /, *, follow: Follow = False, local: Local = False) -> int:
    """Print the answers of a pipeline run: what failed, when, why, and what to rerun."""
    if follow:
        if not _is_remote(local=local):
            raise ConfigurationError(
                "Only a run on a configured Prefect API can be followed",
                location="--follow",
                hint="set PREFECT_API_URL",
            )
        from flow_of_flows.cli.remote import follow_run

        return asyncio.run(follow_run(Settings.load(), run_id))
    from flow_of_flows.cli.remote import report_run

    return asyncio.run(report_run(run_id, local=local))


def _is_remote(*, local: bool, keep: bool = False) -> bool:
    """Return whether a command works on the configured API; `--keep` would have nothing to keep there."""
    if local or not is_configured():
        return False
    if keep:
        raise ConfigurationError(
            "No embedded server is started that could be kept: a Prefect API is configured",
            location="--keep",
            hint="leave it out, or add --local",
        )
    return True


@app.command
def graph(
    pipeline: Pipeline,
    /,
    *,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Picture file to write, .png or .svg.")
    ] = None,
) -> int:
    """Draw the steps of a pipeline: as text here, and as a picture file with --output."""
    from flow_of_flows.cli.graph import draw

    return draw(pipeline, output)


DbtProjectFolder = Annotated[
    str | None, Parameter(help="Folder of a dbt project, relative to that of prefect.yaml; unset: FLOWS_DBT_PROJECT.")
]


@app.command
def doctor(
    *,
    project: Annotated[
        str | None, Parameter(help="Folder of one dbt project; unset: all that prefect.yaml names, and the default.")
    ] = None,
) -> int:
    """Check settings, API, target, state store and dbt projects, and say how to mend what is wrong."""
    from flow_of_flows.cli.doctor import examine

    return asyncio.run(examine(project))


@app.command
def plan(
    *,
    select: Annotated[str | None, Parameter(help="What to build, in dbt's selection syntax.")] = None,
    exclude: Annotated[str | None, Parameter(help="What to leave out, in dbt's selection syntax.")] = None,
    changed_only: Annotated[
        bool, Parameter(help="Only what changed in code or has fresher sources since the last success.")
    ] = False,
    project: DbtProjectFolder = None,
) -> int:
    """Show what dbt-build would build, why and for how long, without building it."""
    from flow_of_flows.cli.plan import show_plan

    return show_plan(select, exclude, changed_only=changed_only, project=project)


app.command(state_app)

Seconds = Annotated[
    float, Parameter(name="--wait", help="Seconds to wait.", validator=Number(gte=0), show_default=True)
]


@app.command
def register(
    *,
    plan: Annotated[bool, Parameter(help="Only print what would change.")] = False,
    file: Annotated[
        Path | None, Parameter(help="File of what to register beside the deployments, instead of FLOWS_REGISTRATION.")
    ] = None,
    take_over: Annotated[
        bool, Parameter(help="Make what another owner registered under the same names this owner's.")
    ] = False,
    wait: Seconds = 300.0,
) -> int:
    """Make the Prefect API match prefect.yaml: pool, deployments, limits, blocks, automations; all of it or nothing."""
    from flow_of_flows.cli.register import register_all

    return register_all(only_plan=plan, file=file, seconds=wait, take_over=take_over)


@app.command
def teardown(
    *,
    namespace: Annotated[str, Parameter(help="Namespace of the Jobs.")],
    selector: Annotated[str, Parameter(help="Labels of the Jobs, for example app.kubernetes.io/instance=flows.")],
    wait: Seconds = 120.0,
) -> int:
    """Delete the Jobs of flow runs, and wait until their pods are gone. For a pod of the cluster."""
    from flow_of_flows.cli.register import remove_jobs

    return remove_jobs(namespace, selector, seconds=wait)


@app.command
def sweep(*, dry_run: Annotated[bool, Parameter(help="Only print what would be done.")] = False) -> int:
    """End or revive what nobody looks after: runs without a pod, orphans, Jobs whose run is over, dead slots."""
    from flow_of_flows.cli.register import sweep as sweep_once

    return asyncio.run(sweep_once(dry_run=dry_run))


@app.command
def ui() -> int:
    """Keep the embedded server and runner up, to look at past runs and start new ones in the browser."""
    settings = Settings.load()
    with bootstrapped(settings, everything(modules_in(settings.deployments))) as bootstrap:
        from flow_of_flows.cli.run import stay_up

        return asyncio.run(stay_up(settings, bootstrap))


@app.command
def sample(
    folder: Annotated[Path, Parameter(help="Where to write the files.")],
    /,
    *,
    scale: Annotated[
        float,
        Parameter(
            help="How much: 1 is the project's usual amount, 10 is ten times as much.",
            validator=Number(gt=0),
            show_default=True,
        ),
    ] = 1.0,
) -> int:
    """Write the project's sample data: the same files for the same scale, every time."""
    from flow_of_flows.cli.sample import write_sample

    return write_sample(folder, scale)


@app.command
def bake(*, check: Annotated[bool, Parameter(help="Check the same here, and install nothing.")] = False) -> int:
    """Put the project into the image that is being built: requirements, `dbt deps`, `dbt parse`, byte code.

    Fails if the requirements conflict with the platform, or an entrypoint of prefect.yaml or the dbt project does not
    load.

    For example: RUN flows bake, as the last line of a project's Dockerfile.
    """
    from flow_of_flows.bake.image import bake as bake_project

    return bake_project(current_project(), only_check=check)


StateOfProject = Annotated[
    str | None, Parameter(help="A dbt project of the store: its name, project/target, or its folder or repository.")
]


@state_app.command
def show(*, project: StateOfProject = None) -> int:
    """Print what is production: which run's artifacts, how old, and whether artifacts/ has them; a line per project."""
    from flow_of_flows.cli import state

    return state.show(project)


@state_app.command
def history(*, project: StateOfProject = None) -> int:
    """Print the publications that are kept, newest first."""
    from flow_of_flows.cli import state

    return state.history(project)


@state_app.command
def rollback(
    *,
    project: StateOfProject = None,
    to: Annotated[
        str | None, Parameter(help="Id of a publication, or of its run; without it, the run before production's.")
    ] = None,
) -> int:
    """Make an earlier publication production again; runs that started before do not publish over it."""
    from flow_of_flows.cli import state

    return state.rollback(project, to)


def main() -> None:
    """Entry point of the console script."""
    output.begin()
    try:
        # Prefect and dbt would report the use of an embedded server to their makers, and Prefect says so on a terminal.
        with environment({"DO_NOT_TRACK": "1"}):
            code = app(result_action="return_value", exit_on_error=False, print_error=False)
    except CycloptsError as error:
        command = " ".join(("flows", *(error.command_chain or ())))
        # Cyclopts ends a list that it cuts short with three dots.
        what = str(error) if str(error).endswith("...") else f"{str(error).rstrip('.')}."
        _end(f"{what} Next: see `{command} --help`.", ExitCode.CONFIGURATION)
    except FlowsError as error:
        output.end(error)
    except KeyboardInterrupt:
        sys.exit(ExitCode.CANCELLED)
    sys.exit(code if isinstance(code, int) else ExitCode.OK)


def _end(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"error: {message}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
