"""Layouts and traps: what the readers cope with and what they refuse, tried on phantoms."""

import re
import shutil

import numpy as np
import pytest

from rareseg.datasets import DataError, isic2018, make_phantoms, names, open, source
from rareseg.datasets.files import grey

SMALL = {"cases": 4, "size": 32}


def made(tmp_path, key, *traps):
    return make_phantoms(key, tmp_path / key, **SMALL, traps=traps)


@pytest.mark.parametrize("key", names())
def test_a_clean_set_opens_and_has_no_fault(tmp_path, key):
    dataset = open(key, made(tmp_path, key))
    assert len(dataset.cases) == 4
    assert len({case.id for case in dataset.cases}) == 4
    for case in dataset.cases:
        image, label = case.read_image(), case.read_label()
        assert image.dtype == label.dtype == np.uint8
        assert image.shape == (*label.shape, dataset.channels)
        assert set(np.unique(label)) == {0, 1}
        assert all(path.is_file() for path in case.files)
    report = dataset.report()
    assert report.faults == ()
    assert "phantom, 4 of" in str(report)


COPED = [(key, trap) for key in names() for trap in ("gap_in_numbers", "hidden_files", "empty_mask")] + [
    ("isic2018", "suffix_case"),
    ("isic2018", "grey_edges"),
    ("isic2018", "portrait"),
    ("isic2018", "full_mask"),
    ("dsb2018", "rgb_instead_of_rgba"),
    ("dsb2018", "tiny_mask"),
    ("dsb2018", "overlap"),
    ("drive", "palette_manuals"),
    ("drive", "one_bit_masks"),
    ("drive", "manual_as_png"),
]


@pytest.mark.parametrize(("key", "trap"), COPED)
def test_the_reader_copes_with_a_trap(tmp_path, key, trap):
    report = open(key, made(tmp_path, key, trap)).report()
    assert len(report.checks) == 4
    assert report.faults == ()


WARNED = [
    *[(key, "empty_mask", r"cases without foreground: 1 \(") for key in names()],
    ("isic2018", "grey_edges", r"% of a mask's pixels are grey; cut at 128"),
    ("isic2018", "full_mask", "the label fills the frame"),
    ("dsb2018", "overlap", r"masks share \d+ pixels; the label is their union"),
]


@pytest.mark.parametrize(("key", "trap", "sentence"), WARNED)
def test_the_report_warns_of_what_is_odd(tmp_path, key, trap, sentence):
    warnings = open(key, made(tmp_path, key, trap)).report().warnings
    assert any(re.search(sentence, warning) for warning in warnings), warnings


REFUSED_AT_ONCE = [
    ("isic2018", "missing_partner", r"cases without mask: 1 \(ISIC_0000000\)"),
    ("dsb2018", "missing_partner", r"cases without mask: 1 \("),
    ("dsb2018", "no_masks_folder", r"cases without mask: 1 \("),
    ("drive", "missing_partner", r"cases without test/1st_manual: 1 \(01\)"),
]


@pytest.mark.parametrize(("key", "trap", "sentence"), REFUSED_AT_ONCE)
def test_a_missing_partner_is_refused_before_a_pixel_is_read(tmp_path, key, trap, sentence):
    folder = made(tmp_path, key, trap)
    with pytest.raises(DataError, match=sentence) as fault:
        open(key, folder)
    assert str(folder) in str(fault.value)


REFUSED_WHEN_READ = [
    ("truncated_file", "read_image", r"cannot be read \(.+\)\. Get the file again"),
    ("size_mismatch", "read_label", r"\d+ x \d+ \(rows x columns\), but its image .+ is \d+ x \d+\. Correct"),
]


@pytest.mark.parametrize("key", names())
@pytest.mark.parametrize(("trap", "method", "sentence"), REFUSED_WHEN_READ)
def test_bad_files_are_refused_when_read_and_collected_in_the_report(tmp_path, key, trap, method, sentence):
    dataset = open(key, made(tmp_path, key, trap))
    with pytest.raises(DataError, match=sentence):
        getattr(dataset.cases[0], method)()
    report = dataset.report()
    assert len(report.faults) == 1
    assert len(report.checks) == 3
    assert f"FAULT: {report.faults[0]}" in str(report)


@pytest.mark.parametrize("key", names())
def test_no_pixel_is_read_by_open(tmp_path, key, monkeypatch):
    folder = made(tmp_path, key)
    monkeypatch.setattr("rareseg.datasets.files.Image.open", None)
    assert len(open(key, folder).cases) == 4


@pytest.mark.parametrize("key", names())
def test_a_wrong_folder_is_told_the_right_one(tmp_path, key):
    folder = made(tmp_path, key)
    inner = next(path for path in folder.iterdir() if path.is_dir())
    with pytest.raises(DataError, match=f"1 level too high. Give {folder} instead"):
        open(key, tmp_path)
    with pytest.raises(DataError, match=f"1 level too low. Give {folder} instead"):
        open(key, inner)
    with pytest.raises(DataError, match=r"there is no folder .* comes from https://"):
        open(key, tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match=f"lacks .* put it under <data>/{key}/"):
        open(key, tmp_path / "bare")


@pytest.mark.parametrize("key", names())
def test_a_layout_without_cases_is_refused(tmp_path, key):
    folder = made(tmp_path, key)
    for path in folder.rglob("*.*"):
        path.unlink()
    for path in folder.glob("stage1_train/*"):
        shutil.rmtree(path)
    with pytest.raises(DataError, match="there is no case in"):
        open(key, folder)


