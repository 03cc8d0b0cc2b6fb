"""The Python examples of README.md and of the pages in docs/ run as they stand."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ELSEWHERE = ("losses.md", "models.md", "pipeline.md")  # the tests of these folders run them and look at the outcome
PAGES = [
    path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if path.name not in ELSEWHERE and CODE.search(path.read_text(encoding="utf-8"))
]


def draw_own_folder(root):
    """Write what the examples find in the working folder: images, and masks with a square of foreground."""
    random = np.random.default_rng(0)
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 255
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(5):
        Image.fromarray(random.integers(0, 256, (64, 64, 3), np.uint8)).save(root / "images" / f"{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")


@pytest.mark.usefixtures("graphs_as_they_are")
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_the_examples_of_a_page_run(page, tmp_path, monkeypatch):
    draw_own_folder(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RARESEG_CACHE", str(tmp_path / "cache"))
    names = {}
    for block in CODE.findall(page.read_text(encoding="utf-8")):
        exec(compile(block, page.name, "exec"), names)


def test_every_page_that_shows_a_beginning_is_among_them():
    assert {"README.md", "index.md", "data.md"} <= {page.name for page in PAGES}
