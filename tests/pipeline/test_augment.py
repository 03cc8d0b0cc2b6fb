import dataclasses
import types
from collections import Counter

import numpy as np
import pytest

from rareseg.pipeline import Settings, prepare
from rareseg.pipeline.augment import UNLABELLED, Draw, Elastic, Noise, Site, apply, draw
from rareseg.pipeline.randomness import generator

OFF = {
    "mirror_axes": [],
    **dict.fromkeys(("scale", "rotate", "elastic_alpha", "brightness", "contrast", "gamma", "noise")),
}
EVERYTHING = {"p": 1, "contrast": [0.3, 3], "gamma": [0.7, 1.5], "noise": [0, 0.05]}


def settings(**changes):
    return Settings.of({"scaling": "none", "cache": "none", **changes})


def made(drawn, source, patch, config):
    image, label = np.full((*patch, source.channels), np.nan, np.float32), np.full(patch, 99, np.uint8)
    apply(drawn, source, config, image, label)
    return image, label


def board(shape, cell=6):
    """Return a checkerboard as image, -1 and 1, and as label, 0 and 1."""
    label = sum(index // cell for index in np.indices(shape)) % 2
    return (2.0 * label - 1).astype(np.float32)[..., None], label.astype(np.uint8)


TRANSFORMS = [  # what is drawn
    pytest.param({}, id="nothing"),
    pytest.param({"flips": (True, False, True)}, id="flips"),
    pytest.param({"angles": (0.2, -0.1, 0.15)}, id="rotation"),
    pytest.param({"scale": 0.87}, id="enlarged"),
    pytest.param({"scale": 1.2}, id="reduced"),
    pytest.param({"elastic": Elastic(250, 9, 3)}, id="elastic"),
    pytest.param({"flips": (False, True, True), "angles": (0.1, 0.2, -0.1), "scale": 1.1}, id="flips and map"),
]


@pytest.mark.parametrize("cropped", [False, True], ids=["whole", "crop"])
@pytest.mark.parametrize("outside", ["unlabelled", "reflect"])
@pytest.mark.parametrize("drawn", TRANSFORMS)
@pytest.mark.parametrize("shape", [(61, 47), (32, 37, 29)], ids=["2D", "3D"])
def test_image_and_label_stay_aligned(make_case, shape, drawn, outside, cropped):
    """The sign of the board is its label; moved by half a voxel, a sixth of the voxels would differ."""
    image, label = board(shape)
    source, dimensions = prepare(make_case(image=image, label=label), settings()), len(shape)
    patch = tuple(length - 11 for length in shape) if cropped else shape
    changes = {name: value[:dimensions] if name == "flips" else value for name, value in drawn.items()}
    if "angles" in changes and dimensions == 2:
        changes["angles"] = changes["angles"][:1]
    one = Draw(**{"flips": (False,) * dimensions, "position": (0,) * dimensions, **changes})
    middle = tuple((length - 1) / 2 for length in shape) if one.interpolated else (5 * cropped,) * dimensions
    image, label = made(dataclasses.replace(one, position=middle), source, patch, settings(outside=outside))
    inside = label != UNLABELLED
    assert inside.mean() > 0.5
    assert ((image[..., 0] > 0) == label)[inside].mean() > 0.97
    assert 0.4 < label[inside].mean() < 0.6


def test_flips_show_the_same_window_mirrored(make_case):
    source = prepare(make_case(shape=(12, 10)), settings())
    site = Site(source.shape, (5, 4), (3, 1))
    config = settings(augment={"p": 0})
    seen = set()
    for seed in range(20):
        one = draw(config, generator(seed, "test"), site, 3)
        image, label = made(one, source, site.patch, config)
        turned = tuple(slice(None, None, -1) if flip else slice(None) for flip in one.flips)
        np.testing.assert_array_equal(image[turned], source.image[3:8, 1:5])
        np.testing.assert_array_equal(label[turned], source.label[3:8, 1:5])
        seen.add(one.flips)
    assert len(seen) == 4


@pytest.mark.parametrize("angles", [None, (0.0,)], ids=["copied", "interpolated"])
@pytest.mark.parametrize(
    ("outside", "fill", "intensity", "value"),
    [("unlabelled", "zero", 0, 255), ("background", "minimum", 1, 0), ("unlabelled", "minimum", 1, 255)],
)
def test_voxels_outside_have_the_intensity_and_the_label_that_is_set(
    make_case, angles, outside, fill, intensity, value
):
    """Faults F1, F2, F10 and F11: without a class, mean grey, and padded with the image's value in the label."""
    image = np.full((6, 9, 1), 3, np.float32)
    image[0, 0] = 1
    source = prepare(make_case(image=image, label=np.ones((6, 9), np.uint8)), settings())
    position = (-2, 0) if angles is None else (2.5, 4.0)
    config = settings(outside=outside, fill=fill)
    image, label = made(Draw((False, False), position, angles=angles), source, (10, 9), config)
    assert (image[[0, 1, 8, 9]] == intensity).all()
    assert (label[[0, 1, 8, 9]] == value).all()
    np.testing.assert_allclose(image[2:8], source.image, atol=1e-5)
    assert (label[2:8] == 1).all()


@pytest.mark.parametrize("angles", [None, (0.0,)], ids=["copied", "interpolated"])
@pytest.mark.parametrize("shape", [(6, 9), (1, 9), (2, 3)])
def test_cases_smaller_than_the_sample_are_mirrored_where_they_should_be(make_case, shape, angles):
    source = prepare(make_case(shape=shape, channels=1), settings())
    after = [(15 - length) - (15 - length) // 2 for length in shape]
    pads = [(15 - length - end, end) for length, end in zip(shape, after, strict=True)]
    start = tuple(-before for before, _ in pads)
    position = start if angles is None else tuple(first + 7.0 for first in start)
    image, label = made(Draw((False, False), position, angles=angles), source, (15, 15), settings(outside="reflect"))
    np.testing.assert_allclose(image, np.pad(source.image, [*pads, (0, 0)], "reflect"), atol=2e-4)
    np.testing.assert_array_equal(label, np.pad(source.label, pads, "reflect"))


def test_what_is_drawn_is_a_function_of_the_generator_and_applied_without_chance(make_case):
    config = settings(augment=EVERYTHING, analysis="crop", patch=[8, 7])
    source = prepare(make_case(), config)
    site = Site(source.shape, (8, 7))
    first, again, other = (draw(config, generator(seed, "test"), site, 3) for seed in (1, 1, 2))
    assert first == again != other
    for a, b in zip(made(first, source, (8, 7), config), made(again, source, (8, 7), config), strict=True):
        np.testing.assert_array_equal(a, b)
    assert hash(first) == hash(again)


def test_nothing_is_drawn_without_augmentation():
    site = Site((9, 9), (9, 9), (0, 0))
    nothing = Draw((False, False), (0, 0))
    for augment in (None, OFF, {"p": 0, "mirror_probability": 0}):
        assert draw(settings(augment=augment), generator(0, "test"), site, 2) == nothing
    assert not nothing.interpolated


def test_every_transform_can_be_switched_off_and_limited():
    config = settings(
        augment={**EVERYTHING, "mirror_axes": [1], "rotate_axes": [0], "elastic_alpha": None, "noise": None}
    )
    draws = [draw(config, generator(seed, "test"), Site((9, 9, 9), (9, 9, 9), (0, 0, 0)), 1) for seed in range(50)]
    assert Counter(one.flips for one in draws).keys() == {(False, False, False), (False, True, False)}
    assert all(one.angles[0] and one.angles[1:] == (0, 0) for one in draws)
    assert {one.elastic for one in draws} == {one.noise for one in draws} == {None}


def test_crops_reach_the_last_position_unless_as_miscnn():
    """Fault F8: MIScnn never draws it."""
    site = Site((20, 17), (16, 16))
    for crop_range, wanted in (("full", (range(5), range(2))), ("miscnn", (range(4), range(1)))):
        config = settings(crop_range=crop_range)
        starts = np.array([draw(config, generator(seed, "test"), site, 1).position for seed in range(200)])
        assert [sorted(set(axis)) for axis in starts.T.tolist()] == [list(axis) for axis in wanted]


@pytest.mark.parametrize("scale", [None, [0.9, 0.9]], ids=["copied", "interpolated"])
@pytest.mark.parametrize("shape", [(40, 30), (9, 30)], ids=["large", "smaller than the crop"])
def test_the_set_share_of_crops_holds_foreground(make_case, shape, scale):
    """One voxel of each of two classes, near the border and inside; both are drawn as often."""
    label = np.zeros(shape, np.uint8)
    label[1, 28], label[5, 12] = 2, 1
    augment = {**OFF, "p": 1, "scale": scale, "mirror_axes": None}
    config = settings(foreground=0.5, augment=augment)
    source = prepare(make_case(label=label, shape=shape), config)
    site = Site(source.shape, (12, 8), None, source.foreground)
    seen = Counter()
    for seed in range(300):
        _, found = made(draw(config, generator(seed, "test"), site, 3), source, site.patch, config)
        seen.update({int(value) for value in np.unique(found) if value})
    for value, chance in ((1, 0.25), (2, 0.25)):
        assert 300 * chance - 30 < seen[value] < 300 * chance + 100  # by chance also where nothing is forced


def test_cases_without_foreground_are_cropped_anywhere(make_case):
    """Fault F18: MIScnn raises."""
    source = prepare(make_case(label=np.zeros((12, 10), np.uint8)), settings())
    assert source.foreground == []
    config = settings(foreground=1)
    draws = {draw(config, generator(seed, "test"), Site(source.shape, (8, 8), None, ()), 1) for seed in range(50)}
    assert len(draws) > 5


def test_contrast_brightness_and_gamma_are_those_of_batchgenerators_on_whole_images(make_case):
    colour = pytest.importorskip("batchgenerators.augmentations.color_augmentations")
    source = prepare(make_case(), settings())
    factors, exponents = iter((0.4, 2.5, 1.3)), (1.2, 1.0, 1.4)  # theirs are at random below 1
    theirs = np.moveaxis(source.image, -1, 0).astype(np.float64)
    theirs = colour.augment_contrast(
        theirs, contrast_range=lambda: next(factors), preserve_range=True, per_channel=True
    )
    theirs *= np.reshape([0.5, 2, 1.1], (3, 1, 1))
    for channel, gamma in enumerate(exponents):
        theirs[channel] = colour.augment_gamma(theirs[channel : channel + 1], (gamma, gamma), retain_stats=True)[0]
    one = Draw((False, False), (0, 0), contrast=(0.4, 2.5, 1.3), brightness=(0.5, 2, 1.1), gamma=exponents)
    image, _ = made(one, source, source.shape, settings())
    np.testing.assert_allclose(np.moveaxis(image, -1, 0), theirs, atol=2e-6 * np.ptp(theirs))


def test_noise_has_the_drawn_deviation(make_case):
    source = prepare(make_case(shape=(60, 50)), settings())
    image, _ = made(Draw((False, False), (0, 0), noise=Noise(0.3, 1)), source, (60, 50), settings())
    assert abs((image - source.image).std() - 0.3) < 0.01


def test_a_source_is_anything_that_has_what_is_read(make_case):
    """Coefficients are asked for where a sample is interpolated, and not else: making them costs a pass over a scan."""
    source = prepare(make_case(), settings())
    bare = types.SimpleNamespace(
        **{name: getattr(source, name) for name in ("image", "label", "statistics", "channels")}
    )
    made(Draw((True, False), (0, 0), brightness=(1, 2, 1)), bare, (12, 10), settings())
    with pytest.raises(AttributeError, match="coefficients"):
        made(Draw((True, False), (5.5, 4.5), scale=1.1), bare, (12, 10), settings())
