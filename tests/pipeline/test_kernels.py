import subprocess
import sys

import numpy as np
import pytest

from rareseg.pipeline import _spline
from rareseg.pipeline._field import displacement
from rareseg.pipeline.augment import rotation

kernels = pytest.importorskip("rareseg.pipeline._kernels", reason="numba is not installed", exc_type=ImportError)

SHAPES = [  # case, patch, channels
    pytest.param((20, 22, 19), (17, 13, 16), 1, id="3D"),
    pytest.param((12, 22, 19), (30, 8, 15), 4, id="3D, four channels, larger than the case"),
    pytest.param((33, 41), (30, 24), 3, id="2D"),
    pytest.param((3, 2, 1), (4, 4, 4), 1, id="hardly a voxel"),
    pytest.param((1, 7), (2, 9), 2, id="a line"),
]


@pytest.mark.parametrize("reflect", [False, True], ids=["constant", "reflect"])
@pytest.mark.parametrize("elastic", [False, True], ids=["affine", "elastic"])
@pytest.mark.parametrize(("shape", "patch", "channels"), SHAPES)
def test_numba_and_scipy_give_the_same_patch(shape, patch, channels, elastic, reflect):
    random = np.random.default_rng(0)
    coefficients = _spline.prefilter(random.standard_normal((*shape, channels)))
    label = random.integers(0, 3, shape, np.uint8)
    matrix = 1.1 * rotation((0.2, 0.1, -0.15)[: 1 if len(shape) == 2 else 3])
    shift = (np.array(shape) - 1.1) / 2 - matrix @ ((np.array(patch) - 1) / 2)
    field = displacement(patch, 60, 3.0, random) if elastic else None
    made = []
    for module in (_spline, kernels):
        image_out, label_out = np.full((*patch, channels), np.nan, np.float32), np.full(patch, 9, np.uint8)
        fill = np.arange(channels, dtype=np.float32) - 5
        module.warp(coefficients, label, matrix, shift, field, reflect, fill, 7, image_out, label_out)
        made.append((image_out, label_out))
    np.testing.assert_allclose(made[1][0], made[0][0], atol=2e-6)
    np.testing.assert_array_equal(made[1][1], made[0][1])
    assert (made[0][1] == 7).any() != reflect


def test_coefficients_give_the_image_back_at_its_voxels():
    image = np.random.default_rng(0).random((7, 9, 8, 2)).astype(np.float32)
    image_out, label_out = np.empty_like(image), np.empty(image.shape[:-1], np.uint8)
    kernels.warp(
        _spline.prefilter(image),
        label_out.copy(),
        np.eye(3),
        np.zeros(3),
        None,
        False,
        np.zeros(2),
        255,
        image_out,
        label_out,
    )
    np.testing.assert_allclose(image_out, image, atol=2e-6)


def test_a_numba_that_is_broken_is_told():
    code = """
import sys
sys.modules["numba.core"] = None
from rareseg.pipeline import augment
augment._warp()
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.stderr.splitlines()[-1].startswith("ModuleNotFoundError: import of numba.core halted")


def test_without_a_folder_that_can_be_written_it_is_compiled_anew():
    code = """
import tempfile
def refuse(**_):
    raise PermissionError
tempfile.TemporaryFile = refuse  # by which numba tries folders
from rareseg.pipeline import augment
print(augment._warp().__module__)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "rareseg.pipeline._kernels"


@pytest.mark.parametrize("name", ["numba", "llvmlite"])
def test_without_numba_scipy_takes_its_place(name):
    code = f"""
import sys
sys.modules[{name!r}] = None
from rareseg.pipeline import augment
print(augment._warp().__module__, "rareseg.pipeline._kernels" in sys.modules)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["rareseg.pipeline._spline", "False"]
