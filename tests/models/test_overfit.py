"""Every network learns four phantoms by heart, in so many steps."""

import keras
import numpy as np
import pytest
from keras import ops

from rareseg import datasets, losses, models

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("graphs_as_they_are")]

STEPS = {"images": 100, "volumes": 150}  # after 100 unet_ufl knows three volumes, and the smallest body to .9499
KNOWN = 0.95
SIZE = 32
PUBLISHED_IN_3D = ("unet_miscnn", "unet_ufl")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Return four phantoms, (4, 32, 32, 3), and their labels."""
    folder = datasets.make_phantoms("isic2018", tmp_path_factory.mktemp("phantoms") / "isic2018", 4, SIZE, traps=())
    cases = datasets.open("isic2018", folder).cases

    def middle(pixels):
        left = (pixels.shape[1] - SIZE) // 2
        return pixels[:SIZE, left : left + SIZE]

    images = np.stack([middle(case.read_image()) for case in cases])
    return images.astype("float32") / 255, np.stack([middle(case.read_label()) for case in cases])


@pytest.fixture(scope="module")
def volumes():
    """Return four ellipsoids in noise, (4, 16, 16, 16, 1), and their labels."""
    generator = np.random.default_rng(0)
    axes = np.moveaxis(np.indices((16, 16, 16)), 0, -1)
    centres, radii = generator.uniform(6, 10, (4, 1, 1, 1, 3)), generator.uniform(3, 6, (4, 1, 1, 1, 3))
    labels = (np.square((axes - centres) / radii).sum(axis=-1) < 1).astype("uint8")
    images = labels[..., None] + generator.normal(0, 0.4, (4, 16, 16, 16, 1))
    return images.astype("float32"), labels


def learn_by_heart(config, images, labels, steps):
    """Return the DSC of each image after training on all of them until each is known, or all steps are done.

    What hinders learning by heart is left out.
    """
    slack = {"momentum": 0.8, "dropout": 0.0}  # moving statistics of so few steps
    config |= {option: value for option, value in slack.items() if option in models.presets()[config["name"]]}
    model = models.build({**config, "output": "logits"}, images.shape[1:], 2)
    chosen = losses.deep_supervision([{"name": "combo", "from_logits": True}] * len(model.outputs))
    rate = keras.optimizers.schedules.CosineDecay(0.003, steps)
    model.compile(keras.optimizers.Adam(rate), *chosen, jit_compile=False)
    model.optimizer.build(model.trainable_variables)  # else the first step is traced twice
    space = tuple(range(1, labels.ndim))
    for step in range(1, steps + 1):
        model.train_on_batch(images, [labels] * len(model.outputs))
        if step % 20 == 0:
            found = ops.convert_to_numpy(models.final(model)(images, training=False)).argmax(axis=-1)
            scores = 2 * (found * labels).sum(axis=space) / (found + labels).sum(axis=space)
            if scores.min() >= KNOWN:
                break
    return scores


@pytest.mark.parametrize("name", [name for name in models.presets() if not name.endswith("_demo")])
def test_images_are_learnt_by_heart(narrow, photographs, name):
    width = "filters" if "filters" in models.presets()[name] else "width"
    assert learn_by_heart(narrow(name, **{width: 8}), *photographs, STEPS["images"]).min() >= KNOWN


@pytest.mark.parametrize("name", PUBLISHED_IN_3D)
def test_volumes_are_learnt_by_heart(narrow, volumes, name):
    assert learn_by_heart(narrow(name, filters=8), *volumes, STEPS["volumes"]).min() >= KNOWN
