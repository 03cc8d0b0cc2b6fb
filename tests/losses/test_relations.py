"""Hand calculations, limits in which one loss is another, and what each loss is meant to punish."""

import math

import keras
import numpy as np
import pytest

from rareseg import losses

BY_HAND = [  # truth, foreground probability, loss, arguments, value (foreground alone, smooth 0)
    pytest.param([1, 1, 0, 0], [1, 0, 0, 0], "tversky", {"delta": 0.7}, 7 / 17, id="tversky: one missed"),
    pytest.param([1, 1, 0, 0], [1, 1, 1, 0], "tversky", {"delta": 0.7}, 3 / 23, id="tversky: one too many"),
    pytest.param([1, 1, 0, 0], [1, 1, 1, 0], "dice", {}, 1 / 5, id="dice: one too many"),
    pytest.param([1, 1, 0, 0], [1, 1, 1, 0], "jaccard", {}, 1 / 3, id="jaccard: one too many"),
    pytest.param([1, 1, 0, 0], [0, 0, 1, 1], "dice", {}, 1.0, id="dice: all wrong"),
    pytest.param([0, 0, 0, 0], [0, 0, 0, 0], "dice", {}, 0.0, id="dice: nothing there, nothing found"),
    pytest.param([1, 255, 0, 0], [1, 1, 0, 0], "dice", {}, 1 / 3, id="dice: foreground on an unlabelled pixel"),
    pytest.param([1, 255, 0, 0], [1, 1, 0, 0], "dice", {"ignore_class": 255}, 0.0, id="dice: the same, ignored"),
]


@pytest.mark.parametrize(("truth", "probability", "loss", "arguments", "expected"), BY_HAND)
def test_values_by_hand(truth, probability, loss, arguments, expected, values):
    y_true = np.reshape(truth, (1, 2, 2)).astype("uint8")
    foreground = np.reshape(probability, (1, 2, 2, 1)).astype("float32")
    arguments = {"smooth": 0, "include_background": False, "from_logits": False, **arguments}
    for y_pred in (foreground, np.concatenate([1 - foreground, foreground], axis=-1)):
        np.testing.assert_allclose(values(loss, y_true, y_pred, **arguments), expected, atol=1e-6)


SAME = [  # two ways to say the same; value, factor on the second
    (("focal", {"gamma": 0}), ("cross_entropy", {}), 1),
    (("tversky", {"delta": 0.5}), ("dice", {}), 1),
    (("tversky", {"alpha": 1, "beta": 1}), ("jaccard", {}), 1),
    (("combo", {"alpha": 0}), ("dice", {}), 1),
    (("combo", {"alpha": 1, "beta": 0.5}), ("cross_entropy", {}), 0.5),
    (("unified_focal", {"gamma": 0, "delta": 0.5, "weight": 0}), ("dice", {}), 1),
    (("unified_focal", {"gamma": 0, "delta": 0.5, "weight": 1}), ("cross_entropy", {}), 0.5),
    (("unified_focal", {"gamma": 0, "weight": 0}), ("tversky", {"delta": 0.6}), 1),
    (("unified_focal", {"gamma": 0}), ("unified_focal", {"gamma": 0, "asymmetric": False}), 1),
    (("unified_focal", {"asymmetric": False, "weight": 1}), ("focal", {"alpha": 0.6, "gamma": 0.5}), 1),
    (("unified_focal", {"asymmetric": False, "weight": 0}), ("focal_tversky", {"delta": 0.6, "gamma": 0.5}), 1),
    (("focal", {"alpha": 0.25}), ("focal", {"alpha": [0.75, 0.25, 0.25]}), 1),
    (("focal_tversky", {"gamma": 1}), ("tversky", {}), 1),
    (("asymmetric_similarity", {"beta": 1}), ("dice", {}), 1),
    (("asymmetric_similarity", {"beta": 2}), ("tversky", {"delta": 0.8}), 1),
    (("hybrid_focal", {"weight": 0}), ("focal_tversky", {}), 1),
    (("hybrid_focal", {"weight": 1}), ("focal", {}), 1),
    (("dice_focal", {"weight": 0}), ("dice", {}), 1),
    (("dice_topk", {"weight": 0}), ("dice", {}), 1),
    (("topk", {"k": 100}), ("cross_entropy", {}), 1),
    (("generalised_cross_entropy", {"q": 0}), ("cross_entropy", {}), 1),
    (("generalised_cross_entropy", {"q": 1e-7}), ("cross_entropy", {}), 1),
    (("exponential_log", {"weight": 0, "gamma": 1, "class_weights": [1, 1, 1]}), ("cross_entropy", {}), 1),
    (("exponential_log", {"gamma": 0.3}), ("exponential_log", {"gamma": 0.3, "gamma_ce": 0.3}), 1),
    (("boundary", {"base": "focal", "weight": 0}), ("focal", {}), 1),
    (("generalised_dice", {"class_weights": [0, 1, 0]}), ("dice", {"class_weights": [0, 1, 0]}), 1),
    (("wasserstein_dice", {"distances": [[0, 3, 3], [3, 0, 3], [3, 3, 0]]}), ("wasserstein_dice", {}), 1),
    (("dice", {"class_weights": [2, 4, 6]}), ("dice", {"class_weights": [1, 2, 3]}), 1),
    (("cross_entropy", {"class_weights": [2, 4, 6]}), ("cross_entropy", {"class_weights": [1, 2, 3]}), 2),
]


