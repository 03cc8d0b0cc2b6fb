"""Every test process computes with one thread, as every worker does: else the last bits depend on the load."""

import itertools
import os

import pytest

for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
    os.environ.setdefault(name, "1")


@pytest.fixture(
    params=itertools.product(itertools.permutations(range(3)), itertools.product((0, 1), repeat=3)),
    ids=lambda found: "".join(map(str, found[0])) + "".join("+-"[flip] for flip in found[1]),
)
def orientation(request):
    """How a volume's file may lie: the order of its axes, and which of them are reversed; all 48."""
    return request.param
