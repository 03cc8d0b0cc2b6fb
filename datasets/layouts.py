"""Which image belongs to which label in a user's own folder: four layouts, told apart by names alone."""

import csv
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rareseg.datasets import volumes
from rareseg.datasets.files import DataError, cause
from rareseg.datasets.listing import Faults, natural, some, visible

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif")
_ANY = (*PICTURES, *volumes.SUFFIXES)
_LABEL_FOLDERS = ("masks", "labels", "gt", "ground_truth", "segmentations")
_PARTS = {"train": "training", "training": "training", "val": "validation", "validation": "validation", "test": "test"}
_OWN_COLUMNS = ("id", "image", "label", "split")  # all others are facts of the case
PLACES = {"images", *_LABEL_FOLDERS, *_PARTS, "imagestr", "labelstr"}
"""Names of the folders that a layout consists of, in small letters."""

_SUFFIX = re.compile(r"_(segmentation|mask|seg|label|gt|manual1|annotation)$", re.IGNORECASE)
_LABEL_STEM = re.compile(r"(^|_)(segmentation|mask|seg|label|gt|manual1|annotation)$", re.IGNORECASE)
_CHANNEL = re.compile(r"_(\d{4})$")
_UNFIT = re.compile(r"[/\\\x00-\x1f\x7f]|^\.\.?$")  # ids name files of results; those of tables alone may hold these


@dataclass(frozen=True)
class Pair:
    """Files of a case, before anything is read."""

    id: str
    image: Path
    label: Path
    group: str
    part: str = ""
    info: Mapping[str, str] = field(default_factory=dict)


def is_volume(path: Path) -> bool:
    """Return whether a file holds a volume, by its name."""
    return path.name.lower().endswith(volumes.SUFFIXES)


def _stem(path: Path) -> str:
    return volumes.stem(path) if is_volume(path) else path.stem


def discovered(root: Path, faults: Faults, remarks: list[str]) -> list[Pair]:
    """Return the pairs of the first layout that is there."""
    layouts: tuple[Callable[[Path, Faults, list[str]], list[Pair]], ...] = (_side_by_side, _folder_each, _nnunet)
    for layout in layouts:
        pairs = layout(root, faults, remarks)
        if pairs or faults:
            return pairs
    return []


def _side_by_side(root: Path, faults: Faults, remarks: list[str]) -> list[Pair]:
    """Pair ``images/`` with ``masks/``, below the root or below train, validation and test."""
    places = [(root, "")] + [
        (folder, _PARTS[folder.name.lower()]) for folder in visible(root) if folder.name.lower() in _PARTS
    ]
    pairs, bare = list[Pair](), list[str]()
    for place, part in places:
        names = {folder.name.lower(): folder for folder in visible(place)}
        labels = next((names[name] for name in _LABEL_FOLDERS if name in names), None)
        if "images" in names and labels is not None:
            pairs += _matched(
                visible(names["images"], *_ANY), visible(labels, *_ANY), place.name if part else "", part, faults
            )
        elif "images" in names and part:
            bare.append(f"{place.name}/{names['images'].name}")
    if pairs and bare:
        remarks.append(f"not used, as they have no labels: {some(bare)}")
    _unique(pairs, faults)
    return pairs


def _matched(images: list[Path], labels: list[Path], prefix: str, part: str, faults: Faults) -> list[Pair]:
    found = faults.by_case(images, _stem)
    stems = {_stem(path) for path in images}
    masks = faults.by_case(labels, lambda path: _pair_name(_stem(path), stems))
    where = f" in {prefix}" if prefix else ""
    faults.partners(f"label{where}", found, masks)
    faults.partners(f"image{where}", masks, found)
    return [Pair(name, path, masks[name], name, part) for name, path in found.items() if name in masks]


def _pair_name(stem: str, images: Collection[str]) -> str:
    """Return the id that a label's name stands for: an image's, or what is left without its ending."""
    return stem if stem in images else _SUFFIX.sub("", stem)


