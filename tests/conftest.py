"""Workers that share a machine (`pytest -n 2`) share its cores, a thread each; set before torch is imported."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
