"""The cases of a run: opened, prepared, divided.

The parent process does it to check them and to name the runs, the workers to use them.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rareseg import datasets, pipeline
from rareseg.experiments import catalogue


@dataclass(frozen=True, eq=False)
class Cases:
    """Prepared cases of one data set under one preparation.

    Attributes:
        kind: ``phantom``, ``subset`` (fewer cases than the paper used) or ``real``.
        fingerprint: Hash of ids, groups, facts and prepared pixels; changes with the data, not with paths or times.
        prepared: All cases, in the data set's order.
        originals: The same cases by their ids, as they are on disk.
    """

    kind: str
    fingerprint: str
    prepared: list[pipeline.Prepared]
    originals: Mapping[str, datasets.Case]

    def division(self, settings: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Return what the split divides, by part: cases, or patches with ``split_by: patch``."""
        division = settings["dataset"]["split"]
        patches = settings["pipeline"]["patches"] if settings["pipeline"]["analysis"] == "patches" else None
        if patches and patches["split_by"] == "patch":
            return datasets.split(
                pipeline.draw_patches(self.prepared, pipeline_settings(settings), division["seed"]), division
            )
        return datasets.split(self.prepared, division)

    def parts(self, settings: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Return the samples of a run, by part.

        With ``analysis: patches``, training samples are patches. ``split_by: patch`` divides the patches of all images,
        so that patches of one image fall on both sides; ``split_by: image`` divides the images, and whole images are
        tested.
        """
        parts = self.division(settings)
        chosen = settings["pipeline"]
        if chosen["analysis"] == "patches" and chosen["patches"]["split_by"] == "image":
            drawing, seed = pipeline_settings(settings), settings["dataset"]["split"]["seed"]
            parts["train"] = pipeline.draw_patches(parts["train"], drawing, seed)
        return parts


def open_cases(
    key: str,
    folder: Path,
    settings: Mapping[str, Any],
    workers: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> Cases:
    """Open a data set and prepare all of its cases, from the cache where they were prepared before.

    Args:
        key: Name of the data set.
        folder: Its root.
        settings: Resolved settings of a run.
        workers: Threads.
        progress: Called with the number of cases done and of all.

    Raises:
        DataError: If the folder or a file is not as expected, in one sentence.
    """
    dataset = datasets.open(key, folder)
    prepared = pipeline.prepare_all(dataset.cases, pipeline_settings(settings), workers=workers, progress=progress)
    facts = [[case.id, case.group, case.digest, *map(str, sorted(case.info.items()))] for case in prepared]
    lines = "\n".join(" ".join(words) for words in facts)
    kind = {"complete": "real"}.get(dataset.state, dataset.state)
    return Cases(
        kind, hashlib.sha256(lines.encode()).hexdigest()[:16], prepared, {case.id: case for case in dataset.cases}
    )


def pipeline_settings(settings: Mapping[str, Any]) -> pipeline.Settings:
    """Return what the pipeline needs to know of a run."""
    chosen, training = settings["pipeline"], settings["training"]
    content = {name: settings["dataset"][name] for name in ("size", "scaling", "channels")}
    content |= {name: chosen[name] for name in ("backend", "analysis", "patch", "overlap", "patches", "blend")}
    content |= {name: training[name] for name in ("batch_size", "steps_per_epoch")}
    return pipeline.Settings.of({**content, "size_factor": catalogue.size_factor(settings["network"])})
