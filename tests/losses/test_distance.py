"""Losses with distances: signed distance maps and `boundary`, distances between classes and `wasserstein_dice`."""

import keras
import numpy as np
import pytest

from rareseg import losses


def disc(shape, radius):
    """Return labels (1, *shape): 1 within ``radius`` of the centre, else 0."""
    away = sum((axis - size // 2) ** 2 for axis, size in zip(np.indices(shape), shape, strict=True))
    return (away <= radius**2).astype("uint8")[None]


@pytest.mark.parametrize("spacing", [None, (0.4, 0.4), (0.4, 3.0), (2.5, 0.7)])
def test_distances_are_never_positive_inside_and_never_negative_outside(spacing):
    label = disc((15, 15), 4)
    maps = losses.signed_distance(label, 2, spacing)
    for c in (0, 1):
        inside = label == c
        assert (maps[..., c][inside] <= 0).all()
        assert (maps[..., c][~inside] > 0).all()
        assert maps[..., c][inside].max() == 0  # just inside the border
        assert maps[..., c][inside].min() < -1  # but deep inside it is not


def test_distances_by_hand():
    label = np.array([[0, 0, 1, 1, 1, 0]])
    maps = losses.signed_distance(label, 3)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps[0, :, 1], [2, 1, 0, -1, 0, 1])
    np.testing.assert_allclose(maps[0, :, 0], [-1, 0, 1, 2, 1, 0])
    assert (maps[..., 2] == 0).all()  # absent
    stretched = losses.signed_distance(label, 2, (0.5,))
    np.testing.assert_allclose(stretched, maps[..., :2] / 2)


def test_distances_in_space_follow_the_spacing_of_each_axis():
    label = np.zeros((2, 5, 5, 5), int)
    label[1, 2, 2, 2] = 1
    maps = losses.signed_distance(label, 2, (3.0, 2.0, 1.0))
    assert (maps[0] == 0).all()  # absent, and full of background
    np.testing.assert_allclose(maps[1, 1, 2, 2, 1], 3)
    np.testing.assert_allclose(maps[1, 2, 1, 2, 1], 2)
    np.testing.assert_allclose(maps[1, 0, 1, 4, 1], np.sqrt(36 + 4 + 4))
    assert maps[1, 2, 2, 2, 1] == 0
    np.testing.assert_allclose(maps[1, 2, 2, 2, 0], 1)


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 1.0, 1.0), (1.0, 0.0), (1.0, -1.0), (1.0, float("nan")), 2.0])
def test_spacings_that_do_not_fit_are_refused(spacing):
    with pytest.raises(ValueError, match="spacing must have 2 positive entries, one per spatial axis, got"):
        losses.signed_distance(disc((5, 5), 1), 2, spacing)


@pytest.fixture
def maps_of(draw):
    """Return f(channels, shape): labels (B, *space), logits, and the maps of the labels (B, *space, K)."""

    def maps_of(channels, shape=(3, 6, 5)):
        label, logits = draw(channels, shape)
        return label, logits, losses.signed_distance(label, max(channels, 2))

    return maps_of


def evaluate(loss, *inputs):
    return keras.ops.convert_to_numpy(loss(*inputs))


def boundary(**arguments):
    return losses.get("boundary", from_logits=True, reduction=None, **arguments)


def foreground_mean(logits, maps, weight):
    """Return what boundary is for two classes and the foreground alone, (B,)."""
    p = 1 / (1 + np.exp(logits[..., 0] - logits[..., 1]))
    axes = tuple(range(1, p.ndim))
    return (weight * maps[..., 1] * p).sum(axes) / weight.sum(axes)


def test_boundary_weighs_pixels_by_sample_weight_and_mask(maps_of):
    label, logits, maps = maps_of(2)
    weight = np.random.default_rng(1).random(label.shape).astype("float32")
    keep = np.random.default_rng(2).random(label.shape) < 0.6
    expected = foreground_mean(logits, maps, weight)
    np.testing.assert_allclose(evaluate(boundary(), maps, logits, weight), expected, rtol=1e-5)
    masked = keras.layers.Masking(mask_value=0.0)(np.where(keep[..., None], logits, 0))
    expected = foreground_mean(logits, maps, weight * keep)
    np.testing.assert_allclose(evaluate(boundary(), maps, masked, weight), expected, rtol=1e-5)
    assert (evaluate(boundary(), maps, logits, 0 * weight) == 0).all()


def test_boundary_pooled_is_one_large_sample(maps_of):
    _, logits, maps = maps_of(3)
    as_one = evaluate(boundary(), maps.reshape(1, -1, 3), logits.reshape(1, -1, 3))
    np.testing.assert_allclose(evaluate(boundary(pool="batch"), maps, logits), np.repeat(as_one, 3), rtol=1e-5)


