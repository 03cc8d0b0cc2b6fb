"""Every test process computes with one thread, as every worker does: else the last bits depend on the load."""

import os

for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
    os.environ.setdefault(name, "1")
