"""What all figures are drawn with: paper and type, the look of each loss, the legend, and how a file is written.

Pictures from phantoms or subsets say so in their titles. A loss has the same colour, line and marker in all figures;
one without a finished run keeps its place in the legend, with the words "not run".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rareseg.datasets import whole
from rareseg.experiments.layout import name, titled

RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # it is the widest of its kind: text in another one stays in its place
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "rareseg",  # element ids come from it, by default they are random
    "svg.fonttype": "none",  # text can be found, read aloud, and takes a tenth of the room
    "image.interpolation": "none",  # pixels go into an SVG as they are
}
DPI = 150


class Style(NamedTuple):
    """How a loss is drawn."""

    colour: str
    line: Any  # a matplotlib line style
    marker: str


# Colours of Okabe and Ito, which stay apart for the colour-blind; line and marker tell them apart in grey.
BLACK, ORANGE, SKY, GREEN, BLUE, RED, PINK = "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"
DASHED, DOTTED, MIXED, LONG = (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2))
STYLES = {
    "adaptive_log": Style(RED, "-", "o"),
    "jaccard": Style(SKY, LONG, "s"),
    "dice": Style(BLUE, DASHED, "^"),
    "tversky": Style(GREEN, MIXED, "D"),
    "focal": Style(ORANGE, "-", "v"),
    "combo": Style(PINK, DASHED, "P"),
    "cross_entropy": Style(BLACK, DOTTED, "X"),
    "focal_tversky": Style(GREEN, DOTTED, "<"),
    "unified_focal_asymmetric": Style(BLACK, "-", "*"),
    "unified_focal_symmetric": Style(BLACK, DASHED, "h"),
    "unified_focal": Style(BLACK, "-", "*"),
    "hybrid_focal": Style(ORANGE, DASHED, ">"),
    "generalised_dice": Style(BLUE, DOTTED, "1"),
    "asymmetric_similarity": Style(GREEN, LONG, "2"),
    "dice_focal": Style(PINK, "-", "3"),
    "topk": Style(ORANGE, DOTTED, "4"),
    "dice_topk": Style(PINK, DOTTED, "+"),
    "log_cosh_dice": Style(BLUE, "-", "x"),
    "generalised_cross_entropy": Style(SKY, "-", "d"),
    "exponential_log": Style(RED, DASHED, "p"),
    "boundary": Style(SKY, DOTTED, "H"),
    "wasserstein_dice": Style(BLUE, MIXED, "|"),
}
UNKNOWN = tuple(
    Style(colour, line, marker)
    for line, marker in (("-", "o"), (DASHED, "s"), (DOTTED, "^"))
    for colour in (BLUE, RED, GREEN, ORANGE, PINK, SKY)
)


def style(loss: str, position: int = 0) -> Style:
    """Return how a loss is drawn; what is not in the table gets its look by ``position``."""
    return STYLES.get(loss, UNKNOWN[position % len(UNKNOWN)])


def new(width: float, height: float, title: str, data: str) -> Figure:
    """Return an empty figure with its title; width and height in inches."""
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("constrained", h_pad=0.06)
    figure.suptitle(titled(title, data), fontsize=10)
    return figure


def label_of(loss: str, finished: bool) -> str:
    """Return what the legend says of a loss."""
    return name(loss) if finished else f"{name(loss)} (not run)"


def legend(figure: Figure, labels: Mapping[str, str], markers: bool = True) -> None:
    """Put one legend of losses below all panels, where it hides no curve."""
    handles = []
    for position, (loss, label) in enumerate(labels.items()):
        look = style(loss, position)
        marker = look.marker if markers else None
        handles.append(
            Line2D(
                [], [], color=look.colour, linestyle=look.line, linewidth=1.3, marker=marker, markersize=4, label=label
            )
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)), handlelength=3.5)


def write(figure: Figure, path: Path) -> tuple[Path, Path]:
    """Write a figure, each file whole or not at all."""
    files = path.with_name(f"{path.name}.svg"), path.with_name(f"{path.name}.png")
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once for both files, which halves the time
    title = figure.get_suptitle()
    metadata = {"svg": {"Title": title, "Date": None}, "png": {"Title": title}}
    for file in files:
        kind = file.suffix[1:]
        given = {"format": kind, "dpi": DPI, "metadata": metadata[kind]}
        whole.write_with(file, partial(figure.savefig, **given))
    return files
