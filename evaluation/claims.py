"""The papers' sentences as predicates on measured tables: each claim holds, fails, or is undecided.

ALL is Kaul et al. (arXiv 1910.09717), UFL is Yeung et al. (arXiv 2102.04525). A claim is undecided where a run that it
needs is missing or was measured on other than real data. ``printed`` makes the same evidence of the papers' own tables,
so that a claim is also held against its own paper. What the predicates may look at says ``evidence``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from rareseg.evaluation.evidence import Block, Evidence, MissingError
from rareseg.evaluation.published import as_fraction, published_rows
from rareseg.evaluation.statistics import LEVEL

CLAIM_COLUMNS = ("id", "claim", "verdict", "reason", "in_print")
LARGEST_RANGE = 0.02
"""Of DSC over gamma that still counts as stable; chosen, the paper shows a figure and no number."""

ASYMMETRIC, SYMMETRIC = "unified_focal_asymmetric", "unified_focal_symmetric"
_ALL_LOSSES = ("jaccard", "dice", "tversky", "focal", "combo", "adaptive_log")
_UFL_LOSSES = ("cross_entropy", "focal", "dice", "tversky", "focal_tversky", "combo", SYMMETRIC, ASYMMETRIC)
_ALL_BLOCKS = tuple(
    Block(dataset, network, "jaccard")
    for dataset in ("isic2018", "dsb2018", "drive")
    for network in ("unet", "focusnet")
)
_FLAT = tuple(Block(dataset, "unet", "dsc") for dataset in ("cvc_clinicdb", "drive", "bus2017"))
_BRATS = Block("brats2020", "unet", "dsc")
_KIDNEY, _TUMOUR = (Block("kits19", "unet", "dsc", name) for name in ("kidney", "tumour"))
_UFL_BLOCKS = (*_FLAT, _BRATS, _KIDNEY, _TUMOUR)
_FLAT_TABLES = ("ufl_table2", "ufl_table3", "ufl_table4")
_UFL_TABLES = (*_FLAT_TABLES, "ufl_table5", "ufl_table6")
_SWEPT = ("epsilon", "omega", "gamma")
_GAMMAS = tuple(round(0.1 * step, 1) for step in range(1, 10))


class Finding(NamedTuple):
    """Verdict of a claim and the sentence that gives its numbers."""

    verdict: str
    reason: str


class Claim(NamedTuple):
    """A sentence of a paper.

    Attributes:
        id: ``A1`` to ``A6`` (ALL), ``U1`` to ``U8`` (UFL).
        text: What the paper says.
        tables: Tables that it is judged by.
        judge: The predicate; raises ``MissingError`` where something that it needs is not there.
        in_print: What the paper has of it; empty where its own tables are known in full and are judged instead.
    """

    id: str
    text: str
    tables: tuple[str, ...]
    judge: Callable[[Evidence], Finding]
    in_print: str = ""


def judge(claims: Sequence[Claim], seen: Evidence, published: Evidence) -> pd.DataFrame:
    """Judge claims by what was measured, and those of complete tables by what was printed.

    Args:
        claims: Any of ``CLAIMS``.
        seen: What was measured.
        published: What was printed, see ``printed``.

    Returns:
        The columns ``CLAIM_COLUMNS``: verdict ``holds``, ``fails`` or ``undecided``, reason a sentence with numbers.
    """
    rows = []
    for claim in claims:
        found, in_print = _decide(claim, seen), claim.in_print
        if not in_print:
            said = _decide(claim, published)
            in_print = f"{said.verdict} ({said.reason})"
        rows.append((claim.id, claim.text, found.verdict, found.reason, in_print))
    return pd.DataFrame(rows, columns=list(CLAIM_COLUMNS))


def printed(published: Mapping[str, pd.DataFrame], name: Callable[[str], str] = str) -> Evidence:
    """Return the evidence that the papers' own tables give.

    Args:
        published: Table -> its published rows, all columns text.
        name: Turns a key into what is printed.
    """
    rows = []
    for table, frame in published.items():
        for cell in published_rows(frame):
            text = ";".join(token for token in cell["note"].split(";") if token.split("=")[0] in _SWEPT)
            value = as_fraction(cell["value"], cell["unit"])
            rows.append({**cell, "table": table, "arguments": text, "ours": value, "data": "real"})
    return Evidence(pd.DataFrame(rows), name=name)


def _decide(claim: Claim, seen: Evidence) -> Finding:
    try:
        return claim.judge(seen)
    except MissingError as missing:
        return Finding("undecided", str(missing))


def _counted(lost: Sequence[str], of: int, won: str) -> Finding:
    """Return the finding of a claim that must hold in every one of several places."""
    return Finding("fails" if lost else "holds", "; ".join([f"{won} in {of - len(lost)} of {of}", *lost]))


def _against(seen: Evidence, block: Block, better: str, values: Mapping[str, float], worse: str) -> str:
    return f"{seen.where(block)}: {seen.name(better)} {values[better]:.4f} against {values[worse]:.4f}"


# ALL ------------------------------------------------------------------------------------------------------------------


def _best_of_all(seen: Evidence) -> Finding:
    return _highest(seen, "adaptive_log", _ALL_BLOCKS, _ALL_LOSSES, ("table3",))


def _highest(
    seen: Evidence, loss: str, blocks: Sequence[Block], losses: Sequence[str], tables: Sequence[str]
) -> Finding:
    """Judge whether a loss is the highest of each block; equal values count as highest."""
    lost = []
    for block in blocks:
        values = seen.values(block, losses, tables)
        best = max(losses, key=values.__getitem__)
        if values[best] > values[loss]:
            lost.append(_against(seen, block, best, values, loss))
    return _counted(lost, len(blocks), "highest")


def _above_its_base(seen: Evidence) -> Finding:
    lost = []
    for block in _ALL_BLOCKS:
        values = seen.values(block, ("dice", "adaptive_log"), ("table3",))
        if values["adaptive_log"] <= values["dice"]:
            lost.append(_against(seen, block, "dice", values, "adaptive_log"))
    return _counted(lost, len(_ALL_BLOCKS), "above Dice")


def _gains_grow_with_imbalance(seen: Evidence) -> Finding:
    gains: dict[str, list[float]] = {}
    for block in _ALL_BLOCKS:
        values = seen.values(block, _ALL_LOSSES, ("table3",))
        second = max(value for loss, value in values.items() if loss != "adaptive_log")
        gains.setdefault(block.dataset, []).append(values["adaptive_log"] - second)
    means = {dataset: float(np.mean(found)) for dataset, found in gains.items()}
    even = means["isic2018"] < min(means["dsb2018"], means["drive"])
    listed = ", ".join(f"{seen.name(dataset)} {gain:+.4f}" for dataset, gain in means.items())
    return Finding("holds" if even else "fails", f"gain over the best other loss, mean over networks: {listed}")


def _threshold_matters(seen: Evidence) -> Finding:
    ranges = [float(np.ptp(list(seen.swept(table, "jaccard").values()))) for table in ("table2", "table1")]
    reason = f"range over the threshold {ranges[0]:.4f}, over epsilon and omega {ranges[1]:.4f}"
    return Finding("holds" if ranges[0] > ranges[1] else "fails", reason)


def _beats_attention_unet(seen: Evidence) -> Finding:
    lost, metrics = [], ("dsc", "precision", "recall")
    for metric in metrics:
        ours = seen.value(Block("isic2018", "focusnet", metric), "adaptive_log", ("table4",))
        theirs = seen.value(Block("isic2018", "attention_unet", metric), "focal_tversky", ("table4",))
        if ours <= theirs:
            lost.append(f"{seen.name(metric)} {ours:.4f} against {theirs:.4f}")
    return _counted(lost, len(metrics), "higher metric")


def _sooner(seen: Evidence) -> Finding:
    losses = ("adaptive_log", "jaccard", "dice", "tversky", "combo")
    epochs = {loss: float(np.median([seen.reached(block, loss) for block in _ALL_BLOCKS])) for loss in losses}
    first = epochs["adaptive_log"] < min(epochs[loss] for loss in losses[1:])
    listed = ", ".join(f"{seen.name(loss)} {epoch:g}" for loss, epoch in epochs.items())
    return Finding("holds" if first else "fails", f"epoch with 95 % of the last Jaccard, median over blocks: {listed}")


# UFL ------------------------------------------------------------------------------------------------------------------


def _best_of_ufl(seen: Evidence) -> Finding:
    return _highest(seen, ASYMMETRIC, _UFL_BLOCKS, _UFL_LOSSES, _UFL_TABLES)


def _symmetric_second(seen: Evidence) -> Finding:
    """Equal values share a place, so that two variants that are equal and best do not speak against it."""
    lost = []
    for block in _FLAT:
        values = seen.values(block, _UFL_LOSSES, _FLAT_TABLES)
        others = max((loss for loss in _UFL_LOSSES if loss not in (SYMMETRIC, ASYMMETRIC)), key=values.__getitem__)
        if values[others] > values[SYMMETRIC]:
            lost.append(_against(seen, block, others, values, SYMMETRIC))
        elif values[SYMMETRIC] > values[ASYMMETRIC]:
            lost.append(f"{seen.where(block)}: it is first")
    return _counted(lost, len(_FLAT), "second")


def _no_difference(seen: Evidence, blocks: Sequence[Block], losses: Sequence[str], tables: Sequence[str]) -> Finding:
    """Judge whether no two of the losses differ by the rank-sum test in any of the blocks."""
    lost, tested = [], 0
    for block in blocks:
        seen.values(block, losses, tables)
        for first, second in itertools.combinations(losses, 2):
            p, tested = seen.p(block, first, second), tested + 1
            if p < LEVEL:
                lost.append(f"{seen.where(block)}: {seen.name(first)} and {seen.name(second)}, p {p:.2g}")
    return _counted(lost, tested, f"p >= {LEVEL}")


def _variants_equal(seen: Evidence) -> Finding:
    return _no_difference(seen, _UFL_BLOCKS, (ASYMMETRIC, SYMMETRIC), _UFL_TABLES)


def _regions_equal(seen: Evidence) -> Finding:
    return _no_difference(seen, _FLAT, ("dice", "tversky", "focal_tversky"), _FLAT_TABLES)


def _worse(seen: Evidence, blocks: Sequence[Block], worse: str, better: str, tables: Sequence[str]) -> Finding:
    """Judge whether a loss has a lower mean than another and differs by the rank-sum test."""
    lost, shown = [], []
    for block in blocks:
        values, p = seen.values(block, (worse, better), tables), seen.p(block, worse, better)
        said = f"{seen.where(block)}: {values[worse]:.4f} against {values[better]:.4f}, p {p:.2g}"
        (shown if values[worse] < values[better] and p < LEVEL else lost).append(said)
    found = _counted(lost, len(blocks), "worse")
    return found._replace(reason="; ".join([found.reason, *shown]))


def _focal_worse(seen: Evidence) -> Finding:
    return _worse(seen, (_FLAT[0], _FLAT[2]), "focal", "cross_entropy", _FLAT_TABLES)


def _dice_finds_tumours(seen: Evidence) -> Finding:
    return _worse(seen, (_TUMOUR,), "cross_entropy", "dice", ("ufl_table6",))


def _two_worst(seen: Evidence) -> Finding:
    values = seen.values(_BRATS, _UFL_LOSSES, ("ufl_table5",))
    lowest = sorted(_UFL_LOSSES, key=values.__getitem__)[:2]
    listed = ", ".join(f"{seen.name(loss)} {values[loss]:.4f}" for loss in lowest)
    return Finding("holds" if set(lowest) == {"dice", "tversky"} else "fails", f"lowest two: {listed}")


def _gamma_stable(seen: Evidence) -> Finding:
    lost, sweeps = [], list(itertools.product(_FLAT, (ASYMMETRIC, SYMMETRIC)))
    for block, loss in sweeps:
        values = seen.over_gamma(block, loss, _GAMMAS)
        spread = max(values[:-1]) - min(values[:-1])
        lowest = _GAMMAS[int(np.argmin(values))]
        if spread > LARGEST_RANGE or lowest != _GAMMAS[-1]:
            lost.append(f"{seen.where(block)}, {seen.name(loss)}: range {spread:.4f} up to 0.8, lowest at {lowest:g}")
    return _counted(lost, len(sweeps), "stable up to 0.8 and lowest at 0.9")


CLAIMS = (
    Claim("A1", "ALL has the best Jaccard", ("table3",), _best_of_all),
    Claim("A2", "ALL beats its base, the Dice loss, on all three sets", ("table3",), _above_its_base),
    Claim("A3", "Even results on ISIC, larger gains with more imbalance", ("table3",), _gains_grow_with_imbalance),
    Claim("A4", "The threshold matters, epsilon and omega little", ("table1", "table2"), _threshold_matters),
    Claim(
        "A5", "FocusNet with ALL beats attention U-Net with focal Tversky on ISIC", ("table4",), _beats_attention_unet
    ),
    Claim("A6", "ALL reaches its level sooner than Jaccard, Dice, Tversky, combo", ("table3",), _sooner, "figure only"),
    Claim(
        "U1",
        "Asymmetric UFL has the best DSC on all five sets",
        _UFL_TABLES,
        _best_of_ufl,
        "holds (ties in CVC, kidney)",
    ),
    Claim("U2", "Symmetric UFL is second in 2D", _FLAT_TABLES, _symmetric_second, "stated"),
    Claim("U3", "No difference between the variants", _UFL_TABLES, _variants_equal, "stated"),
    Claim("U4", "Focal is worse than cross entropy on CVC, BUS", _FLAT_TABLES, _focal_worse, "p 0.04, 0.004"),
    Claim("U5", "No differences among Dice, Tversky, focal Tversky in 2D", _FLAT_TABLES, _regions_equal, "stated"),
    Claim("U6", "On BraTS, Dice and Tversky are the worst two", ("ufl_table5",), _two_worst, "stated"),
    Claim("U7", "Tumour: Dice is better than cross entropy", ("ufl_table6",), _dice_finds_tumours, "p 0.01"),
    Claim("U8", "Gamma is stable from 0.1 to 0.8", _FLAT_TABLES, _gamma_stable, "figure only"),
)
