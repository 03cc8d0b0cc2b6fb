"""NIfTI: every orientation there and back, spacing, resampling, and files that lie."""

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel import imageglobals
from scipy import ndimage

from rareseg.datasets import DataError, open, volumes
from rareseg.pipeline import predict, resize

SPACING = (3.0, 2.0, 1.0)  # mm per slice, row and column


def asymmetric():
    """A volume (D, H, W) without any symmetry, and its label of three classes."""
    label = np.zeros((6, 9, 14), np.uint8)
    label[1:5, 2:8, 3:12] = 1
    label[1:3, 2:4, 3:5] = 2  # one corner
    label[4, 5, 9] = 2
    image = (np.arange(label.size).reshape(label.shape) % 30 + 300 * label.astype(int)).astype(np.int16)
    return image, label


def stored(path, volume, order, flips):
    """Write (D, H, W), the file's axis k being axis ``order[k]``, reversed where ``flips[k]``; return the affine."""
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (mine, flip) in enumerate(zip(order, flips, strict=True)):
        step = SPACING[mine]
        affine[2 - mine, axis] = -step if flip else step  # D is z, H is y, W is x
        affine[2 - mine, 3] = 7.5 * mine + (step * (volume.shape[mine] - 1) if flip else 0)
    turned = np.flip(volume.transpose(order), [axis for axis in range(3) if flips[axis]])
    volumes.write(path, turned, affine)
    return affine


def places(path, value):
    """Millimetres of the voxels of a class, sorted, (n, 3)."""
    image = nibabel.load(path)
    found = nibabel.affines.apply_affine(image.affine, np.argwhere(np.asarray(image.dataobj) == value))
    return found[np.lexsort(np.round(found, 3).T)]


def three_classes(images):
    """Stand for a network that reads the class from the brightness."""
    return -np.abs(images - np.array([0.0, 300.0, 600.0], np.float32) - 15)


def test_every_orientation_is_read_resampled_predicted_and_written_back(tmp_path, orientation):
    order, flips = orientation
    image, label = asymmetric()
    affine = stored(tmp_path / "images" / "a.nii.gz", image, order, flips)
    stored(tmp_path / "masks" / "a.nii.gz", label, order, flips)
    case = open("folder", tmp_path).cases[0]
    flipped = [mine for mine, flip in zip(order, flips, strict=True) if flip]  # axes are ordered, never flipped
    np.testing.assert_array_equal(np.flip(case.read_image()[..., 0], flipped), image)
    np.testing.assert_array_equal(np.flip(case.read_label(), flipped), label)
    assert case.spacing == pytest.approx(SPACING)
    finer = [3 * length for length in case.shape]  # odd: each voxel keeps a centre of its own
    predicted = predict(three_classes, case, {"size": finer, "scaling": "none", "cache": "none"})
    case.write_label(tmp_path / "predicted.nii.gz", predicted)
    assert np.abs(nibabel.load(tmp_path / "predicted.nii.gz").affine - affine).max() < 1e-6
    case.write_label(tmp_path / "again.nii.gz", case.read_label())
    for value in (1, 2):
        np.testing.assert_allclose(places(tmp_path / "again.nii.gz", value), places(case.labels[0], value), atol=1e-4)
    assert np.mean(predicted != case.read_label()) < 0.03  # a single voxel may drown in its neighbours
    np.testing.assert_array_equal(predicted > 0, case.read_label() > 0)


def test_oblique_scans_have_the_length_of_their_steps_and_the_nearest_axes(tmp_path):
    turn = np.radians(30)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag((0.8, 1.5, 4.0))
    volumes.write(tmp_path / "a.nii", np.zeros((3, 4, 5), np.uint8), affine)
    head = volumes.header(tmp_path / "a.nii")
    assert head.spacing == pytest.approx((0.8, 1.5, 4.0))
    assert volumes.anatomical(head.affine) == (2, 1, 0)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000), ("micron", 0.001), ("mm", 1), ("unknown", 1)])