@pytest.mark.parametrize(("one", "other", "factor"), SAME, ids=str)
def test_losses_that_coincide(one, other, factor, draw, values):
    label, logits = draw(3)
    expected = factor * values(other[0], label, logits, **other[1])
    np.testing.assert_allclose(values(one[0], label, logits, **one[1]), expected, rtol=2e-6)


def test_a_dice_loss_and_a_weighted_loss_add_up(draw, values):
    label, logits = draw(3)
    dice = values("dice", label, logits)
    focal = values("focal", label, logits, gamma=1, alpha=0.25)
    found = values("dice_focal", label, logits, gamma=1, alpha=0.25, weight=0.5)
    np.testing.assert_allclose(found, dice + 0.5 * focal, rtol=1e-6)
    topk = values("topk", label, logits, k=30)
    np.testing.assert_allclose(values("dice_topk", label, logits, k=30, weight=2), dice + 2 * topk, rtol=1e-6)


def test_log_cosh_dice_is_log_cosh_of_dice(draw, logits_of, values):
    label, logits = draw(3)
    for predicted in (logits, logits_of(label, 3, 2), logits_of(label, 3, 4), logits_of(label, 3, 8)):
        x = values("dice", label, predicted).astype(float)
        np.testing.assert_allclose(values("log_cosh_dice", label, predicted), np.log(np.cosh(x)), rtol=1e-5, atol=1e-7)


def test_absolute_error_is_generalised_cross_entropy_with_q_one(draw, values):
    label, logits = draw(3)
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    expected = (1 - np.take_along_axis(probabilities, label[..., None].astype(int), -1)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(values("generalised_cross_entropy", label, logits, q=1), expected, rtol=1e-5)


def test_wasserstein_of_two_classes_is_dice_of_the_foreground(draw, values):
    label, logits = draw(2)
    expected = values("dice", label, logits, include_background=False, smooth=0)
    np.testing.assert_allclose(values("wasserstein_dice", label, logits, smooth=0), expected, rtol=1e-5)


def test_the_worst_pixels_alone_count(values):
    label = np.zeros((1, 10), int)
    logits = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "float32").reshape(1, 10, 1)
    costs = np.log1p(np.exp(logits.ravel().astype(float)))
    for k, expected in [(30, costs[7:].mean()), (1, costs[9]), (39, costs[7:].mean()), (100, costs.mean())]:
        np.testing.assert_allclose(values("topk", label, logits, k=k), expected, rtol=1e-6)
    weight = np.array([1, 1, 1, 1, 1, 1, 1, 1, 0, 0], "float32")[None]  # of the 8 that count, 25 per cent
    np.testing.assert_allclose(values("topk", label, logits, weight, k=25), costs[6:8].mean(), rtol=1e-6)


def test_small_organs_count_as_much_as_large_ones_in_generalised_dice(values):
    label = np.zeros((1, 100), int)
    label[0, :4] = 1
    missed, invented = (np.where(label[..., None] == [0, 1], 20.0, -20.0) for _ in range(2))
    missed[0, :4] = [20, -20]
    invented[0, 4:8] = [-20, 20]
    # by hand, with w_1 = 1 and w_0 = (4 / 96)^power: errors (FN + FP) of both classes are 4 each
    for power in (0, 1, 2):
        w = (4 / 96) ** power
        for logits, tp in [(missed, (96, 0)), (invented, (92, 4))]:
            expected = 4 * (w + 1) / (2 * (w * tp[0] + tp[1]) + 4 * (w + 1))
            found = values("generalised_dice", label, logits.astype("float32"), volume_power=power, smooth=0)
            np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_exponential_log_by_hand(values):
    label = np.array([[0, 0, 0, 1]])
    p = np.array([[0.2, 0.4, 0.6, 0.9]])  # of the foreground
    dice = (2 * 0.9 + 1) / (0.9 + 0.1 + 0.9 + 1.2 + 1), (2 * 1.8 + 1) / (2 * 1.8 + 1.2 + 0.1 + 1)
    region = np.mean([(-math.log(d)) ** 0.3 for d in dice])
    rarity = math.sqrt(4 / 3), math.sqrt(4)
    pixels = np.mean([rarity[0] * (-math.log(1 - q)) ** 0.3 for q in p[0, :3]] + [rarity[1] * (-math.log(0.9)) ** 0.3])
    found = values("exponential_log", label, p[..., None].astype("float32"), from_logits=False)
    np.testing.assert_allclose(found, 0.8 * region + 0.2 * pixels, rtol=1e-5)


