"""Cases -> train, validation and test.

The rule of both papers' random splits: shuffle with the seed, test = round-half-up(test n), then validation =
round-half-up of its share of what is left. Groups stay together: a group goes where its middle falls, which for
groups of one is the plain rule. Splits on disk: ``split_files.py``.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Protocol, TypeVar

import numpy as np

from rareseg.datasets.files import DataError
from rareseg.datasets.listing import some
from rareseg.datasets.split_files import PARTS, listed

_DEFAULTS = {
    "kind": "random",
    "fractions": (0.8, 0, 0.2),
    "group_by": "none",
    "stratify_by": "none",
    "seed": 0,
    "folds": 5,
    "fold": 0,
}
_FILES = ("path", "development", "test")
_IDLE = {"official": ("stratify_by",), "file": ("group_by", "stratify_by")}
"""Kind -> keys that it cannot follow."""
_REMEDIES = {
    "random": "split.fractions or split.group_by",
    "official": "split.fractions or split.group_by",
    "folds": "split.folds, split.fractions or split.group_by",
    "file": "the file that split names",
}
"""Kind -> what decides how many cases a part gets."""


class Splittable(Protocol):
    """A case, or a patch of one."""

    @property
    def id(self) -> str:
        """Name, unique within the data set."""
        ...

    @property
    def group(self) -> str:
        """What must stay together."""
        ...

    @property
    def part(self) -> str:
        """Official part: training, validation or test; empty where there is none."""
        ...


Item = TypeVar("Item", bound=Splittable)


def split(cases: Sequence[Item], config: Mapping[str, Any]) -> dict[str, list[Item]]:
    """Divide cases into ``{"train": [...], "validation": [...], "test": [...]}``, each in the order given.

    Args:
        cases: Cases or patches; anything with ``id``, ``group`` and ``part``.
        config: Plain data. ``kind``: ``random`` (default), ``official``, ``file`` or ``folds``. ``fractions``: of
            train, validation and test, default ``[0.8, 0, 0.2]``. ``seed``: default 0. ``group_by``: ``none``
            (default), ``image`` or ``sequence`` (both: ``case.group``), or the name of an entry of ``case.info``.
            ``stratify_by``: likewise; every part holds each of its values in proportion, as far as groups allow.
            ``official`` takes no ``stratify_by``, ``file`` neither.
            ``path``: CSV of kind ``file``; or ``development`` and ``test``: MIScnn's two JSON files. ``folds`` and
            ``fold``: how many, default 5, and which of them, from 0, is the test part.

    Raises:
        ValueError: ``config`` has an unknown key, a value that cannot be, or one that its kind cannot follow.
        DataError: The cases do not allow it: a part would be empty, a case has no official part or lacks a fact, or
            official parts tear a group of ``group_by``; or a file of kind ``file`` cannot be read or names other cases.
    """
    unknown = config.keys() - _DEFAULTS.keys() - {*_FILES}
    if unknown:
        raise ValueError(f"split: unknown key {min(unknown)}; known are {', '.join([*_DEFAULTS, *_FILES])}")
    config = {**_DEFAULTS, **config}
    kinds = {"random": _random, "official": _official, "file": _from_file, "folds": _folds}
    if config["kind"] not in kinds:
        raise ValueError(f"split.kind must be one of {', '.join(kinds)}, got {config['kind']!r}")
    _refuse_idle(config)
    assigned = kinds[config["kind"]](cases, config)
    empty = [part for part in _wanted(config) if part not in assigned]
    if empty:
        remedy = _REMEDIES[config["kind"]]
        raise DataError(f"split: the {empty[0]} part would be empty with {len(cases)} cases; change {remedy}")
    parts: dict[str, list[Item]] = {part: [] for part in PARTS}
    for case, part in zip(cases, assigned, strict=True):
        parts[part].append(case)
    return parts


def _refuse_idle(config: Mapping[str, Any]) -> None:
    """Refuse a wish that would be passed over; what merged configurations leave behind, as fractions, is none."""
    for key in _IDLE.get(config["kind"], ()):
        if config[key] != "none":
            raise ValueError(f"split.{key} has no effect with kind {config['kind']}; leave it out")


def _wanted(config: Mapping[str, Any]) -> list[str]:
    """Return the parts that must hold a case."""
    if config["kind"] == "file":
        return ["train"]
    asked = dict(zip(PARTS, _fractions(config), strict=True))
    return [part for part in PARTS if asked[part] > 0 or (part == "test" and config["kind"] != "random")]


def _random(cases: Sequence[Item], config: Mapping[str, Any]) -> list[str]:
    return _dealt(cases, config, _sizes(len(cases), *_fractions(config)))


def _official(cases: Sequence[Item], config: Mapping[str, Any]) -> list[str]:
    """Take the official parts; without one, the last of training validate, as in the split files of UFL's authors."""
    groups = [case.group if config["group_by"] == "none" else _fact(case, "group_by", config) for case in cases]
    development = list(
        dict.fromkeys(group for group, case in zip(groups, cases, strict=True) if case.part == "training")
    )
    if not development or not any(case.part == "test" for case in cases):
        raise DataError(
            "split: kind official needs labelled cases in an official training and an official test half, and these "
            "have not both. Set split.kind to random, which is another protocol."
        )
    astray = [case.id for case in cases if case.part not in ("training", "validation", "test")]
    if astray:
        raise DataError(
            f"split: kind official needs the part of every case, training, validation or test; it lacks for "
            f"{some(astray)}. Fill `split` in their table, or list them under `exclude`."
        )
    train, validation, _ = _fractions(config)
    stated = any(case.part == "validation" for case in cases)
    count = 0 if stated else _half_up(validation / (train + validation) * len(development))
    held_out = {*development[len(development) - count :]}
    training = {True: "validation", False: "train"}
    assigned = [
        training[group in held_out] if case.part == "training" else case.part
        for group, case in zip(groups, cases, strict=True)
    ]
    if config["group_by"] != "none":
        _refuse_torn(groups, assigned, config["group_by"])
    return assigned


