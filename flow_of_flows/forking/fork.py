"""Turns a fork of the fork server into `python -m MODULE ARGUMENTS`."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import runpy
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from flow_of_flows import output
from flow_of_flows.errors import FlowsError


def exec_module(parent: int, request: Mapping[str, Any]) -> NoReturn:
    """Run a module as the main program of this fork, then exit.

    Args:
        parent: process id of the parent, with which this process ends.
        request: the module, its arguments and environment, and a log file if it has one.
    """
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        end_with_parent(parent)
        if log := request.get("log"):
            file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(file, 1)
            os.dup2(file, 2)
        os.environ.update(request["environment"])
        output.begin()
        gc.enable()
        sys.argv = [request["module"], *request["arguments"]]
        warnings.simplefilter("ignore", RuntimeWarning)  # runpy: the module has been imported before, on purpose
        with _settings_of(request["environment"]):
            _guard_requests()
            runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - the process ends here, and its log is the only place to say why
        traceback.print_exc()
    finally:
        _exit(code)


def _guard_requests() -> None:
    from flow_of_flows import prefect_requests

    try:
        prefect_requests.guard()
    except FlowsError as error:
        output.end(error)


@contextmanager
def _settings_of(environment: Mapping[str, str]) -> Iterator[None]:
    """Read Prefect's settings again for a run that has some of its own: Prefect read them in the fork server."""
    if not any(name.startswith("PREFECT_") and not name.startswith("PREFECT__") for name in environment):
        yield
        return
    from prefect.context import SettingsContext, get_settings_context
    from prefect.settings import Settings

    with SettingsContext(profile=get_settings_context().profile, settings=Settings()):
        yield


def _exit(code: int) -> NoReturn:
    """End as the interpreter would: exit handlers flush Prefect's logs and events."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - joins threads and runs their exit hooks
        atexit._run_exitfuncs()  # noqa: SLF001
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent dies, however it dies (Linux; elsewhere the session ends it).

    Args:
        parent: process id of the parent; if it is gone already, this process exits.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def leave_terminal() -> None:
    """Leave the terminal's process group: Ctrl-C is for the session, which then ends its processes in order."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
