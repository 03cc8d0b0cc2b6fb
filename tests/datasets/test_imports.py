"""The command line answers within two seconds, so listing data sets must cost next to nothing."""

import subprocess
import sys


def test_importing_data_sets_loads_no_heavy_library():
    heavy = {"keras", "tensorflow", "jax", "torch", "scipy", "skimage", "pandas", "nibabel", "tifffile"}
    code = "import sys, rareseg.datasets; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not heavy & set(found)
