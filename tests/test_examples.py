"""The Python examples of README.md and of the pages in docs/ run as they stand; their commands are understood."""

import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from rareseg.experiments import main, prepare

ROOT = Path(__file__).parents[1]
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ELSEWHERE = ("losses.md", "models.md", "pipeline.md")  # the tests of these folders run them and look at the outcome
TEXTS = {
    path: path.read_text(encoding="utf-8") for path in (*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md")))
}
PAGES = [path for path, text in TEXTS.items() if path.name not in ELSEWHERE and CODE.search(text)]
COMMAND = re.compile(r"(?:uv run(?: --\w[\w-]* [\w-]+)*|python) (scripts|benchmarks)/(\w+)\.py([^#`&\n]*)")
COMMANDS = sorted(  # those of the recipes are about what a newcomer adds
    {
        (*found[:2], found[2].strip())
        for path, text in TEXTS.items()
        if path.name != "extending.md"
        for found in COMMAND.findall(text)
    }
)


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
def test_the_examples_of_a_page_run(page, tmp_path, monkeypatch, capsys):
    draw_own_folder(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RARESEG_CACHE", str(tmp_path / "cache"))
    names = {}
    for block in CODE.findall(page.read_text(encoding="utf-8")):
        exec(compile(block, page.name, "exec"), names)
    if page.name == "data.md":  # a label map of each held-out case, on its own grid
        assert re.search(r"\d \(64, 64\) 0\.\d+$", capsys.readouterr().out, re.MULTILINE)


def test_every_page_that_shows_a_beginning_is_among_them():
    assert {"README.md", "index.md", "data.md"} <= {page.name for page in PAGES}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_commands_of_a_page_are_understood(command, tmp_path, monkeypatch):
    """Tables are planned, but not trained; of a preparation, the options are read; a benchmark's stand in its text."""
    folder, script, arguments = command
    assert (ROOT / folder / f"{script}.py").is_file()
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(prepare, "Command", lambda *_: SimpleNamespace(run=lambda: 0))
    table = "compare" if script == "compare_losses" else script.removeprefix("reproduce_")
    asked = [argument for argument in shlex.split(arguments) if argument != "--measure"]
    asked += ["--results", str(tmp_path / "results")]
    if table != script:
        assert main(table, [*asked, "--dry-run"]) == 0
    elif script == "prepare":
        assert main(script, asked) == 0
    elif folder == "benchmarks":
        text = "".join((ROOT / folder / f"{name}.py").read_text(encoding="utf-8") for name in (script, "record"))
        assert all(f'"{option}"' in text for option in shlex.split(arguments) if option.startswith("--"))


def test_the_commands_of_the_pages_were_found():
    assert {"reproduce_table3", "compare_losses", "prepare", "doctor"} <= {script for _, script, _ in COMMANDS}
