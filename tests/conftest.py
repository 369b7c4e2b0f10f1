"""Each worker of the suite computes on its share of the cores: threads that wait for each other take twice the time."""

from __future__ import annotations

import os

_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
# read by torch when it is first imported, in the processes that tests start too
os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // _workers, 1)))