def test_boundary_with_a_base_is_the_sum_of_both(maps_of):
    for channels in (1, 2, 3):
        label, logits, maps = maps_of(channels)
        both = np.concatenate([label[..., None], maps], axis=-1)
        dice = losses.get("dice", from_logits=True, reduction=None, smooth=1)
        expected = evaluate(dice, label, logits) + 0.25 * evaluate(boundary(), maps, logits)
        for base in ({"name": "dice", "smooth": 1}, dice):
            np.testing.assert_allclose(evaluate(boundary(base=base, weight=0.25), both, logits), expected, rtol=1e-5)


def test_boundary_ignores_pixels_of_a_class_only_with_a_base(maps_of, differentiate):
    label, logits, maps = maps_of(2, (2, 12))
    label = label.astype("float32")
    label[:, 8:] = 255
    both = np.concatenate([label[..., None], maps], axis=-1)
    loss = boundary(base="focal", ignore_class=255, weight=0.5)
    expected = evaluate(loss, both[:, :8], logits[:, :8])
    np.testing.assert_allclose(evaluate(loss, both, logits), expected, rtol=1e-5)
    _, gradient = differentiate(loss.__call__, both, logits)  # not `loss`: the maps are there already
    assert (gradient[:, 8:] == 0).all()
    assert (gradient[:, :8] != 0).all()
    both[..., 0] = 255
    assert (evaluate(loss, both, logits) == 0).all()
    with pytest.raises(
        ValueError, match=r"^boundary: ignore_class needs a base, as distance maps have no labels; or use"
    ):
        boundary(ignore_class=255)


MISSHAPEN = [  # base, y_true, y_pred, sentence
    (None, (2, 4, 4), (2, 4, 4, 3), r"must hold signed_distance maps, 3 channels for 3 classes"),
    (
        None,
        (2, 4, 4, 2),
        (2, 4, 4, 3),
        r"y_true \(2, 4, 4, 2\) does not fit y_pred \(2, 4, 4, 3\): it must hold signed",
    ),
    (None, (2, 4, 4, 1), (2, 4, 4, 1), r"must hold signed_distance maps, 2 channels for 2 classes"),
    (
        "dice",
        (2, 4, 4, 3),
        (2, 4, 4, 3),
        r"must hold the labels and then signed_distance maps, 4 channels for 3 classes",
    ),
    (None, (2, 4, 5, 3), (2, 4, 4, 3), r"does not fit y_pred \(2, 4, 4, 3\)"),
    (None, (3, 4, 4, 3), (2, 4, 4, 3), r"does not fit y_pred \(2, 4, 4, 3\)"),
]


@pytest.mark.parametrize(("base", "true", "pred", "sentence"), MISSHAPEN)
def test_boundary_refuses_labels_of_another_form(base, true, pred, sentence):
    with pytest.raises(ValueError, match=sentence) as refusal:
        boundary(base=base)(np.zeros(true), np.zeros(pred))
    assert "\n" not in str(refusal.value)


class Schedule(keras.callbacks.Callback):
    """Set the weight of a boundary loss before each step or epoch, and keep the loss of each step."""

    def __init__(self, loss, weights, each):
        super().__init__()
        self.loss, self.weights, self.each, self.found = loss, weights, each, []

    def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002
        if self.each == "epoch":
            self.loss.weight.assign(self.weights[epoch])

    def on_train_batch_begin(self, batch, logs=None):  # noqa: ARG002
        self.model.reset_metrics()  # else the loss is the mean of those before
        if self.each == "step":
            self.loss.weight.assign(self.weights[batch])

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        self.found.append(logs["loss"])


@pytest.mark.parametrize("each", ["step", "epoch"])
def test_a_callback_changes_the_weight(each, maps_of):
    if keras.backend.backend() == "jax" and each == "step":
        pytest.skip("on JAX, Keras reads variables at the beginning of an epoch")
    label, logits, maps = maps_of(2, (1, 6, 5))
    both = np.concatenate([label[..., None], maps], axis=-1)
    loss = losses.get("boundary", base="dice", weight=0.0, from_logits=True)
    model = keras.Sequential([keras.Input((6, 5, 2)), keras.layers.Dense(2, kernel_initializer="identity")])
    model.boundary_weight = loss.weight  # for JAX, which else takes it for a constant
    model.compile(keras.optimizers.SGD(0.0), loss=loss, jit_compile=False)
    steps, epochs = (3, 1) if each == "step" else (1, 3)
    schedule = Schedule(loss, [0.0, 1.0, 0.25], each)
    data = (np.repeat(part, steps, axis=0) for part in (logits, both))
    model.fit(*data, batch_size=1, epochs=epochs, verbose=0, callbacks=[schedule])
    dice = evaluate(losses.get("dice", from_logits=True), label, logits)
    distance = evaluate(losses.get("boundary", from_logits=True), maps, logits)
    np.testing.assert_allclose(schedule.found, dice + np.array(schedule.weights) * distance, rtol=1e-5)
    assert loss.get_config()["weight"] == 0.25
    assert type(loss).from_config(loss.get_config()).get_config() == loss.get_config()


