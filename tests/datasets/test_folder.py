"""A user's own folder: every layout, format and way to number classes, and what is refused."""

import os
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from rareseg.datasets import DataError, open, split, volumes

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (20, 30, 3), np.uint8)
LABEL = (IMAGE[..., 0] > 180).astype(np.uint8)
VOLUME = RNG.integers(-50, 200, (12, 10, 8)).astype(np.int16)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(volumes.SUFFIXES):
        volumes.write(path, pixels, np.diag([-1.0, -1.0, 2.0, 1.0]))
    else:
        picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        picture.save(path, **options)


def side_by_side(root, ending, image, label):
    for number in (1, 2, 10):
        save(root / "Images" / f"case{number}{ending}", image[:number])
        save(root / "ground_truth" / f"case{number}_Mask{ending}", label[:number])


def by_part(root, ending, image, label):
    for part in ("train", "val", "test"):
        save(root / part / "images" / f"{part}{ending}", image[len(part) :])
        save(root / part / "labels" / f"{part}{ending}", label[len(part) :])


def folder_each(root, ending, image, label):
    for number, (first, second) in enumerate([("imaging", "segmentation"), ("image", "label"), ("p3_0000", "seg")]):
        save(root / f"p{number}" / f"{first}{ending}", image[number:])
        save(root / f"p{number}" / f"{second}{ending}", label[number:])


def nnunet(root, ending, image, label):
    for number in range(3):
        save(root / "imagesTr" / f"heart_{number:03d}_0000{ending}", image[number:])
        save(root / "labelsTr" / f"heart_{number:03d}{ending}", label[number:])


def table(root, ending, image, label):
    rows = ["id,image,label,group,split"]
    for number, part in enumerate(("train", "validation", "test")):
        save(root / "deep" / f"{number}{ending}", image[number:])
        save(root / "deep" / f"{number}-truth{ending}", label[number:])
        rows.append(f"p{number},deep/{number}{ending},deep/{number}-truth{ending},site {number % 2},{part}")
    (root / "list.csv").write_text("\n".join(rows))


LAYOUTS = [side_by_side, by_part, folder_each, nnunet, table]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("ending", [".png", ".tif", ".bmp", ".nii.gz", ".nii"])
def test_every_layout_opens_in_two_and_three_dimensions(tmp_path, layout, ending):
    image, label = (VOLUME, (VOLUME > 150).astype(np.uint8)) if ".nii" in ending else (IMAGE, LABEL)
    layout(tmp_path, ending, image, label)
    dataset = open("folder", tmp_path, csv="list.csv" if layout is table else None)
    assert dataset.state == "complete"
    assert dataset.classes == ("background", "foreground")
    for case in dataset.cases:
        assert case.read_image().shape == (*case.read_label().shape, dataset.channels)
        assert set(np.unique(case.read_label())) == {0, 1}
    report = dataset.report()
    assert len(report.checks) == 3
    assert report.faults == report.warnings == ()
    assert "own folder: complete, 3 cases in " in str(report)  # no paper says of how many


@pytest.mark.parametrize("white", [1, 255])
def test_labels_of_two_classes_may_be_stored_as_real_numbers(tmp_path, white):
    save(tmp_path / "images" / "a.nii.gz", VOLUME)
    save(tmp_path / "masks" / "a.nii.gz", (VOLUME > 150) * np.float32(white))
    dataset = open("folder", tmp_path)
    assert set(np.unique(dataset.cases[0].read_label())) == {0, 1}
    assert dataset.report().faults == ()


def test_an_empty_folder_among_those_of_the_cases_is_passed_over(tmp_path):
    folder_each(tmp_path, ".png", IMAGE, LABEL)
    (tmp_path / "notes").mkdir()
    assert len(open("folder", tmp_path).cases) == 3


