"""``docs/data.md`` knows every data set, every trap and every option, and shows phantoms alone."""

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image

from rareseg.datasets import names

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "data.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("key", names())
def test_every_data_set_has_a_section_a_picture_and_its_source(key):
    about = import_module(f"rareseg.datasets.{key}").ABOUT
    section = TEXT.split(f"\n## {key}\n")[1].split("\n## ")[0]
    assert f"](data/{key}.png)" in section
    assert re.search(r"https://[^\s,)]+", about.where)[0] in TEXT
    for path in about.layout[:1]:
        assert path.rpartition("/")[2].split("_t1ce")[0].split("<")[0] in section


@pytest.mark.parametrize("key", names())
def test_pictures_are_small_and_say_that_they_are_phantoms(key):
    path = DOCS / "data" / f"{key}.png"
    assert path.stat().st_size < 100_000
    with Image.open(path) as picture:
        assert picture.info["Title"].startswith(f"{key}: phantoms")


@pytest.mark.parametrize("key", names())
def test_every_trap_is_listed(key):
    traps = import_module(f"rareseg.datasets._phantom_{key}").TRAPS
    rows = (line for line in TEXT.splitlines() if line.startswith(f"| `{key}` | ") and "`" in line.split("|")[2])
    line = next(rows, "")  # none for a set without traps of its own
    assert not [name for name in traps if f"`{name}`" not in line]


@pytest.mark.parametrize("key", [*names(), "folder"])
def test_every_option_is_explained(key):
    options = [*inspect.signature(import_module(f"rareseg.datasets.{key}").find).parameters][1:]
    assert not [name for name in options if f"{name}=" not in TEXT]


def test_the_readme_shows_the_configuration_of_an_own_folder():
    root = DOCS.parent
    example = (root / "configs" / "example_folder.yaml").read_text(encoding="utf-8")
    assert f"```yaml\n{example}```" in (root / "README.md").read_text(encoding="utf-8")
    assert len(example.splitlines()) == 10
