"""Draw the pictures of ``docs/models.md`` into ``docs/models/``; the same networks give the same bytes.

Each picture is read off a built network. Its layers become blocks by their names (``enc1_conv1`` and ``enc1_norm1``
are ``enc1``); a row holds the blocks of one size, and a column what lies between two changes of size.
"""

import io
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path as File
from typing import Any

import keras
import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from rareseg import models
from rareseg.experiments.ink import BLUE, RC

PICTURES = File(__file__).parents[1] / "docs" / "models"
SHAPES = {  # of the papers, where they name one; a preset that is not here has no picture
    "unet_all": (192, 256, 3),
    "focusnet": (192, 256, 3),
    "focusnet_2019": (256, 256, 3),
    "unet_miscnn": (288, 384, 3),
    "unet_ufl": (96, 96, 96, 1),
    "attention_unet": (192, 256, 3),
}
PART = re.compile(
    r"_(conv|norm|act|logits|resize|cat|skip|thin|add|pool|reduce|expand|shape|scale|sigmoid|theta|phi|phi_up|psi)\d?$"
)
"""End of a layer's name that names a part of a block; with any other end a layer is a block of its own."""
KINDS = {  # of a block: its colour
    "image": "#ffffff",
    "convolutions": "#dcebf9",
    "residual block": "#c3dcf3",
    "halves the size": "#fde3c8",
    "doubles the size": "#d5efdf",
    "gate": "#f9d3dc",
    "squeeze and excitation": "#fdf3c4",
    "without weights": "#ececec",
    "head": "#e0d4f0",
}
GREY = "#555555"
HEIGHT, LETTER = 18, 4
"""Of a box, and width of a letter in it, in points, as all that follows."""
GAP, STEP, LANE = 14, 23, 2.5
"""Between columns, from one box of a stack to the next, and from one line in a gap to the next."""
MARGIN, PADDING, LEGEND = 56, 12, 40
"""On the left, in each row, and below."""

Point = tuple[float, float]


@dataclass(eq=False)
class Block:
    """One box.

    Attributes:
        name: What its layers' names begin with.
        layers: Its layers.
        reads: The blocks that it reads, in its layers' order.
        level: How often the image was halved to its size.
        column: Place from the left.
        slot: Place from the top, among the boxes of its row and column.
    """

    name: str
    layers: list[keras.layers.Layer]
    reads: "list[Block]"
    level: int
    column: int = 0
    slot: int = 0

    @property
    def pools(self) -> bool:
        """Return whether it is a smaller image, which more than one block may read."""
        return self.layers[0].name == self.name and "Pooling" in type(self.layers[0]).__name__

    @property
    def channels(self) -> str:
        """Return how many channels its result has."""
        return str(self.layers[-1].output.shape[-1])

    @property
    def kind(self) -> str:
        """Return the first of these that fits, a key of `KINDS`."""
        types = {re.sub(r"\dD", "", type(layer).__name__) for layer in self.layers}
        came_from = {read.level for read in self.reads}
        fits = {
            "image": not self.reads,
            "head": any(layer.name.endswith("_logits") for layer in self.layers),
            "squeeze and excitation": "GlobalAveragePooling" in types,
            "gate": "Multiply" in types,
            "halves the size": self.level > max(came_from, default=0),
            "doubles the size": self.level < min(came_from, default=0),
            "residual block": "Add" in types,
            "without weights": not any(layer.weights for layer in self.layers),
            "convolutions": True,
        }
        return next(kind for kind, fit in fits.items() if fit)

    @property
    def row(self) -> int:
        """Return the row, from the top: the image has one of its own."""
        return self.level + 1 if self.reads else 0

    @property
    def place(self) -> tuple[int, int]:
        """Return the place in its column, from the top."""
        return self.row, self.slot


