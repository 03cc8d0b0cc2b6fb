"""The definitions once more, pixel by pixel in double precision, against arguments and inputs drawn at random.

The functions below are written after the formulas alone: loops where `losses` has planes, 1 - T where it has D, no
closed form. The names of their arguments and the defaults are those of the definitions, too.
"""

import inspect
import json
import math
import zlib
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest

from rareseg import losses

GOLDEN = json.loads((Path(__file__).parent / "golden_losses.json").read_text())


class Pixel(NamedTuple):
    """One pixel: its weight, and one number per class."""

    w: float
    y: list[float]
    p: list[float]
    q: list[float]
    ce: list[float]
    log_q: list[float]
    phi: list[float]


def read_label(label, classes, one_channel):
    if np.ndim(label):
        return [float(y) for y in label]
    if one_channel and np.issubdtype(label.dtype, np.floating):
        return [1 - float(label), float(label)] if 0 <= label <= 1 else [0.0, 0.0]
    return [float(label == c) for c in range(classes)]


def read_logits(z):
    z = [0.0, *z] if len(z) == 1 else list(z)
    total = np.logaddexp.reduce(z)
    others = [np.logaddexp.reduce(z[:c] + z[c + 1 :]) - total for c in range(len(z))]
    return [math.exp(a - total) for a in z], [math.exp(a) for a in others], [total - a for a in z], others


def read_probabilities(given):
    p = [1 - float(given[0]), float(given[0])] if len(given) == 1 else [float(a) for a in given]
    q = [1 - a for a in p]
    low, high = given.dtype.type(1e-7), given.dtype.type(1 - 1e-7)  # as the limits are in the type of the input
    logarithms = [[math.log(min(max(a, low), high)) for a in both] for both in (p, q)]
    return p, q, [-a for a in logarithms[0]], logarithms[1]


def read_pixels(y_true, y_pred, weight, from_logits, ignore_class, maps):
    one_channel, classes = y_pred.shape[-1] == 1, max(y_pred.shape[-1], 2)
    pixels = []
    for index in np.ndindex(y_pred.shape[:-1]):
        label, w = y_true[index], 1.0 if weight is None else float(weight[index])
        if ignore_class is not None and not np.ndim(label) and label == ignore_class:
            w = 0.0
        phi = [] if maps is None else [float(a) for a in maps[index]]
        seen = read_logits(y_pred[index].astype(float)) if from_logits else read_probabilities(y_pred[index])
        pixels.append(Pixel(w, read_label(label, classes, one_channel), *seen, phi))
    return pixels


def classes_of(pixels):
    return range(len(pixels[0].p))


def total(pixels, term):
    return sum(i.w * term(i) for i in pixels)


def mean(pixels, term):
    weight = total(pixels, lambda _: 1)
    return total(pixels, term) / weight if weight else 0.0


def volume(pixels, c):
    return total(pixels, lambda i: i.y[c])


def class_weight(pixels, class_weights=None, include_background=True, **_):
    v = [1.0 for _ in classes_of(pixels)] if class_weights is None else list(class_weights)
    return v if include_background else [0.0, *v[1:]]


def class_mean(pixels, terms, absent="keep", **shared):
    v = class_weight(pixels, **shared)
    kept = [c for c in classes_of(pixels) if absent == "keep" or volume(pixels, c) > 0]
    whole = sum(v[c] for c in kept)
    return sum(v[c] * terms[c] for c in kept) / whole if whole else 0.0


def errors_of(pixels, c):
    tp = total(pixels, lambda i: i.y[c] * i.p[c])
    return tp, total(pixels, lambda i: i.y[c] * i.q[c]), total(pixels, lambda i: (1 - i.y[c]) * i.p[c])


def tversky_distances(pixels, alpha, beta, smooth=1e-6, **_):
    distances = []
    for c in classes_of(pixels):
        tp, fn, fp = errors_of(pixels, c)
        whole = tp + alpha * fp + beta * fn + smooth
        distances.append(1 - (tp + smooth) / whole if whole else 0.0)
    return distances


