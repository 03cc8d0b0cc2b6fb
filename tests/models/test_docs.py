"""docs/models.md: its code runs, its pictures show the networks that are built. Its counts: test_architecture.py."""

import re
import runpy
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rareseg import models

pytest.importorskip("matplotlib")  # the script draws with it

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "models.md").read_text(encoding="utf-8")
CODE = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SCRIPT = runpy.run_path(str(DOCS.parent / "scripts" / "draw_models.py"))


def test_the_pictures_are_small_and_all_shown():
    drawn = {path.name for path in (DOCS / "models").iterdir()}
    assert set(re.findall(r"\(models/(\w+\.svg)\)", PAGE)) == drawn == {f"{name}.svg" for name in SCRIPT["SHAPES"]}
    assert all((DOCS / "models" / name).stat().st_size < 60_000 for name in drawn)
    assert set(SCRIPT["SHAPES"]) == {name for name in models.presets() if not name.endswith("_demo")}


@pytest.mark.parametrize("name", SCRIPT["SHAPES"])
def test_a_picture_shows_every_block_of_the_network(name):
    blocks = SCRIPT["read_blocks"](models.build(name, SCRIPT["SHAPES"][name], 2))
    picture = ElementTree.parse(DOCS / "models" / f"{name}.svg")
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {(block.name, block.channels) for block in blocks} <= set(pairwise(texts))


def test_a_picture_is_drawn_alike_twice():
    once, again = (SCRIPT["svg"]("unet_demo", models.build("unet_demo", (64, 64, 3), 2)) for _ in range(2))
    assert once == again


def test_every_network_has_its_row_of_origins():
    section = re.split("^## ", PAGE, flags=re.MULTILINE)[4]
    assert section.startswith("Where each choice comes from")
    first_cells = re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(first_cells))) == sorted(models.presets())


def test_size_factors_are_those_of_the_networks():
    rows = re.findall(r"^\| (.*`.+) \| .+ \| (\d+) \|$", PAGE.partition("## ")[0], re.MULTILINE)
    stated = {name: int(factor) for names, factor in rows for name in re.findall(r"`(\w+)`", names)}
    assert stated == {name: models.size_factor(name) for name in models.presets()}


def test_links_lead_somewhere():
    titles = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    for target in re.findall(r"\]\((?!https:)([^)]+)\)", PAGE):
        file, _, anchor = target.partition("#")
        assert (DOCS / file).is_file() if file else anchor in anchors, target


def test_the_code_runs():
    names = {}
    for block in CODE:
        exec(compile(block, "models.md", "exec"), names)
    assert names["model"].compiled
    assert names["predictor"].output_names == ["output"]
