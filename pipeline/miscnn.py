"""The bridge to MIScnn 1.4.0: import this module first, and stock MIScnn scripts run on today's TensorFlow and Keras.

``Preprocessor`` stands in for MIScnn's and makes batches and predictions on the native path, ``Interface`` serves our
cases to MIScnn, ``StockBatch`` makes the batches of ``backend: miscnn``. What MIScnn needs to run stands in
``_miscnn_cures``, how samples and batches pass between the two in ``_miscnn_samples``.

MIScnn is licensed under the GPL-3.0; every import of it stands in this file, which nothing loads unless asked to.
"""

import dataclasses
import importlib
import itertools
import os
import random
import shutil
import tempfile
import threading
import types
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rareseg.datasets import whole
from rareseg.pipeline import _miscnn_cures as cures
from rareseg.pipeline._miscnn_samples import Feed, Loaded
from rareseg.pipeline.augment import OFF, UNLABELLED
from rareseg.pipeline.batches import Batches
from rareseg.pipeline.patches import Patch, Sample
from rareseg.pipeline.prediction import most_probable, window_grid, windows_of
from rareseg.pipeline.preprocess import STEPS, Prepared, prepare
from rareseg.pipeline.randomness import generator
from rareseg.pipeline.settings import Augment, Settings
from rareseg.pipeline.stitching import stitch

ANALYSES = {"fullimage": "whole", "patchwise-crop": "crop", "patchwise-grid": "grid"}
ELSEWHERE = {  # what `Preprocessor.settings` may not hold: its samples are prepared, and counted, by MIScnn's own means
    **dict.fromkeys(STEPS, "a subfunction of MIScnn"),
    "mirror_tta": "predict_augmentated of MIScnn's network",
    "steps_per_epoch": "the argument iterations of MIScnn's network",
}
_DRAWING = threading.Lock()  # MIScnn draws from the process's generators, and keeps half-made batches in one queue


def _module(name: str) -> Any:
    """Return a module of MIScnn: the attribute ``evaluation.cross_validation`` is a function that hides its module."""
    return importlib.import_module(f"miscnn.{name}")


with warnings.catch_warnings():
    warnings.simplefilter(
        "ignore", (DeprecationWarning, SyntaxWarning)
    )  # escapes in MIScnn's strings, when first compiled
    _KNOWN = cures.check_version()
    if _KNOWN:
        cures.stand_in_for_tensorflow_addons()
    from miscnn import Data_Augmentation, Data_IO
    from miscnn import Preprocessor as StockPreprocessor
    from miscnn.data_loading.interfaces.abstract_io import Abstract_IO

    if _KNOWN:
        cures.cure(_module)