def _unique(pairs: list[Pair], faults: Faults) -> None:
    ids = [pair.id for pair in pairs]
    twice = sorted({name for name in ids if ids.count(name) > 1}) if len({*ids}) < len(ids) else []
    if twice:
        faults.append(f"ids that occur more than once: {some(twice)}")


def _folder_each(root: Path, faults: Faults, _: list[str]) -> list[Pair]:
    """Take one image and one label from every sub-folder."""
    contents = {folder: visible(folder, *_ANY) for folder in visible(root) if faults.counts(folder.name)}
    if not any(_LABEL_STEM.search(_stem(path)) for found in contents.values() for path in found):
        return []
    pairs, odd = [], []
    for folder, found in contents.items():
        labels = [path for path in found if _LABEL_STEM.search(_stem(path))]
        images = [path for path in found if path not in labels]
        if len(labels) == len(images) == 1:
            pairs.append(Pair(folder.name, images[0], labels[0], folder.name))
        elif found:
            odd.append(folder.name)
    if odd:
        faults.append(f"folders that should hold one image and one label, named as such, and do not: {some(odd)}")
    return pairs


def _nnunet(root: Path, faults: Faults, remarks: list[str]) -> list[Pair]:
    """Pair ``imagesTr/<id>_0000`` with ``labelsTr/<id>``."""
    images = visible(root / "imagesTr", *_ANY)
    others = [path.name for path in images if (_CHANNEL.search(_stem(path)) or ["", "0000"])[1] != "0000"]
    if others:
        remarks.append(f"channels other than _0000 are not read: {some(others)}")
    found = faults.by_case(
        [path for path in images if path.name not in others], lambda path: _CHANNEL.sub("", _stem(path))
    )
    labels = faults.by_case(visible(root / "labelsTr", *_ANY), _stem)
    faults.partners("label in labelsTr", found, labels)
    faults.partners("image in imagesTr", labels, found)
    return [Pair(name, path, labels[name], name) for name, path in found.items() if name in labels]


def from_table(path: Path, faults: Faults) -> list[Pair]:
    """Take the pairs that a table lists; its order does not matter, and further columns become facts of the cases."""
    columns, rows = _columns_and_rows(path)
    pairs = []
    for line, row in rows:
        if not faults.counts(row["id"]):
            continue
        part = (row.get("split") or "").strip().lower()
        if not all(row[name] for name in ("id", "image", "label")):
            faults.append(f"line {line}: id, image and label must be filled")
        elif _UNFIT.search(row["id"]):
            faults.append(
                f"line {line}: id {row['id']!r} cannot name a file; expected no / or \\ or control character in it, "
                "and not . or .."
            )
        elif part and part not in _PARTS:
            faults.append(f"line {line}: split {part!r}, expected train, validation or test")
        else:
            image, label = (path.parent / row[name] for name in ("image", "label"))
            info = {name: row[name] or "" for name in columns if name not in _OWN_COLUMNS}
            pairs.append(Pair(row["id"], image, label, row.get("group") or row["id"], _PARTS.get(part, ""), info))
    missing = [str(file) for pair in pairs for file in (pair.image, pair.label) if not file.is_file()]
    if missing:
        faults.append(f"files that {path.name} lists and that are not there: {some(missing)}")
    strange = [file.name for pair in pairs for file in (pair.image, pair.label) if not file.name.lower().endswith(_ANY)]
    if strange:
        faults.append(f"files of formats that are not read: {some(strange)}; expected {', '.join(_ANY)}")
    _unique(pairs, faults)
    return sorted(pairs, key=lambda pair: natural(pair.id))


def _columns_and_rows(path: Path) -> tuple[Sequence[str], list[tuple[int, dict[str, str]]]]:
    """Return the names of a table's columns, among them those that it must have, and its rows with their lines."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns, rows = reader.fieldnames or (), [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise DataError(f"{path}: cannot be read as a table ({cause(fault)}). Give a CSV file in UTF-8.") from fault
    lacking = [name for name in ("id", "image", "label") if name not in columns]
    if lacking:
        raise DataError(
            f"{path}: has no column {', '.join(lacking)}; expected id, image, label and, if wanted, group, split. "
            "Name them in its first line."
        )
    return columns, rows