def root(x, exponent):
    if 0 < exponent < 1 and x < 1e-7:
        return x * 1e-7 ** (exponent - 1)
    return max(x, 0.0) ** exponent


def balance(pixels, alpha):
    if alpha is None or isinstance(alpha, list):
        return alpha or [1.0 for _ in classes_of(pixels)]
    return [alpha if c else 1 - alpha for c in classes_of(pixels)]


def entropy(pixels, factor, **shared):
    """Mean of sum_c v_c y_c ce_c, with a factor of pixel and class."""
    v = class_weight(pixels, **shared)
    return mean(pixels, lambda i: sum(v[c] * i.y[c] * factor(i, c) * i.ce[c] for c in classes_of(pixels)))


def cross_entropy(pixels, **shared):
    return entropy(pixels, lambda *_: 1, **shared)


def modulation(i, c, gamma):
    return math.exp(gamma * i.log_q[c]) if gamma else 1.0


def focal(pixels, *, gamma=2.0, alpha=None, **shared):
    a = balance(pixels, alpha)
    return entropy(pixels, lambda i, c: a[c] * modulation(i, c, gamma), **shared)


def dice(pixels, **shared):
    return class_mean(pixels, tversky_distances(pixels, 0.5, 0.5, **shared), **shared)


def jaccard(pixels, **shared):
    return class_mean(pixels, tversky_distances(pixels, 1, 1, **shared), **shared)


def tversky(pixels, *, delta=0.7, alpha=None, beta=None, **shared):
    return focal_tversky(pixels, delta=delta, alpha=alpha, beta=beta, gamma=1, **shared)


def focal_tversky(pixels, *, delta=0.7, alpha=None, beta=None, gamma=0.75, **shared):
    prices = 1 - delta if alpha is None else alpha, delta if beta is None else beta
    return class_mean(pixels, [root(d, gamma) for d in tversky_distances(pixels, *prices, **shared)], **shared)


def combo(pixels, *, alpha=0.5, beta=0.5, **shared):
    b = balance(pixels, beta)
    return alpha * entropy(pixels, lambda _, c: b[c], **shared) + (1 - alpha) * dice(pixels, **shared)


def hybrid_focal(pixels, *, weight=0.5, alpha=None, gamma=2.0, delta=0.7, tversky_gamma=0.75, **shared):
    region = focal_tversky(pixels, delta=delta, gamma=tversky_gamma, **shared)
    return weight * focal(pixels, gamma=gamma, alpha=alpha, **shared) + (1 - weight) * region


def unified_focal(pixels, *, weight=0.5, delta=0.6, gamma=0.5, asymmetric=True, **shared):
    a = balance(pixels, delta)

    def factor(i, c):
        return a[c] if asymmetric and c else a[c] * modulation(i, c, gamma)

    distances = tversky_distances(pixels, 1 - delta, delta, **shared)
    powers = [d if asymmetric and not c else root(d, 1 - gamma) for c, d in enumerate(distances)]
    return weight * entropy(pixels, factor, **shared) + (1 - weight) * class_mean(pixels, powers, **shared)


def adaptive_log(pixels, *, base="dice", gamma=0.1, omega=10.0, epsilon=0.5):
    x = abs(based(pixels, base))
    if x < gamma:
        return omega * math.log(1 + x / epsilon)
    return x - (gamma - omega * math.log(1 + gamma / epsilon))


def based(pixels, base):
    given = {"name": base} if isinstance(base, str) else base
    return REFERENCE[given["name"]](pixels, **{key: value for key, value in given.items() if key != "name"})


def generalised_dice(pixels, *, volume_power=2.0, smooth=1e-6, absent="keep", **shared):
    v, volumes = class_weight(pixels, **shared), [volume(pixels, c) for c in classes_of(pixels)]
    present = [volumes[c] for c in classes_of(pixels) if volumes[c] > 0 and v[c] > 0]
    if not present:
        return 0.0
    above, below = 0.0, smooth
    for c in classes_of(pixels):
        if volumes[c] == 0 and absent == "skip":
            continue
        w = v[c] * (min(present) / volumes[c]) ** volume_power if volumes[c] > 0 else v[c]
        tp, fn, fp = errors_of(pixels, c)
        above += w * (fn + fp)
        below += w * (2 * tp + fn + fp)
    return above / below if below else 0.0


