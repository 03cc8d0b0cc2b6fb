"""Our augmentation against MIScnn's own: what it drew, replayed through ours; and how often each draws what.

Only MIScnn's file of augmentation is loaded, which needs no TensorFlow.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chisquare, ks_2samp

from rareseg.pipeline import Settings, _spline, augment, prepare
from rareseg.pipeline.augment import UNLABELLED, Draw, Elastic, Site, apply, draw
from rareseg.pipeline.randomness import generator

spatial = pytest.importorskip("batchgenerators.augmentations.spatial_transformations")
CROPS = importlib.import_module("batchgenerators.augmentations.crop_and_pad_augmentations")
PAPER = {"outside": "unlabelled", "fill": "zero", "crop_range": "miscnn", "foreground": 0, "scaling": "none"}


@pytest.fixture(scope="module")
def miscnn():
    package = importlib.util.find_spec("miscnn")
    if package is None:
        pytest.skip("MIScnn is not installed")
    file = Path(package.origin).parent / "processing" / "data_augmentation.py"
    spec = importlib.util.spec_from_file_location("miscnn_data_augmentation", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Recorder:
    """Writes down what MIScnn draws; stands in front of batchgenerators' functions."""

    def __init__(self, monkeypatch):
        self.uniform, self.found = [], {}
        draw_one = np.random.uniform

        def uniform(*arguments):
            self.uniform.append(draw_one(*arguments))
            return self.uniform[-1]

        monkeypatch.setattr(np.random, "uniform", uniform)
        self._watch(monkeypatch, spatial, "elastic_deform_coordinates", self._elastic)
        self._watch(monkeypatch, spatial, "rotate_coords_2d", self._angles)
        self._watch(monkeypatch, spatial, "rotate_coords_3d", self._angles)
        self._watch(monkeypatch, spatial, "scale_coords", self._scale)
        self._watch(monkeypatch, CROPS, "get_lbs_for_random_crop", self._corner)
        transforms = importlib.import_module("batchgenerators.transforms.spatial_transforms")
        self._watch(monkeypatch, transforms, "augment_mirroring", self._flips)
        colours = importlib.import_module("batchgenerators.transforms.color_transforms")
        self._watch(monkeypatch, colours, "augment_brightness_multiplicative", self._brightness)

    def _watch(self, monkeypatch, module, name, note):
        function = getattr(module, name)

        def watched(*arguments, **keywords):
            before = len(self.uniform)
            result = function(*arguments, **keywords)
            note(arguments, keywords, result, self.uniform[before:])
            return result

        monkeypatch.setattr(module, name, watched)

    def _elastic(self, arguments, _, result, __):
        self.found |= {"elastic": Elastic(arguments[1], arguments[2], 0), "field": result - arguments[0]}

    def _angles(self, arguments, *_):
        self.found["angles"] = arguments[1:]

    def _scale(self, arguments, *_):
        self.found["scale"] = arguments[1]

    def _corner(self, _, __, result, ___):
        self.found["corner"] = tuple(result)

    def _flips(self, _, __, ___, drawn):
        self.found["flips"] = tuple(value < 0.5 for value in drawn)

    def _brightness(self, _, __, ___, drawn):
        self.found["brightness"] = tuple(drawn[1:])  # the first is drawn and not used

    def draw(self, shape, cropped):
        """Return what was found as ours, and the displacements."""
        found = dict(self.found)
        field = found.pop("field", None)
        corner = found.pop("corner", (0,) * len(shape))
        one = Draw(**{"flips": (False,) * len(shape), "position": corner, **found})
        if one.interpolated:
            centre = self.uniform[-len(shape) :] if cropped else [length / 2 - 0.5 for length in shape]
            one = Draw(**{**found, "flips": one.flips, "position": tuple(centre)})
        return one, None if field is None else field.astype(np.float32)


def stock(miscnn, p, patch=None, **switches):
    """Return MIScnn's augmentation with everything off that is not named."""
    names = ("scaling", "rotations", "elastic_deform", "mirror", "brightness", "contrast", "gamma", "gaussian_noise")
    made = miscnn.Data_Augmentation(cycles=1, **{name: switches.get(name, False) for name in names})
    made.config_p_per_sample = p
    made.cropping, made.cropping_patch_shape = patch is not None, patch
    return made


EVERYTHING = dict.fromkeys(("scaling", "rotations", "elastic_deform", "mirror", "brightness"), True)
SWITCHES = [
    pytest.param({"mirror": True}, id="mirror"),
    pytest.param({"scaling": True}, id="scale"),
    pytest.param({"rotations": True, "mirror": True}, id="rotate and mirror"),
    pytest.param({"elastic_deform": True}, id="elastic"),
    pytest.param(EVERYTHING, id="everything"),
]
SHAPES = [  # case, crop
    pytest.param((37, 44), (20, 25), id="2D"),
    pytest.param((21, 26, 24), (12, 15, 16), id="3D"),
]


