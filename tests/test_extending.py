"""docs/extending.md: the lines between which its recipes put new ones are there, so that they can be followed."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^    ```diff\n(.*?)^    ```$", PAGE, re.MULTILINE | re.DOTALL)


def changes():
    """Return file and lines of each change: a line without indent names a file, empty lines part its changes."""
    found = []
    for block in BLOCKS:
        for line in block.replace("\n    ", "\n").removeprefix("    ").splitlines():
            if not line:
                found.append((found[-1][0], []))
            elif line[0] in " +-":
                found[-1][1].append(line)
            else:
                found.append((line, []))
    return found


@pytest.mark.parametrize(("file", "lines"), changes(), ids=lambda value: value if isinstance(value, str) else value[0])
def test_a_change_has_its_place(file, lines):
    text = (ROOT / file).read_text(encoding="utf-8")
    before = "\n".join(line[1:] for line in lines if line[0] != "+") + "\n"
    assert before.strip()
    assert text.count("\n" + before) == 1
    assert "\n".join(line[1:] for line in lines if line[0] != "-") not in text


def test_all_changes_are_found():
    assert len(BLOCKS) == PAGE.count("```diff") == 4
    assert len(changes()) > 20
