"""From a configuration to runs.

A run is one point of the grid and a seed, resolved to plain values and named by a hash of what changes its result.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rareseg.experiments import catalogue
from rareseg.experiments.cases import SPLIT_FILES
from rareseg.experiments.config import Config, ConfigError
from rareseg.experiments.resolve import arguments_text, settings_at, swept_at, triples
from rareseg.experiments.sections import Pipeline


@dataclass(frozen=True)
class Point:
    """One point of the grid, resolved; not yet tied to data.

    Attributes:
        arguments: Swept arguments, ``epsilon=0.5;omega=10``; empty where nothing is swept.
        settings: Plain values of the sections `dataset`, `pipeline`, `network`, `loss`, `training`, `evaluation`.
    """

    dataset: str
    network: str
    loss: str
    arguments: str
    seed: int
    settings: dict[str, Any]

    @property
    def cell(self) -> tuple[str, str, str, str]:
        """Name of the point without its seed."""
        return self.dataset, self.network, self.loss, self.arguments

    @property
    def swept(self) -> dict[str, str]:
        """Swept argument -> value, both text."""
        return dict(part.split("=") for part in self.arguments.split(";") if part)


def points(config: Config) -> list[Point]:
    """Return every run of the table, in the order of the grid."""
    return [
        Point(**point, arguments=arguments_text(swept), seed=seed, settings=settings_at(config, point, swept))
        for point in triples(config)
        for swept in swept_at(config, point["loss"])
        for seed in config.seeds
    ]


def distinct(all_points: Sequence[Point]) -> list[Point]:
    """Return the points that are a run of their own: of several that share one, the first."""
    found: dict[str, Point] = {}
    for point in all_points:
        found.setdefault(identity(point, "", ""), point)
    return list(found.values())


def settings_of(config: Config, dataset: str) -> dict[str, Any]:
    """Return the settings of the first point of a data set; without a network or a loss where nothing is trained."""
    first = next((point for point in triples(config) if point["dataset"] == dataset), {"dataset": dataset})
    return settings_at(config, first, {})


def select(all_points: list[Point], only: list[str]) -> list[Point]:
    """Keep the points that match: a comma is "and", a second ``--only`` is "or".

    Raises:
        ConfigError: If a key or a value is none of the table's.
    """
    wanted = [_conditions(text, all_points) for text in only]
    return [
        point
        for point in all_points
        if not wanted or any(all(_facts(point).get(key) == value for key, value in one) for one in wanted)
    ]


def _facts(point: Point) -> dict[str, str]:
    """Return what ``--only`` may name."""
    named = {"dataset": point.dataset, "network": point.network, "loss": point.loss, "seed": str(point.seed)}
    return named | point.swept


def _conditions(text: str, all_points: list[Point]) -> list[tuple[str, str]]:
    facts = [_facts(point) for point in all_points]
    keys = list(dict.fromkeys(key for one in facts for key in one))
    found = []
    for part in text.split(","):
        key, _, value = part.partition("=")
        if key not in keys:
            raise ConfigError(f"--only {text}: unknown key `{key}`. Known are {', '.join(keys)}")
        known = list(dict.fromkeys(one[key] for one in facts if key in one))
        value = _as_printed(value) if key not in ("dataset", "network", "loss", "seed") else value
        if value not in known:
            raise ConfigError(f"--only {text}: this table has no {key} `{value}`. It has {', '.join(known)}")
        found.append((key, value))
    return found


def _as_printed(text: str) -> str:
    """Return a number as ``arguments`` hold it, so that .5 finds 0.50."""
    try:
        return f"{float(text):g}"
    except ValueError:
        return text


UNHASHED = ("phantom", "path", "reader", "values", "options", "exclude")
"""Keys of a data set that the fingerprint of its prepared pixels stands for."""

WITHOUT_EFFECT = ("loaders", "checkpoint_seconds")
"""Keys of `training` that change no result."""

HARDWARE = (*WITHOUT_EFFECT, "threads", "devices", "xla", "mixed_precision", "deterministic")
"""Keys of `training` that fit a run to a machine: no paper states them."""


def identity(point: Point, fingerprint: str, backend: str) -> str:
    """Return the run id, readable and ending in a hash of all that changes the result of the training.

    Swept arguments are part of it where they differ from the loss's default, so that tables share their runs.

    Args:
        point: The resolved point.
        fingerprint: Hash of the prepared cases.
        backend: Name of the Keras backend.
    """
    settings = {name: value for name, value in point.settings.items() if name != "evaluation"}
    settings["dataset"] = {name: value for name, value in settings["dataset"].items() if name not in UNHASHED}
    settings["dataset"]["split"] = {
        name: value for name, value in settings["dataset"]["split"].items() if name not in SPLIT_FILES
    }
    settings["training"] = {name: value for name, value in settings["training"].items() if name not in WITHOUT_EFFECT}
    settings["pipeline"] = {**settings["pipeline"], "cache": Pipeline.model_validate({}).cache}  # changes no result
    content = {"settings": settings, "seed": point.seed, "data": [point.dataset, fingerprint], "backend": backend}
    usual = catalogue.losses()[settings["loss"]["name"]]
    swept = [f"{name}{value}" for name, value in point.swept.items() if float(value) != usual[name]["default"]]
    return "-".join([point.dataset, point.network, point.loss, *swept, f"s{point.seed}", digest(content)])


COMPILED = ("optimiser", "supervision", "mixed_precision", "xla", "devices")
"""Keys of `training` that a compiled step is made from."""


def compiled_step(settings: Mapping[str, Any], seed: int, losses: Sequence[Any]) -> str:
    """Return what two runs must have in common to share a compiled step, their data apart.

    Args:
        settings: Of a run.
        seed: Of its network.
        losses: Among which the step chooses.
    """
    whole = settings["pipeline"]["analysis"] == "whole"
    shape = settings["dataset"]["size"] if whole else settings["pipeline"]["patch"]
    training = {name: settings["training"][name] for name in COMPILED}
    training["optimiser"] = {**training["optimiser"], "learning_rate": None}  # given anew with every step
    batch = [shape, settings["dataset"]["channels"], settings["training"]["batch_size"]]
    return json.dumps([settings["network"], seed, batch, training, losses], sort_keys=True)


COUNTED = ("grid", "mask", "auc", "distances", "hec", "parts")
"""Keys of `evaluation` that change what is counted; the others change what is made of the counts."""


def evaluation(settings: dict[str, Any]) -> str:
    """Return what names the folder of an evaluation."""
    chosen = settings["evaluation"]
    batches = settings["training"]["batch_size"] if chosen["aggregation"] == "keras_batch" else None
    return digest({**{name: chosen[name] for name in COUNTED}, "batches": batches})


def digest(content: Any) -> str:
    """Return eight hexadecimal digits that stand for plain data."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:8]
