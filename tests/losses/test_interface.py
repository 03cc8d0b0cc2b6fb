"""Names, arguments, refusals, saved models, graphs: the losses as users of Keras meet them."""

import json

import keras
import numpy as np
import pytest

from rareseg import losses

ALL = losses.names()
pytestmark = pytest.mark.usefixtures("graphs_as_they_are")  # other tests compare what graphs compute
ON_TENSORFLOW = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="these graphs are TensorFlow's")


@pytest.fixture(params=ALL)
def name(request):
    return request.param


def test_signatures_are_plain_data():
    signatures = losses.signatures()
    assert tuple(signatures) == ALL
    assert json.loads(json.dumps(signatures)) == signatures
    assert signatures["unified_focal"]["gamma"] == {"default": 0.5, "range": "[0, 1)", "choices": None}
    assert signatures["dice"]["absent"] == {"default": "keep", "range": None, "choices": ["keep", "skip"]}
    assert list(signatures["cross_entropy"]) == ["class_weights", "include_background", "ignore_class", "pool"]
    assert list(signatures["adaptive_log"]) == ["base", "gamma", "omega", "epsilon", "ignore_class", "pool"]


def test_a_loss_by_name_mapping_and_object():
    by_name = losses.get("focal", gamma=3)
    by_mapping = losses.get({"name": "focal", "gamma": 2}, gamma=3)
    assert {**by_name.get_config(), "name": ""} == {**by_mapping.get_config(), "name": ""}
    assert losses.get(by_name) is by_name
    assert losses.get("focal", name="mine").name == "mine"


REFUSED = [
    (("dise",), {}, ValueError, r"unknown loss 'dise'; did you mean 'dice'\? Known: cross_entropy, focal"),
    (({"gamma": 1},), {}, ValueError, r"a loss needs a name, got \{'gamma': 1\}"),
    (({"name": ["dice"]},), {}, ValueError, r"unknown loss \['dice'\]; did you mean 'dice'\?"),
    ((None,), {}, TypeError, r"a loss is a name, a mapping or a keras.losses.Loss, got None"),
    ((losses.get("dice", name="built"),), {"smooth": 1}, TypeError, r"built is built already; give smooth with a name"),
    (("dice",), {"gama": 1}, TypeError, r"dice takes no argument 'gama'; it takes smooth, absent, class_weights"),
    (("tversky",), {"delta": 1.2}, ValueError, r"^delta must lie in \[0, 1\], got 1\.2$"),
    (("tversky",), {"delta": "0.7"}, ValueError, r"delta must be a number, got '0\.7'"),
    (("tversky",), {"delta": float("nan")}, ValueError, r"delta must lie in \[0, 1\], got nan"),
    (("tversky",), {"alpha": -1}, ValueError, r"alpha must lie in \[0, inf\), got -1"),
    (("focal",), {"gamma": float("inf")}, ValueError, r"gamma must lie in \[0, inf\), got inf"),
    (("focal",), {"alpha": [0.1, 2]}, ValueError, r"each entry of alpha must lie in \[0, 1\], got 2"),
    (("unified_focal",), {"gamma": 1}, ValueError, r"gamma must lie in \[0, 1\), got 1"),
    (("unified_focal",), {"asymmetric": "yes"}, ValueError, r"asymmetric must be True or False, got 'yes'"),
    (("combo",), {"beta": 2}, ValueError, r"beta must lie in \[0, 1\], got 2"),
    (("adaptive_log",), {"epsilon": 0}, ValueError, r"epsilon must lie in \(0, inf\), got 0"),
    (
        ("adaptive_log",),
        {"base": {"name": "dice", "pool": "batch"}},
        ValueError,
        r"set pool on the loss itself, not in its base \{",
    ),
    (("adaptive_log",), {"base": 3}, TypeError, r"base must be a name, a mapping or a loss of rareseg, got 3"),
    (("adaptive_log",), {"base": "dise"}, ValueError, r"unknown loss 'dise'"),
    (("adaptive_log",), {"base": None}, ValueError, r"base must be given, got None"),
    (("dice",), {"smooth": -1}, ValueError, r"smooth must lie in \[0, inf\), got -1"),
    (("dice",), {"class_weights": 2}, ValueError, r"class_weights must be a list of numbers, one per class, got 2"),
    (("dice",), {"pool": "volume"}, ValueError, r"pool must be one of 'sample', 'batch', got 'volume'"),
    (("dice",), {"absent": None}, ValueError, r"absent must be one of 'keep', 'skip', got None"),
    (("dice",), {"ignore_class": 1.5}, ValueError, r"ignore_class must be a whole number, got 1\.5"),
    (("dice",), {"ignore_class": True}, ValueError, r"ignore_class must be a whole number, got True"),
]


