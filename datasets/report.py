"""Dataset -> report: every case read once, all faults at once, and what results need to say about the data."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from rareseg.datasets.case import Case, Check, Dataset
from rareseg.datasets.facts import Notes
from rareseg.datasets.files import DataError
from rareseg.datasets.listing import by, some

_EDITION = 1  # of notes; raise it when a check would find something else in the same files
_SHOWN = 10  # sizes that are listed one by one


@dataclass(frozen=True, eq=False)
class Report:
    """What reading a whole data set showed; ``str(report)`` is the text for people.

    Attributes:
        dataset: The data set.
        checks: One per readable case, in the order of the cases.
        faults: One sentence per case that cannot be used.
        warnings: What is odd but legal.
    """

    dataset: Dataset
    checks: tuple[Check, ...]
    faults: tuple[str, ...]
    warnings: tuple[str, ...]

    def mean_share(self, label: int = 1) -> float:
        """Return the mean over cases of a class's share of the pixels, 0 to 1; NaN where no case could be read."""
        return float(np.mean([check.share(label) for check in self.checks])) if self.checks else float("nan")

    def pooled_share(self, label: int = 1) -> float:
        """Return a class's share of the pixels of all cases together, 0 to 1; NaN where no case could be read."""
        if not self.checks:
            return float("nan")
        pixels = [int(check.counts.sum()) for check in self.checks]
        return float(np.average([check.share(label) for check in self.checks], weights=pixels))

    def mean_inside(self) -> float:
        """Return the mean share of foreground inside the field of view, 0 to 1; NaN where no case has one."""
        inside = [check.inside for check in self.checks if check.inside is not None]
        return float(np.mean(inside)) if inside else float("nan")

    def __str__(self) -> str:
        """Return the report as lines."""
        lines = [self._headline(), *self._tables(), *self._shares()]
        lines += [f"  note: {remark}" for remark in (*self.dataset.about.remarks, *self.dataset.remarks)]
        lines += [f"  left out: {identity}: {reason}" for identity, reason in self.dataset.left_out.items()]
        lines += [f"  warning: {text}" for text in self.warnings]
        lines += [f"  FAULT: {text}" for text in self.faults]
        return "\n".join(lines)

    def _headline(self) -> str:
        data = self.dataset
        groups = len({case.group for case in data.cases})
        of = f" of {data.full_size}" if data.full_size else ""
        return (
            f"{data.key}, {data.about.title}: {data.state}, {len(data.cases)}{of} cases "
            f"in {groups} groups, {len(self.faults)} faults, {len(self.warnings)} warnings ({data.folder})"
        )

    def _tables(self) -> list[str]:
        """Return what there is of parts, sizes, types and kinds, most frequent first."""
        columns = {
            "parts": [check.case.part for check in self.checks],
            "sizes": [by(check.shape) for check in self.checks],
            "types": [check.dtype or "no image" for check in self.checks],
            "kinds": [check.kind for check in self.checks],
        }
        texts = {name: _counted(values) for name, values in columns.items() if any(values)}
        return [f"  {name}: {text}" for name, text in texts.items()]

    def _shares(self) -> list[str]:
        """Return label values and the share of each foreground class in percent."""
        if not self.checks:
            return []
        values = sorted({int(value) for check in self.checks for value in np.flatnonzero(check.counts)})
        lines = [f"  label values: {', '.join(map(str, values))}"]
        for label, name in enumerate(self.dataset.classes[1:], start=1):
            shares = [100 * check.share(label) for check in self.checks]
            lines.append(
                f"  {name}: mean {100 * self.mean_share(label):.4f}% of the pixels, pooled "
                f"{100 * self.pooled_share(label):.4f}%, from {min(shares):.4f}% to {max(shares):.4f}%"
            )
        if not np.isnan(self.mean_inside()):
            lines.append(f"  inside the field of view: mean {100 * self.mean_inside():.4f}%")
        objects = [check.case.info["objects"] for check in self.checks if "objects" in check.case.info]
        return [*lines, f"  objects: {sum(objects)}"] if objects else lines


def _counted(values: list[str]) -> str:
    """Return how often each value occurs, the most frequent first, the rare of many together."""
    counts = Counter(values).most_common()
    shown, rest = counts[:_SHOWN], counts[_SHOWN:]
    more = [f"{len(rest)} others: {sum(count for _, count in rest)}"] if rest else []
    return ", ".join([*(f"{value}: {count}" for value, count in shown), *more])


def report(dataset: Dataset, progress: Callable[[Case], None], workers: int, *, remember: bool) -> Report:
    """Read every case of ``dataset``; see `Dataset.report`."""
    notes = Notes(dataset.folder, "checks") if remember else None

    def checked(case: Case) -> Check | str:
        """Return what reading a case showed, or what is wrong with it."""
        try:
            return _noted(case, notes) if notes else case.check()
        except DataError as fault:
            return str(fault)
        finally:
            progress(case)

    with ThreadPoolExecutor(workers) as pool:
        results = list(pool.map(checked, dataset.cases))
    checks = [result for result in results if isinstance(result, Check)]
    faults = [result for result in results if isinstance(result, str)]
    warnings = [warning for check in checks for warning in check.warnings]
    warnings += _twins(checks)
    unlike = [check.case.id for check in checks if check.shape[-1] != dataset.channels]
    if unlike:
        warnings.append(
            f"images of another number of channels than {dataset.channels}, that of the first: {some(unlike)}; "
            "`channels: 3` in a configuration repeats the one of grey images"
        )
    empty = [check.case.id for check in checks if check.counts[1:].sum() == 0]
    if empty:
        warnings.append(f"cases without foreground: {some(empty)}")
    return Report(dataset, tuple(checks), tuple(faults), tuple(warnings))


def _noted(case: Case, notes: Notes) -> Check:
    """Return what reading a case showed, now or when its files were as they are now."""
    state = [_EDITION, case.state()]
    facts = notes.find(case.id, state)
    if facts is not None:
        return Check.of(case, facts)
    check = case.check()
    notes.add(case.id, state, check.facts())
    return check


def _twins(checks: list[Check]) -> list[str]:
    """Return a warning per pair of cases with the same image."""
    first: dict[str, str] = {}
    pairs = [(first.setdefault(check.digest, check.case.id), check.case.id) for check in checks if check.digest]
    return [f"{twin}: the image is that of {origin}" for origin, twin in pairs if origin != twin]