def test_ids_parts_and_groups(tmp_path):
    side_by_side(tmp_path / "a", ".png", IMAGE, LABEL)
    assert [case.id for case in open("folder", tmp_path / "a").cases] == ["case1", "case2", "case10"]
    by_part(tmp_path / "b", ".png", IMAGE, LABEL)
    parts = split(open("folder", tmp_path / "b").cases, {"kind": "official"})
    assert {name: [case.id for case in cases] for name, cases in parts.items()} == {
        "train": ["train"],
        "validation": ["val"],
        "test": ["test"],
    }
    table(tmp_path / "c", ".png", IMAGE, LABEL)
    cases = open("folder", tmp_path / "c", csv="list.csv").cases
    assert [case.group for case in cases] == ["site 0", "site 1", "site 0"]
    assert [case.part for case in cases] == ["training", "validation", "test"]


def test_a_table_wins_over_everything_else(tmp_path):
    side_by_side(tmp_path, ".png", IMAGE, LABEL)
    table(tmp_path, ".png", IMAGE, LABEL)
    assert [case.id for case in open("folder", tmp_path, csv="list.csv").cases] == ["p0", "p1", "p2"]


def palette(indices, *colours):
    picture = Image.fromarray(np.asarray(indices, np.uint8), mode="P")
    picture.putpalette([value for colour in colours for value in colour])
    return picture


STORED = [  # values of the file, what the user says, classes that come out, names
    pytest.param([[0, 255]], None, [[0, 1]], 2, id="0/255"),
    pytest.param([[0, 1]], None, [[0, 1]], 2, id="0/1"),
    pytest.param([[0, 1, 2]], None, [[0, 1, 2]], 3, id="class numbers"),
    pytest.param([[0, 128, 255]], {0: 0, 128: 1, 255: 2}, [[0, 1, 2]], 3, id="values"),
    pytest.param([[0, 1, 2]], {0: 0, 1: 0, 2: 1}, [[0, 0, 1]], 2, id="two values for a class"),
    pytest.param([[0, 0]], None, [[0, 0]], 2, id="empty"),
    pytest.param([[255, 255]], None, [[1, 1]], 2, id="full"),
    pytest.param(Image.fromarray(np.array([[False, True]])), None, [[0, 1]], 2, id="one bit"),
    pytest.param(palette([[0, 1, 2]], (0, 0, 0), (255, 0, 0), (0, 9, 99)), None, [[0, 1, 2]], 3, id="colour palette"),
    pytest.param(palette([[0, 1]], (4, 2, 4), (255, 255, 255)), {4: 0, 255: 1}, [[0, 1]], 2, id="grey palette"),
    pytest.param(np.array([[0, 300]], np.uint16), {0: 0, 300: 1}, [[0, 1]], 2, id="16 bits"),
    pytest.param([[[0] * 3, [255] * 3]], None, [[0, 1]], 2, id="rgb"),
]


@pytest.mark.parametrize(("stored", "values", "expected", "classes"), STORED)
def test_classes_however_they_are_stored(tmp_path, stored, values, expected, classes):
    label = stored if not isinstance(stored, list) else np.array(stored, np.uint8)
    width = np.shape(expected)[1]
    save(tmp_path / "images" / "a.png", IMAGE[:1, :width])
    save(tmp_path / "masks" / "a.png", label)
    dataset = open("folder", tmp_path, values=values)
    assert dataset.cases[0].read_label().tolist() == expected
    assert len(dataset.classes) == classes
    report = dataset.report()
    assert report.faults == ()
    assert not any("grey" in warning or "share" in warning for warning in report.warnings)


IMAGES = [
    pytest.param(IMAGE[..., 0], np.uint8, 1, id="grey"),
    pytest.param(IMAGE[..., 0].astype(np.uint16) * 257, np.uint16, 1, id="16 bits"),
    pytest.param(IMAGE, np.uint8, 3, id="rgb"),
    pytest.param(np.dstack([IMAGE, np.full((20, 30), 255, np.uint8)]), np.uint8, 3, id="constant alpha"),
]


