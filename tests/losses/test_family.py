"""The family tree in docs/losses.md: both sides of each row, at several values of its letters."""

import re
import runpy
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from rareseg import losses

pytest.importorskip("tensorflow")  # the script draws with it

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "draw_losses.py"))
FAMILY = SCRIPT["family"]()
CHANNELS = {"any": (1, 2, 3), "two": (1, 2), "three": (3,)}
ALONE: set[str] = set()  # losses that are no special case of another
LETTERS = [
    {"λ": 0.3, "δ": 0.8, "γ": 0.4, "β": 1.7},  # noqa: RUF001
    {"λ": 0.9, "δ": 0.25, "γ": 0.15, "β": 0.6},  # noqa: RUF001
]


@pytest.mark.parametrize("letters", LETTERS, ids=str)
@pytest.mark.parametrize("edge", FAMILY, ids=lambda edge: f"{edge.this} is {edge.same}")
def test_an_arrow_leads_to_the_same_value(edge, letters, draw, values):
    for channels in CHANNELS[edge.classes]:
        label, logits = draw(channels)
        for truth in (label, np.zeros_like(label)):
            known = {name: partial(values, name, truth, logits) for name in losses.names()}
            known |= {"log": np.log, "cosh": np.cosh, **letters}
            this, same = eval(edge.this, known), eval(edge.same, known)
            np.testing.assert_allclose(this, same, rtol=1e-5, atol=1e-7)


def test_every_loss_has_its_place_in_the_tree():
    words = {word for edge in FAMILY for side in edge[:2] for word in re.findall(r"\w+", side)}
    assert set(losses.names()) - words == ALONE
    assert set(losses.names()) == set(SCRIPT["PLACES"])