def asymmetric_similarity(pixels, *, beta=1.5, **shared):
    return tversky(pixels, delta=beta**2 / (1 + beta**2), **shared)


def dice_focal(pixels, *, weight=1.0, gamma=2.0, alpha=None, **shared):
    return dice(pixels, **shared) + weight * focal(pixels, gamma=gamma, alpha=alpha, **shared)


def topk(pixels, *, k=10.0, **shared):
    v = class_weight(pixels, **shared)
    costs = sorted(i.w * sum(v[c] * i.y[c] * i.ce[c] for c in classes_of(pixels)) for i in pixels)[::-1]
    kept = max(1, math.floor(sum(i.w > 0 for i in pixels) * k / 100))
    return sum(costs[:kept]) / kept


def dice_topk(pixels, *, k=10.0, weight=1.0, **shared):
    return dice(pixels, **shared) + weight * topk(pixels, k=k, **shared)


def generalised_cross_entropy(pixels, *, q=0.7, **shared):
    if q == 0:
        return cross_entropy(pixels, **shared)
    v = class_weight(pixels, **shared)
    return mean(pixels, lambda i: sum(v[c] * i.y[c] * (1 - math.exp(-i.ce[c]) ** q) / q for c in classes_of(pixels)))


def log_cosh_dice(pixels, **shared):
    return math.log(math.cosh(dice(pixels, **shared)))


def exponential_log(pixels, *, weight=0.8, gamma=0.3, gamma_ce=None, smooth=0.5, class_weights=None, **shared):
    exponent = gamma if gamma_ce is None else gamma_ce
    shared["class_weights"] = class_weights
    distances = tversky_distances(pixels, 0.5, 0.5, smooth=smooth)
    region = class_mean(pixels, [root(-math.log(1 - min(d, 1 - 1e-7)), gamma) for d in distances], **shared)
    rarity = class_weight(pixels, **shared)
    if class_weights is None:
        volumes = [volume(pixels, c) for c in classes_of(pixels)]
        everything = total(pixels, lambda _: 1)
        rarity = [
            v and (math.sqrt(everything / size) if size else 0.0) for v, size in zip(rarity, volumes, strict=True)
        ]
    pixel_part = mean(pixels, lambda i: sum(rarity[c] * i.y[c] * root(i.ce[c], exponent) for c in classes_of(pixels)))
    return weight * region + (1 - weight) * pixel_part


def boundary(pixels, *, base=None, weight=0.01, include_background=False, class_weights=None):
    v = class_weight(pixels, class_weights, include_background)
    costs = [v[c] * mean(pixels, lambda i, c=c: i.phi[c] * i.p[c]) for c in classes_of(pixels)]
    value = sum(costs) / sum(v) if any(v) else 0.0
    return value if base is None else based(pixels, base) + weight * value


def wasserstein_dice(pixels, *, distances=None, weighting="foreground", smooth=1e-6):
    every = classes_of(pixels)
    m = [[float(k != c) for c in every] for k in every] if distances is None else distances
    m = [[one / max(map(max, m)) for one in row] for row in m]

    def error(i):
        return sum(i.y[k] * m[k][c] * i.p[c] for k in every for c in every)

    if weighting == "volume":
        volumes = [volume(pixels, c) for c in every]

        def rarity(i):
            return sum(i.y[c] / (volumes[c] + 1) for c in every)

        above = total(pixels, lambda i: rarity(i) * error(i))
        below = total(pixels, lambda i: rarity(i) * (2 - error(i))) + smooth
    else:
        above = total(pixels, error)
        right = total(pixels, lambda i: sum(i.y[1:]) * (sum(i.y[c] * m[c][0] for c in every) - error(i)))
        below = above + 2 * right + smooth
    return above / below if below else 0.0


