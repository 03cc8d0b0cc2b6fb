"""Files appear whole or not at all, whichever step fails, and what killed writers left goes away."""

import os
import time
from pathlib import Path

import pytest

from rareseg.datasets import whole


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
@pytest.mark.parametrize("content", [b"second", "second"], ids=["bytes", "text"])
def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch, step, content):
    path = tmp_path / "a.json"
    whole.write(path, "first")

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os if step == "fsync" else Path, step, fail)
        with pytest.raises(OSError, match="No space left"):
            whole.write(path, content)
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]
    whole.write(path, content)
    assert path.read_text() == "second"


def test_the_temporary_file_is_hidden_and_keeps_the_ending(tmp_path):
    names = []
    whole.write_with(tmp_path / "new" / "a.npy", lambda path: (names.append(path.name), path.write_bytes(b"x")))
    assert names[0].startswith(".")
    assert names[0].endswith("-a.npy")


def test_what_killed_writers_left_is_removed_an_hour_later(tmp_path):
    names = (".12-34-a.npy", ".56-78-b.json", ".hidden", "c.npy")
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    old = time.time() - 4000
    for name in (names[0], *names[2:]):
        os.utime(tmp_path / name, (old, old))
    whole.sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*names[1:]}
    whole.sweep(tmp_path / "none")


def test_a_file_that_gets_its_name_while_a_folder_is_swept_is_no_fault(tmp_path, monkeypatch):
    left = tmp_path / ".12-34-b.npy"
    left.write_bytes(b"x")
    os.utime(left, (0, 0))
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter([folder / ".12-34-a.npy", left]))
    whole.sweep(tmp_path)
    assert not left.exists()
