from importlib.resources import files
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest

from rareseg.experiments import examples, figures, ink, layout

LOSSES = ["dice", "adaptive_log"]
TRUTH = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=np.uint8)
PREDICTION = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=np.uint8)


TWO = ("background", "foreground")


def history(validation=False):
    rates = np.linspace(0.1, 0.8, 12)
    columns = {
        "epoch": np.arange(1, 13),
        "loss": 1 - rates,
        "jaccard": rates,
        "val_jaccard": rates if validation else np.nan,
    }
    return pd.DataFrame(columns)


def cells():
    places = [(loss, metric) for loss in LOSSES for metric in ("recall", "jaccard")]
    frame = pd.DataFrame(places, columns=["loss", "metric"]).assign(
        dataset="drive",
        network="unet",
        arguments="",
        unit="percent",
        data="phantom",
        published=0.7,
        low=0.6,
        high=0.8,
        verdict="not_real",
    )
    return frame.assign(ours=[0.71, 0.72, 0.73, np.nan], **{"class": "foreground"})


def draw_curves(path):
    return figures.learning_curves({loss: history() for loss in LOSSES}, "DRIVE, U-Net", path, data="phantom")


def draw_roc(path):
    rates = np.linspace(0, 1, 50)
    return figures.roc(dict.fromkeys(LOSSES, (rates, rates**0.2, 5 / 6)), "DRIVE, U-Net", path, data="phantom")


def draw_examples(path):
    row = {
        "id": "01_test",
        "image": np.full((4, 4, 3), 0.5),
        "classes": TWO,
        "truth": TRUTH,
        "predictions": dict.fromkeys(LOSSES, PREDICTION),
    }
    return examples.examples([row], "DRIVE, U-Net", path, data="phantom")


def draw_cells(path):
    return figures.cells(cells(), "Table 3", path)


DRAWINGS = [draw_curves, draw_roc, draw_examples, draw_cells]


