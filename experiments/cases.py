"""The cases of a run: opened, prepared, divided.

The parent process does it to check them and to name the runs, the workers to use them.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rareseg import datasets, pipeline
from rareseg.experiments import catalogue

SPLIT_FILES = ("path", "development", "test")
"""Keys of a split that name files, whose content counts and not their names."""


@dataclass(frozen=True, eq=False)
class Cases:
    """Prepared cases of one data set under one preparation.

    Attributes:
        kind: See `kind_of`.
        fingerprint: Hash of ids, groups, facts and prepared pixels; changes with the data, not with paths or times.
        classes: Name of each class; ``foreground`` is that of class 1 where there are two.
        prepared: All cases, in the data set's order.
        originals: The same cases by their ids, as they are on disk.
    """

    kind: str
    fingerprint: str
    classes: tuple[str, ...]
    prepared: list[pipeline.Prepared]
    originals: Mapping[str, datasets.Case]
    _divisions: dict[str, dict[str, list[Any]]] = field(default_factory=dict, repr=False)

    def identified_by(self, settings: Mapping[str, Any]) -> str:
        """Return what stands for the data in the name of a run: the fingerprint, and the content of split files."""
        split = settings["dataset"]["split"]
        if split["kind"] != "file":
            return self.fingerprint
        parts = {part: [case.id for case in cases] for part, cases in self.division(settings).items()}
        return hashlib.sha256(f"{self.fingerprint} {parts}".encode()).hexdigest()[:16]

    def counted(self, case: Any, grid: str) -> Any:
        """Return a prepared case or patch as it is counted: with ``original`` as its files are, where it has some."""
        return self.originals.get(case.id, case) if grid == "original" else case

    def division(self, settings: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Return what the split divides, by part: cases, or patches with ``split_by: patch``.

        Computed once: it is asked for several times, and drawing 200,000 patches takes seconds.
        """
        key = json.dumps([settings["dataset"]["split"], settings["pipeline"]], sort_keys=True)
        if key not in self._divisions:
            self._divisions[key] = self._divided(settings)
        return dict(self._divisions[key])

    def _divided(self, settings: Mapping[str, Any]) -> dict[str, list[Any]]:
        division = settings["dataset"]["split"]
        if divides_patches(settings):
            return datasets.split(
                pipeline.draw_patches(self.prepared, pipeline_settings(settings), division["seed"]), division
            )
        return datasets.split(self.prepared, division)

    def parts(self, settings: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Return the samples of a run, by part.

        With ``analysis: patches``, samples of training and validation are patches. ``split_by: patch`` divides the
        patches of all images, so that patches of one image fall on both sides; ``split_by: image`` divides the images,
        and whole images are tested.
        """
        parts = self.division(settings)
        chosen = settings["pipeline"]
        if chosen["analysis"] == "patches" and chosen["patches"]["split_by"] == "image":
            seed = settings["dataset"]["split"]["seed"]
            per_image = chosen["patches"]["count"] / len(parts["train"])  # as many of each image in every part
            for part in ("train", "validation"):
                if parts[part]:
                    drawn = {**chosen["patches"], "count": round(per_image * len(parts[part]))}
                    drawing = pipeline_settings({**settings, "pipeline": {**chosen, "patches": drawn}})
                    parts[part] = pipeline.draw_patches(parts[part], drawing, seed)
        return parts


def open_cases(key: str, folder: Path, settings: Mapping[str, Any], workers: int = 4) -> Cases:
    """Open a data set and prepare all of its cases, from the cache where they were prepared before.

    Args:
        key: Name of the data set.
        folder: Its root.
        settings: Resolved settings of a run.
        workers: Threads.

    Raises:
        DataError: If the folder or a file is not as expected, in one sentence.
    """
    dataset = open_dataset(key, folder, settings["dataset"])
    prepared = pipeline.prepare_all(dataset.cases, pipeline_settings(settings), workers=workers)
    facts = [[case.id, case.group, case.digest, *map(str, sorted(case.info.items()))] for case in prepared]
    lines = "\n".join(" ".join(words) for words in facts)
    return Cases(
        kind_of(dataset),
        hashlib.sha256(lines.encode()).hexdigest()[:16],
        ("background", "foreground") if len(dataset.classes) == 2 else dataset.classes,
        prepared,
        {case.id: case for case in dataset.cases},
    )


def open_dataset(key: str, folder: Path, section: Mapping[str, Any]) -> datasets.Dataset:
    """Open a data set as its section of the configuration says."""
    options = dict(section["options"])
    if section["values"] is not None:
        options["values"] = {int(value): label for value, label in section["values"].items()}  # JSON keys are text
    return datasets.open(section["reader"] or key, folder, exclude=section["exclude"], **options)


def divides_patches(settings: Mapping[str, Any]) -> bool:
    """Return whether the split of a run divides patches of all images, not the images."""
    drawing = settings["pipeline"]
    return drawing["analysis"] == "patches" and drawing["patches"]["split_by"] == "patch"


def kind_of(dataset: datasets.Dataset) -> str:
    """Return ``phantom``, ``subset`` (fewer cases than the paper used) or ``real``."""
    return "real" if dataset.state == "complete" else dataset.state


def pipeline_settings(settings: Mapping[str, Any]) -> pipeline.Settings:
    """Return what the pipeline needs to know of a run."""
    content = {name: settings["dataset"][name] for name in ("size", "spacing", "clip", "scaling", "channels")}
    content |= settings["pipeline"]
    content |= {name: settings["training"][name] for name in ("batch_size", "steps_per_epoch")}
    if settings["network"]:
        content |= {"size_factor": catalogue.size_factor(settings["network"])}
    return pipeline.Settings.of(content)
