"""Who may write when, and what killed writers leave."""

import errno
from pathlib import Path

import filelock
import pytest

from rareseg.datasets import whole
from rareseg.experiments import store
from rareseg.experiments.config import ConfigError


def test_a_holder_that_lets_go_while_it_is_asked_for_its_name_is_waited_for(tmp_path, monkeypatch):
    lock, told = filelock.FileLock(tmp_path / ".lock"), []
    lock.acquire()
    (tmp_path / ".owner").touch()

    def gone(path, **_):
        path.unlink()
        lock.release()
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", gone)
    with store.locked(tmp_path, told.append):
        pass
    assert told == [f"{tmp_path} is in use by another process; this command waits for it"]


@pytest.mark.filterwarnings("ignore:flock not supported")
def test_a_file_system_without_locks_is_refused_by_name(tmp_path, monkeypatch):
    def missing(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", missing)
    for hold in (store.locked(tmp_path, print), store.Run(tmp_path).claimed()):
        with pytest.raises(ConfigError, match=rf"the file system of {tmp_path} has no locks \(flock\)"), hold:
            pass
    assert not list(tmp_path.iterdir())


def test_the_name_of_the_holder_is_never_half_written(tmp_path, monkeypatch):
    written = []
    real = whole.write
    monkeypatch.setattr(whole, "write", lambda path, text: written.append(path.name) or real(path, text))
    with store.locked(tmp_path, print):
        assert (tmp_path / ".owner").read_text().startswith("process ")
    assert written == [".owner"]
    assert not (tmp_path / ".owner").exists()


def test_temporary_files_of_a_run_go_and_everything_else_stays(tmp_path):
    run = store.Run(tmp_path / "run")
    scored = run.evaluation("a")
    kept = [run.weights, run.folder / ".lock", scored / "cases.csv", scored / "predictions" / "1.png"]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.with_name(f".12-34-{path.name}").touch()
    run.sweep()
    assert {path for path in run.folder.rglob("*") if path.is_file()} == set(kept)


def test_what_killed_writers_left_goes_once_the_folder_is_held_but_for_what_runs_may_be_writing(tmp_path):
    shared = [
        tmp_path / "PHANTOM.txt",
        *(tmp_path / "table3" / name for name in ("table.md", "splits/a.csv", "figures/a.svg")),
    ]
    of_a_run = tmp_path / "runs" / "a" / ".12-34-run.json"
    for path in (*shared, of_a_run):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for path in shared:
        path.with_name(f".12-34-{path.name}").touch()
    with store.locked(tmp_path, print):
        found = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert found - {tmp_path / ".lock", tmp_path / ".owner"} == {*shared, of_a_run}