def read_blocks(model: keras.Model) -> list[Block]:
    """Return the blocks of a network, each after those that it reads and in its place."""
    found: dict[str, Block] = {}
    owner: dict[str, Block] = {}
    for layer in model.layers:
        name = PART.sub("", layer.name)
        if name in found and (isinstance(layer, keras.layers.Concatenate) or found[name].pools):
            name = layer.name  # what it joins is more than its block, or what it reads is the pyramid's
        block = owner[layer.name] = found.setdefault(name, Block(name, [], [], 0))
        block.layers.append(layer)
        for tensor in keras.tree.flatten(layer.input if layer.name != "image" else []):
            read = owner[tensor._keras_history.operation.name]
            if read is not block and read not in block.reads:
                block.reads.append(read)
    for block in found.values():
        block.level = (model.input.shape[1] // block.layers[-1].output.shape[1]).bit_length() - 1
    blocks = sorted(found.values(), key=lambda block: model.layers.index(block.layers[-1]))
    place(blocks)
    return blocks


def place(blocks: list[Block]) -> None:
    """Give each block its column and slot: first as far left as it can be, then as near as it can be to its readers."""
    readers: dict[str, list[Block]] = defaultdict(list)
    for block in blocks:
        block.column = max((read.column + changes(read, block) for read in block.reads), default=0)
        for read in block.reads:
            readers[read.name].append(block)
    for block in reversed(blocks):
        block.column = min((r.column - changes(block, r) for r in readers[block.name]), default=block.column)
    taken: dict[tuple[int, int], int] = defaultdict(int)
    for block in blocks:
        block.slot = taken[block.row, block.column]
        taken[block.row, block.column] += 1


def changes(read: Block, block: Block) -> bool:
    """Return whether a new column begins between two blocks: where the size changes, or the branch (``a_``, ``b_``)."""
    branches = [re.match("[a-z]_", each.name) for each in (read, block)]
    same_branch = len({branch and branch[0] for branch in branches}) == 1
    return read.level != block.level or not (same_branch or read.kind == "image")


class Picture:
    """Where boxes and lines of a network lie, in points, y downwards.

    Args:
        blocks: All of them, placed.
    """

    def __init__(self, blocks: list[Block]) -> None:
        self.blocks = blocks
        rows = range(max(block.row for block in blocks) + 1)
        stacks = [1 + max(block.slot for block in blocks if block.row == row) for row in rows]
        self.tops = [sum(stack * STEP + PADDING for stack in stacks[:row]) for row in range(len(stacks) + 1)]
        self.box = 6 + LETTER * max(len(block.name) for block in blocks)
        self.width = MARGIN + (1 + max(block.column for block in blocks)) * (self.box + GAP)
        self.lanes: dict[Any, list[Block]] = defaultdict(list)

    def corner(self, block: Block) -> Point:
        """Return the upper left corner of a box."""
        return MARGIN + block.column * (self.box + GAP), self.tops[block.row] + PADDING / 2 + block.slot * STEP

    def lines(self) -> Iterator[tuple[str, list[Point]]]:
        """Return each connection: its colour, and its corners from box to box."""
        for block in self.blocks:
            for read in block.reads:
                skips = read.row == block.row and read.column + 1 < block.column
                yield BLUE if skips else GREY, self.line(read, block)

    def line(self, read: Block, block: Block) -> list[Point]:
        """Return the corners of a connection: down to the next box, around boxes in between, or to another column."""
        (from_x, from_y), (x, y) = self.corner(read), self.corner(block)
        if read.column != block.column:
            bend = x - 5 - self.lane(block.column, read)
            start, end = (from_x + self.box, from_y + HEIGHT / 2), (x, y + HEIGHT / 2)
        elif not any(read.place < other.place < block.place for other in self.blocks if other.column == block.column):
            return [(x + self.box / 2, from_y + HEIGHT), (x + self.box / 2, y)]
        else:
            bend = x + self.box + 4 + self.lane((block.column, "around"), block)
            start, end = (x + self.box, from_y + HEIGHT - 3), (x + self.box, y + 3)
        return [start, (bend, start[1]), (bend, end[1]), end]

    def lane(self, gap: Any, block: Block) -> float:
        """Return how far from a column a line runs: each block that lines have in common has its own lane."""
        taken = self.lanes[gap]
        if block not in taken:
            taken.append(block)
        return LANE * taken.index(block)


def draw_network(model: keras.Model) -> Figure:
    """Return the picture of a network."""
    picture = Picture(read_blocks(model))
    height = picture.tops[-1] + LEGEND
    figure = Figure(figsize=(picture.width / 72, height / 72))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, picture.width), ylim=(height, 0))  # one unit is one point
    draw_rows(axes, picture)
    draw_lines(axes, picture)
    draw_boxes(axes, picture)
    return figure


