"""Layouts and traps: what the readers cope with and what they refuse, tried on phantoms."""

import gzip
import os
import re
import shutil
import struct
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from rareseg.datasets import DataError, brats2020, cvc_clinicdb, isic2018, make_phantoms, names, open, source, volumes
from rareseg.datasets.files import grey
from rareseg.datasets.listing import natural

SMALL = {"cases": 4, "size": 32}
KEEP_EMPTY = {"brats2020": {"corrections": None}}  # the reader drops cases without foreground otherwise


def made(tmp_path, key, *traps):
    return make_phantoms(key, tmp_path / key, **SMALL, traps=traps)


@pytest.mark.parametrize("key", names())
def test_a_clean_set_opens_and_has_no_fault(tmp_path, key):
    dataset = open(key, made(tmp_path, key))
    assert len(dataset.cases) == 4
    assert len({case.id for case in dataset.cases}) == 4
    for case in dataset.cases:
        image, label = case.read_image(), case.read_label()
        assert label.dtype == np.uint8
        assert image.shape == (*label.shape, dataset.channels)
        assert case.shape == label.shape
        assert set(np.unique(label)) == set(range(len(dataset.classes)))
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
    ("cvc_clinicdb", "grey_tagged_tiff"),
    ("cvc_clinicdb", "low_grey_in_masks"),
    ("cvc_clinicdb", "png_copy"),
    ("cvc_clinicdb", "rgb_masks"),
    ("cvc_clinicdb", "jpeg_copy"),
    ("bus2017", "rgb_images"),
    ("bus2017", "masks_0_1"),
    ("bus2017", "one_bit_masks"),
    ("bus2017", "lower_case_gt"),
    ("brats2020", "misnamed_355"),
    ("brats2020", "nii_and_gz"),
    ("brats2020", "float_labels"),
    ("brats2020", "no_enhancing"),
    ("kits19", "uint16_labels"),
    ("kits19", "wide_160"),
    ("kits19", "no_images"),
    ("kits19", "old_61"),
]


@pytest.mark.parametrize(("key", "trap"), COPED)
def test_the_reader_copes_with_a_trap(tmp_path, key, trap):
    report = open(key, made(tmp_path, key, trap), **KEEP_EMPTY.get(key, {})).report()
    assert len(report.checks) == 4
    assert report.faults == ()


WARNED = [
    *[(key, "empty_mask", r"cases without foreground: 1 \(") for key in names()],
    ("isic2018", "grey_edges", r"% of a mask's pixels are grey; cut at 128"),
    ("isic2018", "full_mask", "the label fills the frame"),
    ("dsb2018", "overlap", r"masks share \d+ pixels; the label is their union"),
    ("cvc_clinicdb", "low_grey_in_masks", r"% of a mask's pixels are grey; cut at 128"),
    ("cvc_clinicdb", "jpeg_copy", r"% of a mask's pixels are grey; cut at 128"),
    ("kits19", "old_61", r"case_00061: \d+ slices, expected 29: this is the release before April 2019"),
]


NOTED = [
    ("brats2020", "misnamed_355", r"labels whose file has another name, .*: 1 \(BraTS20_Training_004\)"),
    ("brats2020", "no_enhancing", r"left out: BraTS20_Training_004: no enhancing tumour \(label 4\)"),
    ("kits19", "no_images", r"cases without image: 4 \(case_00000, .*get_imaging"),
    ("kits19", "excluded_cases", r"left out: case_00015: left out by the paper for its label"),
]


@pytest.mark.parametrize(("key", "trap", "sentence"), NOTED)
def test_the_report_notes_what_is_special(tmp_path, key, trap, sentence):
    assert re.search(sentence, str(open(key, made(tmp_path, key, trap)).report()))


@pytest.mark.parametrize(("key", "trap", "sentence"), WARNED)
def test_the_report_warns_of_what_is_odd(tmp_path, key, trap, sentence):
    warnings = open(key, made(tmp_path, key, trap), **KEEP_EMPTY.get(key, {})).report().warnings
    assert any(re.search(sentence, warning) for warning in warnings), warnings


