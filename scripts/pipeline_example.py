"""The same training as in ``miscnn_example.py`` on our own batches, without MIScnn: cases in, label maps on disk out.

Shows the whole way by hand, without a configuration file: open a data set, prepare its cases, train a network of
``rareseg.models`` with a loss of ``rareseg.losses`` on ``Batches``, predict the cases that it has not seen on their own
grid, write the label maps; and prints how fast batches and epochs are. Without a folder it draws phantoms and takes a
minute.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import keras

from rareseg import datasets, losses, models
from rareseg.pipeline import Batches, predict, prepare_all, write_prediction

BATCHES = 10


def main() -> None:
    """Train a small U-Net and predict two cases."""
    parser = argparse.ArgumentParser(description="Train and apply a small U-Net on our batches.")
    parser.add_argument("folder", nargs="?", help="folder of the data set; left out: phantoms")
    parser.add_argument("--key", default="cvc_clinicdb", help="which data set it is")
    parser.add_argument("--size", type=int, default=128, help="pixels of the side that images are resized to")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--out", type=Path, help="folder of the label maps; left out: they are not kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or datasets.make_phantoms(arguments.key, scratch, cases=12, seed=0)
        dataset = datasets.open(arguments.key, folder)
        size = [arguments.size] * len(dataset.cases[0].shape)
        config = {"size": size, "scaling": "zscore", "batch_size": 4, "cache": "none", "augment": {}}
        run(dataset, config, arguments.epochs, arguments.out or Path(scratch) / "predictions")


def run(dataset: datasets.Dataset, config: dict[str, Any], epochs: int, out: Path) -> None:
    """Train on all cases but two, predict these, and say how long batches and an epoch take."""
    cases = prepare_all(dataset.cases, config)
    batches = Batches(cases[:-2], config, seed=0, workers=2)
    batches[0]  # makes what is made once
    start = time.process_time()
    for index in range(BATCHES):
        batches[index % len(batches)]
    milliseconds = 1000 * (time.process_time() - start) / BATCHES

    shape = (*config["size"], dataset.channels)
    model: Any = models.build({"name": "unet_demo", "output": "logits"}, shape, len(dataset.classes))
    model.compile("adam", losses.get("unified_focal", from_logits=True), jit_compile=False)  # faster on a CPU
    clock = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: setattr(batches, "epoch", epoch))
    model.fit(batches, shuffle=False, callbacks=[clock], verbose=2)  # compiles
    start = time.perf_counter()
    model.fit(batches, initial_epoch=1, epochs=1 + epochs, shuffle=False, callbacks=[clock], verbose=2)
    seconds = (time.perf_counter() - start) / epochs
    print(f"rareseg's Batches: {milliseconds:.1f} ms of CPU per batch, {seconds:.2f} s per epoch")
    for case in cases[-2:]:
        label = predict(model, case, config)
        suffix = ".png" if label.ndim == 2 else ".nii.gz"
        write_prediction(case, label, out / f"{case.id}{suffix}", dataset.state)
        print(f"{case.id}: {(label > 0).mean():.1%} of the pixels are foreground")


if __name__ == "__main__":
    main()
