import itertools

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


@pytest.mark.parametrize(("fill", "expected"), [("minimum", [7, -2]), ("zero", [0, 0])])
@pytest.mark.parametrize("patch", [None, [8, 4]])
def test_images_smaller_than_a_window_grow_by_the_fill_value(make_case, fill, expected, patch):
    """MIScnn pads with 0 in training and with the minimum in prediction (F11)."""
    seen = []
    image = np.stack([np.arange(7, 32).reshape(5, 5), np.arange(-2, 23).reshape(5, 5)], axis=-1)
    config = {**PLAIN, "fill": fill, "size_factor": 4, "patch": patch, "batch_size": 1}
    predict(lambda images: seen.append(images) or images, make_case(shape=(5, 5), image=image), config)
    assert {one.shape for one in seen} == ({(1, 8, 8, 2)} if patch is None else {(1, 8, 4, 2)})
    for one in seen:
        np.testing.assert_array_equal(one[0, 5:], np.broadcast_to(np.array(expected, np.float32), one[0, 5:].shape))
    np.testing.assert_array_equal(seen[0][0, :5, :4], image[:, :4])


@pytest.mark.parametrize("shape", [(5, 8), (2, 7), (1, 3)])
@pytest.mark.parametrize("patch", [None, [8, 8]])
def test_images_smaller_than_a_window_are_mirrored_as_in_training(make_case, shape, patch):
    """Also those that are shorter than what is added to them."""
    seen = []
    case, config = make_case(shape=shape), {**PLAIN, "outside": "reflect", "size_factor": 8, "patch": patch}
    label = predict(lambda images: seen.append(images) or images, case, config)
    assert label.shape == shape
    added = [(0, 8 - length) for length in shape]
    np.testing.assert_array_equal(seen, [[np.pad(case.image, [*added, (0, 0)], "reflect")]])


def test_a_case_may_come_back_larger(make_case):
    """MIScnn keeps the padding of an id for ever, and cuts the next image of that id by it (F6)."""
    config = {**PLAIN, "patch": [8, 8], "batch_size": 4}
    for shape in ((5, 8), (16, 20), (5, 8)):
        case = probability_case(make_case, shape)
        np.testing.assert_array_equal(predict(Recorder(), case, config), case.label)


def test_a_mapped_case_is_read_by_slices(make_case, monkeypatch):
    """Neither padding nor stacking may ask for the whole image."""
    case = probability_case(make_case, (12, 10))
    prepared = prepare(case, {"scaling": "none"})
    asked = []

    class Mapped(np.ndarray):
        def __getitem__(self, index):
            found = super().__getitem__(index)
            if isinstance(index, tuple):
                asked.append(found.size)
            return found.view(np.ndarray)

    monkeypatch.setattr(type(prepared), "image", property(lambda _: np.asarray(case.image).view(Mapped)))
    label = predict(Recorder(), prepared, {**PLAIN, "patch": [4, 16], "batch_size": 2})
    np.testing.assert_array_equal(label, case.label)
    assert set(asked) == {4 * 10 * 3}


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
    label = predict(Recorder(), case, config)
    np.testing.assert_array_equal(label, np.kron(prepared.image.argmax(axis=-1), np.ones((2, 2))))
    with pytest.raises(ValueError, match="grid must be one of"):
        predict(Recorder(), case, config, grid="orignal")


@pytest.mark.parametrize("grid", ["original", "network"])
@pytest.mark.parametrize("size", [[5, 7], [12, 10], [31, 23]])
def test_labels_are_the_same_with_and_without_probabilities(make_case, grid, size):
    """The argmax of resampled probabilities is another label."""
    case, config = probability_case(make_case, (12, 10)), {**PLAIN, "size": size}
    label, probabilities = predict(Recorder(), case, config, grid, "both")
    np.testing.assert_array_equal(label, predict(Recorder(), case, config, grid))
    np.testing.assert_array_equal(probabilities, predict(Recorder(), case, config, grid, "probabilities"))
    assert label.dtype == np.uint8
    assert label.shape == probabilities.shape[:-1] == ((12, 10) if grid == "original" else tuple(size))


@pytest.mark.parametrize("output", ["label", "probabilities"])
def test_predictions_on_the_original_grid_lie_where_the_image_does(make_case, output):
    """A rectangle comes back in its place after being halved; probabilities round its corners."""
    truth = np.zeros((32, 32), np.uint8)
    truth[4:16, 20:28] = 1
    case = make_case(image=np.stack([1 - truth, truth], axis=-1).astype(np.float32), label=truth)
    found = predict(Recorder(), case, {**PLAIN, "size": [16, 16]}, output=output)
    label = found if output == "label" else found.argmax(axis=-1)
    np.testing.assert_allclose(np.mean(np.nonzero(label), axis=1), np.mean(np.nonzero(truth), axis=1), atol=1e-9)
    assert (label != truth).sum() <= (0 if output == "label" else 4)


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
    np.testing.assert_allclose(softmax(np.array([logits])), [expected], atol=1e-6)


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


def mirrored(axes, **more):
    return {**PLAIN, "augment": {"mirror_axes": axes, **more}, "mirror_tta": True}


@pytest.mark.parametrize(("shape", "axes"), [((6, 7), [0]), ((6, 7), [0, 1]), ((4, 5, 6), None)])
def test_mirroring_averages_over_all_flips_of_the_axes_that_training_mirrored(make_case, shape, axes):
    """The network adds a ramp to what it sees: averaged over flips, the ramp is symmetric about the middle."""
    ramp = np.random.default_rng(0).random((*shape, 2)).astype(np.float32)
    case = make_case(shape=shape, channels=2)
    found = predict(lambda images: images / 255 + ramp, case, mirrored(axes), output="probabilities")
    chosen = range(len(shape)) if axes is None else axes
    expected = [
        softmax(case.image / 255 + np.flip(ramp, flipped))
        for count in range(len(chosen) + 1)
        for flipped in itertools.combinations(chosen, count)
    ]
    assert len(expected) == 2 ** len(chosen)
    np.testing.assert_allclose(found, np.mean(expected, axis=0), atol=1e-6)


def test_mirroring_leaves_the_identity_network_as_it_is(make_case):
    case = probability_case(make_case, (9, 14))
    config = {**mirrored([0, 1]), "patch": [4, 6], "batch_size": 3}
    np.testing.assert_allclose(predict(Recorder(), case, config, output="probabilities"), case.image, atol=1e-5)


@pytest.mark.parametrize("augment", [{"mirror_axes": []}, {"mirror_probability": 0}, {"mirror_axes": [2]}])
def test_mirroring_is_refused_where_training_did_not_mirror(make_case, augment):
    with pytest.raises(ValueError, match=r"mirror_tta.* trained with"):
        predict(Recorder(), make_case(), {**PLAIN, "augment": augment, "mirror_tta": True})