@pytest.mark.parametrize(("stored", "dtype", "channels"), IMAGES)
def test_images_keep_their_depth_and_channels(tmp_path, stored, dtype, channels):
    save(tmp_path / "images" / "a.png", stored)
    save(tmp_path / "masks" / "a.png", LABEL)
    dataset = open("folder", tmp_path)
    (case,) = dataset.cases
    image = case.read_image()
    assert case.spacing is case.affine is None
    assert (image.dtype, image.shape, dataset.channels) == (dtype, (20, 30, channels), channels)
    np.testing.assert_array_equal(image, np.reshape(stored, (20, 30, -1))[..., :channels])


def test_labels_as_jpeg_are_cut_and_noted(tmp_path):
    save(tmp_path / "images" / "a.png", IMAGE)
    blocks = np.kron(LABEL[:5, :6], np.ones((4, 5), np.uint8)) * 255
    save(tmp_path / "masks" / "a.jpg", blocks, quality=60)
    dataset = open("folder", tmp_path)
    assert "labels stored as JPEG, which blurs them, cut at 128: 1 (a)" in dataset.remarks
    assert np.mean(dataset.cases[0].read_label() != (blocks > 0)) < 0.02
    assert dataset.report().faults == ()


def test_the_same_image_twice_is_a_warning_with_the_pair(tmp_path):
    for name in "abc":
        save(tmp_path / "images" / f"{name}.png", IMAGE if name != "b" else IMAGE[::-1])
        save(tmp_path / "masks" / f"{name}.png", LABEL)
    assert open("folder", tmp_path).report().warnings == ("c: the image is that of a",)


def test_other_channels_of_nnunet_are_mentioned(tmp_path):
    nnunet(tmp_path, ".png", IMAGE, LABEL)
    save(tmp_path / "imagesTr" / "heart_000_0001.png", IMAGE)
    assert open("folder", tmp_path).remarks == ("channels other than _0000 are not read: 1 (heart_000_0001.png)",)


def test_a_part_without_labels_is_mentioned(tmp_path):
    by_part(tmp_path, ".png", IMAGE, LABEL)
    (tmp_path / "test" / "labels").rename(tmp_path / "test" / "later")
    dataset = open("folder", tmp_path)
    assert [case.part for case in dataset.cases] == ["training", "validation"]
    assert dataset.remarks == ("not used, as they have no labels: 1 (test/images)",)


EXCLUDED = [  # layout, file of the case that is spoilt, the case
    pytest.param(side_by_side, "ground_truth/case10_Mask.png", "case10", id="side by side"),
    pytest.param(by_part, "val/labels/val.png", "val", id="by part"),
    pytest.param(folder_each, "p1/label.png", "p1", id="folder each"),
    pytest.param(nnunet, "labelsTr/heart_001.png", "heart_001", id="nnunet"),
    pytest.param(table, "deep/1-truth.png", "p1", id="table"),
]


@pytest.mark.parametrize("spoil", ["stray value", "third class", "missing"])
@pytest.mark.parametrize(("layout", "name", "identity"), EXCLUDED)
def test_an_excluded_case_neither_blocks_nor_changes_the_others(tmp_path, layout, name, identity, spoil):
    layout(tmp_path, ".png", IMAGE, LABEL)
    options = {"csv": "list.csv"} if layout is table else {}
    kept = [case.id for case in open("folder", tmp_path, **options).cases if case.id != identity]
    if spoil == "missing":
        (tmp_path / name).unlink()
    else:
        save(tmp_path / name, np.full((20, 30), 7 if spoil == "stray value" else 2, np.uint8))
    dataset = open("folder", tmp_path, exclude=[identity], **options)
    assert [case.id for case in dataset.cases] == kept
    assert dataset.classes == ("background", "foreground")
    assert dataset.left_out == {identity: "listed under `exclude`"}


def test_a_label_of_an_excluded_image_is_no_orphan(tmp_path):
    pair(tmp_path)
    save(tmp_path / "images" / "b_seg.png", IMAGE)
    save(tmp_path / "masks" / "b_seg.png", LABEL)
    assert [case.id for case in open("folder", tmp_path, exclude=["b_seg"]).cases] == ["a"]