REFERENCE = {
    define.__name__: define
    for define in (
        *(
            cross_entropy,
            focal,
            dice,
            jaccard,
            tversky,
            focal_tversky,
            combo,
            hybrid_focal,
            unified_focal,
            adaptive_log,
        ),
        *(
            generalised_dice,
            asymmetric_similarity,
            dice_focal,
            topk,
            dice_topk,
            generalised_cross_entropy,
            log_cosh_dice,
        ),
        *(exponential_log, boundary, wasserstein_dice),
    )
}
SHARED = {"class_weights": None, "include_background": True, "smooth": 1e-6, "absent": "keep"}


def refer(name, y_true, y_pred, pixel_weight, /, *, from_logits, ignore_class=None, pool="sample", **arguments):
    """Return one value per sample, (B,); labels as the loss takes them."""
    maps = None
    if name == "boundary":
        label, maps = np.split(y_true, [y_true.shape[-1] - max(y_pred.shape[-1], 2)], axis=-1)
        y_true = label[..., 0] if label.shape[-1] else np.full(y_pred.shape[:-1], np.nan)
    elif y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
        y_true = y_true[..., 0]
    whole = slice(None)
    samples = [whole] * len(y_pred) if pool == "batch" else [slice(i, i + 1) for i in range(len(y_pred))]

    def value(sample):
        parts = [None if part is None else part[sample] for part in (y_true, y_pred, pixel_weight, maps)]
        return REFERENCE[name](read_pixels(*parts[:3], from_logits, ignore_class, parts[3]), **arguments)

    return np.array([value(sample) for sample in samples])


@pytest.mark.parametrize("name", losses.names())
def test_arguments_and_defaults_are_those_of_the_definition(name):
    own = {key: given.default for key, given in inspect.signature(REFERENCE[name]).parameters.items()}
    defaults = {**SHARED, "ignore_class": None, "pool": "sample", **own}
    known = {argument: found["default"] for argument, found in losses.signatures()[name].items()}
    assert known == {argument: defaults[argument] for argument in known}
    assert set(own) - {"pixels", "shared"} <= set(known)


@pytest.mark.parametrize("name", losses.names())
def test_the_definitions_give_the_golden_values(name):
    for case in [case for case in GOLDEN["cases"] if case["loss"] == name]:
        given = GOLDEN["inputs"][case["input"]]
        y_true, y_pred = np.asarray(given["y_true"]), np.asarray(given["y_pred"], float)
        if name == "boundary":
            label = y_true.argmax(-1) if y_true.ndim == y_pred.ndim else y_true
            y_true = losses.signed_distance(label, max(y_pred.shape[-1], 2))
            if case["arguments"].get("base"):
                y_true = np.concatenate([label[..., None], y_true], axis=-1)
        weight = np.asarray(given["pixel_weight"]) if "pixel_weight" in given else None
        found = refer(name, y_true, y_pred, weight, **case["arguments"])
        np.testing.assert_allclose(found, case["value"], rtol=1e-7, atol=1e-9, err_msg=str(case))


SHAPES = [(2, 7), (2, 3, 4), (2, 2, 3, 2)]  # few, so that code compiled for one case serves others
BASES = ["dice", "focal", {"name": "tversky", "delta": 0.25, "smooth": 0.5}, {"name": "topk", "k": 50}]


