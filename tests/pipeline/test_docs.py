"""docs/pipeline.md: its code runs, its pictures are there, every fault of MIScnn has its row, its settings exist."""

import re
from pathlib import Path

import pytest

from rareseg.pipeline.settings import CHOICES

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "pipeline.md").read_text(encoding="utf-8")
CODE = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("code", CODE)
def test_the_code_runs(code):
    scope = {}
    exec(code, scope)
    assert scope["images"].shape == (2, 32, 32, 3)
    assert scope["label"].shape == (64, 64)
    assert (scope["scratch"] / "predicted.png").is_file()


def test_the_pictures_are_small_and_all_shown():
    drawn = {path.name for path in (DOCS / "pipeline").iterdir()}
    assert set(re.findall(r"\(pipeline/(\w+\.png)\)", PAGE)) == drawn
    assert all((DOCS / "pipeline" / name).stat().st_size < 70_000 for name in drawn)


def test_every_fault_has_its_row():
    rows = re.findall(r"^\| (\d+) \| (.+?) \| (.+?) \|(.*)\|$", PAGE, re.MULTILINE)
    assert [int(number) for number, *_ in rows] == [*range(1, 32)]


def test_settings_named_with_a_value_have_it():
    named = re.findall(r"`(\w+): (\w+)`", PAGE)
    assert len(named) > 6
    for key, value in named:
        assert value in CHOICES[key]