def draw_rows(axes: Axes, picture: Picture) -> None:
    """Write the size of each row on its left."""
    for row, (top, bottom) in list(enumerate(pairwise(picture.tops)))[1:]:
        size = next(block.layers[-1].output.shape[1:-1] for block in picture.blocks if block.row == row)
        axes.text(4, (top + bottom) / 2, " x ".join(map(str, size)), va="center", fontsize=7, color=GREY)
        axes.plot([0, picture.width], [top, top], color="#dddddd", linewidth=0.5)


def draw_lines(axes: Axes, picture: Picture) -> None:
    """Draw all connections, those of one colour at once."""
    lines: dict[str, list[list[Point]]] = defaultdict(list)
    for colour, corners in picture.lines():
        lines[colour].append(corners)
    for colour, group in lines.items():
        axes.add_patch(PathPatch(outline(group), fill=False, edgecolor=colour, linewidth=0.8))
        axes.add_patch(PathPatch(outline(map(arrowhead, group), closed=True), facecolor=colour, linewidth=0))


def draw_boxes(axes: Axes, picture: Picture) -> None:
    """Draw all boxes, those of one kind at once, and the legend."""
    kinds: dict[str, list[Block]] = defaultdict(list)
    for block in picture.blocks:
        kinds[block.kind].append(block)
        x, y = picture.corner(block)
        for text, share, size in ((block.name, 0.33, 6.5), (block.channels, 0.74, 5.5)):
            axes.text(x + picture.box / 2, y + share * HEIGHT, text, ha="center", va="center", fontsize=size)
    for number, kind in enumerate(kind for kind in KINDS if kind in kinds):
        x, y = MARGIN + number % 5 * 105, picture.tops[-1] + 8 + number // 5 * 15
        axes.text(x + 16, y + 5, kind, va="center", fontsize=7)
        boxes = [box(x, y, 12, 10), *(box(*picture.corner(block), picture.box) for block in kinds[kind])]
        look = {"facecolor": KINDS[kind], "edgecolor": "#777777", "linewidth": 0.5}
        axes.add_patch(PathPatch(outline(boxes, closed=True), **look))


def box(x: float, y: float, width: float, height: float = HEIGHT) -> list[Point]:
    """Return the corners of a box."""
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def arrowhead(corners: list[Point]) -> list[Point]:
    """Return the corners of the head of a line."""
    (from_x, from_y), (x, y) = corners[-2:]
    along = ((x > from_x) - (x < from_x), (y > from_y) - (y < from_y))
    back = (x - 4 * along[0], y - 4 * along[1])
    return [(x, y), *((back[0] + side * along[1], back[1] + side * along[0]) for side in (1.8, -1.8))]


def outline(shapes: Iterable[list[Point]], closed: bool = False) -> Path:
    """Return many lines or areas as one path, which makes a small file."""
    return Path.make_compound_path(*(Path([*shape, shape[0]] if closed else shape, closed=closed) for shape in shapes))


def svg(name: str, model: keras.Model) -> str:
    """Return the picture of a network as a file's content."""
    text = io.StringIO()
    with matplotlib.rc_context(RC):
        draw_network(model).savefig(text, format="svg", metadata={"Title": name, "Date": None})
    return "".join(f"{line.strip()}\n" for line in text.getvalue().splitlines())


def draw(folder: File = PICTURES) -> None:
    """Write all pictures into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, shape in SHAPES.items():
        (folder / f"{name}.svg").write_text(svg(name, models.build(name, shape, 2)), encoding="utf-8")


if __name__ == "__main__":
    draw()
