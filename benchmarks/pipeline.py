"""What batches cost: ours against stock MIScnn, in one process, on the same volumes; and what memory they take.

CPU time of one thread, both sides interleaved, medians. MIScnn's time holds its z-score, one-hot labels and
augmentation of data in memory, and no file reading; ours is spent on prepared cases with cached coefficients. One-hot
labels are made of ours, too, so that both give the same; training takes whole numbers, whose time is shown beside.

UFL's augmentation draws elastic deformation, rotation and scaling with probability 0.15 each, so most batches are cheap
and few are dear. Each kind is timed on its own, and weighted with its probability.
"""

import importlib
import itertools
import math
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from process import ONE_THREAD, answered, measured
from record import Figure, arguments, finish

from rareseg.pipeline import Settings, prepare

PAPER = {"outside": "unlabelled", "fill": "zero", "crop_range": "miscnn", "foreground": 0, "scaling": "zscore"}
CASES = {  # shape, channels, patch (None: whole), classes, batch; targets with UFL's augmentation and without
    "KiTS-like": ((128, 248, 248), 1, (80, 160, 160), 3, 2, 16, 9),
    "BraTS-like": ((155, 240, 240), 1, (96, 96, 96), 2, 2, 30, 25),
    "CVC-like": ((288, 384), 3, None, 2, 2, 6, 3),
    "DRIVE-like": ((584, 565), 3, (64, 64), 2, 16, 80, 150),
}
QUICK = {"BraTS-like": (10, None), "CVC-like": (5, None), "DRIVE-like": (50, None)}
SPATIAL = ("scale", "rotate", "elastic")
KINDS = {  # of batches: whether anything is augmented, what is interpolated for, probability (None: not of UFL)
    "none": (False, (), None),
    "copied": (True, (), 0.85**3),
    **{name: (True, (name,), 0.15 * 0.85**2) for name in SPATIAL},
    "several": (True, SPATIAL, 3 * 0.15**2 * 0.85 + 0.15**3),  # all three, where it may be two
}
ROUNDS, QUICK_ROUNDS, OURS_PER_STOCK = 15, 1, 3
MEMORY = 1.5
NETWORK = {"name": "unet_ufl", "filters": 16, "output": "logits"}
TRAINED = {"CVC-like": None, "BraTS-like": (48, 48, 48)}  # patches that two cores bear; CVC whole, as published
BLOCKS, STEPS, WAITING = 7, 3, 1.05
HOW = (
    f"CPU time of one thread for a batch, stock MIScnn / ours, one-hot labels on both sides, medians of {ROUNDS} "
    f"interleaved rounds ({QUICK_ROUNDS} if quick), UFL: mean over kinds of batches weighted with their probability; "
    "memory: largest private memory (RssAnon) of a process that makes batches of mapped volumes, less that before; "
    "steps: wall time with batches made ahead / on one fixed batch, one thread, medians of "
    f"{BLOCKS} interleaved blocks of {STEPS} steps"
)
Maker = Callable[[int], Any]


def main() -> int:
    """Measure, print and record."""
    options = arguments(__doc__).parse_args()
    if answered(options, _child):
        return 0
    return finish("pipeline", HOW, _figures(options.quick), options, ONE_THREAD["KERAS_BACKEND"])


def _figures(quick: bool) -> Iterator[Figure]:
    for name, found in measured(__file__, {"quick": quick}, ONE_THREAD).items():
        targets = QUICK[name] if quick else CASES[name][-2:]
        for mode, target in zip(("UFL", "none"), targets, strict=True):
            stock, ours, plain = (_cost(found[side], mode) for side in ("stock", "ours", "plain"))
            yield Figure(f"{name}, {mode}, stock / ours", stock / ours, target, at_least=True)
            yield Figure(f"{name}, {mode}, stock / ours with whole-number labels", stock / plain)
            yield Figure(f"{name}, {mode}, stock, ms", stock)
            yield Figure(f"{name}, {mode}, ours, ms", ours)
        for kind in KINDS:
            yield Figure(f"{name}, {kind}, ours with whole-number labels, ms", found["plain"][kind])
    if not quick:
        found = measured(__file__, {"memory": True}, ONE_THREAD)
        yield Figure("private memory of a worker / (one volume + one batch)", found, MEMORY)
        for name in TRAINED:
            found = measured(__file__, {"steps": name}, ONE_THREAD)
            yield Figure(f"{name}, step of {NETWORK['name']} with the pipeline / on one batch", found["ratio"], WAITING)
            yield Figure(f"{name}, step of {NETWORK['name']} on one batch, ms", found["fixed"])