NEAR_THE_BACKGROUND = [[0, 0.1, 0.9], [0.1, 0, 1], [0.9, 1, 0]]
METRIC = [[0, 2, 2], [2, 0, 1], [2, 1, 0]]
NO_DISTANCES = [
    ([[0, 1], [2, 0]], "distances must be symmetric, 0 on the diagonal and not all 0, got"),
    ([[1, 1], [1, 0]], "distances must be symmetric, 0 on the diagonal and not all 0, got"),
    ([[0, 0], [0, 0]], "distances must be symmetric, 0 on the diagonal and not all 0, got"),
    ([[0, -1], [-1, 0]], r"each entry of each entry of distances must lie in \[0, inf\), got -1"),
    ([[0, float("nan")], [float("nan"), 0]], r"distances must lie in \[0, inf\), got nan"),
    ([0, 1], "each entry of distances must be a list of numbers"),
    (1.0, "distances must be a list of lists of numbers"),
    (
        NEAR_THE_BACKGROUND,
        "^distances: each class must be at least as far from the background as from any other class, got .*; take "
        "weighting='volume'$",
    ),
]


@pytest.mark.parametrize(("distances", "sentence"), NO_DISTANCES)
def test_matrices_that_are_no_distances_are_refused(distances, sentence):
    with pytest.raises(ValueError, match=sentence):
        losses.get("wasserstein_dice", distances=distances)


@pytest.mark.parametrize("distances", [[[0, 1, 1], [1, 0, 1]], [[0, 1], [1, 0, 1], [1, 1, 0]], [[0, 1, 2]], [], [[]]])
def test_matrices_that_are_not_square_are_refused_in_a_sentence(distances):
    with pytest.raises(ValueError, match="distances"):
        losses.get("wasserstein_dice", distances=distances)


def test_classes_near_the_background_can_be_weighted_by_volume(logits_of, values):
    label, arguments = np.array([[0, 0, 1, 1]]), {"distances": NEAR_THE_BACKGROUND, "weighting": "volume"}
    near, far = (
        values("wasserstein_dice", label, logits_of(np.array([[0, 0, wrong, wrong]]), 3, 20), **arguments)
        for wrong in (0, 2)
    )
    assert 0 < near < far


def test_distances_of_another_number_of_classes_are_refused_at_the_first_call(draw):
    loss = losses.get("wasserstein_dice", from_logits=True, distances=METRIC)
    with pytest.raises(ValueError, match=r"^distances are of 3 classes, but the network has 2$"):
        loss(*draw(2))


@pytest.mark.parametrize("weighting", ["foreground", "volume"])
@pytest.mark.parametrize("pool", ["sample", "batch"])
def test_wasserstein_of_soft_labels_that_are_hard(weighting, pool, draw, values):
    label, logits = draw(3)
    arguments = {"distances": METRIC, "weighting": weighting, "pool": pool}
    weight = np.random.default_rng(1).random(label.shape).astype("float32")
    for each in (None, weight):
        hard = values("wasserstein_dice", label, logits, each, **arguments)
        soft = values("wasserstein_dice", np.eye(3)[label], logits, each, **arguments)
        np.testing.assert_allclose(soft, hard, rtol=1e-5)


def test_near_classes_are_mixed_up_at_less_cost(logits_of, values):
    label = np.array([[0, 0, 1, 1, 2, 2]])
    as_neighbour, as_background = np.array([[0, 0, 1, 1, 2, 1]]), np.array([[0, 0, 1, 1, 2, 0]])
    for weighting in ("foreground", "volume"):
        near, far = (
            values("wasserstein_dice", label, logits_of(found, 3, 20), distances=METRIC, weighting=weighting)
            for found in (as_neighbour, as_background)
        )
        assert near < far


def test_wasserstein_by_hand(values):
    label = np.array([[0, 0, 1, 2]])
    p = np.array([[[0.5, 0.5, 0], [1, 0, 0], [0, 0.5, 0.5], [0.25, 0, 0.75]]], "float32")
    cost = [0.5, 0, 0.25, 0.25]  # W of each pixel with M = METRIC / 2
    right = (1 - cost[2]) + (1 - cost[3])
    found = values("wasserstein_dice", label, p, from_logits=False, distances=METRIC, smooth=0)
    np.testing.assert_allclose(found, sum(cost) / (2 * right + sum(cost)), rtol=1e-6)
    rarity = [1 / 3, 1 / 3, 1 / 2, 1 / 2]
    above, below = (sum(r * x for r, x in zip(rarity, y, strict=True)) for y in (cost, [2 - w for w in cost]))
    found = values("wasserstein_dice", label, p, from_logits=False, distances=METRIC, smooth=0, weighting="volume")
    np.testing.assert_allclose(found, above / below, rtol=1e-6)
