"""The annotations that losses and networks share mean the same to both; neither may import the other's checks."""

from fractions import Fraction
from typing import Annotated, Literal

import numpy as np
import pytest

from rareseg.losses._arguments import Argument
from rareseg.models._options import _option

VALUES = [-1, 0, 1, 2, 0.5, 1.0, float("nan"), float("inf"), Fraction(1, 2), np.int64(1), np.float32(0.5), True, None]
VALUES += [np.bool_(True), "keep", np.str_("skip"), "drop", "1", 1j, (), [], ["keep"], {}]
WHOLE = ["-1", "0", "1", "2", "np.int64(1)"]
REAL = ["0.5", "1.0", "nan", "inf", "Fraction(1, 2)", "np.float32(0.5)"]
TAKEN = [  # annotation, how the values that it takes are printed
    (float, [*WHOLE, *REAL]),
    (float | None, [*WHOLE, *REAL, "None"]),
    (Annotated[float, "[0, 1)"], ["0", "0.5", "Fraction(1, 2)", "np.float32(0.5)"]),
    (Annotated[float, "(0, 1]"], ["1", "0.5", "1.0", "Fraction(1, 2)", "np.int64(1)", "np.float32(0.5)"]),
    (Annotated[float | None, "(1, inf)"], ["2", "None"]),
    (int, WHOLE),
    (int | None, [*WHOLE, "None"]),
    (Annotated[int, "[1, inf)"], ["1", "2", "np.int64(1)"]),
    (bool, ["True"]),
    (Literal["keep", "skip"], ["'keep'", "np.str_('skip')"]),
]


@pytest.mark.parametrize(("hint", "taken"), TAKEN, ids=[str(hint) for hint, _ in TAKEN])
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_losses_and_networks_take_the_same_values(hint, taken, value):
    assert _option(hint, None).accepts(value) == (repr(value) in taken)
    argument = Argument.of(None, hint)
    if repr(value) in taken:
        np.testing.assert_equal(argument.checked("x", value), value)
    else:
        with pytest.raises(ValueError, match=r"^x must "):
            argument.checked("x", value)