def _cost(milliseconds: dict[str, float], mode: str) -> float:
    if mode == "none":
        return milliseconds["none"]
    return sum(chance * milliseconds[kind] for kind, (_, _, chance) in KINDS.items() if chance)


def _child(job: dict[str, Any]) -> Any:
    if "memory" in job:
        return _memory()
    if "steps" in job:
        with tempfile.TemporaryDirectory() as folder:
            return _steps(job["steps"], Path(folder))
    importlib.import_module("rareseg.pipeline.miscnn")  # first: it makes MIScnn run on today's Keras
    chosen, rounds = (QUICK, QUICK_ROUNDS) if job["quick"] else (CASES, ROUNDS)
    with tempfile.TemporaryDirectory() as folder:
        return {name: _times(name, Path(folder), rounds) for name in chosen}


def _times(name: str, folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Return milliseconds of a batch by side and kind."""
    cases = [_case(name, number) for number in range(2)]
    prepared = [prepare(case, PAPER, folder) for case in cases]
    classes = CASES[name][3]
    found: dict[str, dict[str, float]] = {"stock": {}, "ours": {}, "plain": {}}
    for kind in KINDS:
        stock, ours = _stock(name, kind, cases), _ours(name, kind, prepared)
        _clock(ours, 0)  # compiles, and makes the coefficients
        spent: dict[str, list[float]] = {side: [] for side in found}
        counter = itertools.count(1)
        for number in range(rounds):
            spent["stock"].append(_clock(stock, number))
            for _ in range(OURS_PER_STOCK):
                spent["ours"].append(_clock(partial(_with_one_hot, ours, classes), next(counter)))
                spent["plain"].append(_clock(ours, next(counter)))
        for side, values in spent.items():
            found[side][kind] = median(values)
    return found


def _clock(make: Maker, number: int) -> float:
    start = time.process_time()
    make(number)
    return 1000 * (time.process_time() - start)


def _with_one_hot(make: Maker, classes: int, number: int) -> np.ndarray:
    return _one_hot(make(number)[1], classes)


def _one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return what MIScnn gives: float32, a row of zeros where there is no class."""
    return np.eye(256, classes, dtype=np.float32).take(labels, axis=0)


def _case(name: str, number: int) -> Any:
    """Return a case in memory: noise, and foreground in a tenth of the voxels."""
    shape, channels, _, classes, *_ = CASES[name]
    random = np.random.default_rng(number)
    image = random.standard_normal((*shape, channels), np.float32)
    label = (random.integers(1, classes, shape, np.uint8)) * (random.random(shape, np.float32) < 0.1)
    return _in_memory(f"{name} {number}", image, label.astype(np.uint8))


def _in_memory(name: str, image: np.ndarray, label: np.ndarray) -> Any:
    everywhere = (slice(None),) * label.ndim
    facts = {"group": "", "part": "", "spacing": None}
    return types.SimpleNamespace(
        id=name,
        shape=label.shape,
        info={},
        **facts,
        state=lambda: name,
        kind=lambda _: "",
        read_image=lambda: image,
        read_label=lambda: label,
        read_mask=lambda: None,
        image_slabs=lambda: iter([(everywhere, image)]),
        label_slabs=lambda: iter([(everywhere, label)]),
    )


def _stock(name: str, kind: str, cases: list[Any]) -> Maker:
    """Return MIScnn's maker of batches, its normalisation among them."""
    from miscnn import Data_Augmentation, Data_IO, Preprocessor
    from miscnn.processing.subfunctions import Normalization

    from rareseg.pipeline.miscnn import Interface

    _, _, patch, classes, batch, *_ = CASES[name]
    augmented, spatial, _ = KINDS[kind]
    augmentation = Data_Augmentation(
        mirror=augmented,
        brightness=augmented,
        scaling="scale" in spatial or not spatial,
        rotations="rotate" in spatial or not spatial,
        elastic_deform="elastic" in spatial or not spatial,
        contrast=False,
        gamma=False,
        gaussian_noise=False,
    )
    augmentation.config_p_per_sample = 1.0 if spatial else 0.0
    files = Data_IO(Interface(types.SimpleNamespace(cases=cases, classes=range(classes))), input_path="")
    stock = Preprocessor(
        files,
        batch,
        subfunctions=[Normalization(mode="z-score")],
        data_aug=augmentation if augmented else None,
        prepare_subfunctions=False,
        analysis="patchwise-crop" if patch else "fullimage",
        patch_shape=patch,
    )
    stock.img_queue, stock.cache = [], {}
    ids = [cases[0].id] * (batch - 1) + [cases[1].id]  # MIScnn takes the last id for the end of the data

    def make(number: int) -> Any:
        np.random.seed(number)
        (made,) = stock.run(ids, training=True)
        return made

    return make


def _ours(name: str, kind: str, prepared: list[Any]) -> Maker:
    """Return our maker of batches."""
    from rareseg.pipeline.batches import NativeBatch

    _, _, patch, _, batch, *_ = CASES[name]
    augmented, spatial, _ = KINDS[kind]
    ranges = {"scale": "scale", "rotate": "rotate", "elastic": "elastic_alpha"}
    augment = {"p": 1.0 if spatial else 0.0, **{ranges[one]: None for one in SPATIAL if one not in spatial}}
    config = {**PAPER, "augment": augment if augmented else None, "batch_size": batch}
    config |= {"analysis": "crop", "patch": list(patch)} if patch else {}
    maker = NativeBatch(prepared, Settings.of(config))
    samples = [prepared[0]] * (batch - 1) + [prepared[1]]
    return lambda number: maker(samples, 0, number)


def _steps(name: str, folder: Path) -> dict[str, float]:
    """Return the time of a training step with the pipeline over that on one fixed batch, and the latter in ms."""
    from rareseg.experiments.sections import Training
    from rareseg.experiments.session import Session
    from rareseg.experiments.training import Ahead
    from rareseg.pipeline import Batches

    _, _, _, classes, batch, *_ = CASES[name]
    config = {**PAPER, "augment": {}, "batch_size": batch}
    if patch := TRAINED[name]:
        config |= {"analysis": "crop", "patch": list(patch)}
    cases = [prepare(_case(name, number), PAPER, folder) for number in range(4)] * batch * STEPS
    batches, loss = Batches(cases, config, seed=0), {"name": "unified_focal"}
    training = Training.model_validate({"epochs": 1}).model_dump(mode="json")
    fixed = batches[0]
    session = Session(NETWORK, 0, fixed[0].shape[1:], classes, training, [loss])
    session.reset(loss)
    places = ((epoch, index) for epoch in itertools.count() for index in range(len(batches)))

    def timed(take: Callable[[], Any]) -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            images, labels = take()
            session.step(images, labels, 1e-3)
        return 1000 * (time.perf_counter() - start) / STEPS

    with Ahead(batches, training["loaders"]) as ahead:
        blocks = [(timed(lambda: ahead.batch(*next(places))), timed(lambda: fixed)) for _ in range(1 + BLOCKS)][1:]
    made, alone = (median(times) for times in zip(*blocks, strict=True))
    return {"ratio": made / alone, "fixed": alone}


def _memory() -> float:
    """Return the private memory that batches of mapped volumes take, in volumes and batches."""
    from rareseg.pipeline.batches import NativeBatch

    shape, patch, batch = (256, 256, 256), (96, 128, 128), 2
    config = {**PAPER, "analysis": "crop", "patch": list(patch), "batch_size": batch, "cache": "disk"}
    settings = Settings.of({**config, "augment": {"p": 0.5}})
    with tempfile.TemporaryDirectory() as folder:
        cases = []
        for number in range(3):
            image = np.random.default_rng(number).standard_normal((*shape, 1), np.float32)
            label = (image[..., 0] > 2).astype(np.uint8)
            cases.append(prepare(_in_memory(str(number), image, label), settings, Path(folder)))
            del image, label
        small = (np.zeros((16, 16, 16, 1), np.float32), np.zeros((16, 16, 16), np.uint8))
        warm = prepare(_in_memory("small", *small), settings, Path(folder))
        everything = Settings.of({**config, "augment": {"p": 1.0}, "patch": [8, 8, 8]})
        NativeBatch([warm], everything)([warm], 0, 0)  # libraries and kernels are loaded
        maker = NativeBatch(cases, settings)
        before, peak = _private(), [0.0]
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.002):
                peak[0] = max(peak[0], _private())

        watcher = threading.Thread(target=watch)
        watcher.start()
        for number in range(12):
            maker([cases[number % 3], cases[(number + 1) % 3]], 0, number)
        done.set()
        watcher.join()
    return (peak[0] - before) / (5 * (math.prod(shape) + batch * math.prod(patch)))


def _private() -> float:
    """Return the bytes of this process that are no mapped files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024


if __name__ == "__main__":
    sys.exit(main())
