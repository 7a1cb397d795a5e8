"""Every private name of Prefect that the platform uses exists, and takes what is passed to it."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect._internal.control_listener import get_intent
from prefect.runner._cancellation_manager import CancellationManager
from prefect.runner._control_channel import ControlChannel, ControlSignalStatus
from prefect.runner._flow_run_executor import FlowRunExecutorContext
from prefect.runner._hook_runner import HookRunner
from prefect.runner._process_manager import ProcessHandle
from prefect.runner._state_proposer import StateProposer
from prefect.utilities import engine
from prefect.workers.base import BaseJobConfiguration

from flow_of_flows import prefect_internals
from flow_of_flows.forking.preload import PREFECT

ROOT = Path(prefect_internals.__file__).parent
PRIVATE = re.compile(r"(?:from|import) prefect[\w.]*\._|from prefect[\w.]* import _|SLF001")


@pytest.mark.parametrize("name", prefect_internals.CLASSES)
def test_a_private_class_is_found(name: str) -> None:
    """It is imported when it is used first."""
    module = importlib.import_module(prefect_internals.CLASSES[name])
    assert getattr(prefect_internals, name) is getattr(module, name)


def test_another_name_is_not_found() -> None:
    """As in every module."""
    with pytest.raises(AttributeError, match="has no attribute 'Executor'"):
        getattr(prefect_internals, "Executor")  # noqa: B009 - mypy knows that there is none


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (get_intent, []),
        (FlowRunExecutorContext, []),
        (
            FlowRunExecutorContext.create_executor,
            ["self", "flow_run", "starter", "resolve_flow", "propose_submitting", "hook_runner"],
        ),
        (FlowRunExecutorContext._handle_cancellation_observer_failure, ["self", "flow_run_ids"]),  # noqa: SLF001
        (ControlChannel.register, ["self", "flow_run_id"]),
        (ControlChannel.get_conclusion, ["self", "flow_run_id"]),
        (ControlChannel.signal, ["self", "flow_run_id", "intent"]),
        (CancellationManager.cancel_by_id, ["self", "flow_run_id"]),
        (HookRunner.run_cancellation_hooks, ["self", "flow_run", "state"]),
        (ProcessHandle, ["_process", "termination_scope"]),
        (StateProposer, ["client"]),
        (StateProposer.propose_crashed, ["self", "flow_run", "message"]),
        (BaseJobConfiguration._base_environment, []),  # noqa: SLF001
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_a_private_function_takes_what_is_passed_to_it(function: Callable[..., Any], parameters: list[str]) -> None:
    """A parameter that was added, renamed or moved shows here first."""
    assert list(inspect.signature(function).parameters) == parameters


@pytest.mark.parametrize(
    ("owner", "attribute"),
    [
        (FlowRunExecutorContext, "_state_proposer"),
        (FlowRunExecutorContext, "_cancellation_manager"),
        (FlowRunExecutorContext, "_cancellation_task_group"),
        (CancellationManager, "_hook_runner"),
    ],
)
def test_an_object_has_a_private_attribute(owner: type, attribute: str) -> None:
    """It is set when the object is made, which needs an API: so the source is read."""
    assert f"self.{attribute} = " in inspect.getsource(owner)


@pytest.mark.parametrize("name", ["_prefect_sigterm_bridge_lock", "_prefect_sigterm_handler"])
def test_the_engine_has_what_stands_for_its_signal_handler(name: str) -> None:
    """Both are variables of the module."""
    assert name in vars(engine)


def test_the_answers_to_an_intent_are_known() -> None:
    """Two of them are compared with."""
    assert {"ACKNOWLEDGED", "ALREADY_CONCLUDED"} <= set(ControlSignalStatus.__members__)


@pytest.mark.parametrize("name", PREFECT)
def test_what_is_preloaded_exists(name: str) -> None:
    """One of the modules is private."""
    assert importlib.util.find_spec(name) is not None


def test_no_other_module_uses_private_names() -> None:
    """Except for those of Python itself, in the module that ends a fork."""
    users = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if PRIVATE.search(path.read_text())}
    assert users == {"prefect_internals.py", "forking/forkserver.py"}
