"""How hard are the phantoms? Thresholds must fail on them, a small network must not, and losses must differ.

Prints a Markdown table. About 20 minutes of one core with all data sets and losses; ``--keys`` and ``--losses`` take
less. The phantoms were drawn until the Dice loss reached .75 to .95 with seed 0; what another ``--seed`` gives was not
looked at then. A line per data set: mean share of the foreground, Dice of the best threshold for the whole set and of
Otsu per image (best channel and polarity; class 1), then the mean Dice over test cases and classes of ``unet_demo``
trained with each loss: Adam with cosine decay, 80 steps of eight 64 x 64 images in 2D (DRIVE: 160 steps of four
128 x 128), 300 steps of two 32 x 48 x 48 volumes in 3D (KiTS19: 400 steps), a fifth of a seeded split held out. The
seed is that of phantoms, split, network and batches. Last line: do losses differ more where the foreground is rarer?
The rank correlation between share and spread (best less worst loss) over the data sets; -1 would be always.
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
from scipy.stats import spearmanr

from rareseg import datasets, evaluation, losses, models, pipeline

LOSSES = ("cross_entropy", "focal", "dice", "unified_focal")
FLAT = {"size": (64, 64), "batch_size": 8, "steps": 80, "rate": 3e-3}
DEEP = {"size": (32, 48, 48), "batch_size": 2, "steps": 300, "rate": 5e-3}
PLANS = {
    "drive": FLAT | {"size": (128, 128), "batch_size": 4, "steps": 160},
    "brats2020": DEEP,
    "kits19": DEEP | {"steps": 400, "clip": (-79, 304)},
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keys", nargs="+", default=datasets.names(), choices=datasets.names())
    parser.add_argument("--losses", nargs="+", default=LOSSES)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    heads = ("phantoms of", "cases", "foreground %", "best threshold", "Otsu", *options.losses, "spread")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    shares, spreads = [], []
    for key in options.keys:
        with tempfile.TemporaryDirectory() as scratch:
            dataset = datasets.open(key, datasets.make_phantoms(key, f"{scratch}/{key}", seed=options.seed))
            fields, share, spread = row(dataset, options.losses, options.seed)
        print(f"| {' | '.join(fields)} |", flush=True)
        shares.append(share)
        spreads.append(spread)
    if len(shares) > 2:
        found = spearmanr(shares, spreads)
        print(
            f"\nRank correlation of share and spread: {found.statistic:.2f} (n = {len(shares)}, p = {found.pvalue:.2f})"
        )


def row(dataset: Any, names: Sequence[str], seed: int) -> tuple[list[str], float, float]:
    """Return the fields of one data set's line, its share of foreground, and how far losses are apart."""
    plan = PLANS.get(dataset.key, FLAT)
    cases = prepared(dataset, plan)
    shares = [np.mean([np.mean(case.label == k) for case in cases]) for k in range(1, len(dataset.classes))]
    images, truths = zip(*((case.read_image(), case.read_label() == 1) for case in dataset.cases), strict=True)
    rules = [find(images, truths, metric="dsc") for find in (evaluation.best_threshold, evaluation.best_otsu)]
    found = [trained(cases, name, plan, len(dataset.classes), seed) for name in names]
    fields = [
        dataset.key,
        str(len(cases)),
        ", ".join(f"{100 * share:.2f}" for share in shares),
        *(f"{rule.value:.2f}" for rule in rules),
        *(f"{value:.2f}" for value in found),
        f"{max(found) - min(found):.2f}",
    ]
    return fields, float(sum(shares)), max(found) - min(found)


def prepared(dataset: Any, plan: dict[str, Any]) -> list[pipeline.Prepared]:
    """Return the cases as the network gets them, z-scored; intensities are clipped before where the plan says so."""
    settings = {"size": plan["size"], "scaling": "none", "cache": "none", "channels": dataset.channels}
    cases = []
    for case in pipeline.prepare_all(dataset.cases, settings):
        image = np.clip(case.image, *plan.get("clip", (-np.inf, np.inf)))
        image = (image - image.mean()) / image.std()
        cases.append(dataclasses.replace(case, arrays={**case.arrays, "image": image}))
    return cases


def trained(cases: Sequence[Any], name: str, plan: dict[str, Any], classes: int, seed: int) -> float:
    """Return the mean Dice over held-out cases and classes after training with a loss."""
    parts = datasets.split(cases, {"seed": seed})
    settings = {"scaling": "none", "cache": "memory", "batch_size": plan["batch_size"], "size_factor": 8}
    keras.utils.set_random_seed(seed)
    network = {"name": "unet_demo", "output": "logits", "seed": seed}
    model: Any = models.build(network, (*plan["size"], cases[0].channels), classes)
    rate = keras.optimizers.schedules.CosineDecay(plan["rate"], plan["steps"])
    model.compile(keras.optimizers.Adam(rate), losses.get({"name": name, "from_logits": True}))
    batches, step = pipeline.Batches(parts["train"], settings, seed=seed), 0
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


if __name__ == "__main__":
    main()