def test_cross_entropy_is_that_of_keras(draw, values):
    label, logits = draw(3)
    pixels = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)(label, logits)
    expected = keras.ops.convert_to_numpy(pixels).mean(axis=(1, 2))
    np.testing.assert_allclose(values("cross_entropy", label, logits), expected, rtol=1e-5)


def errors(false_positives, false_negatives, logits_of):
    """Return a label of 100 foreground among 400 pixels, and logits with so many errors."""
    label = np.zeros((1, 20, 20), int)
    label[0, :5] = 1
    found = label.ravel().copy()
    found[:false_negatives] = 0
    found[100 : 100 + false_positives] = 1
    return label, logits_of(found.reshape(label.shape), 2, 8.0)


PRICES = [  # loss, what costs more: missed foreground ("fn") or invented ("fp")
    ("tversky", {"alpha": 1, "beta": 0.01}, "fp"),
    ("tversky", {"alpha": 0.01, "beta": 1}, "fn"),
    ("tversky", {"delta": 0.9}, "fn"),
    ("combo", {"beta": 0.9, "alpha": 1}, "fn"),
    ("combo", {"beta": 0.1, "alpha": 1}, "fp"),
    ("unified_focal", {"delta": 0.9, "weight": 1, "asymmetric": False}, "fn"),
    ("focal", {"alpha": 0.9}, "fn"),
    ("asymmetric_similarity", {"include_background": False}, "fn"),
    ("asymmetric_similarity", {"include_background": False, "beta": 0.5}, "fp"),
    ("focal_tversky", {"include_background": False}, "fn"),
    ("hybrid_focal", {"include_background": False}, "fn"),
    ("dice_focal", {"alpha": 0.9, "weight": 3}, "fn"),
    ("unified_focal", {"delta": 0.9, "weight": 0, "include_background": False}, "fn"),
]


@pytest.mark.parametrize(("loss", "arguments", "dearer"), PRICES, ids=str)
def test_the_dearer_error(loss, arguments, dearer, logits_of, values):
    invented = values(loss, *errors(20, 0, logits_of), **arguments)
    missed = values(loss, *errors(0, 20, logits_of), **arguments)
    assert (missed > invented) == (dearer == "fn")


def test_combo_never_rewards_foreground_in_an_empty_image(values):
    label = np.zeros((1, 8, 8), int)
    costs = [values("combo", label, np.full((1, 8, 8, 1), z, "float32"))[0] for z in (-5, 0, 5)]
    assert costs[0] < costs[1] < costs[2]


def test_adaptive_log_by_hand(draw, logits_of, values):
    label, logits = draw(2)
    x = values("dice", label, logits)
    constant = 0.1 - 10 * math.log(1 + 0.1 / 0.5)
    assert constant == pytest.approx(-1.7232155679)
    np.testing.assert_allclose(values("adaptive_log", label, logits), x - constant, rtol=1e-6)
    good = logits_of(label, 2, 2)
    x = values("dice", label, good)
    assert (x < 0.1).all()
    np.testing.assert_allclose(values("adaptive_log", label, good), 10 * np.log(1 + x / 0.5), rtol=1e-5)


def test_adaptive_log_takes_its_base_in_three_forms(draw, values):
    label, logits = draw(2)
    mapping = {"name": "tversky", "delta": 0.5, "smooth": 0.5}
    expected = values("adaptive_log", label, logits, base=mapping)
    built = losses.get(mapping, from_logits=True)
    np.testing.assert_allclose(values("adaptive_log", label, logits, base=built), expected)
    assert not np.allclose(values("adaptive_log", label, logits, base="jaccard"), expected)


def test_adaptive_log_of_a_pooled_dice_is_one_number(draw, values):
    label, logits = draw(1)
    pooled = values("adaptive_log", label, logits, pool="batch")
    assert pooled[0] == pooled[1] != values("adaptive_log", label, logits)[0]
