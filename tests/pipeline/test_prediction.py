import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rareseg.pipeline import draw_patches, predict, predict_many, prepare
from rareseg.pipeline.prediction import softmax

PLAIN = {"scaling": "none", "cache": "none"}


class Recorder:
    """A network that answers with the logarithm of its input and keeps the shapes that it saw."""

    def __init__(self):
        self.shapes = []

    def __call__(self, images):
        self.shapes.append(images.shape)
        return np.log(np.maximum(images, 1e-30))


def probability_case(make_case, shape, name="a", classes=3):
    """A case whose image holds probabilities, which the network above gives back."""
    image = np.random.default_rng(sum(shape)).dirichlet([1] * classes, shape).astype(np.float32)
    return make_case(name, shape, image=image, label=image.argmax(axis=-1).astype(np.uint8))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_the_identity_network_returns_its_input(make_case, data):
    shape, patch = (data.draw(st.tuples(st.integers(1, 24), st.integers(1, 24))) for _ in range(2))
    overlap = [data.draw(st.integers(0, length - 1)) for length in patch]
    config = {
        **PLAIN,
        "patch": list(patch),
        "overlap": overlap,
        "blend": data.draw(st.sampled_from(["gaussian", "uniform"])),
        "batch_size": data.draw(st.integers(1, 9)),
    }
    case = probability_case(make_case, shape)
    network = Recorder()
    np.testing.assert_allclose(predict(network, case, config, output="probabilities"), case.image, atol=1e-5)
    assert len(set(network.shapes)) == 1


@pytest.mark.parametrize("factor", [1, 4, 8])
def test_whole_images_are_padded_to_the_factor_and_cut_back(make_case, factor):
    case = probability_case(make_case, (13, 16))
    network = Recorder()
    label = predict(network, case, {**PLAIN, "size_factor": factor})
    np.testing.assert_array_equal(label, case.label)
    assert label.dtype == np.uint8
    assert network.shapes == [(1, -(-13 // factor) * factor, 16, 3)]


def test_padding_is_as_dark_as_the_image(make_case):
    seen = []
    case = make_case(shape=(5, 5), image=np.full((5, 5, 1), 7))
    predict(lambda images: seen.append(images) or images, case, {**PLAIN, "size_factor": 8})
    assert seen[0].shape == (1, 8, 8, 1)
    assert (seen[0] == 7).all()


def test_a_keras_model_predicts_as_a_function_does(make_case):
    import keras

    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, keras.ops.log(inputs))
    case = probability_case(make_case, (9, 7))
    config = {**PLAIN, "patch": [4, 4], "batch_size": 4}
    probabilities = predict(model, case, config, output="probabilities")
    np.testing.assert_allclose(probabilities, case.image, atol=1e-5)


def test_grids_and_outputs(make_case):
    case = probability_case(make_case, (12, 10))
    config = {**PLAIN, "size": [6, 5]}
    prepared = prepare(case, config)
    np.testing.assert_allclose(predict(Recorder(), case, config, "network", "probabilities"), prepared.image, atol=1e-5)
    original = predict(Recorder(), case, config, output="probabilities")
    assert original.shape == (12, 10, 3)
    np.testing.assert_allclose(original.sum(axis=-1), 1, atol=1e-6)
    np.testing.assert_array_equal(predict(Recorder(), case, config), original.argmax(axis=-1))
    with pytest.raises(ValueError, match="grid must be one of"):
        predict(Recorder(), case, config, grid="orignal")


def test_predictions_on_the_original_grid_lie_where_the_image_does(make_case):
    """A rectangle comes back in its place after being halved; only its corners are rounded."""
    truth = np.zeros((32, 32), np.uint8)
    truth[4:16, 20:28] = 1
    case = make_case(image=np.stack([1 - truth, truth], axis=-1).astype(np.float32), label=truth)
    label = predict(Recorder(), case, {**PLAIN, "size": [16, 16]})
    np.testing.assert_allclose(np.mean(np.nonzero(label), axis=1), np.mean(np.nonzero(truth), axis=1), atol=1e-9)
    assert (label != truth).sum() <= 4


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([0.0], [0.5, 0.5]),
        ([np.log(3.0)], [0.25, 0.75]),
        ([1000.0, 1000.0], [0.5, 0.5]),
        ([-np.inf, 2.0], [0, 1]),
        ([0, np.log(2), 0], [0.25, 0.5, 0.25]),
    ],
)
def test_softmax_equals_the_hand_calculation(logits, expected):
    np.testing.assert_allclose(softmax(np.array(logits)), expected, atol=1e-6)


def test_of_equal_classes_the_lower_one_is_taken(make_case):
    label = predict(lambda images: np.zeros((*images.shape[:-1], 4)), make_case(), PLAIN)
    assert (label == 0).all()


def test_many_whole_images_share_batches_of_one_shape(make_case):
    cases = [probability_case(make_case, (6, 5), str(number)) for number in range(5)]
    network = Recorder()
    labels = list(predict_many(network, cases, {**PLAIN, "batch_size": 2}))
    np.testing.assert_array_equal(labels, [case.label for case in cases])
    assert network.shapes == [(2, 6, 5, 3)] * 3


def test_images_of_different_sizes_go_one_by_one(make_case):
    cases = [probability_case(make_case, shape) for shape in ((6, 5), (4, 9), (6, 5))]
    network = Recorder()
    labels = predict_many(network, cases, {**PLAIN, "batch_size": 2})
    for label, case in zip(labels, cases, strict=True):
        np.testing.assert_array_equal(label, case.label)
    assert network.shapes == [(1, 6, 5, 3), (1, 4, 9, 3), (1, 6, 5, 3)]


def test_patches_of_images_and_images_by_patches_share_batches(make_case):
    config = {**PLAIN, "analysis": "patches", "patch": [4, 4], "patches": {"count": 7}, "batch_size": 4}
    case = probability_case(make_case, (9, 9))
    patches = draw_patches([case], config, seed=0)
    network = Recorder()
    labels = list(predict_many(network, [*patches, case], config))
    np.testing.assert_array_equal(labels[:-1], [patch.read_label() for patch in patches])
    np.testing.assert_array_equal(labels[-1], case.label)
    assert set(network.shapes) == {(4, 4, 4, 3)}


def test_a_network_that_changes_the_size_is_refused(make_case):
    with pytest.raises(ValueError, match=r"turned \(1, 12, 10, 3\) into \(1, 6, 10, 2\)"):
        predict(lambda images: images[:, ::2, :, :2], make_case(), PLAIN)
