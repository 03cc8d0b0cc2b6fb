"""What prediction costs beside the network: memory, and time against MIScnn's and the network's own.

Memory: high-water mark of a process, by a network that only multiplies. Time: CPU time of one thread outside the
network; ours and MIScnn's in one process, interleaved, medians. Windows of 96 voxels overlap by half; voxels are noise.
"""

import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from process import ONE_THREAD, answered, measured
from record import Figure, arguments, finish

from rareseg import pipeline
from rareseg.experiments.hardware import forget_peak, peak_memory

CLASSES = 4
VOLUME, LARGE = (160, 240, 240), (512, 512, 1000)
CONFIG = {"patch": [96, 96, 96], "overlap": [48, 48, 48], "batch_size": 2, "scaling": "none"}
ROUNDS = 5
NETWORK = {"name": "unet_ufl", "output": "logits"}
HOW = (
    f"one thread; {CLASSES} classes, windows of 96 voxels that overlap by half, batches of 2, Gaussian "
    "weights; time: CPU time outside the network, softmax included in ours and not in MIScnn's, medians of interleaved "
    "rounds in one process; memory: high-water mark of a process whose network multiplies, its answers counted"
)


def main() -> int:
    """Measure in child processes, print and record."""
    options = arguments(__doc__).parse_args()
    if answered(options, lambda job: CHILDREN[job.pop("measure")](**job)):
        return 0
    return finish("prediction", HOW, _figures(options.quick), options, ONE_THREAD["KERAS_BACKEND"])


def _figures(quick: bool) -> Iterator[Figure]:
    about = _by(VOLUME)
    for output, bound in (("probabilities", 1.6), ("label", None)):
        used = _child(measure="memory", shape=VOLUME, output=output)
        yield Figure(f"memory of {about}, {output}, beyond network and input / probabilities", used["ratio"], bound)
    for output in ("label",) if quick else ("label", "probabilities"):
        used = _child(measure="time", shape=VOLUME, output=output, rounds=1 if quick else ROUNDS)
        yield Figure(f"time of {about} outside the network, {output}, ours / MIScnn", used["ratio"], 1 / 3)
    if not quick:
        used = _child(measure="share", shape=VOLUME)
        yield Figure(f"time of {about} outside the network / in {NETWORK['name']} on this CPU", used["share"], 0.1)
        used = _child(measure="memory", shape=LARGE, output="label")
        yield Figure(f"memory of {_by(LARGE)}, label, GB in all", used["gigabytes"], 3)


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _child(**job: Any) -> dict[str, float]:
    return measured(__file__, job, ONE_THREAD)


def network(images: np.ndarray) -> np.ndarray:
    """Return logits of four classes that differ from voxel to voxel."""
    return images * np.array([1, -1, 0.5, -2], np.float32)


def prepared(shape: tuple[int, ...], image: Any) -> pipeline.Prepared:
    """Return a case of one channel; ``image`` is an array or the file that holds it."""
    return pipeline.Prepared(
        id="noise",
        group="noise",
        part="",
        spacing=None,
        info={},
        arrays={"image": image, "label": np.zeros((1,) * len(shape), np.uint8)},
        shape=tuple(shape),
        channels=1,
        original_shape=tuple(shape),
        digest="",
        statistics=np.zeros((3, 1)),
    )


def noise(shape: tuple[int, ...], file: Path | None = None) -> np.ndarray:
    """Return noise, (*shape, 1), float32, in memory or mapped."""
    random, whole = np.random.default_rng(0), (*shape, 1)
    image = np.lib.format.open_memmap(file, "w+", np.float32, whole) if file else np.empty(whole, np.float32)
    for plane in image:
        plane[...] = random.standard_normal(plane.shape, np.float32)
    return image


def memory(shape: tuple[int, ...], output: str) -> dict[str, float]:
    """Return what predicting one volume takes: beyond what was there, in sizes of its probabilities, and in all."""
    pipeline.predict(network, prepared((8, 8, 8), noise((8, 8, 8))), {**CONFIG, "patch": [8] * 3, "overlap": [4] * 3})
    with tempfile.TemporaryDirectory() as scratch:
        large = shape == list(LARGE)
        file = Path(scratch) / "image.npy"
        image = noise(shape, file if large else None)
        case = prepared(shape, file if large else image)
        if large:
            del image
        forget_peak()
        before = peak_memory()
        pipeline.predict(network, case, CONFIG, output=output)
        after = peak_memory()
    size = CLASSES * np.prod(shape) * 4 / 2**20
    return {"ratio": (after - before) / size, "gigabytes": after * 2**20 / 1e9}


class Timed:
    """A network that knows how long it took, in CPU seconds."""

    def __init__(self, forward: Callable[[np.ndarray], Any]) -> None:
        """Start from zero."""
        self.seconds, self.calls, self._forward = 0.0, 0, forward

    def __call__(self, images: np.ndarray) -> Any:
        """Run the network."""
        start = time.process_time()
        answer = self._forward(images)
        self.seconds += time.process_time() - start
        self.calls += 1
        return answer


def outside(run: Callable[[Timed], Any]) -> float:
    """Return the CPU seconds that a prediction spends outside its network."""
    timed, start = Timed(network), time.process_time()
    run(timed)
    return time.process_time() - start - timed.seconds


def time_ratio(shape: tuple[int, ...], output: str, rounds: int) -> dict[str, float]:
    """Return our time outside the network over MIScnn's."""
    from rareseg.pipeline import miscnn as bridge

    from miscnn import Data_IO, Preprocessor  # isort: skip
    from miscnn.neural_network.data_generator import DataGenerator  # isort: skip

    case = prepared(shape, noise(shape))
    files = Data_IO(bridge.Interface(types.SimpleNamespace(cases=[case], classes=range(CLASSES))), "")
    stock = Preprocessor(files, 2, data_aug=None, analysis="patchwise-crop", patch_shape=tuple(CONFIG["patch"]))
    stock.patchwise_overlap = tuple(CONFIG["overlap"])

    def theirs(timed: Timed, probabilities: bool) -> None:
        """Do what ``Neural_Network.predict`` does."""
        batches = DataGenerator(["noise"], stock, training=False, validation=False, shuffle=False, iterations=None)
        answers = np.concatenate([timed(batches[index]) for index in range(len(batches))], axis=0)
        stock.postprocessing(stock.cache.pop("noise"), answers, probabilities)

    ours, others = [], []
    for _ in range(rounds):
        ours.append(outside(lambda timed: pipeline.predict(timed, case, CONFIG, output=output)))
        others.append(outside(lambda timed: theirs(timed, output == "probabilities")))
    return {"ratio": float(np.median(ours) / np.median(others))}


def share(shape: tuple[int, ...]) -> dict[str, float]:
    """Return our time outside the network over that of the published network, timed on one batch."""
    from rareseg import models

    model: Any = models.build(NETWORK, (*CONFIG["patch"], 1), CLASSES)
    case = prepared(shape, noise(shape))
    windows = Timed(network)
    pipeline.predict(windows, case, CONFIG)
    batch = noise((2, *CONFIG["patch"]))
    timed = Timed(model.predict_on_batch)
    timed(batch)
    traced = timed.seconds
    for _ in range(2):
        timed(batch)
    mine = np.median([outside(lambda one: pipeline.predict(one, case, CONFIG)) for _ in range(3)])
    return {"share": float(mine / ((timed.seconds - traced) / 2 * windows.calls))}


CHILDREN: dict[str, Callable[..., dict[str, float]]] = {"memory": memory, "time": time_ratio, "share": share}

if __name__ == "__main__":
    sys.exit(main())
