import math
import re
from pathlib import Path

import pytest

from rareseg.experiments import catalogue, config, convolutions, cost, grid
from rareseg.experiments.cost import Cost, gpu_hours
from rareseg.experiments.options import configuration

keras = pytest.importorskip("keras")


def built(network, shape, channels, classes):
    """Return multiply-accumulates, activations and weights of the convolutions of a built network."""
    from rareseg import models

    transposing = keras.layers.Conv2DTranspose | keras.layers.Conv3DTranspose
    model = models.build({**network, "output": "logits"}, (*shape, channels), classes)
    macs = activations = weights = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Conv3D | transposing):
            transposed = isinstance(layer, transposing)
            macs += math.prod((layer.input if transposed else layer.output).shape[1:-1]) * math.prod(layer.kernel.shape)
            activations += math.prod(layer.output.shape[1:])
            weights += math.prod(layer.kernel.shape)
    return macs, activations, weights


@pytest.mark.parametrize("name", sorted(catalogue.networks()))
def test_arithmetic_equals_the_built_network(name):
    _holds({"name": name}, (32, 48), 3, 2)


SMALLER = [
    pytest.param({"name": "unet_ufl", "filters": 2, "depth": 2}, (16, 8, 8), 1, 3, id="3D, three classes"),
    pytest.param({"name": "focusnet_demo"}, (16, 16, 16), 1, 2, id="3D FocusNet"),
    pytest.param({"name": "attention_unet", "width": 2, "deep_supervision": False}, (16, 16), 1, 4, id="one output"),
]


@pytest.mark.parametrize(("network", "shape", "channels", "classes"), SMALLER)
def test_arithmetic_equals_the_built_network_in_3d_and_with_more_classes(network, shape, channels, classes):
    _holds(network, shape, channels, classes)


def _holds(network, shape, channels, classes):
    ours = [count(network, shape, channels, classes) for count in (convolutions.macs, convolutions.activations)]
    ours.append(convolutions.parameters(network, len(shape), channels, classes))
    assert tuple(ours) == built(network, shape, channels, classes)


@pytest.mark.parametrize(
    ("name", "shape", "channels", "giga"),
    [
        ("unet_all", (192, 256), 3, 10.71),
        ("focusnet", (192, 256), 3, 52.52),
        ("unet_ufl", (288, 384), 3, 20.37),
        ("unet_ufl", (96, 96, 96), 1, 200.7),
    ],
)
def test_the_forecast_of_the_papers_size(name, shape, channels, giga):
    assert convolutions.macs({"name": name}, shape, channels, 1) / 1e9 == pytest.approx(giga, rel=1e-3)


LIMITS = [  # limit of a container, bytes held, of which kept files; GiB that can be had
    (str(3 * 2**30), 2 * 2**30, 2**29, 1.5),
    (str(2**30), 2 * 2**30, 0, 0.0),
    ("max", 2 * 2**30, 0, None),
]


@pytest.mark.parametrize(("limit", "held", "kept", "expected"), LIMITS)
def test_a_container_has_no_more_memory_than_its_limit_leaves(limit, held, kept, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "CGROUP", tmp_path)
    machine = cost.free_memory_gib()
    texts = {"memory.max": limit, "memory.current": str(held), "memory.stat": f"anon 1\ninactive_file {kept}"}
    for name, text in texts.items():
        (tmp_path / name).write_text(f"{text}\n")
    found = cost.free_memory_gib()
    assert found == pytest.approx(machine, rel=0.5) if expected is None else found <= expected


SPEEDS = (3e12, 1e13, 2.5e13)
ROW = re.compile(r"^\| `(\w+)` \| (\d+) \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)


def test_hours_on_a_gpu_are_those_of_the_page():
    found = {}
    page = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text(encoding="utf-8")
    for table, runs, *hours in ROW.findall(page):
        points = grid.points(config.read(configuration(table)))
        costs = [Cost.of(point.dataset, point.settings) for point in grid.distinct(points)]
        assert len(points) == int(runs)
        found[table] = [sum(gpu_hours(cost, speed) for cost in costs) for speed in SPEEDS]
        assert found[table] == pytest.approx([float(hour) for hour in hours], abs=0.06)
    assert len(found) == 10


COSTS = [  # table, profile, data set, steps, validated, windows: the specification's section 6
    ("table3", "paper", "isic2018", 6500, 0, 519),
    ("table3", "paper", "dsb2018", 1700, 0, 134),
    ("table3", "paper", "drive", 500_000, 0, 40_000),
    ("table4", "paper", "isic2018", 5200, 292, 649),
    ("ufl_table2", "paper", "cvc_clinicdb", 29_400, 98, 122),
    ("ufl_table3", "paper", "drive", 1200, 4, 20),
    ("ufl_table4", "paper", "bus2017", 7800, 26, 33),
    ("ufl_table5", "paper", "brats2020", 16_500, 55, 68 * 48),
    ("ufl_table6", "paper", "kits19", 9750, 33, 41 * 27),
    ("ufl_table5", "cpu", "brats2020", 6600, 55, 68 * 3 * 4 * 4),  # 78 x 120 x 120 by windows of 48, at 2 mm
]


@pytest.mark.parametrize(("table", "profile", "dataset", "steps", "validated", "windows"), COSTS)
def test_steps_and_cases_of_the_papers_runs(table, profile, dataset, steps, validated, windows):
    points = grid.points(config.read(configuration(table), profile))
    costs = {Cost.of(point.dataset, point.settings) for point in points if point.dataset == dataset}
    assert {(cost.steps, cost.validated, cost.windows) for cost in costs} == {(steps, validated, windows)}