class Interface(Abstract_IO):
    """Serves cases to MIScnn: ``Data_IO(Interface(dataset), input_path="")``.

    Prepared cases need no subfunction of MIScnn: ``Interface(dataclasses.replace(dataset, cases=prepare_all(...)))``.

    Args:
        dataset: What ``rareseg.datasets.open`` returns, or anything with ``cases`` and ``classes``.
    """

    def __init__(self, dataset: Any) -> None:
        """Read the first image, which says how many channels and dimensions there are."""
        image = dataset.cases[0].read_image()
        super().__init__(channels=image.shape[-1], classes=len(dataset.classes), three_dim=image.ndim == 4)
        self._cases = {case.id: case for case in dataset.cases}

    def initialize(self, input_path: str) -> list[str]:  # noqa: ARG002
        """Return the ids in the order of the data set, which knows its own folder."""
        return list(self._cases)

    def load_image(self, i: str) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the image (*space, C) and a dictionary of its own, since MIScnn writes into it.

        It holds the spacing, and the affine of a case that is on the grid of its files.
        """
        case = self._cases[i]
        facts = {"spacing": case.spacing, "affine": getattr(case, "affine", None)}
        return np.array(case.read_image()), {name: value for name, value in facts.items() if value is not None}

    def load_segmentation(self, i: str) -> np.ndarray:
        """Return the classes, (*space, 1)."""
        return np.array(self._cases[i].read_label())[..., None]

    def save_prediction(self, sample: Any, output_path: str) -> None:
        """Keep a prediction as ``<id>.npz``; probabilities stay what they are, label maps become uint8."""
        prediction = sample.pred_data
        if not np.issubdtype(prediction.dtype, np.floating):
            prediction = prediction.astype(np.uint8)
        path = Path(output_path) / f"{sample.index}.npz"
        whole.write_with(path, lambda temporary: np.savez_compressed(temporary, prediction=prediction))

    def load_prediction(self, i: str, output_path: str) -> np.ndarray:
        """Return what ``save_prediction`` kept."""
        with np.load(Path(output_path) / f"{i}.npz", allow_pickle=False) as stored:
            return stored["prediction"]

    @staticmethod
    def check_file_termination(termination: str) -> bool:  # noqa: ARG004
        """Return False: cases come from ``rareseg.datasets``, not from files that MIScnn finds."""
        return False


class Preprocessor(StockPreprocessor):
    """MIScnn's Preprocessor, whose batches and predictions are made on the native path.

    A stock script runs on it once this class is imported in place of MIScnn's: faster, seeded, and without MIScnn's
    faults (rows 1 to 12 of docs/pipeline.md), but for what its subfunctions do. They run once per case, not once per
    batch, so that ``prepare_subfunctions`` and ``use_multiprocessing`` have nothing left to do, and
    ``prepare_batches``, which would freeze what is drawn at random, has no effect. ``patchwise_skip_blanks`` draws
    every crop about foreground where its case has any.

    Args:
        *args: Those of MIScnn's Preprocessor.
        **kwargs: The same.

    Attributes:
        seed: Seed of the order of the samples, of crops and augmentation.
        workers: Threads that make batches ahead of the training; they change nothing but the time.
        settings: Settings of the pipeline for which MIScnn has nothing, such as ``{"blend": "uniform"}``.
    """

    seed = 0
    workers = min(4, os.cpu_count() or 1)
    settings: Mapping[str, Any] = types.MappingProxyType({})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Set up MIScnn's part, with a queue and a cache of its own; see the class."""
        super().__init__(*args, **kwargs)
        self.img_queue, self.cache = [], {}
        self.prepare_subfunctions = self.prepare_batches = False
        self._epochs, self._numbers = itertools.count(), itertools.count()
        self._cases: dict[Any, tuple[list[Any], Prepared]] = {}  # with the subfunctions that they went through
        self._folder = Path(tempfile.mkdtemp(prefix="rareseg-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def feed(self, sample_list: Sequence[str], validation: bool, shuffle: bool, iterations: int | None) -> "Feed":
        """Return what ``fit`` trains on or validates with; epochs of training count on from one call to the next."""
        settings = dataclasses.replace(self.native_settings(), steps_per_epoch=iterations)
        cases = [self._prepared(index) for index in np.asarray(sample_list).tolist()]
        cycles = 1 if validation or iterations or self.data_augmentation is None else self.data_augmentation.cycles
        batches = Batches(
            cases * cycles, settings, seed=self.seed, training=not validation, shuffle=shuffle, workers=self.workers
        )
        return Feed(batches, self.data_io.interface.classes, None if validation else self._epochs)

    def run(self, indices_list: Sequence[str], training: bool = True, validation: bool = False) -> list[Any]:
        """Return the batches of all samples: (images, one-hot labels) for training, (images, None) for prediction."""
        if training:
            feed = self.feed(indices_list, validation, shuffle=False, iterations=None)
            return [feed[index] for index in range(len(feed))]
        return [(batch, None) for index in indices_list for batch in self._windows(index)]

    def postprocessing(self, sample: Any, prediction: np.ndarray, activation_output: bool = False) -> np.ndarray:
        """Put the windows (N, *patch, K) of a sample together, and undo its subfunctions."""
        one, settings = Loaded(sample), self.native_settings()
        answers = (np.moveaxis(answer, -1, 0) for answer in self._turned(prediction))
        keep = None if activation_output else most_probable
        answer = stitch(window_grid(one, settings), answers, settings.blend, keep)
        answer = np.moveaxis(answer, 0, -1) if activation_output else answer.astype(np.int64)  # MIScnn's type
        answer = answer[tuple(map(slice, one.shape))]
        for subfunction in reversed(self.subfunctions):
            answer = subfunction.postprocessing(sample, answer, activation_output)
        return answer

    def native_settings(self) -> Settings:
        """Return the settings of the pipeline that this object stands for."""
        if self.patchwise_skip_blanks and self.patchwise_skip_class != 0:
            raise ValueError(f"patchwise_skip_class must be 0, the background, got {self.patchwise_skip_class}")
        for key in self.settings:
            if key in ELSEWHERE:
                raise ValueError(f"settings hold {key}, which is not offered here; use {ELSEWHERE[key]}")
        windows = {}
        if self.analysis != "fullimage":
            windows = {"patch": self.patch_shape, "overlap": tuple(self.patchwise_overlap[: len(self.patch_shape)])}
        return Settings.of(
            {
                "analysis": ANALYSES[self.analysis],
                **windows,
                "augment": native_augmentation(self.data_augmentation, self.data_io.interface.three_dim),
                "batch_size": self.batch_size,
                "scaling": "none",
                "foreground": 1.0 if self.patchwise_skip_blanks else 0.0,
                **self.settings,
            }
        )

    def _prepared(self, index: str) -> Prepared:
        """Load a sample and run its subfunctions, once; its arrays wait on disk."""
        went_through, prepared = self._cases.get(index, ([], None))
        if prepared is None or [*map(id, went_through)] != [*map(id, self.subfunctions)]:
            sample = Loaded(self._loaded(index, training=True), number=next(self._numbers))
            prepared = prepare(sample, self.native_settings(), self._folder)
            prepared = dataclasses.replace(prepared, original=None)  # or the sample would stay in memory
            self._cases[index] = [*self.subfunctions], prepared
        return prepared

    def _windows(self, index: str) -> Iterator[np.ndarray]:
        """Yield the windows of a sample to predict in batches, of which the last may be smaller."""
        sample, settings = self._loaded(index, training=False), self.native_settings()
        self.cache[index] = sample  # where MIScnn looks for it before it calls `postprocessing`
        one = Loaded(sample)
        windows = windows_of(one, window_grid(one, settings), settings)
        while chunk := list(itertools.islice(windows, self.batch_size)):
            yield self._turned(np.stack(chunk))

    def _loaded(self, index: str, training: bool) -> Any:
        sample = self.data_io.sample_loader(index, load_seg=training)
        for subfunction in self.subfunctions:
            subfunction.preprocessing(sample, training=training)
        return sample

    def _turned(self, batch: np.ndarray) -> np.ndarray:
        """Flip a batch where MIScnn predicts under augmentation; twice is as before."""
        stock = self.data_augmentation
        return stock.run_infaug(batch) if stock is not None and stock.infaug else batch


TRANSFORMS = (  # setting of ours, MIScnn's switch, MIScnn's range
    ("scale", "scaling", "config_scaling_range"),
    ("elastic_alpha", "elastic_deform", "config_elastic_deform_alpha"),
    ("brightness", "brightness", "config_brightness_range"),
    ("contrast", "contrast", "config_contrast_range"),
    ("gamma", "gamma", "config_gamma_range"),
    ("noise", "gaussian_noise", "config_gaussian_noise_range"),
)
ANGLES = ("config_rotations_angleX", "config_rotations_angleY", "config_rotations_angleZ")  # in 2D the first alone


def native_augmentation(stock: Any, three_dim: bool) -> Augment | None:
    """Return the augmentation that a ``Data_Augmentation`` of MIScnn describes; None stays None."""
    if stock is None:
        return None
    for name in ("seg_augmentation", "coloraug_per_channel", "config_contrast_preserverange"):
        if not getattr(stock, name):
            raise ValueError(f"{name} = False is not offered here; leave it True, or use MIScnn's own Preprocessor")
    names = ANGLES if three_dim else ANGLES[:1]
    angles = {axis: tuple(getattr(stock, name)) for axis, name in enumerate(names) if any(getattr(stock, name))}
    if stock.rotations and len(set(angles.values())) > 1:
        raise ValueError("config_rotations_angleX, Y and Z must be one range, or (0, 0) where nothing turns")
    turned = stock.rotations and bool(angles)
    held: dict[str, Any] = {
        ours: tuple(getattr(stock, values)) if getattr(stock, switch) else None for ours, switch, values in TRANSFORMS
    }
    return Augment(
        p=stock.config_p_per_sample,
        mirror_axes=tuple(stock.config_mirror_axes) if stock.mirror else (),
        rotate=tuple(np.degrees(next(iter(angles.values()))).round(9).tolist()) if turned else None,
        rotate_axes=tuple(angles) if turned and len(angles) < len(names) else None,
        elastic_sigma=tuple(stock.config_elastic_deform_sigma),
        **held,
    )


def stock_augmentation(augment: Augment | None, three_dim: bool) -> Any:
    """Return a new ``Data_Augmentation`` of MIScnn with every switch given; None: everything is off."""
    ours = augment or OFF
    if ours.mirror_probability != 1:
        raise ValueError("backend miscnn mirrors every sample: set augment.mirror_probability to 1, or backend native")
    mirrored = ours.mirrored(3)
    switches = {switch: getattr(ours, setting) is not None for setting, switch, _ in TRANSFORMS}
    stock = Data_Augmentation(cycles=1, mirror=bool(mirrored), rotations=ours.rotate is not None, **switches)
    stock.config_p_per_sample, stock.config_mirror_axes = ours.p, mirrored
    stock.config_elastic_deform_sigma = ours.elastic_sigma
    for setting, switch, held in TRANSFORMS:
        if switches[switch]:
            setattr(stock, held, getattr(ours, setting))
    for axis, name in enumerate(ANGLES):
        turned = ours.rotate is not None and (not three_dim or ours.rotate_axes is None or axis in ours.rotate_axes)
        setattr(stock, name, tuple(np.radians(ours.rotate).tolist()) if turned else (0.0, 0.0))
    return stock


class StockBatch:
    """Makes batches by stock MIScnn, in the order of ``Batches``.

    With ``analysis: crop`` MIScnn draws the crops; else each sample, also a patch, is a ``fullimage``. Every run has
    objects of its own, since MIScnn's share state through class attributes and default arguments. MIScnn draws from
    Python's and NumPy's global generators, which are seeded from (seed, epoch, index) before each batch; so threads
    that ask at once wait for each other.

    Args:
        samples: All samples of the run.
        settings: ``batch_size``, ``analysis``, ``patch`` and ``augment`` are used.
        seed: Seed of what MIScnn draws.

    Raises:
        DataError: A window of a grid reaches beyond its case.
        ValueError: MIScnn cannot follow a setting.
    """

    def __init__(self, samples: Sequence[Sample], settings: Settings, seed: int) -> None:
        """Set up MIScnn with every switch given; see the class."""
        _refuse_what_miscnn_lacks(settings)
        _ = [one.place for one in samples if isinstance(one, Patch)]  # now, not in the middle of training
        highest = max(int(source.label.max()) for source in {one.source for one in samples})
        dataset = types.SimpleNamespace(cases=samples, classes=range(max(highest, 1) + 1))
        files = Data_IO(Interface(dataset), input_path="")
        self._stock = StockPreprocessor(
            files,
            settings.batch_size,
            data_aug=stock_augmentation(settings.augment, three_dim=len(samples[0].shape) == 3),
            analysis="patchwise-crop" if settings.analysis == "crop" else "fullimage",
            patch_shape=settings.patch,
        )
        self._stock.img_queue, self._stock.cache = [], {}
        self._seed = seed

    def __call__(self, samples: Sequence[Sample], epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return images (B, *space, C), float32, and labels (B, *space), uint8, 255 where MIScnn gives no class."""
        start = int(generator(self._seed, "miscnn", epoch, index).integers(2**32))
        with _DRAWING:
            random.seed(start)
            np.random.seed(start)
            # a sample that stands twice in a batch makes MIScnn hand it over in pieces
            pieces = self._stock.run([one.id for one in samples], training=True)
        images, one_hot = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
        labels = one_hot.argmax(axis=-1).astype(np.uint8)
        labels[one_hot.sum(axis=-1) == 0] = UNLABELLED
        return images, labels


def _refuse_what_miscnn_lacks(settings: Settings) -> None:
    """Refuse settings that MIScnn cannot follow where they would matter."""
    fixed = {"outside": "unlabelled", "fill": "zero"} if settings.augment or settings.analysis == "crop" else {}
    if settings.analysis == "crop":
        fixed |= {"crop_range": "miscnn", "foreground": 0}
    others = {key: value for key, value in fixed.items() if getattr(settings, key) != value}
    if others:
        wanted = ", ".join(f"{key}: {value}" for key, value in others.items())
        raise ValueError(f"backend miscnn knows no other way than {wanted}; set that, or backend native")
