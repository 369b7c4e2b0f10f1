"""Each worker of the suite computes on its share of the cores: where all use all of them it takes twice as long."""

from __future__ import annotations

import os

_workers = os.environ.get("PYTEST_XDIST_WORKER_COUNT")
if _workers:  # not in the process that starts the workers: they inherit its environment
    # read by torch when it is first imported, in the processes that tests start too
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // int(_workers), 1)))