def test_spacing_is_in_millimetres(tmp_path, unit, factor):
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.uint8), np.diag([1.0, 2.0, 4.0, 1.0]))
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii")
    assert volumes.header(tmp_path / "a.nii").spacing == pytest.approx((factor, 2 * factor, 4 * factor))


GRIDS = [  # shape, its spacing, the other spacing
    pytest.param((43, 80, 78), (5.0, 0.78, 0.78), (3.22, 1.62, 1.62), id="KiTS19, thick slices"),
    pytest.param((80, 64, 64), (0.5, 0.9, 0.9), (3.22, 1.62, 1.62), id="KiTS19, thin slices"),
    pytest.param((31, 48, 50), (1.0, 1.0, 1.0), (0.7, 1.3, 0.9), id="finer and coarser"),
]


@pytest.mark.parametrize(("shape", "spacing", "other"), GRIDS)
def test_resampling_there_and_back_loses_less_than_half_a_voxel(shape, spacing, other):
    """Half of the coarser of the two grids' voxels, along each axis, for place and extent of an ellipsoid."""
    steps = np.indices(shape)
    centre, radii = np.array(shape) * (0.45, 0.55, 0.5), np.array(shape) * (0.3, 0.25, 0.33)
    label = sum(((step - middle) / radius) ** 2 for step, middle, radius in zip(steps, centre, radii, strict=True)) < 1
    size = [round(length * mine / its) for length, mine, its in zip(shape, spacing, other, strict=True)]
    there = resize.nearest(label.astype(np.uint8), size)
    back = resize.linear(np.stack([there == 0, there == 1], axis=-1).astype(np.float32), shape).argmax(axis=-1)
    coarser = np.maximum(spacing, other) / np.array(spacing)  # in voxels of the grid itself
    moved = np.array(ndimage.center_of_mass(back)) - ndimage.center_of_mass(label)
    assert (np.abs(moved) < 0.5 * coarser).all()
    extents = [
        [np.ptp(np.argwhere(volume.any(axis=(axis - 1, axis - 2)))) for axis in range(3)] for volume in (label, back)
    ]
    assert (np.abs(np.subtract(*extents)) <= 2 * 0.5 * coarser + 1e-9).all()  # two ends


STORED = [
    pytest.param(np.int16, 1, 0, np.int16, id="whole numbers as they are"),
    pytest.param(np.dtype(">i2"), 1, 0, np.int16, id="of the other byte order"),
    pytest.param(np.uint16, 1, 0, np.uint16, id="unsigned"),
    pytest.param(np.float64, 1, 0, np.float32, id="double"),
    pytest.param(np.int16, 0.5, -3, np.float32, id="scaled"),
]


@pytest.mark.parametrize(("dtype", "slope", "inter", "given"), STORED)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_values_come_back_in_slabs(tmp_path, monkeypatch, name, dtype, slope, inter, given):
    monkeypatch.setattr(volumes, "_SLAB", 200)
    values = np.arange(6 * 7 * 9).reshape(6, 7, 9)
    image = nibabel.Nifti1Image(values.astype(dtype), np.eye(4), dtype=dtype)
    image.header.set_data_dtype(np.dtype(dtype))
    content = bytearray(image.to_bytes())
    struct.pack_into("<ff" if image.header.endianness == "<" else ">ff", content, 112, slope, inter)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    head = volumes.header(tmp_path / name)
    found = volumes.read(head)
    assert found.dtype == head.given == given
    np.testing.assert_allclose(found, values * slope + inter)
    assert len([*volumes.slabs(head)]) > 3


def plain(shape=(6, 5, 4), dtype=np.int16):
    return nibabel.Nifti1Image(np.arange(np.prod(shape)).reshape(shape).astype(dtype), np.eye(4), dtype=dtype)


def packed(place, form, *values):
    """Return a change of the header's bytes."""

    def change(content):
        struct.pack_into(form, content, place, *values)
        return content

    return change


SROW = 280  # byte of the first row of the affine