REFUSED_AT_ONCE = [
    ("isic2018", "missing_partner", r"cases without mask: 1 \(ISIC_0000000\)"),
    ("dsb2018", "missing_partner", r"cases without mask: 1 \("),
    ("dsb2018", "no_masks_folder", r"cases without mask: 1 \("),
    ("drive", "missing_partner", r"cases without test/1st_manual: 1 \(01\)"),
    ("cvc_clinicdb", "missing_partner", r"cases without mask: 1 \(\d+\)"),
    ("bus2017", "missing_partner", r"cases without mask: 1 \(000001\)"),
    ("brats2020", "missing_partner", r"cases without seg: 1 \(BraTS20_Training_001\)"),
    ("brats2020", "missing_t1ce", r"cases without t1ce: 1 \(BraTS20_Training_001\)"),
    ("brats2020", "label_3", r"cases with label 3: 4 \(.*set `enhancing_label: 3`"),
    ("kits19", "missing_partner", r"cases without segmentation: 1 \(case_00000\)"),
]


@pytest.mark.parametrize(("key", "trap", "sentence"), REFUSED_AT_ONCE)
def test_a_missing_partner_is_refused_before_a_pixel_is_read(tmp_path, key, trap, sentence):
    folder = made(tmp_path, key, trap)
    with pytest.raises(DataError, match=sentence) as fault:
        open(key, folder)
    assert str(folder) in str(fault.value)


