"""MIScnn's README example on our cases: a stock script that runs once ``rareseg.pipeline.miscnn`` is imported first.

Needs MIScnn (GPL-3.0): ``pip install --no-deps miscnn==1.4.0``. Without a folder it draws phantoms and takes a minute.
"""

import argparse
import dataclasses
import tempfile

import keras

from rareseg import datasets
from rareseg.pipeline import prepare_all
from rareseg.pipeline.miscnn import Interface  # must stand before miscnn

from miscnn import Data_IO, Neural_Network, Preprocessor  # isort: skip
from miscnn.neural_network.architecture.unet.standard import Architecture  # isort: skip


def main() -> None:
    """Train MIScnn's U-Net for a few epochs and predict the cases that it has not seen."""
    parser = argparse.ArgumentParser(description="Train and apply MIScnn's U-Net on our cases.")
    parser.add_argument("folder", nargs="?", help="folder of the data set; left out: phantoms")
    parser.add_argument("--key", default="drive", help="which data set it is")
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or datasets.make_phantoms(arguments.key, scratch, cases=10, size=64, seed=0)
        dataset = datasets.open(arguments.key, folder)
        cases = prepare_all(dataset.cases, {"size": [64, 64], "scaling": "zscore", "cache": "none"})

    data_io = Data_IO(Interface(dataclasses.replace(dataset, cases=tuple(cases))), input_path="")
    preprocessor = Preprocessor(data_io, batch_size=4, analysis="fullimage")
    model = Neural_Network(
        preprocessor,
        architecture=Architecture(n_filters=8, depth=3),
        loss=keras.losses.CategoricalCrossentropy(),
        metrics=["accuracy"],
        learning_rate=0.001,
    )
    samples = data_io.get_indiceslist()
    model.train(samples[:-2], epochs=arguments.epochs)
    for sample, prediction in zip(samples[-2:], model.predict(samples[-2:], return_output=True), strict=True):
        print(f"{sample}: {prediction.mean():.1%} of the pixels are foreground")


if __name__ == "__main__":
    main()