def test_two_folders_with_files_of_one_name_size_and_time_are_told_apart(tmp_path, monkeypatch):
    states = []
    for name in ("mine", "yours"):
        pair(tmp_path / name)
        for path in (tmp_path / name).rglob("*.png"):
            os.utime(path, ns=(1, 1))
        states.append(open("folder", tmp_path / name).cases[0].state())
    assert states[0] != states[1]
    monkeypatch.chdir(tmp_path)
    assert open("folder", "mine").cases[0].state() == states[0]


def test_a_link_that_leads_nowhere_is_a_file_that_cannot_be_read(tmp_path):
    pair(tmp_path)
    (tmp_path / "masks" / "a.png").unlink()
    (tmp_path / "masks" / "a.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"masks/a\.png: cannot be read \(no such file or directory\)\. Get the file"):
        open("folder", tmp_path)


def test_further_columns_are_facts_that_may_group(tmp_path):
    rows = ["id,image,label,split,patient,site"]
    for number in range(8):
        save(tmp_path / f"{number}.png", IMAGE[number:])
        save(tmp_path / f"{number}-t.png", LABEL[number:])
        rows.append(f"{number},{number}.png,{number}-t.png,,p{number // 2},s{number % 2}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    cases = open("folder", tmp_path, csv="list.csv").cases
    assert cases[3].info == {"patient": "p1", "site": "s1"}
    parts = split(cases, {"group_by": "patient", "fractions": [0.5, 0, 0.5]})
    sides = [{case.info["patient"] for case in parts[name]} for name in ("train", "test")]
    assert not sides[0] & sides[1]


LAYOUT_PLACES = [  # what is given, relative to the folder that holds a layout; which folder has to be given instead
    pytest.param(side_by_side, "..", "1 level too high", id="too high"),
    pytest.param(side_by_side, "Images", "1 level too low", id="images"),
    pytest.param(side_by_side, "ground_truth", "1 level too low", id="masks"),
    pytest.param(by_part, "train/images", "2 levels too low", id="images of a part"),
    pytest.param(nnunet, "labelsTr", "1 level too low", id="nnunet"),
    pytest.param(folder_each, "..", "1 level too high", id="folders too high"),
]


@pytest.mark.parametrize(("layout", "given", "level"), LAYOUT_PLACES)
def test_a_folder_one_level_off_is_told_the_right_one(tmp_path, layout, given, level):
    root = tmp_path / "mine"
    layout(root, ".png", IMAGE, LABEL)
    with pytest.raises(DataError, match=rf"the folder is {level}\. Give {root} instead\.$"):
        open("folder", (root / given).resolve())


def test_a_table_in_place_of_its_folder_is_told(tmp_path):
    table(tmp_path, ".png", IMAGE, LABEL)
    with pytest.raises(DataError, match=rf"list\.csv is a file.*Give {tmp_path} with `csv: list\.csv` instead"):
        open("folder", tmp_path / "list.csv")
    with pytest.raises(DataError, match=r"no folder .*Give the folder of your images and labels: expected images/"):
        open("folder", tmp_path / "nowhere")


def pair(root, label=LABEL):
    save(root / "images" / "a.png", IMAGE)
    save(root / "masks" / "a.png", label)


PAIR = {"images/a.png": IMAGE, "masks/a.png": LABEL}
THREE = LABEL + LABEL[::-1]
HALVES = (VOLUME > 0) * np.float32(0.5)

REFUSED = [  # what lies in the folder, what the message says
    pytest.param({}, r"there is no case in .*: expected images/ \+ masks/", id="empty"),
    pytest.param({"a.png": IMAGE}, r"there is no case in .*expected images/", id="loose files"),
    pytest.param({**PAIR, "images/b.png": IMAGE}, r"cases without label: 1 \(b\)", id="no label"),
    pytest.param({**PAIR, "masks/b_seg.png": LABEL}, r"cases without image: 1 \(b\)", id="no image"),
    pytest.param(
        {**PAIR, "masks/a_mask.png": LABEL}, r"masks/a\.png and masks/a_mask\.png both stand for a", id="two labels"
    ),
    pytest.param(
        {**PAIR, "images/b.nii": VOLUME, "masks/b.nii": VOLUME},
        r"are pictures and .* volumes; expected one",
        id="mixed",
    ),
    pytest.param(
        {**PAIR, "masks/a.png": LABEL * 7}, r"values 0, 7, expected 0 to 1.*add `values: \{0: 0, 7: 1\}`", id="values"
    ),
    pytest.param(
        {**PAIR, "masks/a.png": IMAGE[..., 0]}, r"hold \d+ values .*most .* in .*a\.png; expected whole", id="image"
    ),
    pytest.param(
        {"images/a.nii": VOLUME, "masks/a.nii": VOLUME / np.float32(300)},
        r"hold \d+ values .*expected whole",
        id="scan",
    ),
    pytest.param(
        {"images/a.nii": VOLUME, "masks/a.nii": np.sign(VOLUME)},
        r"3 values \(-1, 0, 1\).*expected whole numbers from 0 to 65535, .* Save the labels with class numbers\.$",
        id="negative",
    ),
    pytest.param(
        {"images/a.nii": VOLUME, "masks/a.nii": (VOLUME > 0) * np.int32(12345678)},
        r"2 values \(0, 12345678\).*expected whole numbers from 0 to 65535",
        id="large",
    ),
    pytest.param(
        {"images/a.nii": VOLUME, "masks/a.nii": HALVES}, r"2 values \(0, 0\.5\).*expected whole numbers", id="halves"
    ),
    pytest.param(
        {"images/a.png": IMAGE, "masks/a.png": THREE, "images/b.png": IMAGE, "masks/b.jpg": LABEL},
        r"labels stored as JPEG can hold two classes alone, found 0, 1, 2\.",
        id="jpeg of three classes",
    ),
    pytest.param(
        {"p/image.png": IMAGE, "p/other.png": IMAGE, "p/mask.png": LABEL},
        r"one image and one label, named as such, and do not: 1 \(p\)",
        id="two images",
    ),
    pytest.param({"p/mask.png": LABEL}, r"one image and one label.*1 \(p\)", id="label alone"),
    pytest.param({"imagesTr/a_0000.png": IMAGE}, r"cases without label in labelsTr: 1 \(a\)", id="nnunet label"),
    pytest.param({"labelsTr/b.png": LABEL}, r"cases without image in imagesTr: 1 \(b\)", id="nnunet image"),
    pytest.param(
        {f"{part}/{name}": pixels for part in ("train", "test") for name, pixels in PAIR.items()},
        r"ids that occur more than once: 1 \(a\)",
        id="id in two parts",
    ),
]


@pytest.mark.parametrize(("content", "sentence"), REFUSED)
def test_a_folder_that_is_not_clear_is_refused(tmp_path, content, sentence):
    for name, pixels in content.items():
        save(tmp_path / name, pixels)
    with pytest.raises(DataError, match=sentence) as fault:
        open("folder", tmp_path)
    assert str(tmp_path) in str(fault.value)
    assert "docs/data.md#own-folder" in str(fault.value) or "Layout" not in str(fault.value)


COLUMNS = "id,image,label"
ROW = "a,images/a.png,masks/a.png"

TABLES = [
    pytest.param("id,image\na,b\n", "has no column label; expected id, image, label", id="column"),
    pytest.param("", "has no column id, image, label", id="empty"),
    pytest.param(f"{COLUMNS}\na,images/a.png,\n", "line 2: id, image and label must be filled", id="hole"),
    pytest.param(f"{COLUMNS}\n\n{ROW}\n\nb,images/a.png,\n", "line 5: id, image", id="hole after blank lines"),
    pytest.param(f"{COLUMNS},split\n{ROW},exam\n", "line 2: split 'exam', expected train", id="part"),
    pytest.param(f"{COLUMNS}\na,images/z.png,masks/a.png\n", r"not there: 1 \(.*images/z\.png\)", id="file"),
    pytest.param(f"{COLUMNS}\na,images/a.png,t.csv\n", r"formats that are not read: 1 \(t\.csv\)", id="format"),
    pytest.param(f"{COLUMNS}\n{ROW}\n{ROW}\n", r"more than once: 1 \(a\)", id="twice"),
]


@pytest.mark.parametrize(("text", "sentence"), TABLES)
def test_a_bad_table_is_refused_by_line(tmp_path, text, sentence):
    pair(tmp_path)
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=sentence):
        open("folder", tmp_path, csv="t.csv")


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a\\x", ".", "..", "a\tb", "a\x7f"])
def test_an_id_that_cannot_name_a_file_is_refused(tmp_path, name):
    """Label maps are written as ``<id>.png``; one of these would lie outside the run."""
    pair(tmp_path)
    (tmp_path / "t.csv").write_text(f'{COLUMNS}\n"{name}",images/a.png,masks/a.png\n')
    with pytest.raises(DataError, match=re.escape(f"line 2: id {name!r} cannot name a file; expected no / or \\")):
        open("folder", tmp_path, csv="t.csv")


def test_a_table_that_cannot_be_read_is_named(tmp_path):
    pair(tmp_path)
    with pytest.raises(DataError, match=r"none\.csv: cannot be read as a table \(no such file"):
        open("folder", tmp_path, csv="none.csv")


@pytest.mark.parametrize("values", [{}, {0: 0, 1: 2}, {-1: 0, 1: 1}, {0: 1}, {"a": 0, "b": 1}, {0: 0, 1: 0.5}])
def test_values_that_do_not_give_classes_are_refused(tmp_path, values):
    pair(tmp_path)
    with pytest.raises(ValueError, match=re.escape(f"to classes 0, 1, 2, ..., got {values}")):
        open("folder", tmp_path, values=values)


@pytest.mark.parametrize(("classes", "fits"), [(255, True), (256, False)])
def test_more_classes_than_a_byte_holds_are_refused(tmp_path, classes, fits):
    pair(tmp_path)
    values = {value: value for value in range(classes)}
    if fits:
        assert len(open("folder", tmp_path, values=values).classes) == classes
    else:
        with pytest.raises(ValueError, match="values name 256 classes, expected at most 255"):
            open("folder", tmp_path, values=values)


def test_values_that_lack_one_are_refused_when_read(tmp_path):
    pair(tmp_path, label=LABEL * 9)
    case = open("folder", tmp_path, values={0: 0, 5: 1}).cases[0]
    with pytest.raises(
        DataError, match=r"a\.png: found label 9 in \d+ pixels, known are 0, 5\. Correct the file, or extend"
    ):
        case.read_label()


def test_colour_images_of_16_bits_are_not_cut_in_silence(tmp_path):
    path = tmp_path / "images" / "a.png"
    pair(tmp_path)
    path.write_bytes(deep_png(IMAGE.astype(np.uint16) * 257))
    (fault,) = open("folder", tmp_path).report().faults
    assert fault.startswith(f"{path}: 16 bits a channel in colour")


def test_a_damaged_first_picture_is_one_fault_and_the_next_one_tells_the_channels(tmp_path):
    for name in "abc":
        save(tmp_path / "images" / f"{name}.png", IMAGE[..., 0] if name != "c" else IMAGE)
        save(tmp_path / "masks" / f"{name}.png", LABEL)
    (tmp_path / "images" / "a.png").write_bytes(b"")
    dataset = open("folder", tmp_path)
    assert dataset.channels == 1
    report = dataset.report()
    assert [check.case.id for check in report.checks] == ["b", "c"]
    assert report.faults[0].startswith(f"{tmp_path}/images/a.png: cannot be read (")
    assert report.warnings == (
        "images of another number of channels than 1, that of the first: 1 (c); `channels: 3` in a configuration "
        "repeats the one of grey images",
    )


def deep_png(pixels):
    """A PNG with 16 bits in each of three channels, which Pillow reads but does not write."""
    rows, columns, _ = pixels.shape
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(raw)),
        (b"IEND", b""),
    ]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body