def _refuse_torn(groups: Sequence[Hashable], assigned: Sequence[str], name: str) -> None:
    """Refuse official parts that put a group, of those that ``name`` stands for, on several sides."""
    sides = Counter(group for group, _ in {*zip(groups, assigned, strict=True)})
    torn = [str(group) for group, count in sides.items() if count > 1]
    if torn:
        raise DataError(
            f"split: the official parts put groups of {name} on several sides: {some(sorted(torn))}. Leave out "
            "split.group_by, or set split.kind to random, which is another protocol."
        )


def _folds(cases: Sequence[Item], config: Mapping[str, Any]) -> list[str]:
    """Test on one fold; train and validation share the others in the proportion of their fractions."""
    count, chosen = config["folds"], config["fold"]
    if not 2 <= count <= len(cases) or not 0 <= chosen < count:
        raise ValueError(f"split: fold {chosen} of {count} folds is not possible with {len(cases)} cases")
    edges = [_half_up(Fraction(len(cases) * k, count)) for k in range(count + 1)]
    fold = _dealt(cases, config, {str(k): edges[k + 1] - edges[k] for k in range(count)})
    rest = [case for case, number in zip(cases, fold, strict=True) if number != str(chosen)]
    train, validation, _ = _fractions(config)
    within = iter(_dealt(rest, config, _sizes(len(rest), train, validation, Fraction(0))))
    return ["test" if number == str(chosen) else next(within) for number in fold]


def _from_file(cases: Sequence[Item], config: Mapping[str, Any]) -> list[str]:
    part_of = listed([case.id for case in cases], *(config.get(name) for name in _FILES))
    return [part_of[case.id] for case in cases]


def _dealt(cases: Sequence[Item], config: Mapping[str, Any], sizes: Mapping[str, int]) -> list[str]:
    """Return the part of every case: groups are shuffled, laid end to end, and cut into ``sizes`` cases."""
    groups: dict[Hashable, list[int]] = {}
    for position, case in enumerate(cases):
        key = position if config["group_by"] == "none" else _fact(case, "group_by", config)
        groups.setdefault(key, []).append(position)
    members, parts, ends = list(groups.values()), list(sizes), np.cumsum(list(sizes.values()))
    order = np.random.default_rng(config["seed"]).permutation(len(members)).tolist()
    if config["stratify_by"] != "none":
        order = _spread(order, [_fact(cases[positions[0]], "stratify_by", config) for positions in members])
    assigned, start = [""] * len(cases), 0
    for number in order:
        middle = start + len(members[number]) / 2
        part = parts[int(np.searchsorted(ends, middle))]
        start += len(members[number])
        for position in members[number]:
            assigned[position] = part
    return assigned


def _spread(order: Sequence[int], strata: Sequence[Hashable]) -> list[int]:
    """Return ``order`` rearranged so that every stretch of it holds each stratum in proportion."""
    size, seen, place = Counter(strata), Counter[Hashable](), {}
    for number in order:
        stratum = strata[number]
        place[number] = (seen[stratum] + 0.5) / size[stratum]
        seen[stratum] += 1
    return sorted(order, key=place.__getitem__)


def _fact(case: Splittable, key: str, config: Mapping[str, Any]) -> Hashable:
    """Return what ``config[key]`` names: the case's group, or an entry of its facts."""
    name = config[key]
    if name in ("image", "sequence"):
        return case.group
    info = getattr(case, "info", {})
    if name not in info:
        raise DataError(
            f"split.{key} must be none, image, sequence or a fact of every case, got {name}; "
            f"the facts of {case.id}: {', '.join(info) or 'none'}"
        )
    return info[name]


def _fractions(config: Mapping[str, Any]) -> tuple[Fraction, Fraction, Fraction]:
    """Return the three fractions exactly as written: 0.15 of 10 is 1.5, which binary numbers miss."""
    values = [Fraction(str(value)) for value in config["fractions"]]
    if len(values) != 3 or min(values) < 0 or values[0] == 0 or sum(values) != 1:
        raise ValueError(f"split.fractions must be of train, validation and test, sum 1, got {config['fractions']}")
    return values[0], values[1], values[2]


def _sizes(count: int, train: Fraction, validation: Fraction, test: Fraction) -> dict[str, int]:
    """Return how many cases each part gets, in the order in which they are dealt."""
    tested = _half_up(test * count)
    validated = _half_up(validation / (train + validation) * (count - tested))
    return {"test": tested, "validation": validated, "train": count - tested - validated}


def _half_up(value: Fraction) -> int:
    return int(value + Fraction(1, 2))
