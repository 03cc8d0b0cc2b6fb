"""Draw the pictures of ``docs/losses.md`` into ``docs/losses/``; the same losses give the same bytes.

Every curve is a sweep of `rareseg.losses` over a *scene*: points (B,) in, labels (B, *space) and probabilities
(B, *space, C) out, so that one call gives a whole curve, and automatic differentiation its slope. The family tree is
drawn from the table on the page, which ``tests/losses/test_family.py`` checks.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import tensorflow as tf
from keras import ops
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

from rareseg import losses
from rareseg.experiments.ink import BLACK, BLUE, DASHED, DOTTED, GREEN, MIXED, ORANGE, RC, RED

PAGE = Path(__file__).parents[1] / "docs" / "losses.md"
PICTURES = PAGE.with_suffix("")
LOOKS: dict[Any, Any] = {
    **RC,
    "axes.prop_cycle": cycler(color=[BLUE, RED, GREEN, ORANGE, BLACK], linestyle=["-", DASHED, MIXED, DOTTED, "-"]),
    "lines.linewidth": 1.4,
    "xtick.bottom": False,  # the grid says it
    "xtick.minor.bottom": False,
    "ytick.left": False,
    "ytick.minor.left": False,
    "legend.fontsize": 7,
    "legend.handlelength": 1.8,
    "figure.constrained_layout.use": True,
}
CODE: Any = {"family": "DejaVu Sans Mono", "weight": "bold"}

Scene = Callable[[Any], tuple[Any, Any]]
SIDE, OBJECT = 24, 101
"""Pixels along the side of the picture with a disc, and in the disc."""
SURE = 0.98
"""How sure the network of the compound losses' pictures is: cross entropy would be infinite for 1."""


def foreground_pixel(logits: Any) -> tuple[Any, Any]:
    """One pixel of class 1, whose logit is given."""
    return ops.ones((len(logits), 1), "int32"), ops.sigmoid(logits)[:, None, None]


def background_pixel(logits: Any) -> tuple[Any, Any]:
    """One pixel of class 0, whose logit for class 0 is given."""
    return ops.zeros((len(logits), 1), "int32"), ops.sigmoid(-logits)[:, None, None]


def one_hard_pixel(logits: Any) -> tuple[Any, Any]:
    """Ten pixels of class 1: the logit of one is given, the others have a probability of 0.9."""
    others = ops.full((len(logits), 9), 0.9, logits.dtype)
    probabilities = ops.concatenate([ops.sigmoid(logits)[:, None], others], axis=1)
    return ops.ones((len(logits), 10), "int32"), probabilities[..., None]


def object_on_sure_ground(shares: Any) -> tuple[Any, Any]:
    """50 pixels of class 1, all with the given probability, and 150 of class 0 that are right."""
    truth = np.tile(np.repeat([1, 0], [50, 150]), (len(shares), 1))
    return truth, (shares[:, None] * truth)[..., None]


def disc(sure: float = 1.0, distances: str = "") -> Scene:
    """A disc, of which the network finds a share from the centre outwards; above 1 it finds too large a disc.

    Args:
        sure: Probability of what is found; what is not found has 1 - sure.
        distances: "maps": labels are signed distances; "labels and maps": they stand behind the labels.
    """
    axis = np.arange(SIDE) - (SIDE - 1) / 2
    away = np.hypot(axis[:, None], axis)
    rank = np.argsort(np.argsort(away, axis=None, kind="stable")).reshape(away.shape)
    label = (rank < OBJECT).astype("int32")[None]
    maps = losses.signed_distance(label, 2)
    truth = {"": label, "maps": maps, "labels and maps": np.concatenate([label[..., None], maps], -1)}[distances]

    def scene(shares: Any) -> tuple[Any, Any]:
        found = ops.clip(OBJECT * shares[:, None, None] - rank, 0, 1)
        return np.repeat(truth, len(shares), axis=0), ((1 - sure) + (2 * sure - 1) * found)[..., None]

    return scene


def three_classes(mistaken: int, taken_for: int) -> Scene:
    """500 pixels of class 0, 90 of class 1, 10 of class 2; one class loses the given share to another."""
    label = np.repeat([0, 1, 2], [500, 90, 10])
    change = (np.eye(3)[taken_for] - np.eye(3)[mistaken]) * (label == mistaken)[:, None]

    def scene(shares: Any) -> tuple[Any, Any]:
        return np.tile(label, (len(shares), 1)), np.eye(3)[label] + shares[:, None, None] * change

    return scene


