"""From a configuration to runs.

A run is one point of the grid and a seed, resolved to plain values and named by a hash of what changes its result.
"""

import hashlib
import itertools
import json
from dataclasses import dataclass
from typing import Any

from rareseg.experiments.config import Config, ConfigError, sections_at


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


def points(config: Config) -> list[Point]:
    """Return every run of the table, in the order of the grid."""
    grid = config.grid
    return [
        _point(config, dataset, network, loss, seed)
        for dataset, network, loss, seed in itertools.product(grid.dataset, grid.network, grid.loss, config.seeds)
    ]


def _point(config: Config, dataset: str, network: str, loss: str, seed: int) -> Point:
    sections = sections_at(config, {"dataset": dataset, "network": network, "loss": loss})
    settings = {name: section.model_dump(mode="json") for name, section in sections.items()}
    settings["dataset"] = config.datasets[dataset].model_dump(mode="json")
    settings["network"] = config.networks[network]
    settings["loss"] = {"name": loss, **config.losses.get(loss, {})}
    return Point(dataset, network, loss, "", seed, settings)


def select(all_points: list[Point], only: list[str]) -> list[Point]:
    """Keep the points that match: a comma is "and", a second ``--only`` is "or".

    Raises:
        ConfigError: If a key or a value is none of the table's.
    """
    wanted = [_conditions(text, all_points) for text in only]
    return [
        point
        for point in all_points
        if not wanted or any(all(str(getattr(point, key)) == value for key, value in one) for one in wanted)
    ]


def _conditions(text: str, all_points: list[Point]) -> list[tuple[str, str]]:
    found = []
    for part in text.split(","):
        key, _, value = part.partition("=")
        if key not in ("dataset", "network", "loss", "seed"):
            raise ConfigError(f"--only {text}: unknown key `{key}`. Known are dataset, network, loss, seed")
        known = list(dict.fromkeys(str(getattr(point, key)) for point in all_points))
        if value not in known:
            raise ConfigError(f"--only {text}: this table has no {key} `{value}`. It has {', '.join(known)}")
        found.append((key, value))
    return found


def identity(point: Point, fingerprint: str, backend: str) -> str:
    """Return the run id, readable and ending in a hash of all that changes the result of the training.

    Args:
        point: The resolved point.
        fingerprint: Hash of the prepared cases.
        backend: Name of the Keras backend.
    """
    settings = {name: value for name, value in point.settings.items() if name != "evaluation"}
    settings["dataset"] = {
        name: value for name, value in settings["dataset"].items() if name != "phantom"
    }  # its pixels are in the fingerprint
    content = {"settings": settings, "seed": point.seed, "data": [point.dataset, fingerprint], "backend": backend}
    parts = [
        point.dataset,
        point.network,
        point.loss,
        *filter(None, [point.arguments.replace(";", "-").replace("=", "")]),
        f"s{point.seed}",
    ]
    return "-".join([*parts, digest(content)])


def digest(content: Any) -> str:
    """Return eight hexadecimal digits that stand for plain data."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:8]