REFUSED_WHEN_READ = [
    ("truncated_file", "read_image", r"cannot be read \(.+\)\. Get the file again"),
    ("size_mismatch", "read_label", r"\d+ x \d+.*, but its image .+ is \d+ x \d+.*\. Correct"),
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
    open(key, folder)  # BraTS 2020 reads its labels once
    monkeypatch.setattr("rareseg.datasets.files._opened", None)
    monkeypatch.setattr("rareseg.datasets.volumes.header", None)
    assert len(open(key, folder).cases) == 4


@pytest.mark.parametrize("key", names())
def test_a_wrong_folder_is_told_the_right_one(tmp_path, key):
    folder = made(tmp_path, key)
    inner = next(path for path in folder.iterdir() if path.is_dir())
    with pytest.raises(DataError, match=f"1 level too high. Give {folder} instead"):
        open(key, tmp_path)
    with pytest.raises(DataError, match=f"1 level too low. Give {folder} instead"):
        open(key, inner)
    with pytest.raises(DataError, match=r"there is no folder .* comes from .*https://"):
        open(key, tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match=f"lacks .* put it under <data>/{key}/"):
        open(key, tmp_path / "bare")


RENAMING = "rename it to drive, or link to it by that name, and "


@pytest.mark.parametrize(("name", "renaming"), [("drive", ""), ("eyes", RENAMING)])
def test_data_one_level_higher_are_offered_in_a_way_that_works(tmp_path, name, renaming):
    folder = made(tmp_path, "drive").rename(tmp_path / name)
    with pytest.raises(
        DataError, match=rf"But {folder} has its layout: give that, or {renaming}give --data {tmp_path}\.$"
    ):
        open("drive", folder / "drive")


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
    with pytest.raises(DataError, match=r"/ISIC_0000001\.jpeg and .* both stand for ISIC_0000001"):
        open("isic2018", folder)


def test_a_picture_that_is_not_named_as_its_folder_is_refused(tmp_path):
    folder = made(tmp_path, "dsb2018")
    image = next(folder.glob("stage1_train/*/images/*.png"))
    image.rename(image.with_name("other.png"))
    with pytest.raises(DataError, match=r"one file of the same name, and does not: 1"):
        open("dsb2018", folder)


def test_digits_that_are_no_number_sort_as_letters():
    assert sorted(["scan10²", "scan9²", "scan²"], key=natural) == ["scan9²", "scan10²", "scan²"]


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


def test_frames_of_a_sequence_are_a_group(tmp_path):
    cases = open("cvc_clinicdb", make_phantoms("cvc_clinicdb", tmp_path / "cvc", cases=14, size=32)).cases
    sequences = [cvc_clinicdb.sequence(int(case.id)) for case in cases]
    assert [case.info["sequence"] for case in cases] == sequences
    assert sorted(Counter(case.group for case in cases).values()) == [2, 6, 6]


@pytest.mark.parametrize(
    ("frame", "expected"), [(1, 1), (25, 1), (26, 2), (205, 10), (206, 11), (297, 14), (298, 15), (591, 28), (612, 29)]
)
def test_borders_of_sequences(frame, expected):
    assert cvc_clinicdb.sequence(frame) == expected


def test_a_frame_that_is_no_number_is_refused(tmp_path):
    folder = made(tmp_path, "cvc_clinicdb")
    for name in (cvc_clinicdb.IMAGES, cvc_clinicdb.MASKS):
        first = min((folder / name).iterdir())
        first.rename(first.with_name("613.tif"))
    with pytest.raises(DataError, match=r"no number from 1 to 612: 1 \(613\)"):
        open("cvc_clinicdb", folder)


def test_low_grey_beside_a_polyp_is_background(tmp_path):
    plain, grey_ = (
        open("cvc_clinicdb", made(tmp_path / name, "cvc_clinicdb", *traps)).cases[0]
        for name, traps in (("plain", ()), ("grey", ("low_grey_in_masks",)))
    )
    np.testing.assert_array_equal(plain.read_label(), grey_.read_label())
    assert (grey(grey_.labels[0]) > 0).sum() > plain.read_label().sum()


DIAGNOSES = [
    pytest.param(
        "number,type\n000001,Benign\n2,malignant\n",
        [{"diagnosis": "benign"}, {"diagnosis": "malignant"}, {}, {}],
        id="table",
    ),
    pytest.param("1;benign\n2;malignant\n", [{"diagnosis": "benign"}, {"diagnosis": "malignant"}, {}, {}], id="Excel"),
    pytest.param("1\tbenign\n\n3\tbenign\n", [{"diagnosis": "benign"}, {}, {"diagnosis": "benign"}, {}], id="tabs"),
    pytest.param("", [{}, {}, {}, {}], id="empty table"),
    pytest.param("1,B\n2,M\n", [{}, {}, {}, {}], id="other words"),
]


@pytest.mark.parametrize(("table", "expected"), DIAGNOSES)
def test_diagnoses_come_from_the_table(tmp_path, table, expected):
    folder = made(tmp_path, "bus2017")
    (folder / "DatasetB.csv").write_text(table)
    dataset = open("bus2017", folder)
    assert [dict(case.info) for case in dataset.cases] == expected
    silent = "DatasetB.csv gives no diagnosis; expected a number and benign or malignant in each line"
    assert dataset.remarks == (() if any(expected) else (silent,))


def test_diagnoses_come_from_folders(tmp_path):
    folder = made(tmp_path, "bus2017")
    (folder / "original" / "malignant").mkdir()
    image = folder / "original" / "000002.png"
    image.rename(folder / "original" / "malignant" / image.name)
    assert [case.info.get("diagnosis") for case in open("bus2017", folder).cases] == [None, "malignant", None, None]


def test_a_table_that_is_not_read_is_mentioned(tmp_path):
    folder = made(tmp_path, "bus2017")
    (folder / "DatasetB.xlsx").write_bytes(b"PK")
    assert "DatasetB.xlsx is not read; save it as DatasetB.csv" in str(open("bus2017", folder).report())


def test_ultrasound_below_bus_is_found(tmp_path):
    folder = made(tmp_path, "bus2017")
    (tmp_path / "deep").mkdir()
    folder.rename(tmp_path / "deep" / "BUS")
    assert len(open("bus2017", tmp_path / "deep").cases) == 4


def test_a_coloured_ultrasound_is_refused(tmp_path):
    folder = made(tmp_path, "bus2017", "rgb_images")
    case = open("bus2017", folder).cases[0]
    assert case.read_image().shape[2] == 1  # one coloured pixel is a measuring mark
    pixels = np.repeat(case.read_image(), 3, axis=2)
    pixels[: len(pixels) // 20] = 255, 0, 0
    Image.fromarray(pixels).save(case.image)
    with pytest.raises(DataError, match=r"a coloured picture \([\d.]+% of its pixels\)"):
        case.read_image()


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


def test_an_empty_field_of_view_is_refused(tmp_path):
    folder = made(tmp_path, "drive")
    case = open("drive", folder).cases[0]
    Image.fromarray(np.zeros(case.shape, np.uint8)).save(case.fov)
    report = open("drive", folder).report()
    assert report.faults == (f"{case.fov}: the field of view is empty, expected where the eye is. Get the file again.",)
    assert not np.isnan(report.mean_inside())


@pytest.mark.parametrize("observer", [0, 3, "2"])
def test_there_are_two_observers(tmp_path, observer):
    case = open("drive", made(tmp_path, "drive")).cases[0]
    with pytest.raises(ValueError, match=rf"case {case.id}: observer must be 1 or 2, got {observer!r}"):
        case.read_label(observer=observer)


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


@pytest.mark.parametrize("key", names())
def test_an_excluded_case_may_lack_its_label(tmp_path, key):
    folder = made(tmp_path, key)
    first, *others = open(key, folder).cases
    for path in first.labels:
        path.unlink()
    dataset = open(key, folder, exclude=[first.id])
    assert [case.id for case in dataset.cases] == [case.id for case in others]
    assert dataset.left_out == {first.id: "listed under `exclude`"}


def test_an_excluded_case_may_hold_a_label_of_newer_releases(tmp_path):
    folder = made(tmp_path, "brats2020")
    head = open("brats2020", folder).cases[0].label_header
    volumes.write(head.path, volumes.read(head) // 4 * 3, head.affine)
    with pytest.raises(DataError, match=r"cases with label 3: 1 \(BraTS20_Training_001\)"):
        open("brats2020", folder)
    assert len(open("brats2020", folder, exclude=["BraTS20_Training_001"]).cases) == 3


def test_two_files_of_a_folder_are_named_with_it(tmp_path):
    folder = made(tmp_path, "kits19")
    path = folder / "data" / "case_00001" / "imaging.nii.gz"
    path.with_suffix("").write_bytes(path.read_bytes())
    with pytest.raises(DataError, match=r"case_00001/imaging\.nii and case_00001/imaging\.nii\.gz both stand for imag"):
        open("kits19", folder)
    with pytest.raises(DataError, match=r"names cases that are not in .*: 1 \(segmentation\)"):
        open("kits19", made(tmp_path / "whole", "kits19"), exclude=["segmentation"])


def test_options_and_keys_that_do_not_exist_are_refused(tmp_path):
    folder = made(tmp_path, "isic2018")
    with pytest.raises(ValueError, match="isic2018 has no option corrections; it has exclude"):
        open("isic2018", folder, corrections="drop_bad")
    with pytest.raises(ValueError, match="unknown data set 'isic'; known are isic2018"):
        open("isic", folder)
    with pytest.raises(ValueError, match="corrections must be drop_bad"):
        open("dsb2018", made(tmp_path, "dsb2018"), corrections="all")
    for key, word in (("brats2020", "drop_empty"), ("kits19", "drop_bad")):
        with pytest.raises(ValueError, match=f"corrections must be {word} or absent, got 'all'"):
            open(key, made(tmp_path, key), corrections="all")
    with pytest.raises(ValueError, match="enhancing_label must be 4 or 3, got 2"):
        open("brats2020", tmp_path / "brats2020", enhancing_label=2)


@pytest.mark.parametrize("key", names())
def test_source_tells_where_under_which_terms_and_how_to_store(key):
    for part in ("https://", "terms: ", f"put it under <data>/{key}/ as "):
        assert part in source(key)


def test_labels_of_newer_releases_are_read_where_the_user_says_so(tmp_path):
    folder = made(tmp_path, "brats2020", "label_3")
    plain = made(tmp_path / "plain", "brats2020")
    newer, older = open("brats2020", folder, enhancing_label=3).cases, open("brats2020", plain).cases
    for new, old in zip(newer, older, strict=True):
        np.testing.assert_array_equal(new.read_label(), old.read_label())
    with pytest.raises(
        DataError, match=r"found label 3 in \d+ voxels, known are 0, 1, 2, 4\. Correct .*\. Label 3 stands"
    ):
        open("brats2020", folder, corrections=None).cases[0].read_label()


def test_what_labels_hold_is_read_once(tmp_path, monkeypatch):
    folder = made(tmp_path, "brats2020", "no_enhancing")
    read = []
    monkeypatch.setattr(volumes, "values", lambda head, real=volumes.values: read.append(head) or real(head))
    assert [len(open("brats2020", folder).cases) for _ in range(3)] == [3, 3, 3]
    assert len(read) == 4
    os.utime(next(folder.rglob("*_seg.nii.gz")), (0, 0))
    open("brats2020", folder)
    assert len(read) == 5


def test_a_complete_set_with_another_number_of_empty_labels_is_noted(tmp_path, monkeypatch):
    monkeypatch.setattr(brats2020, "CASES", 4)
    folder = made(tmp_path, "brats2020", "no_enhancing")
    assert "1 of 4 scans have no enhancing tumour, expected 27" in open("brats2020", folder).remarks


@pytest.mark.parametrize("name", ["seg", "t1ce", "flair"])
def test_unpacked_and_packed_files_that_differ_are_refused_where_they_are_read(tmp_path, name):
    folder = made(tmp_path, "brats2020")
    packed = next(folder.rglob(f"*_001_{name}.nii.gz"))
    content = bytearray(gzip.decompress(packed.read_bytes()))
    content[-1] ^= 1
    packed.with_suffix("").write_bytes(content)
    if name == "flair":
        assert len(open("brats2020", folder).cases) == 4
    else:
        with pytest.raises(DataError, match=rf"BraTS20_Training_001_{name}\.nii and .*_{name}\.nii\.gz differ"):
            open("brats2020", folder)


def test_unpacked_and_packed_files_are_compared_once(tmp_path, monkeypatch):
    folder = made(tmp_path, "brats2020", "nii_and_gz")
    open("brats2020", folder, corrections=None)
    monkeypatch.setattr(volumes, "digest", lambda _: pytest.fail("a file was unpacked again"))
    assert len(open("brats2020", folder, corrections=None).cases) == 4


def test_validation_and_empty_folders_are_noted(tmp_path):
    folder = made(tmp_path, "brats2020")
    for name in ("BraTS20_Validation_001", "BraTS20_Training_300"):
        (folder / brats2020.FOLDER / name).mkdir()
    next(folder.rglob("*_002_flair.nii.gz")).unlink()
    remarks = " ".join(open("brats2020", folder).remarks)
    assert "no labels: 1 (BraTS20_Validation_001)" in remarks
    assert "empty folders: 1 (BraTS20_Training_300)" in remarks
    assert "cases without flair, which is not read: 1 (BraTS20_Training_002)" in remarks


def test_brains_are_slices_first_and_written_back_on_their_own_grid(tmp_path):
    case = open("brats2020", made(tmp_path, "brats2020")).cases[0]
    assert case.image_header.shape == (32, 32, 21)
    assert case.read_image().shape == (21, 32, 32, 1)
    case.write_label(tmp_path / "again.nii.gz", case.read_label())
    again = volumes.header(tmp_path / "again.nii.gz")
    np.testing.assert_array_equal(again.affine, case.affine)
    np.testing.assert_array_equal(volumes.read(again), volumes.read(case.label_header) == 4)
    with pytest.raises(ValueError, match="both must agree"):
        case.write_label(tmp_path / "no.nii", case.read_label()[1:])


def test_kidneys_have_the_spacing_of_their_slices_first(tmp_path):
    for case in open("kits19", made(tmp_path, "kits19")).cases:
        assert case.spacing[0] in (0.5, 1, 2, 3, 5)
        assert case.spacing[1] == case.spacing[2] < 1.05
        assert case.shape == case.image_header.shape


def test_the_image_of_a_case_that_was_not_fetched_says_how_to_get_it(tmp_path):
    dataset = open("kits19", made(tmp_path, "kits19", "no_images"))
    with pytest.raises(DataError, match=r"case_00000.*imaging\.nii\.gz has no image.*get_imaging"):
        dataset.cases[0].read_image()
    assert "types: no image: 4" in str(dataset.report())
    assert all(path.is_file() for case in dataset.cases for path in case.files)


def test_official_test_cases_without_labels_are_left_out(tmp_path):
    folder = made(tmp_path, "kits19")
    (folder / "data/case_00003").rename(folder / "data/case_00210")
    (folder / "data/case_00210/segmentation.nii.gz").unlink()
    assert dict(open("kits19", folder).left_out) == {"case_00210": "official test case, without label"}


def test_excluded_cases_are_kept_on_request(tmp_path):
    folder = made(tmp_path, "kits19", "excluded_cases")
    assert [len(open("kits19", folder, corrections=choice).cases) for choice in ("drop_bad", None)] == [3, 4]


def test_affines_that_differ_are_a_warning(tmp_path):
    case = open("kits19", made(tmp_path, "kits19")).cases[0]
    affine = case.affine.copy()
    affine[0, 3] += 0.5
    volumes.write(case.labels[0], volumes.read(case.label_header), affine)
    content = bytearray(gzip.decompress(case.image.read_bytes()))
    struct.pack_into("<8f", content, 280, *(case.affine[:2] / 1000).ravel())
    struct.pack_into("<4f", content, 312, *(case.affine[2] / 1000))
    content[123] = content[123] & ~7 | 1  # the image in metres, the label in millimetres
    case.image.write_bytes(gzip.compress(content))
    report = open("kits19", tmp_path / "kits19").report()
    assert report.warnings == (
        "case_00000: the affines of image and label differ by up to 0.5 mm; voxels are paired by their index",
    )
