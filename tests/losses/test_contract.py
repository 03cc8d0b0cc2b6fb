"""What every loss must do with labels, weights and special truths; a new loss is tested by being listed."""

import keras
import numpy as np
import pytest

from rareseg import losses

ALL = losses.names()
MOVED = {  # their labels carry distances, which are others once pixels are moved, cut off or renamed
    name for name in ALL if name == "boundary"
}
REGIONAL = [name for name, arguments in losses.signatures().items() if "absent" in arguments]


@pytest.fixture(params=ALL)
def name(request):
    return request.param


@pytest.fixture(params=[1, 2, 3], ids=["one channel", "two classes", "three classes"])
def channels(request):
    return request.param


def test_one_value_per_sample(name, channels, draw, values):
    for shape in [(3, 7), (3, 4, 5), (3, 3, 4, 5)]:
        assert values(name, *draw(channels, shape)).shape == (3,)


def test_a_perfect_prediction_costs_nothing(name, channels, draw, logits_of, values):
    label, _ = draw(channels)
    costs = values(name, label, logits_of(label, channels, 60))
    assert ((costs <= 1e-6) if name == "boundary" else (np.abs(costs) <= 1e-6)).all()


def test_samples_do_not_see_each_other(name, draw, values):
    label, logits = draw(3, (4, 6, 5))
    order = [2, 0, 3, 1]
    together = values(name, label, logits)
    alone = np.concatenate([values(name, label[i : i + 1], logits[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(alone, together, atol=1e-6)
    np.testing.assert_allclose(values(name, label[order], logits[order]), together[order], atol=1e-6)


def test_the_order_of_the_axes_does_not_matter(name, draw, differentiate, values):
    label, logits = draw(2, (2, 3, 4, 7))
    loss = losses.get(name, from_logits=True, reduction=None)
    expected, gradient = differentiate(loss, label, logits)
    permuted = values(name, np.transpose(label, (0, 3, 1, 2)), np.transpose(logits, (0, 3, 1, 2, 4)))
    np.testing.assert_allclose(permuted, expected, rtol=1e-5)
    assert (np.abs(gradient).max(axis=(0, 1, 2, 4)) > 0).all()  # each position on the last spatial axis counts


def test_a_pooled_batch_is_one_large_sample(name, draw, values):
    if name in MOVED:
        pytest.skip("its labels carry distances; see test_distance.py")
    label, logits = draw(3, (4, 6, 5))
    as_one = values(name, label.reshape(1, 24, 5), logits.reshape(1, 24, 5, 3))
    np.testing.assert_allclose(values(name, label, logits, pool="batch"), np.repeat(as_one, 4), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["int64", "bool", "float16"])
def test_the_type_of_the_labels_does_not_matter(name, dtype, draw, values):
    for channels in (1, 2):
        label, logits = draw(channels)
        expected = values(name, label, logits)
        np.testing.assert_allclose(values(name, label.astype(dtype), logits), expected, rtol=1e-5)
        np.testing.assert_allclose(values(name, label[..., None].astype(dtype), logits), expected, rtol=1e-5)


def test_one_hot_labels_say_the_same(name, draw, values):
    for channels in (2, 3):
        label, logits = draw(channels)
        one_hot = np.eye(channels, dtype="float32")[label]
        np.testing.assert_allclose(values(name, one_hot, logits), values(name, label, logits), rtol=1e-5)


def test_one_hot_labels_are_told_by_rank_not_by_size(name, draw, values):
    label, logits = draw(3, (2, 6, 3))
    np.testing.assert_allclose(values(name, label, logits), values(name, np.eye(3)[label], logits), rtol=1e-5)


def test_one_channel_is_the_margin_of_two(name, draw, values):
    label, logits = draw(1)
    pair = np.concatenate([np.zeros_like(logits), logits], axis=-1)
    np.testing.assert_allclose(values(name, label, logits), values(name, label, pair), rtol=1e-6)


def test_logits_and_probabilities_agree(name, channels, draw, values):
    label, logits = draw(channels)
    ops = keras.ops
    probabilities = ops.sigmoid(logits) if channels == 1 else ops.softmax(logits)
    expected = values(name, label, logits)
    np.testing.assert_allclose(values(name, label, probabilities, from_logits=False), expected, atol=1e-5)


def test_unknown_labels_belong_to_no_class(name, channels, draw, differentiate, values):
    if name in MOVED:
        pytest.skip("its labels carry distances; see test_distance.py")
    label, logits = draw(channels)
    label = label.astype("int32")
    one_hot = np.eye(max(channels, 2), dtype="float32")[label]
    label[:, 0, :4] = [255, -1, 7, 2**30]
    one_hot[:, 0, :4] = 0
    loss = losses.get(name, from_logits=True, reduction=None)
    found, gradient = differentiate(loss, label, logits)
    assert np.isfinite(gradient).all()
    if channels > 1:
        np.testing.assert_allclose(found, values(loss, one_hot, logits), rtol=1e-5)
    np.testing.assert_allclose(found, values(loss, label.astype("float32"), logits), rtol=1e-5)
    if channels == 2:
        unlabelled = np.where(label > 2, 255, label).clip(0).astype("uint8")
        assert np.isfinite(values(loss, unlabelled, logits)).all()


@pytest.mark.parametrize("truth", [0, 1], ids=["empty", "full"])
def test_a_mask_of_one_class_is_finite(name, channels, truth, draw, differentiate):
    _, logits = draw(channels)
    for absent in ("keep", "skip") if name in REGIONAL else (None,):
        settings = {} if absent is None else {"absent": absent}
        loss = losses.get(name, from_logits=True, reduction=None, **settings)
        found, gradient = differentiate(loss, np.full(logits.shape[:-1], truth), logits)
        assert np.isfinite(found).all()
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("ignored", [255, -1, 0])
def test_ignored_pixels_are_as_if_cut_off(name, channels, ignored, draw, differentiate, values):
    if name in MOVED:
        pytest.skip("its labels carry distances; see test_distance.py")
    label, logits = draw(channels, (2, 60))
    label = np.maximum(label.astype("int32"), 1)  # class 0 is left to those that are ignored
    label[:, 40:] = ignored
    loss = losses.get(name, from_logits=True, reduction=None, ignore_class=ignored)
    expected = values(name, label[:, :40], logits[:, :40])
    for dtype in ("int32", "float32"):  # with one channel a floating label is a share of class 1 unless it is ignored
        found, gradient = differentiate(loss, label.astype(dtype), logits)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        assert (gradient[:, 40:] == 0).all()


def test_nothing_but_ignored_pixels_costs_nothing(name, channels, draw, differentiate):
    if name in MOVED:
        pytest.skip("its labels carry distances; see test_distance.py")
    label, logits = draw(channels)
    loss = losses.get(name, from_logits=True, reduction=None, ignore_class=255)
    found, gradient = differentiate(loss, np.full_like(label, 255), logits)
    assert (found == 0).all()
    assert (gradient == 0).all()


def test_a_pixel_of_weight_two_is_two_pixels(name, channels, draw, values):
    if name in MOVED:
        pytest.skip("its labels carry distances; see test_distance.py")
    if "k" in losses.signatures()[name]:
        pytest.skip("a share of the pixels counts, whatever they weigh")
    label, logits = draw(channels, (2, 12))
    twice = np.concatenate([np.arange(12), np.arange(4)])
    weight = np.ones((2, 12), "float32")
    weight[:, :4] = 2
    expected = values(name, label[:, twice], logits[:, twice])
    np.testing.assert_allclose(values(name, label, logits, weight), expected, rtol=1e-5)
    np.testing.assert_allclose(values(name, label, logits, weight[..., None]), expected, rtol=1e-5)


def test_a_mask_of_keras_is_a_weight(name, draw, values):
    label, logits = draw(3)
    keep = np.random.default_rng(1).random(label.shape) < 0.7
    masked = keras.layers.Masking(mask_value=0.0)(np.where(keep[..., None], logits, 0))
    expected = values(name, label, logits, keep.astype("float32"))
    np.testing.assert_allclose(values(name, label, masked), expected, rtol=1e-5)


def test_sample_weights_act_per_sample(name, draw, values):
    label, logits = draw(2, (3, 6, 5))
    each = values(name, label, logits)
    weight = np.array([0, 1, 3], "float32")
    np.testing.assert_allclose(values(name, label, logits, weight), weight * each, rtol=1e-6)
    np.testing.assert_allclose(values(name, label, logits, weight[:, None]), weight * each, rtol=1e-6)
    for reduction, expected in [
        ("sum_over_batch_size", (weight * each).mean()),
        ("sum", (weight * each).sum()),
        ("mean", (weight * each).mean()),
        ("mean_with_sample_weight", (weight * each).sum() / weight.sum()),
    ]:
        np.testing.assert_allclose(values(name, label, logits, weight, reduction=reduction), expected, rtol=1e-6)


def test_every_class_counts(name, draw, values):
    _, logits = draw(3)
    loss = losses.get(name, from_logits=True, reduction=None)
    ones = np.ones(logits.shape[:-1], int)
    mixed = ones.copy()
    mixed[:, :3] = 2
    logits[:, :3, :, 0] += 8  # among the worst pixels, where losses of a share of them look
    assert (np.abs(values(loss, ones, logits) - values(loss, mixed, logits)) > 1e-4).all()


def test_foreground_classes_count_alike(name, draw, values):
    label, logits = draw(3)
    exchanged = np.array([0, 2, 1])[label], logits[..., [0, 2, 1]]
    np.testing.assert_allclose(values(name, *exchanged), values(name, label, logits), rtol=1e-5)


def test_background_is_left_out_by_weight_zero(name, draw, values):
    if "class_weights" not in losses.signatures()[name]:
        pytest.skip("takes no class weights")
    label, logits = draw(3)
    expected = values(name, label, logits, class_weights=[0, 1, 1])
    left_out = values(name, label, logits, include_background=False, class_weights=[1, 1, 1])
    np.testing.assert_allclose(left_out, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="class_weights has 2 entries, but the labels and the network have 3 classes"):
        values(name, label, logits, class_weights=[1, 1])
