"""How hard are the phantoms? Thresholds must fail on them, a small network must not, and losses must differ.

Prints a Markdown table. About 20 minutes of one core with all data sets and losses; ``--keys`` and ``--losses`` take
less. A line per data set: mean share of the foreground, Dice of the best threshold for the whole set and of Otsu per
image (best channel and polarity; class 1 or the first named class), then the mean Dice over test cases and classes of
``unet_demo`` trained with each loss: Adam with cosine decay, 80 steps of eight 64 x 64 images in 2D (DRIVE: 160
steps of four 128 x 128), 300 steps of two 32 x 48 x 48 volumes in 3D, seed 0, a fifth of a seeded split held out.
"""

import argparse
import dataclasses
import os
import tempfile
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from skimage.filters import threshold_otsu

from rareseg import datasets, losses, models, pipeline

LOSSES = ("cross_entropy", "focal", "dice", "unified_focal")
FLAT = {"size": (64, 64), "batch_size": 8, "steps": 80, "rate": 3e-3}
DEEP = {"size": (32, 48, 48), "batch_size": 2, "steps": 300, "rate": 5e-3}
PLANS = {
    "drive": FLAT | {"size": (128, 128), "batch_size": 4, "steps": 160},
    "brats2020": DEEP,
    "kits19": DEEP | {"clip": (-79, 304)},
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", nargs="+", default=datasets.names(), choices=datasets.names())
    parser.add_argument("--losses", nargs="+", default=LOSSES)
    options = parser.parse_args()
    heads = ("phantoms of", "cases", "foreground %", "best threshold", "Otsu", *options.losses, "spread")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for key in options.keys:
        with tempfile.TemporaryDirectory() as scratch:
            dataset = datasets.open(key, datasets.make_phantoms(key, f"{scratch}/{key}"))
            print(f"| {' | '.join(row(dataset, options.losses))} |", flush=True)


def row(dataset: Any, names: Sequence[str]) -> list[str]:
    """Return the fields of one data set's line."""
    plan = PLANS.get(dataset.key, FLAT)
    cases = prepared(dataset, plan)
    shares = [np.mean([np.mean(case.label == k) for case in cases]) for k in range(1, len(dataset.classes))]
    found = [trained(cases, name, plan, len(dataset.classes)) for name in names]
    return [
        dataset.key,
        str(len(cases)),
        ", ".join(f"{100 * share:.2f}" for share in shares),
        *(f"{value:.2f}" for value in thresholds(dataset.cases)),
        *(f"{value:.2f}" for value in found),
        f"{max(found) - min(found):.2f}",
    ]


def prepared(dataset: Any, plan: dict[str, Any]) -> list[pipeline.Prepared]:
    """Return the cases as the network gets them, z-scored; intensities are clipped before where the plan says so."""
    settings = {"size": plan["size"], "scaling": "none", "cache": "none", "channels": dataset.channels}
    cases = []
    for case in pipeline.prepare_all(dataset.cases, settings):
        image = np.clip(case.image, *plan.get("clip", (-np.inf, np.inf)))
        image = (image - image.mean()) / image.std()
        cases.append(dataclasses.replace(case, arrays={**case.arrays, "image": image}))
    return cases


def trained(cases: Sequence[Any], name: str, plan: dict[str, Any], classes: int) -> float:
    """Return the mean Dice over held-out cases and classes after training with a loss."""
    parts = datasets.split(cases, {"seed": 0})
    settings = {"scaling": "none", "cache": "memory", "batch_size": plan["batch_size"], "size_factor": 8}
    keras.utils.set_random_seed(0)
    model: Any = models.build({"name": "unet_demo", "output": "logits"}, (*plan["size"], cases[0].channels), classes)
    rate = keras.optimizers.schedules.CosineDecay(plan["rate"], plan["steps"])
    model.compile(keras.optimizers.Adam(rate), losses.get({"name": name, "from_logits": True}))
    batches, step = pipeline.Batches(parts["train"], settings, seed=0), 0
    while step < plan["steps"]:
        for index in range(min(len(batches), plan["steps"] - step)):
            model.train_on_batch(*batches[index])
            step += 1
        batches.epoch += 1
    labels = pipeline.predict_many(model, parts["test"], settings, grid="network")
    pairs = list(zip((case.label for case in parts["test"]), labels, strict=True))
    return float(np.nanmean([dice(truth == k, label == k) for truth, label in pairs for k in range(1, classes)]))


def dice(truth: np.ndarray, label: np.ndarray) -> float:
    """Return the Dice coefficient; NaN where both are empty."""
    total = np.count_nonzero(truth) + np.count_nonzero(label)
    return 2 * np.count_nonzero(truth & label) / total if total else float("nan")


def thresholds(cases: Sequence[Any]) -> tuple[float, float]:
    """Return the mean Dice of class 1 by the best threshold of the set, and by Otsu's of each image."""
    images = [(np.moveaxis(case.read_image(), -1, 0).astype(np.float32), case.read_label() == 1) for case in cases]
    low, high = (f(image) for f, image in ((np.min, images[0][0]), (np.max, images[0][0])))
    whole = [
        [[max(dice(truth, channel >= cut), 0) for cut in np.linspace(low, high, 64)] for channel in image]
        + [[dice(truth, channel < cut) for cut in np.linspace(low, high, 64)] for channel in image]
        for image, truth in images
    ]
    single = [
        [
            dice(truth, side)
            for channel in image
            for cut in [threshold_otsu(channel)]
            for side in (channel >= cut, channel < cut)
        ]
        for image, truth in images
    ]
    return float(np.nanmean(whole, axis=0).max()), float(np.nanmean(single, axis=0).max())


if __name__ == "__main__":
    main()