@pytest.mark.parametrize(("given", "arguments", "error", "sentence"), REFUSED)
def test_refusals(given, arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        losses.get(*given, **arguments)


MISSHAPEN = [  # y_true, y_pred, sample_weight, sentence
    ((2, 4, 5), (2, 4, 4, 3), None, r"y_true \(2, 4, 5\) does not fit y_pred \(2, 4, 4, 3\)"),
    ((2, 4, 4, 2), (2, 4, 4, 3), None, r"y_true \(2, 4, 4, 2\) does not fit y_pred \(2, 4, 4, 3\)"),
    ((2, 4), (2, 4, 4, 3), None, r"y_true \(2, 4\) does not fit y_pred \(2, 4, 4, 3\)"),
    ((2, 4, 4), (2, 4, 4, 3), (2, 4, 5), r"sample_weight \(2, 4, 5\) does not fit y_pred \(2, 4, 4, 3\)"),
    ((2, 4), (2, 4), None, r"y_pred must have the shape \(batch, \*space, channels\)"),
]


@pytest.mark.parametrize(("true", "pred", "weight", "sentence"), MISSHAPEN)
def test_shapes_that_do_not_fit(true, pred, weight, sentence):
    weight = None if weight is None else np.ones(weight)
    with pytest.raises(ValueError, match=sentence):
        losses.get("dice")(np.zeros(true), np.zeros(pred), weight)


def test_none_stands_only_where_it_is_the_default(name):
    for argument, known in losses.signatures()[name].items():
        if known["default"] is None:
            losses.get(name, **{argument: None})
        else:
            with pytest.raises(ValueError, match=f"^{argument} must be"):
                losses.get(name, **{argument: None})


SHARED = ("class_weights", "include_background", "smooth", "absent", "ignore_class", "pool")
SETTINGS = {  # for each loss, every argument of its own off the default
    "cross_entropy": {"class_weights": np.array([1, 2])},
    "focal": {"gamma": 3, "alpha": np.array([0.2, 0.8])},
    "dice": {"smooth": 1, "absent": "skip"},
    "jaccard": {"include_background": False},
    "tversky": {"delta": np.float32(0.25), "alpha": 1, "beta": np.int64(2)},
    "focal_tversky": {"delta": 0.25, "alpha": 1, "beta": 2, "gamma": 0.5},
    "combo": {"alpha": 0.25, "beta": 0.75},
    "hybrid_focal": {"weight": 0.25, "alpha": 0.25, "gamma": 1, "delta": 0.6, "tversky_gamma": 1},
    "unified_focal": {"weight": 0, "delta": 0.7, "gamma": 0, "asymmetric": False, "class_weights": (1, 2)},
    "adaptive_log": {"base": {"name": "tversky", "delta": 0.25}, "gamma": 0.2, "omega": 5, "epsilon": 1},
    "generalised_dice": {"volume_power": 1},
    "asymmetric_similarity": {"beta": 1},
    "dice_focal": {"weight": 0.5, "gamma": 1, "alpha": [0.25, 0.75]},
    "topk": {"k": 50},
    "dice_topk": {"k": 50, "weight": 0.5},
    "generalised_cross_entropy": {"q": 0.5},
    "log_cosh_dice": {"smooth": 1},
    "exponential_log": {"weight": 0.5, "gamma": 1, "gamma_ce": 0.5, "smooth": 1},
    "boundary": {"base": "generalised_dice", "weight": 0.5, "include_background": True},
    "wasserstein_dice": {"distances": np.array([[0, 2], [2, 0]]), "weighting": "volume", "smooth": 1},
}


def test_settings_are_off_the_default(name):
    own = losses.signatures()[name]
    assert {argument for argument in own if argument not in SHARED} <= set(SETTINGS[name])
    assert not [
        argument for argument, value in SETTINGS[name].items() if np.array_equal(value, own[argument]["default"])
    ]


def test_configurations_come_back_equal(name, draw, truth):
    label, logits = draw(2)
    loss = losses.get(name, from_logits=True, ignore_class=7, pool="batch", **SETTINGS[name])
    label = truth(loss, label, logits)
    config = loss.get_config()
    assert json.loads(json.dumps(config)) == config
    back = keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(loss))))
    assert type(back) is type(loss)
    assert back.get_config() == config
    np.testing.assert_array_equal(back(label, logits), loss(label, logits))


