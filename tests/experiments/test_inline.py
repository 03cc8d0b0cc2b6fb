"""Figures as parts of a page: no style attribute, no outside reference, own ids, ink that a page can turn round."""

import re
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from rareseg.experiments import ink
from rareseg.experiments.inline import inline


@pytest.fixture(scope="module")
def svg(tmp_path_factory):
    import matplotlib

    with matplotlib.rc_context(ink.RC):
        figure: Figure = ink.new(3, 2, "A <title> & more", "real")
        axes = figure.subplots()
        axes.plot([0, 1, 2], [0.123456, 1, 0.5], "o-", color="#000000", label="ours")
        axes.imshow([[0, 1], [1, 0]], extent=(0, 1, 0, 1))
        axes.set(xlim=(0, 2), ylim=(0, 1))
        return ink.write(figure, tmp_path_factory.mktemp("figure") / "f")[0].read_text(encoding="utf-8")


def test_nothing_remains_that_a_strict_policy_forbids(svg):
    found = inline(svg, "f1-")
    assert "style=" not in found
    assert "<style" not in found
    assert "http" not in found
    assert "metadata" not in found


def test_the_title_is_an_escaped_label(svg):
    assert 'aria-label="A &lt;title&gt; &amp; more"' in inline(svg, "f1-")


def test_the_ground_goes_and_ink_is_inherited(svg):
    root = ElementTree.fromstring(inline(svg, "f1-"))
    assert not [element for element in root.iter() if element.get("fill") == "#ffffff"]
    assert not [element for element in root.iter("text") if element.get("fill")]
    assert [element for element in root.iter("path") if element.get("stroke") == "#000000"]


def test_references_stay_within_the_picture(svg):
    found = inline(svg, "f7-")
    ids = re.findall(r' id="([^"]+)"', found)
    references = re.findall(r'(?:href="|url\()#([^")]+)', found)
    assert set(references) == set(ids)
    assert len(ids) == len(set(ids))
    assert all(name.startswith("f7-") for name in ids)


def test_it_is_leaner_and_the_same_every_time(svg):
    assert inline(svg, "a") == inline(svg, "a")
    assert len(inline(svg, "a")) < 0.7 * len(svg)
    assert not re.search(r' d="[^"]*\d\.\d{3}', inline(svg, "a"))