@pytest.mark.parametrize("draw", DRAWINGS)
def test_two_calls_write_equal_bytes_and_the_word_phantom(draw, tmp_path):
    first = draw(tmp_path / "a" / "gamma=0.5")
    second = draw(tmp_path / "b" / "gamma=0.5")
    assert [file.name for file in first] == ["gamma=0.5.svg", "gamma=0.5.png"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert b"phantom" in one.read_bytes()
    assert sorted(first[0].parent.iterdir()) == sorted(first)  # nothing unfinished is left
    ElementTree.parse(first[0])
    assert first[1].read_bytes().startswith(b"\x89PNG")


def test_real_data_are_not_called_phantoms(tmp_path):
    svg, _ = figures.learning_curves({"dice": history()}, "DRIVE", tmp_path / "curves", data="real")
    assert "phantom" not in svg.read_text(encoding="utf-8")


def test_a_missing_run_keeps_its_place_in_the_legend(tmp_path):
    histories = {"dice": history(), "combo": None, "focal": history()[:0]}
    svg, _ = figures.learning_curves(histories, "DRIVE", tmp_path / "curves", data="real")
    text = svg.read_text(encoding="utf-8")
    assert "Combo (not run)" in text
    assert "Focal (not run)" in text
    assert "Dice (not run)" not in text


def test_nothing_finished_is_still_a_figure(tmp_path):
    curves, _ = figures.learning_curves({"dice": None}, "DRIVE", tmp_path / "curves", data="real")
    roc, _ = figures.roc({"dice": None}, "DRIVE", tmp_path / "roc", data="real")
    for svg in (curves, roc):
        assert "Dice (not run)" in svg.read_text(encoding="utf-8")


@pytest.mark.parametrize("validation", [True, False])
def test_validation_has_a_panel_where_there_is_a_validation_set(validation, tmp_path):
    svg, _ = figures.learning_curves({"dice": history(validation)}, "DRIVE", tmp_path / "curves", data="real")
    assert ("Validation Jaccard" in svg.read_text(encoding="utf-8")) == validation


def test_a_loss_at_or_below_zero_is_drawn_without_a_logarithm(tmp_path):
    frame = history().assign(loss=np.linspace(10, -0.1, 12))
    svg, _ = figures.learning_curves({"dice": frame}, "DRIVE", tmp_path / "curves", data="real")
    assert "mathdefault" not in svg.read_text(encoding="utf-8")  # powers of ten are set as formulas
    above = history().assign(loss=np.linspace(10, 0.1, 12))
    svg, _ = figures.learning_curves({"dice": above}, "DRIVE", tmp_path / "curves", data="real")
    assert "mathdefault" in svg.read_text(encoding="utf-8")


def test_roc_names_the_area_and_stays_small(tmp_path):
    rates = np.linspace(0, 1, 2**16)
    curves = {"dice": (rates, rates**0.1, 10 / 11)}
    svg, _ = figures.roc(curves, "DRIVE", tmp_path / "roc", data="real")
    assert "Dice, AUC 0.9091" in svg.read_text(encoding="utf-8")
    assert svg.stat().st_size < 100_000


def test_colours_tell_hits_false_alarms_and_misses():
    inside = np.ones((4, 4), dtype=bool)
    inside[3] = False
    image = examples.coloured(TRUTH, PREDICTION, inside)
    for place, colour in {
        (0, 0): examples.WHITE,
        (0, 2): examples.MAGENTA,
        (1, 1): examples.LIME,
        (2, 0): (0, 0, 0),
        (3, 0): examples.OUTSIDE,
    }.items():
        assert tuple(image[place]) == colour


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        pytest.param(None, "DSC 0.667", id="by hand, TP 3 FP 2 FN 1"),
        pytest.param(TRUTH > 0, "DSC 0.857", id="false positives outside the mask do not count"),
        pytest.param(np.arange(16).reshape(4, 4) > 7, "DSC undefined", id="nothing inside the mask"),
    ],
)
def test_examples_print_the_dsc_of_the_case(mask, expected, tmp_path):
    row = {"id": "a", "image": np.zeros((4, 4)), "classes": TWO, "truth": TRUTH, "mask": mask}
    row["predictions"] = {"dice": PREDICTION}
    svg, _ = examples.examples([row], "DRIVE", tmp_path / "examples", data="real")
    assert expected in svg.read_text(encoding="utf-8")


def test_examples_shorten_long_ids_and_show_missing_runs(tmp_path):
    row = {
        "id": "0123456789" * 6,
        "image": np.zeros((4, 4, 3), np.uint8),
        "classes": TWO,
        "truth": TRUTH,
        "predictions": {"dice": None},
    }
    svg, _ = examples.examples([row], "DSB 2018", tmp_path / "examples", data="real")
    text = svg.read_text(encoding="utf-8")
    assert "01234567…56789" in text
    assert "not run" in text


def test_the_heading_of_an_example_is_no_wider_than_its_column(tmp_path):
    row = {"id": "a", "image": np.zeros((4, 4)), "classes": TWO, "truth": TRUTH}
    row["predictions"] = {"generalised_cross_entropy": PREDICTION, "my_sweep_of_a_long_argument": None}
    svg, _ = examples.examples([row], "DRIVE", tmp_path / "examples", data="real")
    text = svg.read_text(encoding="utf-8")
    for line in ("Generalised", "cross entropy", "my_sweep_of_a_lo", "ng_argument"):
        assert f">{line}<" in text


NAMED = [  # classes after the background, the colours of the first two
    pytest.param(["kidney", "tumour"], ["#ff2a2a", "#3a7bff"], id="KiTS19"),
    pytest.param(["road", "house", "tree"], ["#ff2a2a", "#3a7bff"], id="three"),
    pytest.param([f"class {number}" for number in range(1, 10)], ["#ff2a2a", "#3a7bff"], id="more than the palette"),
]