def test_a_mapping_as_base_becomes_plain():
    inner = {"name": "focal", "alpha": np.array([0.25, 0.75])}
    loss = losses.get("adaptive_log", base={"name": "boundary", "base": inner, "weight": np.float64(0.5)})
    plain = {"name": "boundary", "base": {"name": "focal", "alpha": [0.25, 0.75]}, "weight": 0.5}
    assert json.loads(json.dumps(loss.get_config()))["base"] == plain


def test_a_loss_object_as_base_comes_back():
    loss = losses.get("adaptive_log", base=losses.get("focal", gamma=3, from_logits=True))
    back = type(loss).from_config(json.loads(json.dumps(loss.get_config())))
    assert back.get_config() == loss.get_config()
    assert back.base.gamma == 3


def test_a_compiled_model_is_reloaded(name, draw, truth, tmp_path):
    label, logits = draw(2)
    image = np.random.default_rng(5).random((*label.shape, 1))
    model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(2, 1)])
    loss = losses.get(name, from_logits=True, **SETTINGS[name])
    label = truth(loss, label, logits)
    model.compile("sgd", loss=loss, jit_compile=False)
    model.save(tmp_path / "model.keras")
    back = keras.saving.load_model(tmp_path / "model.keras")
    assert type(back.loss) is type(model.loss)
    assert back.evaluate(image, label, verbose=0) == model.evaluate(image, label, verbose=0)


def test_training_takes_weights_of_pixels(draw):
    label, _ = draw(2)
    image = np.random.default_rng(5).random((*label.shape, 1)).astype("float32")
    weight = np.random.default_rng(6).random(label.shape).astype("float32")
    loss = losses.get("unified_focal", from_logits=True)
    model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(2, 1)])
    model.compile("sgd", loss=loss, jit_compile=False)
    expected = float(keras.ops.convert_to_numpy(loss(label, model(image), weight)))
    history = model.fit(image, label, sample_weight=weight, batch_size=2, verbose=0)
    assert history.history["loss"][0] == pytest.approx(expected, rel=1e-5)


@ON_TENSORFLOW
@pytest.mark.parametrize("pool", ["sample", "batch"])
def test_unknown_sizes_in_a_graph(name, pool, draw, truth):
    import tensorflow as tf

    loss = losses.get(name, from_logits=True, pool=pool, reduction=None)
    for channels in (1, 2, 3):
        label, logits = draw(channels)
        label = truth(loss, label, logits)
        like_label = [None, None, None, *label.shape[3:]]
        shapes = [tf.TensorSpec(like_label, label.dtype), tf.TensorSpec([None, None, None, channels], logits.dtype)]
        in_graph = tf.function(loss.call, input_signature=shapes, autograph=False)
        np.testing.assert_allclose(in_graph(label, logits), loss(label, logits), rtol=1e-6)


@ON_TENSORFLOW
def test_one_graph_switches_between_losses(draw):
    import tensorflow as tf

    label, logits = draw(2)
    several = [losses.get(name, from_logits=True) for name in ALL[:6]]

    @tf.function(autograph=False)
    def switched(index, label, logits):
        value = keras.ops.switch(index, several, label, logits)
        return value, tf.gradients(value, logits)[0]

    for index, loss in enumerate(several):
        value, gradient = switched(tf.constant(index), label, tf.constant(logits))
        np.testing.assert_allclose(value, loss(label, logits), rtol=1e-6)
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0
