import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rareseg.experiments import checkpoint

SAVER = """
import sys
from pathlib import Path
from rareseg.experiments import checkpoint

def weights(step):
    return {"weights.h5": lambda path: path.write_bytes(step.to_bytes(4, "big") * 50_000)}

step = 0
while True:
    step += 1
    checkpoint.save(Path(sys.argv[1]), step, {"step": step}, weights(step))
    print(step, flush=True)
"""


def weights(content):
    return {"weights.h5": lambda path: path.write_bytes(content)}


def test_the_newest_state_comes_back_and_two_generations_are_kept(tmp_path):
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, {"at": step}, weights(bytes([step])))
    state, folder = checkpoint.load(tmp_path)
    assert (state, (folder / "weights.h5").read_bytes()) == ({"at": 3}, b"\x03")
    assert len(list(tmp_path.iterdir())) == 2


DAMAGES = [  # file, what became of it
    pytest.param("weights.h5", b"other", id="other weights"),
    pytest.param("weights.h5", None, id="no weights"),
    pytest.param("state.json", None, id="no state"),
    *(pytest.param("state.json", text, id=repr(text)) for text in (b"", b"{", b"{}", b"[]", b"\xff", b'{"sha256": 1}')),
]


@pytest.mark.parametrize(("file", "content"), DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_and_told(tmp_path, file, content):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, {"at": step}, weights(bytes([step])))
    damaged, told = tmp_path / "step-000000002" / file, []
    damaged.unlink() if content is None else damaged.write_bytes(content)
    assert checkpoint.load(tmp_path, told.append)[0] == {"at": 1}
    assert told == ["the checkpoint step-000000002 is damaged and passed over"]


def test_without_a_right_checkpoint_there_is_none(tmp_path):
    assert checkpoint.load(tmp_path) is None
    checkpoint.save(tmp_path, 1, {"at": 1}, weights(b"1"))
    (tmp_path / "step-000000001" / "weights.h5").write_bytes(b"other")
    assert checkpoint.load(tmp_path) is None


def test_a_checkpoint_that_cannot_be_read_now_is_not_taken_for_damaged(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, 1, {"at": 1}, weights(b"1"))

    def fails(_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "read_bytes", fails)
    with pytest.raises(OSError, match="Too many open files"):
        checkpoint.load(tmp_path)


def test_a_state_that_is_saved_already_is_not_put_at_risk(tmp_path):
    checkpoint.save(tmp_path, 1, {"at": 1}, weights(b"1"))
    checkpoint.save(tmp_path, 1, {"at": 1}, {"weights.h5": lambda _: pytest.fail("it was written again")})
    assert checkpoint.load(tmp_path)[0] == {"at": 1}


def test_a_damaged_state_of_the_same_step_is_replaced(tmp_path):
    checkpoint.save(tmp_path, 1, {"at": 1}, weights(b"1"))
    (tmp_path / "step-000000001" / "weights.h5").write_bytes(b"other")
    checkpoint.save(tmp_path, 1, {"at": 2}, weights(b"2"))
    assert checkpoint.load(tmp_path)[0] == {"at": 2}


def test_what_killed_saves_left_goes_with_the_next_save(tmp_path):
    (tmp_path / ".step-000000007").mkdir()
    (tmp_path / ".step-000000007" / "weights.h5").touch()
    checkpoint.save(tmp_path, 8, {"at": 8}, weights(b"8"))
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000008"]


def test_training_goes_on_after_all_states_were_damaged(tmp_path):
    for step in (8, 9):
        checkpoint.save(tmp_path, step, {"at": step}, weights(bytes([step])))
    for file in tmp_path.glob("*/*.h5"):
        file.write_bytes(b"other")
    for step in (1, 2):
        checkpoint.save(tmp_path, step, {"at": step}, weights(bytes([step])))
        assert checkpoint.load(tmp_path)[0] == {"at": step}


def test_a_state_that_does_not_read_back_is_told_and_the_last_one_stays(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, 1, {"at": 1}, weights(b"1"))
    with monkeypatch.context() as broken:
        broken.setattr(checkpoint, "_read", lambda _: None)
        with pytest.raises(OSError, match="step-000000002 was written but does not read back"):
            checkpoint.save(tmp_path, 2, {"at": 2}, weights(b"2"))
    (tmp_path / "step-000000002" / "weights.h5").write_bytes(b"what the disk made of it")
    assert checkpoint.load(tmp_path)[0] == {"at": 1}


OPERATIONS = ["fsync", "rename", "replace", "mkdir"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_nth_failing_operation_is_loud_and_loses_nothing(tmp_path, monkeypatch, operation):
    checkpoint.save(tmp_path, 1, {"at": 1}, weights(b"1"))
    real = getattr(os, operation)
    for failing in range(20):
        step, calls = failing + 2, []

        def fails(*arguments, _calls=calls, _failing=failing, **options):
            _calls.append(arguments)
            if len(_calls) == _failing + 1:
                raise OSError(28, "No space left on device")
            return real(*arguments, **options)

        with monkeypatch.context() as patched:
            patched.setattr(os, operation, fails)
            try:
                checkpoint.save(tmp_path, step, {"at": step}, weights(b"2"))
            except OSError:
                assert checkpoint.load(tmp_path)[0]["at"] in (1, step)
                shutil.rmtree(tmp_path / f"step-{step:09d}", ignore_errors=True)
                assert not list(tmp_path.glob(".*"))
                continue
        assert checkpoint.load(tmp_path)[0] == {"at": step}
        if len(calls) <= failing:
            break
    assert len(calls) == failing > 0


@pytest.mark.slow
def test_sigkill_while_saving_leaves_a_state_at_most_one_step_old(tmp_path):
    chance = random.Random(0)
    for _ in range(20):  # benchmarks/reliability.py kills a thousand
        process = subprocess.Popen([sys.executable, "-c", SAVER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        first = process.stdout.readline()
        time.sleep(chance.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        told = [first, *process.communicate()[0].split()]
        state, folder = checkpoint.load(tmp_path)
        assert state["step"] - int(told[-1]) in (0, 1)  # saved, but not told before the kill
        assert (folder / "weights.h5").read_bytes()[:4] == state["step"].to_bytes(4, "big")
