"""Small cases made of arrays, for tests that need no files of a real data set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@dataclass(frozen=True, eq=False)
class ArrayCase:
    """Stands for a case of ``rareseg.datasets``; its one file exists so that it has a size and a time."""

    id: str
    image: np.ndarray
    label: np.ndarray
    mask: np.ndarray | None
    files: tuple[Path, ...]
    part: str = ""
    spacing: tuple[float, ...] | None = None
    affine: np.ndarray | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    sort: str = ""

    @property
    def group(self):
        return f"group of {self.id}"

    def kind(self, image):
        assert image is self.image
        return self.sort

    @property
    def shape(self):
        return self.image.shape[:-1]

    def state(self):
        return [self.id, *([path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in self.files)]

    def image_slabs(self):
        yield (slice(None),) * len(self.shape), self.read_image()

    def label_slabs(self):
        yield (slice(None),) * len(self.shape), self.read_label()

    def read_image(self):
        return self.image

    def read_label(self):
        return self.label

    def read_mask(self):
        return self.mask


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("RARESEG_CACHE", str(folder))
    return folder


@pytest.fixture
def make_case(tmp_path):
    """Return a function (id, shape) -> case; no two pixels are alike, the label is half of channel 0."""

    def make(name="a", shape=(12, 10), channels=3, mask=None, **changes):
        count = int(np.prod(shape)) * channels
        image = np.random.default_rng(sum(map(ord, name))).permutation(count).reshape(*shape, channels)
        image = (image * 255 // max(count - 1, 1)).astype(np.uint8)
        file = tmp_path / f"{name}.png"
        file.write_text(name)
        values = {"image": image, "label": (image[..., 0] > 127).astype(np.uint8), "mask": mask, "files": (file,)}
        return ArrayCase(name, **{**values, **changes})

    return make


@pytest.fixture
def make_cases(make_case):
    """Return a function (count, shape) -> cases with ids "0", "1", ..."""

    def make(count, shape=(12, 10), **changes):
        return [make_case(str(number), shape, **changes) for number in range(count)]

    return make