def sweep(loss: str, arguments: Mapping[str, Any], scene: Scene, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return value and slope at each point, both (B,), in double precision."""
    given = tf.constant(points, "float64")
    with tf.GradientTape() as tape:
        tape.watch(given)
        values = losses.get(loss, reduction=None, **arguments)(*scene(given))
    return ops.convert_to_numpy(values), ops.convert_to_numpy(tape.gradient(values, given))


class Curve(NamedTuple):
    """One line of a panel."""

    legend: str
    arguments: Mapping[str, Any]
    scene: Scene


class Panel(NamedTuple):
    """A pair of axes, value above slope.

    Attributes:
        loss: Its name, and the title.
        across: Label of the x axis.
        points: What the scenes take.
        shown: The same in the units of the x axis.
        curves: What is drawn.
    """

    loss: str
    across: str
    points: np.ndarray
    shown: np.ndarray
    curves: Sequence[Curve]


LOGITS = np.linspace(-5, 5, 51)
PROBABILITIES = 1 / (1 + np.exp(-LOGITS))
SHARES = np.linspace(0, 1, 31)
FOUND = np.arange(0.5, 2 * OBJECT, 3) / OBJECT
"""With a half: the pixel on the border has a probability of one half, wherever the border is."""
FOREGROUND = {"include_background": False}
BOTH = {"both classes": {}, "include_background=False": FOREGROUND}


def on_pixel(loss: str, variants: Mapping[str, Mapping[str, Any]], scene: Scene = foreground_pixel) -> Panel:
    """Return a panel over the probability of a pixel's true class; its slope is that over the logit."""
    curves = [Curve(legend, arguments, scene) for legend, arguments in variants.items()]
    return Panel(loss, "probability of the true class", LOGITS, PROBABILITIES, curves)


def on_disc(loss: str, variants: Mapping[str, Mapping[str, Any]], sure: float = 1.0) -> Panel:
    """Return a panel over the size of what is found."""
    return over_size(loss, *(Curve(legend, arguments, disc(sure)) for legend, arguments in variants.items()))


def over_size(loss: str, *curves: Curve) -> Panel:
    """Return the same for curves that differ in their labels."""
    return Panel(loss, "pixels found / pixels of the object", FOUND, FOUND, curves)


def over_mistakes(loss: str, *curves: Curve) -> Panel:
    """Return a panel over the share of a class that is taken for another."""
    return Panel(loss, "share of the class that is mistaken", SHARES, SHARES, curves)


def each(argument: str, values: Sequence[Any], **others: Any) -> dict[str, dict[str, Any]]:
    """Return sets of arguments that differ in one, by what the legend says."""
    return {f"{argument}={value}": {argument: value, **others} for value in values}


PANELS = {  # by picture: which losses it shows, and which of their arguments matter most
    "pixels": [
        on_pixel("cross_entropy", {"any pixel": {}, "class_weights=[1, 2]": {"class_weights": [1, 2]}}),
        on_pixel("focal", each("gamma", [0, 0.5, 2, 5])),
        on_pixel("generalised_cross_entropy", each("q", [0, 0.3, 0.7, 1])),
        on_pixel("topk", each("k", [10, 20, 50, 100]), one_hard_pixel),
    ],
    "dice": [on_disc("dice", BOTH), on_disc("jaccard", BOTH), on_disc("log_cosh_dice", BOTH)],
    "tversky": [
        on_disc("tversky", each("delta", [0.3, 0.5, 0.7, 0.9], **FOREGROUND)),
        on_disc("focal_tversky", each("gamma", [0.5, 0.75, 1, 1.5], **FOREGROUND)),
        on_disc("asymmetric_similarity", each("beta", [0.5, 1, 1.5, 3], **FOREGROUND)),
    ],
    "classes": [
        over_mistakes(
            "generalised_dice",
            Curve("10 pixels, volume_power=2", {}, three_classes(2, 0)),
            Curve("90 pixels, volume_power=2", {}, three_classes(1, 0)),
            Curve("10 pixels, volume_power=0", {"volume_power": 0}, three_classes(2, 0)),
            Curve("90 pixels, volume_power=0", {"volume_power": 0}, three_classes(1, 0)),
        ),
        over_mistakes(
            "wasserstein_dice",
            Curve("for a class at distance 1", {}, three_classes(2, 1)),
            *(
                Curve(
                    f"for a class at distance {near}",
                    {"distances": [[0, 1, 1], [1, 0, near], [1, near, 0]]},
                    three_classes(2, 1),
                )
                for near in (0.5, 0.1)
            ),
        ),
        over_size(
            "boundary",
            Curve("alone", {}, disc(distances="maps")),
            Curve('base="dice", weight=0.1', {"base": "dice", "weight": 0.1}, disc(distances="labels and maps")),
        ),
    ],
    "compound": [
        on_disc("combo", each("beta", [0.2, 0.5, 0.8]), SURE),
        on_disc("hybrid_focal", each("weight", [0, 0.5, 1]), SURE),
        on_disc(
            "unified_focal",
            {
                "gamma=0": {"gamma": 0},
                "gamma=0.5, delta=0.6 (defaults)": {},
                "asymmetric=False": {"asymmetric": False},
                "delta=0.9": {"delta": 0.9},
            },
            SURE,
        ),
    ],
    "sums": [
        on_disc("dice_focal", each("weight", [0, 1, 5]), SURE),
        on_disc("dice_topk", each("k", [5, 10, 20, 100]), SURE),
        on_disc("exponential_log", each("gamma", [0.3, 0.5, 1]), SURE),
    ],
}


def draw_panels(panels: Sequence[Panel]) -> Figure:
    """Return panels abreast, value above slope."""
    figure = Figure(figsize=(8.7, 4.2))
    grid = figure.subplots(2, len(panels), height_ratios=[1.25, 1])
    for panel, (above, below) in zip(panels, grid.T, strict=True):
        for legend, arguments, scene in panel.curves:
            values, slopes = sweep(panel.loss, arguments, scene, panel.points)
            above.plot(panel.shown, values, label=legend)
            below.plot(panel.shown, slopes)
        above.set_title(panel.loss, **CODE)
        above.tick_params(labelbottom=False)
        below.set_xlabel(panel.across)
        explain(above, below)
    grid[0, 0].set_ylabel("value")
    grid[1, 0].set_ylabel("slope over the logit" if panels[0].points is LOGITS else "slope")
    return figure


def explain(above: Axes, below: Axes) -> None:
    """Put the legend of a panel under it, where it hides no curve."""
    below.legend(*above.get_legend_handles_labels(), loc="upper center", bbox_to_anchor=(0.5, -0.28))


def draw_modulation() -> Figure:
    """Return the two parts of the unified focal loss for several gamma (UFL, Fig. 2)."""
    figure = Figure(figsize=(7.4, 3.0))
    left, right = figure.subplots(1, 2)
    gammas = [tenths / 10 for tenths in range(10)]
    shades = matplotlib.colormaps["viridis"](np.linspace(0.9, 0.0, len(gammas)))
    shares = 1 - np.linspace(1, 0, 41) ** 3  # dense where the curves bend
    index = 1 - sweep("tversky", {"delta": 0.6, **FOREGROUND}, object_on_sure_ground, shares)[0]
    for gamma, shade in zip(gammas, shades, strict=True):
        values, _ = sweep("unified_focal", {"gamma": gamma, "weight": 1}, background_pixel, LOGITS)
        left.plot(PROBABILITIES, values, color=shade, linestyle="-", label=f"gamma={gamma}")
        arguments = {"gamma": gamma, "weight": 0, **FOREGROUND}
        values, _ = sweep("unified_focal", arguments, object_on_sure_ground, shares)
        right.plot(index, values, color=shade, linestyle="-")
    left.set(title="Focal part: less of sure background", xlabel="probability of the background", ylabel="value")
    right.set(title="Region part: more of nearly found objects", xlabel="Tversky index of the rare class")
    left.set(yscale="log", ylim=(1e-5, 5))
    left.legend(ncols=2)
    return figure


def draw_adaptive_log() -> Figure:
    """Return value and slope of the adaptive logarithmic loss over its base (ALL, Fig. 1)."""
    figure = Figure(figsize=(8.7, 4.4))
    grid = figure.subplots(2, 3, sharex=True, sharey="row", height_ratios=[1.25, 1])
    points = np.linspace(0.25, 0.999, 61)
    base = {"name": "dice", **FOREGROUND}
    x, base_slope = sweep("dice", FOREGROUND, object_on_sure_ground, points)
    choices = {"epsilon": (0.1, 0.3, 0.5, 1), "omega": (5, 8, 10, 15), "gamma": (0.05, 0.1, 0.2, 0.4)}
    for (above, below), (argument, numbers) in zip(grid.T, choices.items(), strict=True):
        for legend, arguments in each(argument, numbers, base=base).items():
            values, slope = sweep("adaptive_log", arguments, object_on_sure_ground, points)
            above.plot(x, values, label=legend)
            below.plot(x, slope / base_slope)
        above.set_title(argument, **CODE)
        below.set(xlabel="value of the base", yscale="log")
        explain(above, below)
    grid[0, 0].set_ylabel("value")
    grid[1, 0].set_ylabel("slope")
    return figure


class Edge(NamedTuple):
    """A row of the table on the page: two expressions of the same value."""

    this: str
    same: str
    classes: str
    caption: str


def family() -> list[Edge]:
    """Return the rows of the family's table."""
    rows = re.findall(r"^\| `(.+)` \| `(.+)` \| (\w+) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [Edge(*row) for row in rows]


PLACES = {  # in the tree, from 0 to 100: the general above the special, from pixels on the left to regions on the right
    "generalised_dice": (8, 78),
    "generalised_cross_entropy": (8, 52),
    "topk": (3, 26),
    "focal": (22, 62),
    "cross_entropy": (20, 26),
    "exponential_log": (20, 6),
    "hybrid_focal": (46, 97),
    "unified_focal": (46, 80),
    "dice_topk": (30, 58),
    "dice_focal": (30, 43),
    "combo": (46, 26),
    "focal_tversky": (71, 66),
    "tversky": (71, 47),
    "dice": (71, 22),
    "asymmetric_similarity": (91, 66),
    "jaccard": (95, 47),
    "adaptive_log": (95, 34),
    "boundary": (95, 22),
    "log_cosh_dice": (82, 6),
    "wasserstein_dice": (58, 6),
}
TINTS = {"pixels": "#fdeedd", "compound": "#ece4f5", "sums": "#ece4f5", "adaptive_log": "#ffffff"}
"""By picture; all others are regions."""


def draw_family() -> Figure:
    """Return the family tree (UFL, Fig. 1)."""
    figure = Figure(figsize=(9.4, 6.2))
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set(xlim=(-2, 100), ylim=(0, 107))
    for x, heading in ((14, "on pixels"), (46, "both"), (81, "on regions")):
        axes.text(x, 106, heading, ha="center", va="center", fontsize=9, color="#555555")
    pictures = {panel.loss: picture for picture, panels in PANELS.items() for panel in panels}
    boxes = {loss: draw_box(axes, loss, TINTS.get(pictures.get(loss, loss), "#e3effa")) for loss in PLACES}
    for edge in family():
        start, end = (next(word for word in re.findall(r"\w+", side) if word in PLACES) for side in edge[:2])
        draw_arrow(axes, boxes[start], boxes[end], edge.caption)
    return figure


def draw_box(axes: Axes, loss: str, tint: str) -> Any:
    """Write a name in its place and return it."""
    look = {"boxstyle": "round,pad=0.35", "facecolor": tint, "edgecolor": "#888888", "linewidth": 0.6}
    return axes.text(*PLACES[loss], loss, ha="center", va="center", fontsize=8, bbox=look, **CODE)


def draw_arrow(axes: Axes, start: Any, end: Any, caption: str) -> None:
    """Draw an arrow from a general loss to a special one."""
    look = {"arrowstyle": "-|>", "color": "#555555", "linewidth": 0.9, "shrinkA": 2, "shrinkB": 2}
    patches = {"patchA": start.get_bbox_patch(), "patchB": end.get_bbox_patch()}
    axes.annotate("", end.get_position(), start.get_position(), arrowprops={**look, **patches})
    x, y = np.mean([start.get_position(), end.get_position()], axis=0)
    ground = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none"}
    axes.text(x, y, caption, ha="center", va="center", fontsize=7, color="#333333", bbox=ground)


def lean(svg: str) -> str:
    """Round coordinates to tenths of a point, drop indents, comments and letters that SVG implies: half the size."""

    def shorter(path: re.Match[str]) -> str:
        return re.sub(r"(\.\d)\d+", r"\1", path[0]).replace(" \nL ", "\n")

    svg = re.sub(r'(?<= d=")[^"QC]*(?=")', shorter, svg)  # straight lines alone: after a curve no letter is implied
    return re.sub(r"<!--.*?-->|^\s+", "", svg, flags=re.MULTILINE | re.DOTALL)


def draw(folder: Path = PICTURES) -> None:
    """Write all pictures into ``folder``."""
    with matplotlib.rc_context(LOOKS):
        figures = {
            "family": draw_family(),
            "focal_modulation": draw_modulation(),
            "adaptive_log": draw_adaptive_log(),
            **{picture: draw_panels(panels) for picture, panels in PANELS.items()},
        }
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            text = io.StringIO()
            figure.savefig(text, format="svg", metadata={"Title": name, "Date": None})
            (folder / f"{name}.svg").write_text(lean(text.getvalue()), encoding="utf-8")


if __name__ == "__main__":
    draw()