def test_all_partners_that_lack_are_named_at_once(tmp_path):
    folder = make_phantoms("isic2018", tmp_path / "isic", cases=9, size=32)
    for path in sorted((folder / isic2018.MASKS).iterdir())[:7]:
        path.unlink()
    (folder / isic2018.IMAGES / "ISIC_0000008.jpg").unlink()
    first = "ISIC_0000000, ISIC_0000001, ISIC_0000002, ISIC_0000003, ISIC_0000004"
    with pytest.raises(
        DataError, match=rf"without mask: 7 \({first}, \.\.\.\); cases without image: 1 \(ISIC_0000008\)"
    ):
        open("isic2018", folder)


def test_two_files_of_one_case_are_refused(tmp_path):
    folder = made(tmp_path, "isic2018")
    path = folder / isic2018.IMAGES / "ISIC_0000001.jpg"
    path.with_suffix(".jpeg").write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="are both case ISIC_0000001"):
        open("isic2018", folder)


def test_a_picture_that_is_not_named_as_its_folder_is_refused(tmp_path):
    folder = made(tmp_path, "dsb2018")
    image = next(folder.glob("stage1_train/*/images/*.png"))
    image.rename(image.with_name("other.png"))
    with pytest.raises(DataError, match=r"one file of the same name, and does not: 1"):
        open("dsb2018", folder)


def test_natural_order_puts_2_before_10(tmp_path):
    folder = make_phantoms("isic2018", tmp_path / "isic", cases=2, size=32)
    for kind in (isic2018.IMAGES, isic2018.MASKS):
        for number, name in ((0, "ISIC_10"), (1, "ISIC_2")):
            path = next((folder / kind).glob(f"ISIC_000000{number}*"))
            path.rename(path.with_name(path.name.replace(f"ISIC_000000{number}", name)))
    assert [case.id for case in open("isic2018", folder).cases] == ["ISIC_2", "ISIC_10"]


def test_official_isic_validation_stays_out_and_is_mentioned(tmp_path):
    folder = made(tmp_path, "isic2018")
    (folder / "ISIC2018_Task1_Validation_GroundTruth").mkdir()
    dataset = open("isic2018", folder)
    assert len(dataset.cases) == 4
    assert "not used, as in both papers: ISIC2018_Task1_Validation_GroundTruth" in str(dataset.report())


def test_portrait_is_not_turned_back(tmp_path):
    upright, *others = open("isic2018", made(tmp_path, "isic2018", "portrait")).cases
    assert upright.read_image().shape[0] > upright.read_image().shape[1]
    assert all(case.shape[0] < case.shape[1] for case in others)


def test_the_label_of_nuclei_is_the_union_of_their_masks(tmp_path):
    for case in open("dsb2018", made(tmp_path, "dsb2018")).cases:
        masks = [grey(path) > 0 for path in case.labels]
        assert case.info["objects"] == len(masks)
        np.testing.assert_array_equal(case.read_label(), np.any(masks, axis=0))


def test_newer_drive_has_twenty_labelled_cases_and_says_so(tmp_path):
    dataset = open("drive", made(tmp_path, "drive", "no_test_manuals"))
    assert [case.part for case in dataset.cases] == ["training", "training"]
    assert "test half has no labels" in str(dataset.report())


def test_drive_has_a_field_of_view_and_a_second_observer_in_the_test_half(tmp_path):
    for case in open("drive", made(tmp_path, "drive")).cases:
        mask = case.read_mask()
        assert mask.dtype == bool
        assert 0.6 < mask.mean() < 0.75
        if case.part == "test":
            assert (case.read_label() != case.read_label(observer=2)).any()
        else:
            with pytest.raises(DataError, match=f"case {case.id}: no label by observer 2"):
                case.read_label(observer=2)


def test_drive_orphans_are_refused(tmp_path):
    folder = made(tmp_path, "drive")
    (folder / "training/mask/21_training_mask.gif").unlink()
    (folder / "test/images/02_test.tif").unlink()
    with pytest.raises(DataError, match=r"without test/images: 1 \(02\); cases without training/mask: 1 \(21\)"):
        open("drive", folder)


def test_left_out_cases_are_reported_with_the_reason(tmp_path):
    folder = made(tmp_path, "isic2018")
    dataset = open("isic2018", folder, exclude=["ISIC_0000002"])
    assert [case.id[-1] for case in dataset.cases] == ["0", "1", "3"]
    assert "left out: ISIC_0000002: listed under `exclude`" in str(dataset.report())
    with pytest.raises(DataError, match=r"not in .*: 1 \(ISIC_7\)"):
        open("isic2018", folder, exclude=["ISIC_7"])


def test_options_and_keys_that_do_not_exist_are_refused(tmp_path):
    folder = made(tmp_path, "isic2018")
    with pytest.raises(ValueError, match="isic2018 has no option corrections; it has exclude"):
        open("isic2018", folder, corrections="drop_bad")
    with pytest.raises(ValueError, match="unknown data set 'isic'; known are isic2018"):
        open("isic", folder)
    with pytest.raises(ValueError, match="corrections must be drop_bad"):
        open("dsb2018", made(tmp_path, "dsb2018"), corrections="all")


@pytest.mark.parametrize("key", names())
def test_source_tells_where_under_which_terms_and_how_to_store(key):
    for part in ("https://", "terms: ", f"put it under <data>/{key}/ as "):
        assert part in source(key)
