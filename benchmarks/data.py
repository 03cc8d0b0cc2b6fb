"""What opening, verifying and preparing data sets costs, at the sizes of the real ones.

An index of 100,000 pictures and their masks, opened in the layouts of ISIC 2018 and of an own folder; and prepare.py
over scans of KiTS19's size (29 to 1,059 slices of 512 x 512, one of 512 x 796; float and int16, noise with two boxes as
labels), once to the end and once more, when everything is noted and cached. Each is a process of its own, and memory is
its high-water mark. The scans take about 4 GB of disk.
"""

import gzip
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from process import answered, measured
from record import Figure, arguments, finish

from rareseg import datasets
from rareseg.experiments.hardware import peak_memory

PICTURES = 100_000
SCANS = [  # slices, rows, columns, type: the extremes of KiTS19 and what lies between
    (1059, 512, 512, np.float32),
    (834, 512, 512, np.int16),
    (252, 512, 796, np.float32),
    (216, 512, 512, np.float64),
    (210, 512, 512, np.int16),
    (108, 512, 512, np.float64),
    (108, 512, 512, np.int16),
    (90, 512, 512, np.float32),
    (60, 512, 512, np.int16),
    (29, 512, 512, np.float64),
]
LAYOUTS = {
    "isic2018": ("ISIC2018_Task1-2_Training_Input", "jpg", "ISIC2018_Task1_Training_GroundTruth", "_segmentation.png"),
    "folder": ("images", "png", "masks", ".png"),
}
CONFIGURATION = """
grid: {dataset: [kits19], network: [unet_demo], loss: [dice]}
datasets: {kits19: {spacing: [3.22, 1.62, 1.62], clip: [-79, 304]}}
pipeline: {analysis: crop, patch: [80, 160, 160]}
evaluation: {grid: original}
"""
HOW = (
    "a process each; memory: its high-water mark, libraries included. Index: empty files, `datasets.open`. Scans: "
    f"{len(SCANS)} synthetic ones, verify, split, draw, resample to 3.22 x 1.62 x 1.62 mm, cache, all cores"
)


def main() -> int:
    """Measure, print, record."""
    options = arguments(__doc__).parse_args()
    if answered(options, lambda job: opened(**job) if "key" in job else prepared(Path(job["scratch"]))):
        return 0
    return finish("data", HOW, figures(options.quick), options)


def figures(quick: bool) -> Iterator[Figure]:
    """Yield every figure."""
    with tempfile.TemporaryDirectory() as scratch:
        for key in LAYOUTS:
            index(Path(scratch) / key, key, PICTURES)
            job = {"key": key, "folder": f"{scratch}/{key}"}
            yield Figure(f"opening {PICTURES} pictures, {key}, CPU s", measured(__file__, job, {}), 5)
    scans = SCANS[3:5] if quick else SCANS
    with tempfile.TemporaryDirectory() as scratch:
        write_scans(Path(scratch) / "data" / "kits19", scans)
        for name in ("first", "again"):
            seconds, mebibytes = measured(__file__, {"scratch": scratch}, {})
            yield Figure(f"{len(scans)} scans, {name}, s", seconds)
            yield Figure(f"{len(scans)} scans, {name}, peak MiB", mebibytes, 2048)


def index(root: Path, key: str, count: int) -> None:
    """Make as many empty pictures and masks."""
    images, ending, masks, suffix = LAYOUTS[key]
    for folder, tail in ((images, f".{ending}"), (masks, suffix)):
        (root / folder).mkdir(parents=True)
        for number in range(count):
            (root / folder / f"ISIC_{number:07d}{tail}").touch()


def opened(key: str, folder: str) -> float:
    """Return how long a data set takes to open, in seconds of CPU: one thread does it."""
    options: dict[str, Any] = {"values": {0: 0, 255: 1}} if key == "folder" else {}
    if key == "folder":  # whose first picture tells how many channels there are
        from PIL import Image

        Image.new("L", (8, 8)).save(f"{folder}/images/ISIC_0000000.png")
    began = time.process_time()
    assert len(datasets.open(key, folder, **options).cases) == PICTURES
    return time.process_time() - began


def write_scans(root: Path, scans: list[tuple[int, int, int, Any]]) -> None:
    """Write scans with labels, slice spacing 0.5 to 5 mm as the number of slices demands."""
    noise = np.random.default_rng(0).normal(40, 30, 2**22)
    for number, (slices, rows, columns, dtype) in enumerate(scans):
        folder = root / "data" / f"case_{number:05d}"
        folder.mkdir(parents=True)
        shape, spacing = (slices, rows, columns), (min(5.0, max(0.5, 500 / slices)), 0.78, 0.78)
        image = np.resize(noise.astype(dtype), shape)
        label = np.zeros(shape, np.uint8)
        label[slices // 4 : slices // 2, 200:260, 150:200] = 1
        label[slices // 3 : slices // 2, 220:240, 160:180] = 2
        for name, volume in (("imaging", image), ("segmentation", label)):
            content = nibabel.Nifti1Image(volume, np.diag([*spacing, 1])).to_bytes()
            (folder / f"{name}.nii.gz").write_bytes(gzip.compress(content, 1))


def prepared(scratch: Path) -> tuple[float, float]:
    """Return seconds and peak mebibytes of ``prepare.py`` over the scans."""
    script = Path(__file__).parents[1] / "scripts" / "prepare.py"
    (scratch / "kits19.yaml").write_text(CONFIGURATION)
    command = [sys.executable, script, "--config", scratch / "kits19.yaml"]
    command += ["--data", scratch / "data", "--results", scratch / "results"]
    began = time.perf_counter()
    subprocess.run(
        command, env={**os.environ, "RARESEG_CACHE": f"{scratch}/cache"}, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - began, peak_memory(resource.RUSAGE_CHILDREN)


if __name__ == "__main__":
    raise SystemExit(main())