LIES = [  # what is done to the bytes of an honest file of 6 x 5 x 4 voxels, what the message says
    pytest.param(packed(42, "<3h", 32767, 32767, 32767), r"claims 32767 x 32767 x 32767 voxels, over", id="huge"),
    pytest.param(packed(42, "<3h", 700, 700, 700), r"claims 686,000,000 bytes of voxels, \d+ bytes", id="large"),
    pytest.param(packed(42, "<h", -6), r"an axis without voxels \(-6 x 5 x 4\)", id="negative length"),
    pytest.param(packed(42, "<h", 0), r"cannot be read \(.+\)|an axis without voxels", id="no voxels"),
    pytest.param(packed(40, "<h", 2), r"2 axes \(6 x 5\), expected 3", id="flat"),
    pytest.param(packed(40, "<5h", 4, 2, 3, 4, 5), r"4 axes \(2 x 3 x 4 x 5\), expected 3", id="a film"),
    pytest.param(packed(SROW, "<f", np.nan), r"the affine is not finite", id="NaN in the affine"),
    pytest.param(packed(SROW, "<f", np.inf), r"the affine is not finite", id="infinite affine"),
    pytest.param(packed(SROW, "<4f", 0, 0, 0, 0), r"spacing \(0\.0, 1\.0, 1\.0\), expected lengths", id="spacing 0"),
    pytest.param(packed(SROW, "<8f", 1, 1, 0, 0, 1, 1, 0, 0), r"axes of the affine do not span space", id="singular"),
    pytest.param(packed(70, "<2h", 128, 24), r"voxels of type .*, expected whole or real numbers", id="colours"),
    pytest.param(packed(70, "<2h", 32, 64), r"voxels of type complex64, expected", id="complex"),
    pytest.param(packed(70, "<2h", 999, 16), r"cannot be read \(.+\)", id="unknown type"),
    pytest.param(packed(108, "<f", 1e9), r"cannot be read \(.+\)|cannot hold them", id="offset beyond the end"),
    pytest.param(packed(112, "<2f", 1, np.inf), r"cannot be read \(.+\)", id="infinite intercept"),
    pytest.param(lambda content: content[:200], r"cannot be read \(.+\)", id="half a header"),
    pytest.param(lambda content: content[:-7], r"cannot be read \(.+truncated\)|cannot hold them", id="truncated"),
    pytest.param(lambda content: content[:0], r"cannot be read \(.+\)", id="empty"),
    pytest.param(lambda content: b"PK\3\4" * len(content), r"cannot be read \(.+\)", id="an archive"),
]


@pytest.mark.parametrize(("change", "sentence"), LIES)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_header_that_lies_is_one_sentence(tmp_path, name, change, sentence):
    content = bytes(change(bytearray(plain().to_bytes())))
    path = tmp_path / name
    path.write_bytes(gzip.compress(content, mtime=0) if name.endswith("gz") else content)
    with pytest.raises(DataError, match=sentence) as fault:
        volumes.read(volumes.header(path))
    assert str(path) in str(fault.value)
    assert "\n" not in str(fault.value)


def test_headers_are_read_without_a_word_and_the_logger_stays_as_it_was(tmp_path, caplog):
    content = packed(40, "<h", 3)(bytearray(plain().to_bytes()))
    struct.pack_into("<h", content, 254, 77)  # a code of space that nibabel remarks on
    (tmp_path / "a.nii").write_bytes(content)
    before = imageglobals.logger.level
    volumes.header(tmp_path / "a.nii")
    assert caplog.messages == []
    assert imageglobals.logger.level == before
    nibabel.load(tmp_path / "a.nii")
    assert caplog.messages != []


@pytest.mark.parametrize("ending", [".NII", ".NII.GZ", ".nii.GZ"])
def test_endings_may_be_in_capitals(tmp_path, ending):
    content = plain().to_bytes()
    for place in ("images", "masks"):
        (tmp_path / place).mkdir()
        path = tmp_path / place / f"a{ending}"
        path.write_bytes(gzip.compress(content) if ending.endswith("GZ") else content)
    case = open("folder", tmp_path, values={value: int(value > 9) for value in range(120)}).cases[0]
    assert case.id == "a"
    assert case.read_image().shape == (*case.read_label().shape, 1)


