"""A report that remembers: what was read once is not read again, unless a file or the way to read it changed."""

import os
import threading
import time

import numpy as np
import pytest

from rareseg.datasets import Case, DataError, make_phantoms, names, open
from rareseg.datasets.facts import forget, remembered
from rareseg.datasets.scan import Scan

CASES = 5


@pytest.fixture
def reads(monkeypatch):
    """Ids of the cases that were truly read, in a list that can be cleared."""
    found = []
    for kind in (Case, Scan):
        real = kind.check
        monkeypatch.setattr(kind, "check", lambda case, real=real: found.append(case.id) or real(case))
    return found


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RARESEG_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("key", names())
def test_what_is_noted_is_what_was_read(tmp_path, key, reads):
    dataset = open(key, make_phantoms(key, tmp_path / key, cases=CASES, size=32))
    first = dataset.report(remember=True)
    assert len(reads) == len(dataset.cases)
    again = open(key, tmp_path / key).report(remember=True)
    assert len(reads) == len(dataset.cases)
    assert str(again) == str(first) == str(dataset.report())
    for mine, other in zip(first.checks, again.checks, strict=True):
        assert mine.facts() == other.facts()
        assert np.array_equal(mine.counts, other.counts)


def test_a_file_that_changed_and_one_that_was_bad_are_read_again(tmp_path, reads):
    dataset = open("bus2017", make_phantoms("bus2017", tmp_path / "bus2017", cases=CASES, size=32))
    changed, bad = dataset.cases[1:3]
    whole = bad.image.read_bytes()
    bad.image.write_bytes(whole[:50])
    dataset.report(remember=True)
    reads.clear()
    os.utime(changed.labels[0], ns=(1, 1))
    bad.image.write_bytes(whole)
    assert dataset.report(remember=True).faults == ()
    assert sorted(reads) == sorted([changed.id, bad.id])


def test_other_classes_are_another_reading(tmp_path, reads):
    folder = make_phantoms("bus2017", tmp_path / "bus2017", cases=CASES, size=32)
    (folder / "original").rename(folder / "images")
    swapped = open("folder", folder, values={0: 1, 255: 0}).report(remember=True)
    plain = open("folder", folder, values={0: 0, 255: 1}).report(remember=True)
    assert len(reads) == 2 * CASES
    assert swapped.mean_share() == pytest.approx(1 - plain.mean_share())


def test_a_report_that_is_stopped_goes_on_where_it_was(tmp_path, reads):
    dataset = open("bus2017", make_phantoms("bus2017", tmp_path / "bus2017", cases=CASES, size=32))
    seen = []

    def stop(case):
        seen.append(case.id)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataset.report(stop, remember=True)
    done = {*reads}
    assert len(done) >= 3
    reads.clear()
    dataset.report(remember=True)
    assert {*reads} == {case.id for case in dataset.cases} - done


def test_all_threads_note_and_nothing_is_lost(tmp_path, reads):
    dataset = open("isic2018", make_phantoms("isic2018", tmp_path / "isic2018", cases=40, size=32))
    threads = {threading.get_ident()}
    dataset.report(lambda _: threads.add(threading.get_ident()), 8, remember=True)
    assert len(threads) > 1
    reads.clear()
    dataset.report(workers=8, remember=True)
    assert reads == []


def test_what_is_forgotten_is_read_and_noted_again(tmp_path, reads):
    mine, other = (
        open(key, make_phantoms(key, tmp_path / key, cases=CASES, size=32)) for key in ("brats2020", "bus2017")
    )
    values, read = [case.labels[0] for case in mine.cases], []
    for known in (False, True):
        for dataset in (mine, other):
            dataset.report(remember=True)
        remembered(mine.folder, values, lambda path: read.append(path) or [0])
        assert len(reads) == (1 if known else 2) * CASES
        assert len(read) == (CASES if known else 0)
        reads.clear()
        forget(mine.folder)


def test_labels_are_read_on_the_cores_that_the_process_may_use(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    paths, threads = [tmp_path / str(number) for number in range(8)], set()
    for path in paths:
        path.touch()
    remembered(tmp_path, paths, lambda _: time.sleep(0.01) or threads.add(threading.get_ident()))
    assert len(threads) == 1


def test_shares_of_no_readable_case_are_no_numbers(tmp_path):
    dataset = open("bus2017", make_phantoms("bus2017", tmp_path / "bus2017", cases=1, size=32))
    dataset.cases[0].image.write_bytes(b"")
    report = dataset.report()
    assert (report.checks, len(report.faults)) == ((), 1)
    assert np.isnan([report.mean_share(), report.pooled_share(), report.mean_inside()]).all()


def test_a_file_that_is_gone_is_named(tmp_path):
    dataset = open("bus2017", make_phantoms("bus2017", tmp_path / "bus2017", cases=CASES, size=32))
    gone = dataset.cases[0].image
    gone.unlink()
    with pytest.raises(DataError, match=rf"^{gone}: cannot be read \(no such file or directory\)\. Get the file"):
        dataset.cases[0].state()
    (fault,) = dataset.report(remember=True).faults
    assert fault.startswith(f"{gone}: cannot be read (no such file")