@pytest.mark.parametrize("cropped", [False, True], ids=["whole", "crop"])
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize(("shape", "patch"), SHAPES)
@pytest.mark.parametrize("switches", SWITCHES)
def test_what_miscnn_drew_gives_the_same_sample(
    miscnn, make_case, monkeypatch, switches, shape, patch, channels, cropped
):
    random = np.random.default_rng(5)
    image = random.standard_normal((*shape, channels)).astype(np.float32)
    label = random.integers(0, 3, shape, np.uint8)
    np.random.seed(11)
    recorder = Recorder(monkeypatch)
    theirs = stock(miscnn, 1, patch if cropped else None, **switches)
    wanted, one_hot = (array[0] for array in theirs.run(image[None], np.eye(3)[label][None]))
    classes = np.where(one_hot.sum(axis=-1) > 0, one_hot.argmax(axis=-1), UNLABELLED)

    config = Settings.of({**PAPER, "cache": "none"})
    one, field = recorder.draw(shape, cropped)
    assert one.interpolated or set(switches) == {"mirror"}
    assert (one.brightness is None) == ("brightness" not in switches)
    for warp in (augment._warp(), _spline.warp):
        monkeypatch.setattr(augment, "_warp", lambda warp=warp: warp)
        image_out, label_out = np.empty(wanted.shape, np.float32), np.empty(classes.shape, np.uint8)
        apply(one, prepare(make_case(image=image, label=label), config), config, image_out, label_out, field)
        np.testing.assert_array_equal(label_out, classes)
        if one.interpolated:
            np.testing.assert_allclose(image_out, wanted, atol=2e-6 * np.ptp(image))
        else:
            np.testing.assert_array_equal(image_out, wanted)


COUNT, SHAPE, PATCH = 2000, (13, 9), (6, 5)


def theirs_drawn(miscnn, monkeypatch, p):
    """Return what MIScnn draws for many crops of an image that is nothing but zeros."""
    np.random.seed(0)
    image, one_hot = np.zeros((1, *SHAPE, 2), np.float32), np.zeros((1, *SHAPE, 2), np.float32)
    blank = np.zeros
    monkeypatch.setattr(spatial, "interpolate_img", lambda _, coords, *__, **___: blank(coords.shape[1:]))
    recorder = Recorder(monkeypatch)
    theirs = stock(miscnn, p, PATCH, **EVERYTHING)
    for _ in range(COUNT):
        recorder.uniform, recorder.found = [], {}
        theirs.run(image, one_hot)
        yield recorder.draw(SHAPE, cropped=True)[0]


def ours_drawn(p):
    config = Settings.of({**PAPER, "augment": {"p": p}})
    site = Site(SHAPE, PATCH)
    return [draw(config, generator(1, "test", index), site, 2) for index in range(COUNT)]


VALUES = {  # of draws in which everything was drawn
    "scale": lambda one: one.scale,
    "angle": lambda one: one.angles[0],
    "brightness of the first channel": lambda one: one.brightness[0],
    "brightness of the second channel": lambda one: one.brightness[1],
    "ratio of both": lambda one: one.brightness[0] / one.brightness[1],
    "alpha": lambda one: one.elastic.alpha,
    "sigma": lambda one: one.elastic.sigma,
    "centre along axis 0": lambda one: one.position[0],
    "centre along axis 1": lambda one: one.position[1],
}


def test_values_are_drawn_from_the_distributions_of_miscnn(miscnn, monkeypatch):
    theirs, ours = list(theirs_drawn(miscnn, monkeypatch, 1)), ours_drawn(1)
    chances = {
        name: ks_2samp(*([value(one) for one in draws] for draws in (theirs, ours))).pvalue
        for name, value in VALUES.items()
    }
    assert min(chances.values()) > 0.001, chances


COUNTS = {  # of draws in which everything is drawn with probability 0.15: classes, and how to tell them
    "nothing interpolated": (range(2), lambda one: not one.interpolated),
    "nothing but flips and place": (range(2), lambda one: not one.interpolated and one.brightness is None),
    "flips": (range(4), lambda one: 2 * one.flips[0] + one.flips[1]),
    "start along axis 0": (range(8), lambda one: -1 if one.interpolated else one.position[0]),
    "start along axis 1": (range(5), lambda one: -1 if one.interpolated else one.position[1]),
}


def test_events_are_as_frequent_as_in_miscnn(miscnn, monkeypatch):
    """The starts leave out the last position, as MIScnn's do: 13 - 6 and 9 - 5 never occur."""
    theirs, ours = list(theirs_drawn(miscnn, monkeypatch, 0.15)), ours_drawn(0.15)
    chances = {}
    for name, (classes, tell) in COUNTS.items():
        table = [[sum(tell(one) == value for one in draws) for value in classes] for draws in (theirs, ours)]
        used = np.array(table)[:, np.sum(table, axis=0) > 0]
        expected = used.sum(axis=0) * used.sum(axis=1, keepdims=True) / used.sum()
        chances[name] = chisquare(used.ravel(), expected.ravel(), ddof=used.shape[1]).pvalue
        assert used.shape[1] == len(classes) - name.startswith("start")
    assert min(chances.values()) > 0.001, chances


def test_the_published_share_of_samples_is_not_interpolated():
    share = np.mean([not one.interpolated for one in ours_drawn(0.15)])
    assert abs(share - 0.85**3) < 3 * np.sqrt(0.614 * 0.386 / COUNT)
