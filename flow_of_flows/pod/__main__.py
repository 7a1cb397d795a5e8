"""`python -m flow_of_flows.pod`: the flow run that PREFECT__FLOW_RUN_ID names, in one interpreter instead of three.

`prefect flow-run execute` starts an interpreter for its supervisor, one to look at the workspace and one for the engine
(measured: 4 CPU seconds and 160 MiB for a flow that does nothing). Here Prefect is imported once; a fork becomes the
engine, and this process supervises it with Prefect's own parts: it cancels, reschedules, and reports a crash.
"""

from __future__ import annotations

import gc
import signal
import sys


def main() -> int:
    """Run the flow run; the exit code is that of the supervisor, as with Prefect's own command."""
    # A SIGTERM now would end the process without a word: it is kept until the supervisor listens.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    # Imports make few cycles and many objects; collecting among them costs a tenth of their time.
    gc.disable()
    # Before Prefect reads its settings: a Secret's line break would be a part of the API key.
    from flow_of_flows import output

    output.begin()
    from flow_of_flows.pod.engine import Engine

    # Before anything here starts a thread: the two import what each needs at the same time.
    engine = Engine.fork()
    from flow_of_flows.pod.supervisor import supervise_run

    gc.freeze()
    gc.enable()
    return supervise_run(engine)


if __name__ == "__main__":
    sys.exit(main())