@pytest.mark.parametrize(("classes", "first"), NAMED)
def test_every_class_has_an_outline_and_its_name_in_the_legend(classes, first, tmp_path):
    truth = np.zeros((20, 2 * len(classes) + 2), np.uint8)
    for label in range(1, len(classes) + 1):
        truth[4:16, 2 * label : 2 * label + 2] = label
    row = {"id": "a", "image": np.zeros(truth.shape), "classes": ("background", *classes), "truth": truth}
    row["predictions"] = {"dice": truth, "combo": None}
    svg, _ = examples.examples([row], "KiTS19", tmp_path / "examples", data="real")
    text = svg.read_text(encoding="utf-8")
    colours = examples._palette(row["classes"])
    assert list(colours) == classes
    assert list(colours.values())[:2] == first
    assert len(set(colours.values())) == len(classes)
    for name, colour in colours.items():
        assert text.count(colour) >= 3  # truth, prediction, legend
        assert f">{name}<" in text
    assert "true positive" not in text


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 3)], ids=["grey", "colour"])
def test_outlines_stand_on_an_image_that_is_dimmed_outside_the_mask(shape, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(ink, "write", lambda figure, _: drawn.append(figure))
    row = {"id": "a", "image": np.full(shape, 200, np.uint8), "classes": ("background", "a", "b"), "truth": TRUTH}
    row |= {"predictions": {"dice": PREDICTION}, "mask": np.arange(16).reshape(4, 4) < 8}
    examples.examples([row], "mine", tmp_path / "examples", data="real")
    for axes in drawn[0].axes[1:]:
        (image,) = (shown.get_array() for shown in axes.images)
        assert image.shape == shape
        assert (image[:2] == 200).all()
        assert (image[2:] == 100).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_axial_slice_with_the_most_foreground(axis):
    truth = np.zeros((4, 4, 4), np.uint8)
    places = [slice(None)] * 3
    places[axis] = 2
    truth[tuple(places)] = 1
    affine = np.eye(4)[[*np.roll([0, 1, 2], axis - 2).argsort(), 3]]
    world_z = int(np.argmax(np.abs(affine[2, :3])))
    found = examples.axial(truth, affine)
    assert found[world_z] == (2 if world_z == axis else 0)
    assert [part for place, part in enumerate(found) if place != world_z] == [slice(None)] * 2


def test_large_pictures_are_shown_smaller_and_labels_stay_labels():
    image = np.zeros((584, 565, 3), np.uint8)
    assert max(examples.smaller(image).shape) <= examples.LONGEST
    labels = np.random.default_rng(0).integers(0, 3, (300, 400)).astype(np.uint8)
    assert set(np.unique(examples.smaller(labels, sharp=True))) == {0, 1, 2}
    assert examples.smaller(np.full((8, 8), 0.5)).tolist() == [[127] * 8] * 8


def test_cells_have_a_panel_per_column_and_a_row_per_loss(tmp_path):
    svg, _ = draw_cells(tmp_path / "cells")
    text = svg.read_text(encoding="utf-8")
    assert all(label in text for label in (">Recall<", ">Jaccard<", ">Dice<", ">Adaptive log<"))


def test_beside_ones_own_cells_no_published_value_is_promised(tmp_path):
    svg, _ = figures.cells(cells().assign(published=np.nan), "Mine", tmp_path / "cells")
    assert "published" not in svg.read_text(encoding="utf-8")


def test_every_published_loss_has_a_look_of_its_own_and_what_has_one_has_a_name():
    tables = (file for file in files("rareseg.published").iterdir() if file.name.startswith(("table", "ufl_table")))
    losses = {loss for file in tables for loss in pd.read_csv(str(file), dtype=str)["loss"].dropna()}
    assert losses <= set(ink.STYLES) <= set(layout.NAMES)
    looks = [(style.colour, style.line) for loss, style in ink.STYLES.items() if loss != "unified_focal"]
    assert len(set(looks)) == len(looks)


def test_unknown_losses_differ_by_position():
    assert ink.style("mine", 0) != ink.style("mine", 1)


def test_figures_leave_the_global_state_of_matplotlib_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    draw_cells(tmp_path / "cells")
    assert dict(matplotlib.rcParams) == before
