"""Figures that compare losses: bytes, words, and what they compute."""

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from rareseg.experiments import comparisons, ink

LOSSES = ["dice", "combo", "adaptive_log"]
VALUES = pd.DataFrame(np.random.default_rng(0).random((20, 3)), columns=LOSSES)
GAMMA = {0.1: 0.8, 0.5: 0.82, 0.9: 0.7}


def draw_distributions(path):
    return comparisons.distributions(VALUES, "DRIVE, U-Net", path, data="phantom", metric="dsc")


def draw_critical_differences(path):
    ranks = np.array([1.2, 2.0, 2.8])
    return comparisons.critical_differences(LOSSES, ranks, 1.1, "Table 3", path, data="phantom")


def draw_gamma(path):
    panel = {"unified_focal_asymmetric": GAMMA, "dice": 0.75}
    return comparisons.over_gamma({"drive": panel}, "Fig. 3", path, data="phantom")


def draw_heat(path):
    return comparisons.heat(matrix(), "Table 1", path)


def matrix():
    cells = [(f"epsilon={e};omega={o}", 0.8 + e / 100 + o / 1000) for e in (0.5, 1) for o in (6, 8, 10)]
    frame = pd.DataFrame(cells, columns=["arguments", "ours"])
    frame = frame.assign(dataset="isic2018", network="focusnet", loss="adaptive_log", metric="jaccard", data="phantom")
    published = frame["ours"] - 0.01
    return frame.assign(published=published, verdict="not_real", unit="percent", **{"class": "foreground"})


@pytest.mark.parametrize("draw", [draw_distributions, draw_critical_differences, draw_gamma, draw_heat])
def test_two_calls_write_equal_bytes_and_the_word_phantom(draw, tmp_path):
    first, second = draw(tmp_path / "a" / "x"), draw(tmp_path / "b" / "x")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert b"phantom" in one.read_bytes()
    ElementTree.parse(first[0])


def text_of(drawn):
    return drawn[0].read_text(encoding="utf-8")


def test_a_loss_without_a_run_keeps_its_place(tmp_path):
    values = VALUES.assign(combo=np.nan)
    text = text_of(comparisons.distributions(values, "DRIVE", tmp_path / "x", data="real", metric="dsc"))
    assert "not run" in text
    assert "Combo" in text
    assert (
        text_of(comparisons.distributions(VALUES * np.nan, "DRIVE", tmp_path / "x", data="real", metric="dsc")).count(
            "not run</text>"
        )
        == 3
    )


def test_ranks_print_the_share_of_resamples(tmp_path):
    values = pd.DataFrame({"dice": [0.1, 0.2, 0.3], "combo": [0.5, 0.6, 0.7]})
    text = text_of(comparisons.distributions(values, "DRIVE", tmp_path / "x", data="real", metric="dsc"))
    assert text.count(">100</text>") == 2


CLIQUES = [
    pytest.param([1, 2, 3], 0.5, [], id="all apart"),
    pytest.param([1, 2, 3], 2, [(1, 3)], id="all alike"),
    pytest.param([1, 2, 3], 1, [(1, 2), (2, 3)], id="neighbours"),
    pytest.param([1, 1.2, 3, 3.1], 0.5, [(1, 1.2), (3, 3.1)], id="two groups"),
    pytest.param(
        [1.166667, 2, 3.166667, 4.166667, 5, 5.5], 3.078, [(1.166667, 4.166667), (2, 5), (3.166667, 5.5)], id="S1"
    ),
]


@pytest.mark.parametrize(("ranks", "difference", "bars"), CLIQUES)
def test_bars_join_what_does_not_differ(ranks, difference, bars):
    assert comparisons._cliques(np.array(ranks), difference) == bars


def test_of_distances_the_lowest_is_the_first_and_the_profile_is_as_long_as_they_are(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(ink, "write", lambda figure, _: drawn.append(figure))
    values = pd.DataFrame({"dice": [4.0, 5.0, 6.0], "combo": [1.0, 2.0, 3.0]})
    comparisons.distributions(values, "DRIVE", tmp_path / "x", data="real", metric="hd95")
    _, profile, ranks = drawn[0].axes
    assert {round(bar.get_y() + 0.43): round(bar.get_x() + 0.47) for bar in ranks.patches} == {0: 2, 1: 1}
    assert profile.get_xlim() == (0, 6)


def test_of_the_cases_beyond_the_whiskers_the_farthest_are_drawn(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(ink, "write", lambda figure, _: drawn.append(figure))
    values = pd.DataFrame({"dice": np.linspace(0, 1, 2001)})
    comparisons.distributions(values, "DRIVE", tmp_path / "x", data="real", metric="dsc")
    marks = next(line.get_xdata() for line in drawn[0].axes[0].lines if line.get_marker() == "|")
    half = comparisons.FARTHEST // 2
    assert sorted(marks) == [*values["dice"][:half], *values["dice"][-half:]]


def test_gamma_names_what_was_not_run(tmp_path):
    panels = {"drive": {"unified_focal_asymmetric": GAMMA, "combo": None}, "bus2017": {"dice": float("nan")}}
    text = text_of(comparisons.over_gamma(panels, "Fig. 3", tmp_path / "x", data="real"))
    assert "Combo (not run)" in text
    assert "Dice (not run)" in text
    assert text.count(">not run</text>") == 1


def test_over_gamma_every_loss_looks_as_in_the_legend_and_no_point_lies_outside(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(ink, "write", lambda figure, _: drawn.append(figure))
    panel = {"focal": {5: 0.6, 0.5: 0.7, 2: 0.65, 1: 0.8}, "tversky": 0.72, "focal_tversky": 0.75}
    comparisons.over_gamma({"drive": panel}, "Fig. 3", tmp_path / "x", data="real")
    axes, (legend,) = drawn[0].axes[0], drawn[0].legends
    looks = [[(one.get_color(), one.get_linestyle(), one.get_marker()) for one in lines]
             for lines in (axes.lines, legend.get_lines())]  # fmt: skip
    assert looks[0] == looks[1]
    assert len(set(looks[0])) == 3
    low, high = axes.get_xlim()
    for line in axes.lines:
        assert list(line.get_xdata()) == [0.5, 1, 2, 5]
        assert low < 0.5 < 5 < high
        assert line.get_markevery() == 1 or 0 < len(line.get_xdata()[slice(line.get_markevery()[0], None, 2)]) < 4


def test_the_matrix_prints_every_value(tmp_path):
    frame = matrix()
    frame.loc[0, "ours"] = np.nan
    text = text_of(comparisons.heat(frame, "Table 1", tmp_path / "x"))
    assert text.count(">not run</text>") == 1
    assert all(f">{100 * value:.2f}</text>" in text for value in frame["published"])
    assert ">epsilon</text>" in text


def test_a_matrix_of_ones_own_is_drawn_alone(tmp_path):
    text = text_of(comparisons.heat(matrix().assign(published=np.nan), "Mine", tmp_path / "x"))
    assert ">Ours, in %</text>" in text
    assert "Published" not in text
    assert "not run" not in text
