"""`make faults`: the rows that FAULTS names, REPEAT times, on the cluster that KUBECONFIG names.

Three releases, so that what breaks a part of the system does not disturb the rest. Exit status 1 unless
every row ended as promised.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field

from tests.faults import rows as _rows  # noqa: F401 - collects them
from tests.faults.judge import judged
from tests.faults.matrix import ROWS, Lane, Result, Row, chosen
from tests.faults.site import Site, site
from tests.faults.table import REPOSITORY, line, say, write
from tests.faults.versions import head

IMAGE = os.environ.get("FAULTS_IMAGE", "flow-of-flows:0.1.0-faults")
# How many rows of a lane may run at once.
WIDTH = {Lane.PODS: 2, Lane.DBT: 1, Lane.PARTS: 1, Lane.LONG: 1, Lane.NODE: 1}
# How many rows run at once in all lanes: each starts half a dozen pods, of three processor seconds each.
AT_ONCE = int(os.environ.get("FAULTS_AT_ONCE", "3"))
HOME = {
    Lane.PODS: "faults-a",
    Lane.DBT: "faults-a",
    Lane.PARTS: "faults-b",
    Lane.LONG: "faults-c",
    Lane.NODE: "faults-a",
}


@dataclass
class Matrix:
    """The rows that are to run, and what came of those that did."""

    wanted: Sequence[tuple[Row, int]]
    results: list[Result] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    room: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(AT_ONCE))

    def run(self) -> list[Result]:
        """Run all, in the order of the matrix; one result each."""
        with ExitStack() as stack:
            names = {HOME[row.lane] for row, _ in self.wanted}
            with ThreadPoolExecutor() as pool:
                made = pool.map(lambda name: (name, stack.enter_context(site(name, IMAGE))), sorted(names))
                sites = dict(made)
            self._lanes(sites, [lane for lane in Lane if lane is not Lane.NODE])
            self._lanes(sites, [Lane.NODE])
        order = {(row.name, repeat): place for place, (row, repeat) in enumerate(self.wanted)}
        return sorted(self.results, key=lambda result: order[result.row.name, result.repeat])

    def _lanes(self, sites: dict[str, Site], lanes: list[Lane]) -> None:
        pools = {lane: ThreadPoolExecutor(max_workers=WIDTH[lane]) for lane in lanes}
        try:
            wait(
                pools[row.lane].submit(self._one, row, sites[HOME[row.lane]], repeat)
                for row, repeat in self.wanted
                if row.lane in pools
            )
        finally:
            # Who interrupts waits for the rows that run: each has something to put right again.
            for pool in pools.values():
                pool.shutdown(cancel_futures=True)

    def _one(self, row: Row, where: Site, repeat: int) -> None:
        # The one that only waits for minutes takes no room.
        with nullcontext() if row.lane is Lane.LONG else self.room:
            result = judged(row, where, repeat)
        with self.lock:
            self.results.append(result)
            # So that a matrix that is interrupted has not been for nothing.
            write(self.results, "", page=None)
            say(f"{len(self.results)}/{len(self.wanted)} {line(result)}")


def main() -> int:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--faults", default="all")
    parser.add_argument("--repeat", type=int, default=1)
    arguments = parser.parse_args()
    try:
        rows = chosen(arguments.faults)
    except ValueError as error:
        parser.error(str(error))
    # Asked to stop, it stops as for Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    results = Matrix([(row, repeat) for repeat in range(1, arguments.repeat + 1) for row in rows]).run()
    whole = len(rows) == len(ROWS)
    write(results, head(IMAGE), page=REPOSITORY / "docs" / "faults.md" if whole else None)
    bad = [result for result in results if not result.ok]
    say(f"{len(results) - len(bad)} of {len(results)} rows ended as promised; build/faults.json has them all")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