def draw_number(rng, interval):
    """Return a number in ``interval``, often one of its ends."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    ends = [end for end, closed in ((low, interval[0] == "["), (high, interval[-1] == "]")) if closed]
    if ends and rng.random() < 0.3:
        return rng.choice(ends)
    return low + (min(high, low + 3) - low if high < 100 or math.isinf(high) else 99) * rng.uniform(0.02, 0.98)


def draw_distances(rng, classes):
    """Return symmetric distances, none larger than that to the background, without which the loss has a pole."""
    upper = np.triu(rng.uniform(0.1, 0.9, (classes, classes)), 1)
    upper[0, 1:] = upper[0, 1:] if classes == 2 else 1
    return (2 * (upper + upper.T)).tolist()


def draw_argument(rng, argument, known, classes, soft):
    if argument == "ignore_class":
        return None if soft else [None, 255, 0, 1][rng.integers(4)]
    if argument == "base":
        return BASES[rng.integers(len(BASES))]
    if argument == "distances":
        return draw_distances(rng, classes)
    if argument == "class_weights" or (known["default"] is None and known["range"] == "[0, 1]" and rng.random() < 0.5):
        return [draw_number(rng, known["range"]) for _ in range(classes)]
    if known["choices"]:
        return known["choices"][rng.integers(len(known["choices"]))]
    return bool(rng.integers(2)) if known["range"] is None else draw_number(rng, known["range"])


def draw_arguments(rng, name, classes, soft):
    """Return values for about half of the arguments of a loss."""
    found = {
        argument: draw_argument(rng, argument, known, classes, soft)
        for argument, known in losses.signatures()[name].items()
        if rng.random() < 0.5
    }
    if name == "boundary" and found.get("base") is None:
        found.pop("ignore_class", None)
    return found


def draw_labels(rng, shape, channels, soft):
    classes = max(channels, 2)
    if soft and channels == 1:
        return np.where(rng.random(shape) < 0.1, 2, rng.random(shape)).astype("float32")
    if soft:
        return rng.dirichlet(np.full(channels, 0.5), shape).astype("float32") * (rng.random((*shape, 1)) < 0.9)
    label = rng.integers(0, rng.integers(1, classes + 1), shape)
    label = np.where(rng.random(shape) < 0.2, 255, label).astype(["uint8", "int32", "float32"][rng.integers(3)])
    return label[..., None] if rng.random() < 0.3 else label


def draw_predictions(rng, shape, channels, from_logits):
    logits = rng.normal(0, 1.5, (*shape, channels))
    if from_logits:
        return logits.astype("float32")
    if channels == 1:
        return np.clip(rng.uniform(-0.2, 1.2, logits.shape), 0, 1).astype("float32")
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return (probabilities * rng.choice([1, 0.8])).astype("float32")  # not every network's sum to one


def draw_case(rng, name, channels):
    """Return labels, predictions, weights of pixels and arguments; reals as double precision that single can hold."""
    shape, classes = SHAPES[rng.integers(len(SHAPES))], max(channels, 2)
    from_logits, soft = bool(rng.random() < 0.6), rng.random() < 0.4 and name != "boundary"
    arguments = {"from_logits": from_logits, **draw_arguments(rng, name, classes, soft)}
    y_true, y_pred = draw_labels(rng, shape, channels, soft), draw_predictions(rng, shape, channels, from_logits)
    if name == "boundary":
        maps = rng.normal(0, 1, (*shape, classes)).astype("float32")
        label = y_true.reshape((*shape, 1)).astype("float32")
        y_true = np.concatenate([label, maps], axis=-1) if arguments.get("base") else maps
    weight = (rng.uniform(0, 2, shape) * (rng.random(shape) < 0.8)).astype("float32")
    return y_true, y_pred, weight if rng.random() < 0.5 else None, arguments


TOLERANCES = {"float32": (1e-5, 1e-6), "float64": (1e-7, 1e-9)}  # the weight of `boundary` is in single precision


@pytest.mark.parametrize("name", losses.names())
@pytest.mark.parametrize("seed", range(20))
def test_values_are_those_of_the_definition(name, seed, has_double):
    channels = 1 + seed % 4
    y_true, y_pred, weight, arguments = draw_case(
        np.random.default_rng([zlib.crc32(name.encode()), seed]), name, channels
    )
    loss = losses.get(name, reduction=None, **arguments)
    for dtype in ("float32", "float64")[: 1 + has_double]:
        inputs = y_true, y_pred.astype(dtype), weight
        found = keras.ops.convert_to_numpy(loss(*inputs))
        assert found.dtype == dtype
        message = f"{dtype}, {channels} channels, shape {y_pred.shape}, labels {y_true.dtype}, {arguments}"
        expected = np.broadcast_to(refer(name, *inputs, **arguments), len(y_pred))
        rtol, atol = TOLERANCES[dtype]
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, err_msg=message)
