"""Label maps on disk: every orientation through read, predict and write, overlaid voxel for voxel by other tools."""

from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from rareseg import datasets
from rareseg.pipeline import draw_patches, predict, prepare, write_prediction

CONFIG = {"scaling": "none", "cache": "none", "patch": [4, 5, 4], "batch_size": 8}
SPACING = (3.0, 2.0, 0.7)  # mm per step of x, y, z


def asymmetric():
    """Classes (X, Y, Z) that no permutation or flip turns into themselves."""
    label = np.zeros((6, 9, 7), np.uint8)
    label[1:5, 2:8, 2:6] = 1
    label[1:3, 2:4, 3:5] = 2
    label[4, 5, 5] = 2
    return label


def store(folder, order, flips, tilt=0.0):
    """Write image and label whose axis k is axis ``order[k]`` of the phantom, reversed where ``flips[k]``."""
    volume = np.flip(asymmetric().transpose(order), [axis for axis in range(3) if flips[axis]])
    turn = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    affine = np.eye(4)
    for axis, (mine, flip) in enumerate(zip(order, flips, strict=True)):
        affine[:3, axis] = turn[:, mine] * SPACING[mine] * (-1 if flip else 1)
    affine[:3, 3] = (-40.5, 12.25, 7)
    for kind, factor in (("images", 100), ("masks", 1)):
        (folder / kind).mkdir(parents=True)
        image = nibabel.Nifti1Image((factor * volume.astype(np.int16)), affine, dtype=np.int16)
        image.set_sform(affine, code=1)
        image.set_qform(affine, code=1)
        image.header["cal_max"] = 200
        image.header.set_xyzt_units("mm", "sec")
        image.to_filename(folder / kind / "a.nii.gz")
    return datasets.open("folder", folder).cases[0]


def identity(images):
    """Stand for a network whose answer is its input: 0, 100 and 200 are the three classes."""
    return -np.abs(images - np.array([0.0, 100.0, 200.0], np.float32))


def test_every_orientation_overlays_its_files_voxel_for_voxel(tmp_path, orientation):
    order, flips = orientation
    case = store(tmp_path, order, flips)
    path = tmp_path / "out" / "a.nii.gz"
    write_prediction(case, predict(identity, case, CONFIG), path, "phantom")
    written, image, truth = (nibabel.load(one) for one in (path, case.image, case.labels[0]))
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(truth.dataobj))
    np.testing.assert_array_equal(case.read_written(path), case.read_label())
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_allclose(written.affine, image.affine, atol=1e-6)
    for kind in ("get_sform", "get_qform"):
        (ours, our_code), (theirs, code) = (getattr(one, kind)(coded=True) for one in (written, image))
        assert our_code == code == 1
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert written.header.get_xyzt_units() == ("mm", "sec")
    header: Any = written.header
    assert header["descrip"].item() == b"phantom"
    assert header["cal_max"] == 0


@pytest.mark.parametrize("tilt", [0.0, 0.3])
def test_another_tool_finds_the_map_where_the_image_is(tmp_path, tilt):
    simpleitk = pytest.importorskip("SimpleITK")
    case = store(tmp_path, (1, 2, 0), (0, 1, 0), tilt)
    prepared = prepare(case, CONFIG)
    write_prediction(prepared, predict(identity, prepared, CONFIG), tmp_path / "a.nii")
    written, image, truth = (simpleitk.ReadImage(str(one)) for one in (tmp_path / "a.nii", case.image, case.labels[0]))
    np.testing.assert_array_equal(simpleitk.GetArrayFromImage(written), simpleitk.GetArrayFromImage(truth))
    for fact in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(written, fact)(), getattr(image, fact)(), atol=1e-6)


def test_resampled_volumes_are_written_on_their_own_grid(tmp_path):
    """Of three voxels in place of one the middle one has its value, and is the one that comes back."""
    case = store(tmp_path, (2, 0, 1), (1, 0, 0))
    config = {**CONFIG, "size": [3 * length for length in case.shape]}
    write_prediction(case, predict(identity, case, config), tmp_path / "a.nii.gz")
    written, truth = (np.asarray(nibabel.load(one).dataobj) for one in (tmp_path / "a.nii.gz", case.labels[0]))
    np.testing.assert_array_equal(written, truth)


@pytest.fixture
def picture(tmp_path):
    label = (np.indices((20, 12)).sum(axis=0) > 14).astype(np.uint8)
    for kind, factor in (("images", 100), ("masks", 255)):
        (tmp_path / kind).mkdir()
        Image.fromarray(label * np.uint8(factor)).save(tmp_path / kind / "a.png")
    return datasets.open("folder", tmp_path).cases[0]


def test_pictures_are_png_whose_grey_levels_are_classes(picture, tmp_path):
    config = {**CONFIG, "patch": [8, 8]}
    write_prediction(picture, predict(identity, picture, config), tmp_path / "out.png", "phantom")
    with Image.open(tmp_path / "out.png") as written:
        assert written.mode == "L"
        assert written.text == {"Comment": "phantom"}
        np.testing.assert_array_equal(np.asarray(written), picture.read_label())
    np.testing.assert_array_equal(picture.read_written(tmp_path / "out.png"), picture.read_label())


def test_what_cannot_be_written_is_one_sentence_and_no_file(picture, tmp_path):
    label = picture.read_label()
    refused = [
        (picture, label, "a.nii.gz", r"label maps of this case are \.png files, got .*a\.nii\.gz"),
        (picture, label[1:], "b.png", r"the label is \(19, 12\), the grid \(20, 12\)"),
        (picture, label / 2, "b.png", r"whole numbers from 0 to 255, got float64 from 0\.0 to 0\.5; give class"),
        (picture, label.astype(int) * 300, "b.png", "from 0 to 255, got int64 from 0 to 300"),
        (picture, label.astype(np.int16) - 1, "b.png", "whole numbers from 0 to 255"),
    ]
    config = {**CONFIG, "analysis": "patches", "patch": [8, 8], "patches": {"count": 1}}
    patch = draw_patches([picture], config, seed=0)[0]
    refused.append((patch, patch.read_label(), "b.png", "a-000000 was not read from files of its own"))
    for case, values, name, sentence in refused:
        with pytest.raises(ValueError, match=sentence):
            write_prediction(case, values, tmp_path / "out" / name)
    assert not (tmp_path / "out").exists()
