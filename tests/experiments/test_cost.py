import math

import pytest

from rareseg.experiments import catalogue, config, cost, grid

keras = pytest.importorskip("keras")


def built(network, shape, channels):
    """Return multiply-accumulates and activations of the convolutions of a built network."""
    from rareseg import models

    model = models.build({**network, "output": "logits"}, (*shape, channels), 2)
    macs = activations = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Conv2DTranspose):
            transposed = isinstance(layer, keras.layers.Conv2DTranspose)
            macs += math.prod((layer.input if transposed else layer.output).shape[1:-1]) * math.prod(layer.kernel.shape)
            activations += math.prod(layer.output.shape[1:])
    return macs, activations


@pytest.mark.parametrize("name", sorted(catalogue.networks()))
def test_arithmetic_equals_the_built_network(name):
    network, shape = {"name": name}, (32, 48)
    assert (cost.macs(network, shape, 3), cost.activations(network, shape, 3)) == built(network, shape, 3)


@pytest.mark.parametrize(("name", "giga"), [("unet_all", 10.71), ("focusnet", 52.52)])
def test_the_forecast_of_the_papers_size(name, giga):
    assert cost.macs({"name": name}, (192, 256), 3, 1) / 1e9 == pytest.approx(giga, abs=0.005)


@pytest.mark.parametrize(("dataset", "steps"), [("isic2018", 6500), ("dsb2018", 1700), ("drive", 500_000)])
def test_steps_of_the_papers_runs(dataset, steps):
    from rareseg.experiments.cli import configuration

    points = grid.points(config.read(configuration("table3")))
    assert {cost.steps(point.dataset, point.settings) for point in points if point.dataset == dataset} == {steps}
