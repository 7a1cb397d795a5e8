"""Children that leave a trace of each start and each end in Postgres, so that work done twice is seen. In job pods."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psycopg2
from prefect import runtime
from prefect.concurrency.sync import concurrency

from flow_of_flows.child_flow import child
from flow_of_flows.child_report import ChildReport
from flow_of_flows.errors import DataError

MEGABYTE = 2**20


def effect(what: str) -> None:
    """A side effect that nothing undoes: one row, of whichever pod does it."""
    # The connection is that of the environment: PGHOST and the like.
    connection = psycopg2.connect("")
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "insert into faults.effects (run, parent, pod, what) values (%s, %s, %s, %s)",
            (runtime.flow_run.id, runtime.flow_run.parent_flow_run_id, os.environ.get("HOSTNAME", ""), what),
        )
    connection.close()


@child("faults-sleeper")
def sleeper(seconds: float = 20, label: str = "sleeper") -> ChildReport:
    """Work for a while: a row when it begins, a row when the work is done.

    Args:
        seconds: how long.
        label: names its rows.
    """
    return _asleep(seconds, label)


@child("faults-turn")
def turn(seconds: float = 20, label: str = "turn") -> ChildReport:
    """The same work; its deployment lets one run of it work at a time.

    Args:
        seconds: how long.
        label: names its rows.
    """
    return _asleep(seconds, label)


def _asleep(seconds: float, label: str) -> ChildReport:
    effect(f"{label} began")
    time.sleep(seconds)
    effect(f"{label} done")
    return ChildReport(summary=f"slept for {seconds} s")


@child("faults-slot")
def slot(seconds: float = 20, limit: str = "faults") -> ChildReport:
    """The same work while it holds a slot of a concurrency limit.

    Args:
        seconds: how long.
        limit: its name.
    """
    with concurrency(limit, occupy=1):
        effect("slot began")
        time.sleep(seconds)
        effect("slot done")
    return ChildReport(summary=f"held a slot for {seconds} s")


@child("faults-hog")
def hog(megabytes: int = 300) -> ChildReport:
    """Take memory, then do the work.

    Args:
        megabytes: how much, in addition to what the pod has already.
    """
    effect("hog began")
    taken = b"x" * (megabytes * MEGABYTE)
    time.sleep(1)
    effect("hog done")
    return ChildReport(summary=f"took {len(taken) // MEGABYTE} MiB")


@child("faults-filler")
def filler(megabytes: int = 64, folder: str = "/tmp") -> ChildReport:
    """Write a file; the disk may be smaller.

    Args:
        megabytes: its size.
        folder: where.
    """
    effect("filler began")
    with (Path(folder) / "filler").open("wb") as file:
        for _ in range(megabytes):
            file.write(b"x" * MEGABYTE)
            file.flush()
            time.sleep(0.02)
    # The kubelet measures volumes once a minute.
    time.sleep(150)
    effect("filler done")
    return ChildReport(summary=f"wrote {megabytes} MiB")


@child("faults-noop")
def noop() -> ChildReport:
    """Nothing."""
    return ChildReport(summary="nothing")


@child("faults-failing")
def failing() -> ChildReport:
    """Fail, for a reason of its own."""
    effect("failing began")
    raise DataError("a table has no rows", location="faults", hint="see that its source delivers")
