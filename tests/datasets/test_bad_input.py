"""Whatever is wrong with the files, one sentence says which ones, how many, and what was expected.

What one format or layout can do wrong stands in its own tests: ``test_files``, ``test_volumes``, ``test_folder``.
"""

import gc
import gzip
import io
import os
import random
import re
import shutil
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rareseg.datasets import DataError, files, make_phantoms, names, open, volumes

CASES = 7  # more than a message names
MUTATIONS = 500  # per format


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Key -> seven phantoms, to be copied before they are damaged."""
    root = tmp_path_factory.mktemp("drawn")
    return {key: make_phantoms(key, root / key, cases=CASES, size=32, traps=()) for key in names()}


@pytest.fixture
def damaged(drawn, tmp_path):
    """Return a function (key) -> a copy of its phantoms and its cases."""

    def copy(key):
        folder = Path(shutil.copytree(drawn[key], tmp_path / key))
        return folder, open(key, folder).cases

    return copy


def refusal(key, folder):
    """The one sentence of `open`."""
    with pytest.raises(DataError) as fault:
        open(key, folder)
    return checked(str(fault.value), folder)


def fault(key, folder):
    """The one sentence that the report has."""
    report = open(key, folder).report()
    assert len(report.faults) == 1
    assert len(report.checks) == len(open(key, folder).cases) - 1
    return checked(report.faults[0], folder)


def checked(sentence, folder):
    assert str(folder) in sentence
    assert "\n" not in sentence
    assert "Error" not in sentence
    return sentence


@pytest.mark.parametrize("key", names())
def test_many_labels_that_lack_are_counted_and_the_first_five_named(damaged, key):
    folder, cases = damaged(key)
    lacking = [case for case in cases if case.part in ("", "test")]
    for path in (path for case in lacking for path in case.labels):
        path.unlink()
    if key == "drive":  # a half without any label is the newer download, so one stays
        shutil.copy(cases[-1].labels[0], lacking[0].labels[0])
        lacking = lacking[1:]
    shown = ", ".join(case.id for case in lacking[:5]) + (", ..." if len(lacking) > 5 else "")
    sentence = refusal(key, folder)
    assert re.search(rf"cases without [\w/]+: {len(lacking)} \({re.escape(shown)}\)", sentence), sentence
    assert f"Layout: docs/data.md#{key}" in sentence


@pytest.mark.parametrize("key", [key for key in names() if key != "kits19"])  # whose images may not be fetched yet
def test_images_that_lack_are_counted(damaged, key):
    folder, cases = damaged(key)
    for case in cases[:2]:
        case.image.unlink()
    parts = len({case.part for case in cases[:2]})
    assert sum(map(int, re.findall(r"cases without [\w/]+: (\d+)", refusal(key, folder)))) == 2, parts


@pytest.mark.parametrize("key", names())
def test_a_label_of_another_size_is_told_with_both_sizes(damaged, key):
    folder, cases = damaged(key)
    wanted, found = cases[0], next(case for case in cases if case.shape != cases[0].shape) if key == "kits19" else None
    path = wanted.labels[0]
    if path.name.endswith(volumes.SUFFIXES):
        head = volumes.header(path)
        volumes.write(path, volumes.read(head)[:, :-2], head.affine)
    else:
        Image.fromarray(files.grey(path)[:, :-2]).save(path)
    assert found is None or found.id != wanted.id
    sizes = re.findall(r"\d+(?: x \d+)+", fault(key, folder))
    assert len(sizes) == 2
    assert sizes[0] != sizes[1] == " x ".join(map(str, wanted.grid.shape if hasattr(wanted, "grid") else wanted.shape))


CONTENTS = [  # what the file holds, and how much of itself after it
    pytest.param(b"", 0, id="empty"),
    pytest.param(b"", 1 / 3, id="truncated"),
    pytest.param(b"<html>sign in to download</html>", 0, id="a web page"),
    pytest.param(b"version https://git-lfs.github.com/spec/v1\n", 1 / 3, id="a pointer before it"),
]


@pytest.mark.parametrize(("start", "share"), CONTENTS)
@pytest.mark.parametrize("kind", ["image", "label"])
@pytest.mark.parametrize("key", names())
def test_a_file_that_is_no_picture_is_named(damaged, key, kind, start, share):
    folder, cases = damaged(key)
    path = cases[0].image if kind == "image" else cases[0].labels[0]
    whole = path.read_bytes()
    path.write_bytes(start + whole[: int(share * len(whole))])
    sentence = fault(key, folder)
    assert sentence.startswith(f"{path}: cannot be read (")
    assert sentence.endswith(". Get the file again.")


@pytest.mark.parametrize("key", names())
def test_a_file_that_may_not_be_read_is_named(damaged, key, monkeypatch):
    folder, cases = damaged(key)
    locked = cases[0].image

    def denied(real):
        def guard(path, *arguments, **options):
            if str(path) == str(locked):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *arguments, **options)

        return guard

    import nibabel

    monkeypatch.setattr(nibabel, "load", denied(nibabel.load))
    monkeypatch.setattr(Path, "open", denied(Path.open))
    sentence = fault(key, folder)
    assert sentence == f"{locked}: cannot be read (permission denied). Get the file again."


@pytest.mark.parametrize("key", names())
def test_a_folder_that_may_not_be_listed_is_named(damaged, key, monkeypatch):
    folder, cases = damaged(key)
    locked, real = cases[0].labels[0].parent, os.scandir

    def guard(path):
        if path == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", guard)
    assert f"{locked} cannot be listed (Permission denied); expected a folder that may be read" in refusal(key, folder)


@pytest.mark.parametrize("key", names())
def test_a_file_in_place_of_the_folder_is_told(key, tmp_path):
    (tmp_path / "file").write_text("no folder")
    sentence = refusal(key, tmp_path / "file")
    assert sentence == f"{key}: {tmp_path / 'file'} is a file, expected a folder. Give {tmp_path} instead."


@pytest.mark.parametrize("key", ["brats2020", "kits19"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_voxels_that_are_no_numbers_are_counted_in_the_report(damaged, key, bad):
    folder, cases = damaged(key)
    head = cases[0].image_header
    values = volumes.read(head).astype(np.float32)
    values[1, 2, 3] = values[4, 4, 4] = bad
    volumes.write(head.path, values, head.affine)
    assert "2 voxels are not finite, the first at (1, 2, 3); expected numbers" in fault(key, folder)


LABELS = [
    pytest.param("brats2020", 5, "found label 5 in 8 voxels, known are 0, 1, 2, 4", id="brats"),
    pytest.param("kits19", 7, "found label 7 in 8 voxels, known are 0, 1, 2", id="kits"),
]


@pytest.mark.parametrize(("key", "value", "sentence"), LABELS)
def test_labels_out_of_range_are_counted_in_the_report(damaged, key, value, sentence):
    folder, cases = damaged(key)
    head = cases[0].label_header
    values = volumes.read(head)
    values[:2, :2, :2] = value
    volumes.write(head.path, values, head.affine)
    assert fault(key, folder).endswith(f"{sentence}. Correct the file or list the case under `exclude`.")


@pytest.mark.parametrize("key", ["isic2018", "dsb2018", "drive", "cvc_clinicdb", "bus2017"])
def test_a_coloured_mask_is_told_with_its_share(damaged, key):
    folder, cases = damaged(key)
    pixels = np.repeat(files.grey(cases[0].labels[0])[..., None], 3, axis=2)
    pixels[: len(pixels) // 2] = 200, 10, 10
    path = cases[0].labels[0]
    Image.fromarray(pixels).quantize(4).save(path) if path.suffix == ".gif" else Image.fromarray(pixels).save(path)
    assert re.search(r"a coloured picture \((5|4)\d\.\d% of its pixels\) where a grey one or", fault(key, folder))


def test_a_full_disk_costs_the_next_opening_time_and_nothing_else(damaged, monkeypatch, tmp_path):
    monkeypatch.setenv("RARESEG_CACHE", str(tmp_path / "cache"))
    folder, _ = damaged("brats2020")
    shutil.rmtree(tmp_path / "cache")
    real = Path.open

    def full(path, *arguments, **options):
        if path.suffix == ".jsonl":
            raise OSError(28, "No space left on device")
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", full)
    assert len(open("brats2020", folder).cases) == CASES
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.parametrize("damage", [lambda whole: whole[:50], lambda whole: whole[:-9], lambda _: b"\n[1\n\0\0\xff"])
def test_what_a_killed_process_left_half_noted_is_read_again(damaged, monkeypatch, tmp_path, damage):
    monkeypatch.setenv("RARESEG_CACHE", str(tmp_path / "cache"))
    folder, _ = damaged("brats2020")
    store = next((tmp_path / "cache" / "facts").iterdir())
    store.write_bytes(damage(store.read_bytes()))
    assert len(open("brats2020", folder).cases) == CASES
    monkeypatch.setattr(volumes, "values", lambda _: pytest.fail("all was noted again"))
    assert len(open("brats2020", folder).cases) == CASES


def written(pixels, ending):
    stream = io.BytesIO()
    if ending in volumes.SUFFIXES:
        import nibabel

        content = nibabel.Nifti1Image(pixels.astype(np.int16), np.eye(4)).to_bytes()
        return gzip.compress(content, mtime=0) if ending == ".nii.gz" else content
    Image.fromarray(pixels[..., 0]).save(stream, {"jpg": "jpeg", "tif": "tiff"}.get(ending[1:], ending[1:]))
    return stream.getvalue()


def mutated(content, dice):
    """Overwrite, insert, delete or double a few bytes, mostly near the start, where headers are."""
    for _ in range(dice.randint(1, 6)):
        place = int(len(content) * dice.random() ** 2)
        few = dice.randbytes(dice.choice((1, 2, 4)))
        content = dice.choice((
            content[:place] + few + content[place + len(few) :],
            content[:place] + few + content[place:],
            content[:place] + content[place + len(few) :],
            content[: place + 40] + content[place:],
        ))  # fmt: skip
    return content


class Grown:
    """Bytes by which this process grew at most since the last `begin`, everything that decoders hold included."""

    def begin(self):
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to what is held now
        self.base = self.high_water()

    def high_water(self):
        status = Path("/proc/self/status").read_text()
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])

    def most(self):
        return self.high_water() - self.base


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the high-water mark is told by Linux alone")
@pytest.mark.parametrize("ending", [".png", ".jpg", ".gif", ".tif", ".bmp", ".nii", ".nii.gz"])
def test_mutated_files_are_read_or_refused_by_name_soon_and_in_little_memory(tmp_path, ending):
    pixels = np.random.default_rng(1).integers(0, 256, (24, 30, 4), np.uint8)
    content, dice, path = written(pixels, ending), random.Random(ending), tmp_path / f"a{ending}"
    refusals, grown, slowest = [], Grown(), 0.0
    grown.begin()
    for _ in range(MUTATIONS):
        path.write_bytes(mutated(content, dice))
        began = time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a decoder that warns goes on
                volumes.read(volumes.header(path)) if ".nii" in ending else files.picture(path)
        except DataError as error:
            refusals.append(str(error))
        slowest = max(slowest, time.process_time() - began)
    assert slowest < 2
    assert grown.most() < 500 * 10**6
    assert len(refusals) > MUTATIONS / 6
    causes = [sentence.removeprefix(f"{path}: ") for sentence in refusals]
    assert all(cause != sentence and len(cause) > 20 for cause, sentence in zip(causes, refusals, strict=True))
    assert not [cause for cause in causes if "\n" in cause or "()" in cause]


def test_a_reader_that_hoards_memory_would_be_noticed():
    grown = Grown()
    grown.begin()
    hoard = np.ones(60 * 10**6, np.uint8)
    assert grown.most() > 50 * 10**6
    assert hoard.all()
