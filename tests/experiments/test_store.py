"""Who may write when, and what killed writers leave."""

from pathlib import Path

import filelock

from rareseg.experiments import store


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
