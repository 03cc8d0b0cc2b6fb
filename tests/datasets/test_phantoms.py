"""Phantoms must be reproducible, as rare as the real thing, beyond any threshold, and marked."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from rareseg.datasets import DataError, _phantom_kits19, make_phantoms, names, open, phantoms, volumes

SHARE = {  # means over the complete real sets, by class
    "isic2018": [0.214],
    "dsb2018": [0.139191],
    "drive": [0.086947],
    "cvc_clinicdb": [0.09166],
    "bus2017": [0.0484],
    "brats2020": [0.002],
    "kits19": [0.007522, 0.002186],
}
LIMITS = {  # Dice of thresholds, at most
    "isic2018": [0.60],
    "dsb2018": [0.75],
    "drive": [0.35],
    "cvc_clinicdb": [0.45],
    "bus2017": [0.45],
    "brats2020": [0.45],
    "kits19": [0.60, 0.35],
}
WINDOWS = {"brats2020": (0, 1500), "kits19": (-1024, 500)}  # intensities that are mapped to 256 levels


def dice_by_threshold(values, label):
    """Dice of ``values >= t`` and of ``values < t`` for t from 0 to 256, (2, 257)."""
    inside = np.append(np.bincount(values[label > 0], minlength=256)[::-1].cumsum()[::-1], 0)
    every = np.append(np.bincount(values.ravel(), minlength=256)[::-1].cumsum()[::-1], 0)
    bright = 2 * inside / (every + inside[0])
    dark = 2 * (inside[0] - inside) / (every[0] - every + inside[0])
    return np.stack([bright, dark])


def otsu(values):
    """Threshold that separates the two classes of grey levels best (Otsu 1979)."""
    histogram = np.bincount(values.ravel(), minlength=256).astype(float)
    below, moment = histogram.cumsum(), (histogram * np.arange(256)).cumsum()
    weights = below * (below[-1] - below)
    gap = (moment[-1] * below - moment * below[-1]) ** 2
    return int(np.argmax(np.divide(gap, weights, out=np.zeros(256), where=weights > 0))) + 1


def grey_levels(case, low, high):
    """The channels of an image in 256 levels between ``low`` and ``high``."""
    image = case.read_image()
    if (low, high) != (0, 255):
        image = ((image - np.float32(low)) * (255 / (high - low))).clip(0, 255).astype(np.uint8)
    return np.moveaxis(image, -1, 0)


def threshold_scores(cases, key="", label=1):
    """Mean Dice of the best threshold of the whole set, and of Otsu per image, best channel and polarity each."""
    whole, single = [], []
    for case in cases:
        channels, truth = grey_levels(case, *WINDOWS.get(key, (0, 255))), case.read_label() == label
        curves = np.stack([dice_by_threshold(values, truth) for values in channels])
        whole.append(curves)
        single.append([curves[k, :, otsu(values)] for k, values in enumerate(channels)])
    return float(np.mean(whole, axis=0).max()), float(np.mean(single, axis=0).max())


def test_the_threshold_scores_find_what_a_threshold_can_do():
    label = np.zeros((8, 8), np.uint8)
    label[:3] = 1
    image = np.where(label, 40, 200).astype(np.uint8)
    assert dice_by_threshold(image, label).max() == 1
    assert dice_by_threshold(image, label)[1, otsu(image)] == 1


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("key", names())
def test_same_arguments_give_the_same_bytes_and_more_cases_extend(tmp_path, key):
    first, again, more = (
        content(make_phantoms(key, tmp_path / name, cases=cases, size=32, seed=5))
        for name, cases in (("first", 3), ("again", 3), ("more", 5))
    )
    assert first == again
    notice = Path("PHANTOM.txt")
    assert {path: more[path] for path in first if path != notice} == {
        path: data for path, data in first.items() if path != notice
    }


@pytest.mark.parametrize("key", names())
def test_another_seed_gives_other_pictures(tmp_path, key):
    sets = [open(key, make_phantoms(key, tmp_path / str(seed), cases=2, size=32, seed=seed)) for seed in (5, 6)]
    pictures = {case.image.read_bytes() for dataset in sets for case in dataset.cases}
    assert len(pictures) == 4


@pytest.mark.parametrize("key", names())
def test_the_mean_share_is_the_real_one_and_cases_differ(demo_folders, key):
    labels = [case.read_label() for case in open(key, demo_folders[key]).cases]
    for number, expected in enumerate(SHARE[key], start=1):
        shares = [np.mean(label == number) for label in labels]
        assert np.mean(shares) == pytest.approx(expected, rel=0.15)
        assert max(shares) > 1.5 * min(shares)


@pytest.mark.parametrize("key", names())
@pytest.mark.parametrize("seed", [0, 1])
def test_thresholds_fail(tmp_path, demo_folders, key, seed):
    folder = make_phantoms(key, tmp_path / key, seed=seed) if seed else demo_folders[key]
    cases = open(key, folder).cases
    for number, limit in enumerate(LIMITS[key], start=1):
        assert max(threshold_scores(cases, key, number)) <= limit


def test_thresholds_fail_inside_the_dark_kind_of_nuclei_too(demo_folders):
    cases = open("dsb2018", demo_folders["dsb2018"]).cases
    assert max(threshold_scores([case for case in cases if case.kind(case.read_image()) == "grey, dark"])) <= 0.88


def test_kinds_of_nuclei_keep_their_proportions(demo_folders):
    cases = open("dsb2018", demo_folders["dsb2018"]).cases
    kinds = [case.kind(case.read_image()) for case in cases]
    assert kinds.count("grey, dark") / 60 == pytest.approx(546 / 670, abs=0.05)
    assert kinds.count("colour, bright") / 60 == pytest.approx(108 / 670, abs=0.05)
    assert kinds.count("grey, bright") >= 1
    assert min(case.info["objects"] for case in cases) == 1


def test_field_of_view_and_second_observer_are_as_in_the_real_set(demo_folders):
    cases = open("drive", demo_folders["drive"]).cases
    assert [case.part for case in cases].count("test") == 6
    inside = [case.read_label()[case.read_mask()].mean() for case in cases]
    assert np.mean(inside) == pytest.approx(0.12635, rel=0.15)
    pairs = [(case.read_label(), case.read_label(observer=2)) for case in cases if case.part == "test"]
    dice = [2 * np.sum(first * second) / (first.sum() + second.sum()) for first, second in pairs]
    assert np.mean(dice) == pytest.approx(0.79, abs=0.05)


def test_sequences_of_frames_show_one_polyp(demo_folders):
    cases = open("cvc_clinicdb", demo_folders["cvc_clinicdb"]).cases
    frames = {group: [int(case.id) for case in cases if case.group == group] for group in {c.group for c in cases}}
    assert all(6 <= len(numbers) <= 26 for numbers in frames.values())
    assert all(numbers == list(range(numbers[0], numbers[0] + len(numbers))) for numbers in frames.values())
    for group in frames:
        first, second = [case.read_label() for case in cases if case.group == group][:2]
        assert (first & second).any()


def test_brains_lie_on_exact_zeros_and_some_lack_the_enhancing_tumour(demo_folders):
    dataset = open("brats2020", demo_folders["brats2020"])
    assert len(dataset.left_out) == 1
    for case in dataset.cases:
        image = case.read_image()
        assert np.mean(image > 0) == pytest.approx(0.15, abs=0.01)
        assert image.min() == 0
        assert case.read_label()[image[..., 0] == 0].sum() == 0


def test_kidneys_are_about_four_times_their_tumours(demo_folders):
    labels = [case.read_label() for case in open("kits19", demo_folders["kits19"]).cases]
    assert sum(np.sum(label == 1) for label in labels) / sum(np.sum(label == 2) for label in labels) == pytest.approx(
        4, rel=0.25
    )
    assert len({label.shape[0] for label in labels}) > 5


def test_slices_of_kidneys_are_as_thick_as_in_the_real_set(tmp_path, monkeypatch):
    thick = []
    monkeypatch.setattr(_phantom_kits19, "_label", lambda _, shape, *__: (np.zeros(shape, np.uint8), {}))
    monkeypatch.setattr(_phantom_kits19, "_scan", lambda _, label, __: label)
    monkeypatch.setattr(volumes, "write", lambda _, __, affine, ___: thick.append(-affine[2, 0]))
    for number in range(200):
        _phantom_kits19.draw(tmp_path, number, 32, seed=0)
    for gap, count in ((5.0, 86), (3.0, 38), (0.5, 31)):  # of 210 real scans
        assert np.mean(np.equal(thick, gap)) == pytest.approx(count / 210, abs=0.08)


@pytest.mark.parametrize("key", names())
def test_every_file_says_phantom(demo_folders, key):
    folder = demo_folders[key]
    assert "phantom" in (folder / "PHANTOM.txt").read_text()
    assert open(key, folder).phantom
    for path in folder.rglob("*.*"):
        content = path.read_bytes()
        assert b"phantom" in (gzip.decompress(content) if path.suffix == ".gz" else content), path


def test_a_finished_folder_is_left_alone_and_another_one_refused(tmp_path):
    folder = make_phantoms("drive", tmp_path / "drive", cases=2, size=32)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    make_phantoms("drive", folder, cases=2, size=32)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    with pytest.raises(DataError, match="holds phantoms made with other arguments"):
        make_phantoms("drive", folder, cases=3, size=32)
    (tmp_path / "empty").mkdir()
    assert open("drive", make_phantoms("drive", tmp_path / "empty", cases=2, size=32)).phantom
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="holds something that is not a phantom"):
        make_phantoms("drive", tmp_path / "mine", cases=2, size=32)


@pytest.mark.parametrize(("others", "sentence"), [(2, ""), (3, "holds phantoms made with other arguments")])
def test_who_draws_more_slowly_takes_what_another_has_drawn(tmp_path, monkeypatch, others, sentence):
    folder, real = tmp_path / "drive", phantoms._Order.draw

    def overtaken(order, root):
        monkeypatch.setattr(phantoms._Order, "draw", real)
        make_phantoms("drive", folder, cases=others, size=32)
        real(order, root)

    monkeypatch.setattr(phantoms._Order, "draw", overtaken)
    if sentence:
        with pytest.raises(DataError, match=sentence):
            make_phantoms("drive", folder, cases=2, size=32)
    else:
        assert len(open("drive", make_phantoms("drive", folder, cases=2, size=32)).cases) == 2
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_that_cannot_be_named_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(PermissionError):
        make_phantoms("drive", tmp_path / "drive", cases=2, size=32)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_drawing_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="drive has no trap 'no_such'; it has gap_in_numbers, hidden_files"):
        make_phantoms("drive", tmp_path / "drive", cases=2, size=32, traps=("no_such",))
    with pytest.raises(ValueError, match="drive has 40 cases"):
        make_phantoms("drive", tmp_path / "drive", cases=41, size=32)
    assert list(tmp_path.iterdir()) == []


def test_impossible_phantoms_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no phantoms of 'mnist'"):
        make_phantoms("mnist", tmp_path / "a")
    with pytest.raises(ValueError, match="at least 1 case of 32 pixels, got 60 of 8"):
        make_phantoms("isic2018", tmp_path / "a", size=8)
    with pytest.raises(ValueError, match="at least 1 case of 32 pixels, got 0 of 64"):
        make_phantoms("isic2018", tmp_path / "a", cases=0)