def test_what_is_no_nifti_is_named(tmp_path):
    nibabel.MGHImage(np.zeros((2, 3, 4), "float32"), np.eye(4)).to_filename(tmp_path / "scan.mgz")
    with pytest.raises(DataError, match=r"scan\.mgz: cannot be read \(not a NIfTI file\)"):
        volumes.header(tmp_path / "scan.mgz")


def test_a_fourth_axis_of_one_is_none(tmp_path):
    nibabel.Nifti1Image(np.zeros((2, 3, 4, 1), "uint8"), np.eye(4)).to_filename(tmp_path / "scan.nii")
    assert volumes.header(tmp_path / "scan.nii").shape == (2, 3, 4)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_archive_is_named(tmp_path, share):
    path = tmp_path / "a.nii.gz"
    volumes.write(path, np.random.default_rng(0).integers(0, 999, (20, 20, 20)).astype(np.int16), np.eye(4))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"a\.nii\.gz: cannot be read \(.+\)\. Get the file again"):
        volumes.read(volumes.header(path))


def test_a_flipped_bit_is_found_by_the_checksum(tmp_path):
    path = tmp_path / "a.nii.gz"
    volumes.write(path, np.random.default_rng(0).integers(0, 999, (20, 20, 20)).astype(np.int16), np.eye(4))
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # of the checksum itself, so that everything unpacks
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read \(CRC check failed"):
        volumes.read(volumes.header(path))


def test_an_image_that_expands_two_hundredfold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(volumes, "_PACKED_FROM", 2**20)
    path = tmp_path / "a.nii.gz"
    volumes.write(path, np.zeros((128, 128, 100), np.uint8), np.eye(4))
    with pytest.raises(DataError, match=r"expands to 1,638,400 bytes, more than 200 times its size"):
        volumes.read(volumes.header(path))
    assert sum(found.sum() for _, found in volumes.class_slabs(volumes.header(path), {0: 0})) == 0  # an empty label may


def test_a_label_map_of_ours_may_expand_two_hundredfold(tmp_path, monkeypatch):
    monkeypatch.setattr(volumes, "_PACKED_FROM", 2**20)
    for place in ("images", "masks"):
        volumes.write(tmp_path / place / "a.nii.gz", np.zeros((128, 128, 100), np.uint8), np.eye(4))
    case = open("folder", tmp_path).cases[0]
    label = np.zeros(case.shape, np.uint8)
    label[3:6, 7:9, 2:5] = 2
    case.write_label(tmp_path / "written.nii.gz", label)
    found = case.read_written(tmp_path / "written.nii.gz")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, label)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_voxels_that_are_no_numbers_are_counted(tmp_path, bad):
    values = np.zeros((6, 7, 8))
    values[1, 2, 3] = values[5, 5, 5] = bad
    volumes.write(tmp_path / "a.nii.gz", values, np.eye(4))
    with pytest.raises(DataError, match=r"2 voxels are not finite, the first at \(1, 2, 3\); expected numbers"):
        volumes.read(volumes.header(tmp_path / "a.nii.gz"))


STRANGE = [
    pytest.param(np.uint8, [3], r"found label 3 in 1 voxels, known are 0, 1, 2", id="unknown class"),
    pytest.param(np.int16, [-1, 7, 7], r"found label -1, 7 in 3 voxels", id="negative"),
    pytest.param(np.uint16, [300], r"found label 300 in 1 voxels", id="beyond a byte"),
    pytest.param(np.float32, [0.5], r"found label 0\.5 in 1 voxels", id="between classes"),
    pytest.param(np.float64, [np.nan], r"1 voxels are not finite", id="no number"),
    pytest.param(np.int64, [2**40], r"found label 1099511627776 in 1 voxels", id="beyond 32 bits"),
    pytest.param(np.uint8, range(10, 20), r"found label 10, 11, 12, 13, 14, \.\.\. in 10 voxels", id="many"),
]


