"""Surface distances against hand calculations, brute force and the symmetry of their definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rareseg.evaluation import surface_distances


def square(row, column, side=3, size=12):
    mask = np.zeros((size, size), bool)
    mask[row : row + side, column : column + side] = True
    return mask


DISTANCES = [  # truth, prediction, spacing, hd95, assd
    pytest.param(square(2, 2), square(2, 2), None, 0, 0, id="equal"),
    pytest.param(square(2, 2, 1), square(2, 6, 1), None, 4, 4, id="two points"),
    pytest.param(square(2, 2, 1), square(5, 6, 1), (2, 0.5), np.hypot(6, 2), np.hypot(6, 2), id="spacing"),
    pytest.param(square(0, 0, 12), square(0, 0, 12), None, 0, 0, id="whole image"),
    pytest.param(square(2, 2, 1)[..., None], square(2, 6, 1)[..., None], (1, 2, 3), 8, 8, id="3D"),
]


@pytest.mark.parametrize(("truth", "prediction", "spacing", "hd95", "assd"), DISTANCES)
def test_distances_equal_the_hand_calculation(truth, prediction, spacing, hd95, assd):
    assert surface_distances(truth, prediction, spacing) == pytest.approx({"hd95": hd95, "assd": assd})


def test_a_shifted_square_by_hand():
    # 8 points each, shifted by one column: 3 of either side are at distance 1, of the others 4 coincide and 1 is at 1.
    found = surface_distances(square(2, 2), square(2, 3))
    assert found["hd95"] == 1
    assert found["assd"] == pytest.approx(8 / 16)


@pytest.mark.parametrize("empty", ["truth", "prediction", "both"])
def test_there_is_no_distance_to_nothing(empty):
    masks = {"truth": square(2, 2), "prediction": square(2, 3)}
    for name in masks:
        if empty in (name, "both"):
            masks[name] = np.zeros((12, 12), bool)
    assert np.isnan(list(surface_distances(**masks).values())).all()


MASK = arrays(bool, (5, 6))


@given(MASK, MASK, st.sampled_from([(1.0, 1.0), (0.7, 2.0)]))
def test_distances_equal_brute_force(truth, prediction, spacing):
    found = surface_distances(truth, prediction, spacing)
    assert found == pytest.approx(surface_distances(prediction, truth, spacing), nan_ok=True)
    if not (truth.any() and prediction.any()):
        return

    def surface(mask):
        padded = np.pad(mask, 1)
        inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        return np.argwhere(mask & ~inner) * spacing

    apart = np.linalg.norm(surface(truth)[:, None] - surface(prediction)[None], axis=-1)
    there, back = apart.min(axis=1), apart.min(axis=0)
    assert found["hd95"] == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    assert found["assd"] == pytest.approx(np.concatenate([there, back]).mean())


REFUSED = [
    pytest.param((square(2, 2)[:5], square(2, 2)), "bring both to one grid first", id="shape"),
    pytest.param((square(2, 2), square(2, 2), (1, 1, 1)), "spacing must be 2 numbers above 0", id="axes"),
    pytest.param((square(2, 2), square(2, 2), (1, 0)), r"spacing must be 2 .* got \[1.0, 0.0\]", id="zero"),
]


@pytest.mark.parametrize(("given_", "sentence"), REFUSED)
def test_what_does_not_fit_is_refused(given_, sentence):
    with pytest.raises(ValueError, match=sentence):
        surface_distances(*given_)
