"""Losses that are broken on purpose, each as some library has it; the tests must notice."""

import importlib.util
import inspect
from pathlib import Path

import pytest
from keras import ops

from rareseg import losses
from rareseg.losses.compound import Combo
from rareseg.losses.entropy import CrossEntropy, Focal, TopK, balanced
from rareseg.losses.overlap import Dice, Jaccard, Tversky


class ExchangedTversky(Tversky):
    """Weighs false positives as it should weigh false negatives, as Keras does."""

    def error_weights(self):
        alpha, beta = super().error_weights()
        return beta, alpha


class ExchangedCombo(Combo):
    """Weighs the background as it should weigh the foreground."""

    def value(self, pixels):
        self.beta = 1 - self.beta
        found = super().value(pixels)
        self.beta = 1 - self.beta
        return found


class ClippedCrossEntropy(CrossEntropy):
    """Takes the logarithm of a clipped probability, whose gradient vanishes where it matters."""

    def value(self, pixels):
        weights = self.weights(pixels.classes)
        return pixels.mean(lambda term: -term.weigh(weights) * ops.log(ops.clip(1 - term.view.q, 1e-7, 1.0)))


class OverflowingCrossEntropy(CrossEntropy):
    """Writes log(1 + exp v) as it stands in the book."""

    def value(self, pixels):
        weights = self.weights(pixels.classes)
        return pixels.mean(lambda term: term.weigh(weights) * ops.log(1 + ops.exp(term.view.ce)))


class RootFocal(Focal):
    """Raises 1 - p to a power below 1, whose slope is infinite where p is 1."""

    def value(self, pixels):
        weights = balanced(self, self.alpha, pixels.classes)
        return pixels.mean(lambda term: term.weigh(weights) * ops.power(term.view.q, self.gamma) * term.ce)


class RoundedFocal(Focal):
    """Is off by a hundredth of a per cent."""

    def value(self, pixels):
        return super().value(pixels) * 1.0001


class PooledDice(Dice):
    """Sums over the batch whatever it is told."""

    def value(self, pixels):
        pixels.pool = "batch"
        return super().value(pixels)


class ForgetfulDice(Dice):
    """Does not ignore what it is told to ignore."""

    def per_sample(self, y_true, y_pred, pixel_weight):
        self.ignore_class = None
        return super().per_sample(y_true, y_pred, pixel_weight)


class TwoClassDice(Dice):
    """Looks at the first foreground class alone."""

    def weights(self, classes):
        return [1.0, 1.0, *[0.0] * (classes - 2)]


class HalfSlopedJaccard(Jaccard):
    """Has the right value, but lets no gradient through one of two equal factors."""

    def value(self, pixels):
        right = super().value(pixels)
        return ops.sqrt(ops.stop_gradient(right)) * ops.sqrt(right)


class HalfPrecisionDice(Dice):
    """Counts pixels in the type of the logits; float16 ends at 65504."""

    def __call__(self, y_true, y_pred, sample_weight=None):  # noqa: ARG002
        truth, p = ops.one_hot(y_true, 2, dtype=y_pred.dtype), ops.softmax(y_pred)
        tp, either = (ops.sum(planes, axis=(1, 2, 3)) for planes in (truth * p, truth + p))
        return ops.mean(1 - 2 * tp / either, axis=-1)


class GreedyTopK(TopK):
    """Takes its share of all pixels, those that are ignored included."""

    def value(self, pixels):
        pixels.weighted_pixels = ops.ones_like(pixels.weighted_pixels) * ops.shape(pixels.truth.shares[0])[1]
        return super().value(pixels)


SWAPPED = {"loss": "tversky", "arguments": {"delta": 0.9}, "dearer": "fn"}
COMBO = {"loss": "combo", "arguments": {"beta": 0.9, "alpha": 1}, "dearer": "fn"}
ANY = {"sharp": False, "good": 0}
FAULTS = [  # name of the loss, what stands in its place, file and name of the test that must fail, its parameters
    ("tversky", ExchangedTversky, "relations", "the_dearer_error", SWAPPED),
    ("tversky", ExchangedTversky, "peer_faults", "alpha_is_the_price_of_false_positives", {}),
    ("tversky", ExchangedTversky, "reference", "values_are_those_of_the_definition", {"seed": 0}),
    ("combo", ExchangedCombo, "relations", "the_dearer_error", COMBO),
    ("cross_entropy", ClippedCrossEntropy, "numerics", "confident_errors_keep_their_gradient", {"size": 60}),
    (
        "cross_entropy",
        OverflowingCrossEntropy,
        "numerics",
        "extreme_logits_have_finite_values_and_gradients",
        {"size": 1e4},
    ),
    (
        "cross_entropy",
        OverflowingCrossEntropy,
        "properties",
        "values_and_gradients_are_finite",
        {"sharp": False, "dtype": "float32"},
    ),
    ("focal", RootFocal, "peer_faults", "roots_of_nothing_have_finite_slopes", {"exponent": 0.5}),
    ("focal", RoundedFocal, "reference", "values_are_those_of_the_definition", {"seed": 1}),
    ("dice", PooledDice, "contract", "samples_do_not_see_each_other", {}),
    ("dice", ForgetfulDice, "contract", "ignored_pixels_are_as_if_cut_off", {"channels": 2, "ignored": 255}),
    ("dice", TwoClassDice, "contract", "foreground_classes_count_alike", {}),
    ("dice", TwoClassDice, "reference", "values_are_those_of_the_definition", {"seed": 2}),
    ("dice", HalfPrecisionDice, "numerics", "a_volume_in_single_and_half_precision", {}),
    ("jaccard", HalfSlopedJaccard, "properties", "gradients_are_slopes", ANY),
    ("topk", GreedyTopK, "contract", "ignored_pixels_are_as_if_cut_off", {"channels": 3, "ignored": 255}),
]


def load(file):
    """Return a test file as a module."""
    path = Path(__file__).with_name(f"test_{file}.py")
    spec = importlib.util.spec_from_file_location(f"{path.stem}_to_be_tested", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def heed_marks(check, request):
    """Skip where the test itself would be skipped."""
    for mark in getattr(check, "pytestmark", []):
        if mark.name == "skipif" and mark.args[0]:
            pytest.skip(mark.kwargs["reason"])
        if mark.name == "usefixtures":
            for fixture in mark.args:
                request.getfixturevalue(fixture)


@pytest.mark.parametrize(("name", "broken", "file", "test", "given"), FAULTS)
def test_a_broken_loss_is_noticed(name, broken, file, test, given, request, monkeypatch):
    check = getattr(load(file), f"test_{test}")
    heed_marks(check, request)
    given = {"name": name, "wrong": name, "request": request, **given}
    wanted = inspect.signature(check).parameters
    arguments = {each: given[each] if each in given else request.getfixturevalue(each) for each in wanted}
    check(**arguments)
    monkeypatch.setitem(losses.LOSSES, name, broken)
    with pytest.raises(AssertionError):
        check(**arguments)