@pytest.mark.parametrize(("dtype", "found", "sentence"), STRANGE)
def test_labels_out_of_range_are_counted(tmp_path, dtype, found, sentence):
    values = np.ones((4, 5, 6), dtype)
    values.flat[: len(found)] = found
    volumes.write(tmp_path / "a.nii.gz", values, np.eye(4))
    with pytest.raises(DataError, match=sentence):
        list(volumes.class_slabs(volumes.header(tmp_path / "a.nii.gz"), {0: 0, 1: 1, 2: 2}))


WIDE = [  # value -> class, values of the file, their classes or the sentence
    pytest.param({0: 0, 300: 1}, [0, 300], [0, 1], id="a class beyond a byte"),
    pytest.param({0: 0, 65535: 1}, [0, 65535], [0, 1], id="the largest value"),
    pytest.param({0: 0, 128: 1, 255: 2}, [0, 128, 255], [0, 1, 2], id="a class at the end of a byte"),
    pytest.param({0: 0, 128: 1, 255: 2}, [300], r"found label 300 in 1 voxels, known are 0, 128, 255", id="unknown"),
    pytest.param({0: 0, 65535: 1}, [70000], r"found label 70000 in 1 voxels, known are 0, 65535", id="beyond all"),
]


@pytest.mark.parametrize(("classes", "found", "expected"), WIDE)
def test_labels_beyond_a_byte_are_classes_or_refused(tmp_path, classes, found, expected):
    values = np.zeros((4, 5, 6), np.int32)
    values.flat[: len(found)] = found
    volumes.write(tmp_path / "a.nii.gz", values, np.eye(4))
    parts = volumes.class_slabs(volumes.header(tmp_path / "a.nii.gz"), classes)
    if isinstance(expected, str):
        with pytest.raises(DataError, match=expected):
            list(parts)
    else:
        ((_, label),) = parts
        assert label.dtype == np.uint8
        assert label.flat[: len(found)].tolist() == expected


@pytest.mark.parametrize("share", [0.2, 0.9])
@pytest.mark.parametrize("bad", ["a.nii.gz", "b.nii.gz"])
def test_of_two_files_the_truncated_one_is_named(tmp_path, bad, share):
    one, other = tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"
    for path in (one, other):
        volumes.write(path, np.random.default_rng(0).integers(0, 999, (20, 20, 20)).astype(np.int16), np.eye(4))
    (tmp_path / "a.nii").write_bytes(gzip.decompress(one.read_bytes()))
    assert volumes.digest(one) == volumes.digest(other) == volumes.digest(tmp_path / "a.nii")
    volumes.write(tmp_path / "c.nii", np.zeros((20, 20, 20), np.int16), np.eye(4))
    assert volumes.digest(one) != volumes.digest(tmp_path / "c.nii")
    whole = (tmp_path / bad).read_bytes()
    (tmp_path / bad).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=rf"{bad}: cannot be read \(.+\)\. Get the file again"):
        _ = volumes.digest(one), volumes.digest(other)


DESCRIBED = [  # id, text, what the header's field of 80 letters holds
    pytest.param("Müller_01", "", b"M?ller_01", id="not ASCII"),
    pytest.param("Müller_01", "phantom", b"phantom", id="text"),
    pytest.param("é" * 90, "", b"?" * 79, id="long"),
]


@pytest.mark.parametrize(("name", "text", "expected"), DESCRIBED)
def test_a_label_map_is_described_in_letters_that_the_header_can_hold(tmp_path, name, text, expected):
    for place in ("images", "masks"):
        volumes.write(tmp_path / place / f"{name}.nii", np.zeros((3, 4, 5), np.uint8), np.eye(4))
    case = open("folder", tmp_path).cases[0]
    case.write_label(tmp_path / "written.nii", case.read_label(), text)
    assert nibabel.Nifti1Header.from_header(nibabel.load(tmp_path / "written.nii").header)["descrip"] == expected


def test_a_failed_writing_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space left"):
        volumes.write(tmp_path / "a.nii", np.zeros((2, 2, 2), np.uint8), np.eye(4))
    assert list(tmp_path.iterdir()) == []
