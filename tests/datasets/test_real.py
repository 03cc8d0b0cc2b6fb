"""Numbers that the readers must give for the real subsets, computed independently; to 0.01 percentage points."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from rareseg.datasets import open


def percent(values):
    return pytest.approx(values, abs=0.01)


@pytest.fixture
def checked(real_data):
    return lambda key: open(key, real_data(key)).report()


def shares(report):
    return {check.case.id: 100 * check.share(1) for check in report.checks}


def test_isic2018(checked):
    report = checked("isic2018")
    sizes = {check.case.id[-7:]: check.shape[:2] for check in report.checks}
    assert report.faults == ()
    assert len(report.checks) == 10
    assert 100 * report.mean_share() == percent(23.1244)
    assert sizes["0000000"] == (767, 1022)
    assert sizes["0012388"] == (2000, 3008)
    assert sizes["0014600"] == (1936, 2592)
    expected = {"0000000": 46.9732, "0012388": 40.1290, "0013948": 24.1758, "0014600": 4.5794}
    assert {number: shares(report)[f"ISIC_{number}"] for number in expected} == percent(expected)


def test_dsb2018(checked):
    report = checked("dsb2018")
    assert report.faults == ()
    assert len(report.checks) == 68
    assert sum(check.case.info["objects"] for check in report.checks) == 2037
    assert 100 * report.mean_share() == percent(12.1705)
    assert 100 * report.pooled_share() == percent(10.1624)
    assert Counter(check.kind for check in report.checks) == {
        "grey, dark": 54,
        "colour, bright": 12,
        "grey, bright": 2,
    }
    assert Counter(check.shape[:2] for check in report.checks) == {
        (256, 256): 30,
        (256, 320): 14,
        (360, 360): 10,
        (520, 696): 5,
        (512, 640): 3,
        (260, 347): 2,
        (1024, 1024): 2,
        (603, 1272): 1,
        (1040, 1388): 1,
    }
    expected = {  # first digits of the id: nuclei, share in percent
        "0a7d30b2": (27, 13.8092),
        "12aeefb1": (124, 14.0805),
        "19f0653c": (70, 19.2806),
        "220b37f4": (1, 0.2551),
        "7b38c917": (1, 0.0288),
        "adc315bd": (5, 9.2199),
        "f4c4db3d": (68, 1.0489),
        "4e07a653": (136, 1.8303),
    }
    found = {c.case.id[:8]: (c.case.info["objects"], 100 * c.share(1)) for c in report.checks}
    for start, (objects, share) in expected.items():
        assert found[start] == (objects, percent(share))


def test_dsb2018_without_what_a_public_correction_removed(real_data):
    dataset = open("dsb2018", real_data("dsb2018"), corrections="drop_bad")
    assert len(dataset.cases) == 68 - len(dataset.left_out)
    assert {identity[:8] for identity in dataset.left_out} >= {"12aeefb1", "19f0653c", "7b38c917", "adc315bd"}


HALVES = [
    pytest.param("training", 8.6316, 12.5391, id="training"),
    pytest.param("test", 8.7578, 12.7302, id="test"),
]


@pytest.mark.parametrize(("part", "frame", "inside"), HALVES)
def test_drive_halves(real_data, part, frame, inside):
    cases = [case for case in open("drive", real_data("drive")).cases if case.part == part]
    labels, masks = [case.read_label() for case in cases], [case.read_mask() for case in cases]
    assert len(cases) == 20
    assert 100 * np.mean([label.mean() for label in labels]) == percent(frame)
    found = [label[mask].mean() for label, mask in zip(labels, masks, strict=True)]
    assert 100 * np.mean(found) == percent(inside)
    if part == "training":
        assert 100 * np.mean([mask.mean() for mask in masks]) == percent(68.8115)
    else:
        assert 100 * np.mean([case.read_label(observer=2).mean() for case in cases]) == percent(8.4336)


def test_drive(checked):
    report = checked("drive")
    assert report.faults == report.warnings == ()
    assert report.dataset.state == "complete"
    assert 100 * report.mean_share() == percent(8.6947)
    assert 100 * report.mean_inside() == percent(12.6347)
    assert {check.shape for check in report.checks} == {(584, 565, 3)}
    assert [case.id for case in report.dataset.cases] == [f"{number:02d}" for number in range(1, 41)]


def test_cvc_clinicdb(checked):
    report = checked("cvc_clinicdb")
    assert report.faults == ()
    assert len(report.checks) == 16
    assert {check.case.group for check in report.checks} == {"sequence 01"}
    assert {check.shape for check in report.checks} == {(288, 384, 3)}
    assert 100 * report.mean_share() == percent(18.2509)
    found = shares(report)
    assert (found["1"], found["2"], found["16"]) == percent((15.3519, 18.5655, 7.1370))
    grey = [int(warning.split(":")[0]) for warning in report.warnings if "cut at 128" in warning]
    assert grey == [1, 2, 3, 4, 5, 8, 9, 14, 15]


def test_the_official_frame_is_tagged_grey_and_read_in_colour(real_data):
    """Pillow refuses it, OpenCV gives the first channel three times."""
    case = open("cvc_clinicdb", real_data("cvc_clinicdb")).cases[0]
    with pytest.raises(UnidentifiedImageError):
        Image.open(case.image)
    image = case.read_image()
    assert image.shape == (288, 384, 3)
    assert np.ptp(image, axis=2).mean() > 30


VOXELS = {  # of class 0, 1 and 2
    "case_00015": (19377949, 271289, 11562),
    "case_00021": (9850745, 103734, 6993),
    "case_00039": (23446727, 142581, 3652),
    "case_00061": (7453957, 124943, 23276),
    "case_00160": (100379621, 2071347, 252136),
}


def test_kits19_labels(real_data):
    dataset = open("kits19", real_data("kits19"), corrections=None)
    report = dataset.report()
    assert report.faults == report.warnings == ()
    assert {check.case.id: tuple(check.counts) for check in report.checks} == VOXELS
    stored = {case.id: case.label_header for case in dataset.cases}
    assert [name for name, head in stored.items() if head.dtype == np.uint16] == ["case_00015", "case_00039"]
    assert dataset.cases[-1].shape == (252, 512, 796)
    assert dataset.cases[-1].spacing == pytest.approx((1, 0.451, 0.451), abs=1e-3)
    assert "cases without image: 5" in str(report)
    assert [case.id for case in open("kits19", real_data("kits19")).cases] == [*VOXELS][1:]
