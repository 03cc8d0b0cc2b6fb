"""After MIScnn's README example: trains and applies its U-Net on MIScnn's batches and on ours.

Shows that a stock script (Data_IO, Preprocessor, Neural_Network, train, predict, cross_validation) runs on today's
TensorFlow through the bridge once ``rareseg.pipeline.miscnn`` is imported before MIScnn, and that its batches come from
the native path once the Preprocessor, too, is imported from there; both print how fast they are.
``pipeline_example.py`` does the same without MIScnn.

Needs TensorFlow and MIScnn (GPL-3.0), which uv has installed; without uv: ``pip install --no-deps miscnn==1.4.0``.
Without a folder it draws phantoms and takes minutes.
"""

import argparse
import dataclasses
import tempfile
import time
from typing import Any

import keras

from rareseg import datasets
from rareseg.pipeline import miscnn as bridge  # must stand before miscnn
from rareseg.pipeline import prepare_all

from miscnn import Data_Augmentation, Data_IO, Neural_Network, Preprocessor  # isort: skip
from miscnn.evaluation import cross_validation  # isort: skip
from miscnn.neural_network import model as network  # isort: skip
from miscnn.neural_network.architecture.unet.standard import Architecture  # isort: skip

WHOSE = {"MIScnn's Preprocessor": Preprocessor, "rareseg's Preprocessor": bridge.Preprocessor}
BATCHES = 10


def main() -> None:
    """Train MIScnn's U-Net on batches of either Preprocessor, and predict the cases that it has not seen."""
    parser = argparse.ArgumentParser(description="Train and apply MIScnn's U-Net on our cases.")
    parser.add_argument("folder", nargs="?", help="folder of the data set; left out: phantoms")
    parser.add_argument("--key", default="cvc_clinicdb", help="which data set it is")
    parser.add_argument("--size", type=int, default=128, help="pixels of the side that images are resized to")
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or datasets.make_phantoms(arguments.key, scratch, cases=12, seed=0)
        dataset = datasets.open(arguments.key, folder)
        size = [arguments.size] * len(dataset.cases[0].shape)
        cases = prepare_all(dataset.cases, {"size": size, "scaling": "zscore", "cache": "none"})
        interface = bridge.Interface(dataclasses.replace(dataset, cases=tuple(cases)))
        for whose, preprocessor in WHOSE.items():
            run(
                whose,
                preprocessor,
                Data_IO(interface, "", output_path=f"{scratch}/predictions"),
                arguments.epochs,
                scratch,
            )


def run(whose: str, made_by: Any, data_io: Data_IO, epochs: int, scratch: str) -> None:
    """Train, predict and cross-validate as in MIScnn's README, and say how long batches and an epoch take."""
    augmentation = Data_Augmentation(
        elastic_deform=True, mirror=True, contrast=False, gamma=False, gaussian_noise=False
    )
    preprocessor = made_by(data_io, batch_size=4, data_aug=augmentation, analysis="fullimage")
    samples = data_io.get_indiceslist()
    batches = network.DataGenerator(samples[:-2], preprocessor, training=True, validation=False, shuffle=True)
    batches[0]  # makes what is made once
    start = time.process_time()
    for index in range(BATCHES):
        batches[index % len(batches)]
    milliseconds = 1000 * (time.process_time() - start) / BATCHES

    model = Neural_Network(
        preprocessor,
        architecture=Architecture(n_filters=8, depth=3),
        loss=keras.losses.CategoricalCrossentropy(),
        metrics=["accuracy"],
        learning_rate=0.001,
    )
    model.train(samples[:-2], epochs=1)  # compiles
    start = time.perf_counter()
    model.train(samples[:-2], epochs=epochs)
    seconds = (time.perf_counter() - start) / epochs
    print(f"{whose}: {milliseconds:.1f} ms of CPU per batch, {seconds:.2f} s per epoch")
    for sample, prediction in zip(samples[-2:], model.predict(samples[-2:], return_output=True), strict=True):
        print(f"{whose}, {sample}: {prediction.mean():.1%} of the pixels are foreground")
    cross_validation(samples, model, k_fold=2, epochs=1, evaluation_path=f"{scratch}/folds", save_models=False)


if __name__ == "__main__":
    main()
