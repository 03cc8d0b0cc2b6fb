"""What a prediction holds, by the high-water mark of a process of its own: ``benchmarks/prediction.py`` measures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "prediction.py"

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")


def measured(shape, output):
    job = json.dumps({"measure": "memory", "shape": shape, "output": output})
    done = subprocess.run([sys.executable, BENCHMARK, "--child", job], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])["ratio"]


def test_probabilities_take_little_more_than_themselves():
    assert measured((160, 240, 240), "probabilities") < 1.6


def test_labels_of_a_case_four_times_as_deep_take_little_more():
    """In sizes of the probabilities: four bytes for each of four classes, of which the label itself takes one."""
    deep, flat = (measured((depth, 96, 192), "label") for depth in (576, 144))
    assert 4 * deep < flat + 0.8
