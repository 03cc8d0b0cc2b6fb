"""The same as ``_spline.warp`` by numba: one pass computes the places, gathers 4^dimensions coefficients, the label.

Loaded when the first sample needs it, since numba takes half a second to import. Compiled code is kept on disk, where
there is a folder for it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_ONE, _HALF, _SIXTH, _TWO_THIRDS = (np.float32(value) for value in (1, 1 / 2, 1 / 6, 2 / 3))
_POWERS = (  # of t, from t^3 down: the weights of the four coefficients around a place t after the second
    (-1 / 6, 1 / 2, -1 / 2, 1 / 6),
    (1 / 2, -1, 1 / 2, 0),
    (-1 / 2, 0, 1 / 2, 0),
    (1 / 6, 2 / 3, 1 / 6, 0),
)
_NUMBER, _VECTOR = ir.IntType(32), ir.VectorType(ir.FloatType(), 4)
_UNDEFINED, _ZEROS = ir.Constant(_VECTOR, ir.Undefined), ir.Constant(_VECTOR, [0.0] * 4)


def _gather(planes: int) -> Callable[..., Any]:
    """Return a function that sums 4 rows of 4 coefficients in each of ``planes`` planes, weighted.

    A row is one vector of four: numba leaves scalar loops of this length scalar, which takes three times as long.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        array, plane_weights, row_weights = (
            context.make_array(signature.args[k])(context, builder, arguments[k]) for k in (0, 4, 5)
        )
        _, plane, plane_stride, row_stride, _, _, place, offset = arguments
        rows = [_weight(builder, row_weights, k, place) for k in range(4)]
        total = _ZEROS
        for k in range(planes):
            part = _rows_sum(builder, array, plane, row_stride, rows)
            if planes > 1:  # a single one has no weight
                part = _multiply_add(builder, part, _weight(builder, plane_weights, k, place), total)
            total, plane = part, builder.add(plane, plane_stride)
        return _sum(builder, builder.fmul(total, _last_weights(builder, offset)))

    @intrinsic
    def gather(
        _: Any, flat: Any, at: Any, plane_stride: Any, row_stride: Any, plane_w: Any, row_w: Any, x: Any, t: Any
    ) -> Any:
        return types.float32(flat, at, plane_stride, row_stride, plane_w, row_w, x, t), code

    return gather


def _rows_sum(builder: Any, array: Any, row: Any, stride: Any, weights: Sequence[Any]) -> Any:
    """Sum 4 rows of 4 coefficients, the first at index ``row``, each times its weight."""
    total = _ZEROS
    for weight in weights:
        pointer = builder.bitcast(builder.gep(array.data, [row]), _VECTOR.as_pointer())
        loaded = builder.load(pointer)
        loaded.align = 4
        total = _multiply_add(builder, loaded, weight, total)
        row = builder.add(row, stride)
    return total


def _weight(builder: Any, weights: Any, k: int, place: Any) -> Any:
    """Read entry (k, place) of an array of weights, into all four of a vector."""
    length = builder.extract_value(weights.shape, 1)
    offset = builder.add(builder.mul(length, ir.Constant(length.type, k)), place)
    return _repeat(builder, builder.load(builder.gep(weights.data, [offset])))


def _last_weights(builder: Any, offset: Any) -> Any:
    """Compute the weights of four coefficients along the last axis from the offset of the place."""
    offset, weights = _repeat(builder, offset), _ZEROS
    for power in _POWERS:
        constants = ir.Constant(_VECTOR, [float(np.float32(value)) for value in power])
        weights = _multiply_add(builder, weights, offset, constants)
    return weights


def _multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return builder.fadd(builder.fmul(a, b, flags=("contract",)), c, flags=("contract",))


def _repeat(builder: Any, number: Any) -> Any:
    return _shuffle(builder, builder.insert_element(_UNDEFINED, number, _NUMBER(0)), [0] * 4)


def _sum(builder: Any, vector: Any) -> Any:
    vector = builder.fadd(vector, _shuffle(builder, vector, [2, 3, 2, 3]))
    vector = builder.fadd(vector, _shuffle(builder, vector, [1, 1, 1, 1]))
    return builder.extract_element(vector, _NUMBER(0))


def _shuffle(builder: Any, vector: Any, order: Sequence[int]) -> Any:
    return builder.shuffle_vector(vector, _UNDEFINED, ir.Constant(ir.VectorType(_NUMBER, 4), order))


_gather_plane, _gather_block = _gather(1), _gather(4)


@njit(inline="always")
def _weigh(weights: Any, x: int, t: Any) -> None:
    """Write the weights of the four coefficients around a place, into (4, n)."""
    u = _ONE - t
    weights[0, x] = u * u * u * _SIXTH
    weights[1, x] = _TWO_THIRDS - t * t * (_ONE - _HALF * t)
    weights[2, x] = _TWO_THIRDS - u * u * (_ONE - _HALF * u)
    weights[3, x] = t * t * t * _SIXTH


@njit
def _lay(y: Any, first: float, step: float, row: Any, move0: Any, move1: Any, move2: Any, moved: bool) -> None:
    """Write the places of a row along one axis: ``first + step x``, and ``row`` times the displacements, each (n,)."""
    for x in range(y.size):
        y[x] = first + step * x
    if moved:
        for x in range(y.size):
            y[x] += row[0] * move0[x] + row[1] * move1[x] + row[2] * move2[x]


@njit
def _fold(y: Any, last: float) -> None:
    """Mirror places about the first and the last voxel."""
    for x in range(y.size):
        place = abs(y[x])
        place -= 2 * last * np.floor(place / (2 * last)) if last > 0 else place
        y[x] = min(place, 2 * last - place)


@njit
def _split(y: Any, offset: Any, first: Any, nearest: Any, outside: Any, border: Any, length: int) -> None:
    """Split places along one axis into voxels and offsets, and carry on the row's indices into the flat arrays.

    A loop of simple steps on plain arrays, so that the compiler computes eight places at once.
    """
    last = length - 1.0
    for x in range(y.size):
        place = min(max(y[x], 0.0), last)
        outside[x] |= np.int32(place != y[x])
        voxel = np.int32(place)
        offset[x] = np.float32(place - voxel)
        nearest[x] = nearest[x] * np.int32(length) + np.int32(place + 0.5)
        first[x] = first[x] * np.int32(length) + voxel - np.int32(1)
        border[x] |= np.int32(voxel < 1) | np.int32(voxel >= length - 2)
        y[x] = place


@njit
def _weigh_all(offset: Any, weights: Any) -> None:
    for x in range(offset.size):
        _weigh(weights, x, offset[x])


@njit(inline="always")
def _mirrored(i: int, length: int) -> int:
    """Mirror an index about the first and the last voxel."""
    if length == 1:
        return 0
    i = abs(i) % (2 * length - 2)
    return min(i, 2 * length - 2 - i)


@njit(inline="always")
def _at_border(coefficient: Any, y0: float, y1: float, y2: float) -> Any:
    """Return the intensity at a place some of whose coefficients lie beyond the border, (N0, N1, N2) -> scalar."""
    weights = np.empty((4, 3), np.float32)
    total = np.float32(0)
    i0, i1, i2 = int(y0), int(y1), int(y2)
    _weigh(weights, 0, np.float32(y0 - i0))
    _weigh(weights, 1, np.float32(y1 - i1))
    _weigh(weights, 2, np.float32(y2 - i2))
    for a in range(4):
        j0 = _mirrored(i0 - 1 + a, coefficient.shape[0])
        for b in range(4):
            j1 = _mirrored(i1 - 1 + b, coefficient.shape[1])
            part = np.float32(0)
            for c in range(4):
                part += weights[c, 2] * coefficient[j0, j1, _mirrored(i2 - 1 + c, coefficient.shape[2])]
            total += weights[a, 0] * weights[b, 1] * part
    return total


@njit(inline="always")
def _locate(
    line: Any,
    matrix: Any,
    shift: Any,
    field: Any,
    moved: bool,
    reflect: bool,
    axes: Any,
    first: Any,
    nearest: Any,
    beyond: Any,
    border: Any,
) -> None:
    """Find the places of a row's voxels, and what lies there; see ``_split``."""
    at = line if moved else (0, 0)
    move0, move1, move2 = field[0][at], field[1][at], field[2][at]
    first[:], nearest[:], beyond[:], border[:] = 0, 0, 0, 0
    for axis, y, offset, length in axes:
        start = matrix[axis, 0] * line[0] + matrix[axis, 1] * line[1] + shift[axis]
        _lay(y, start, matrix[axis, 2], matrix[axis], move0, move1, move2, moved)
        if reflect:
            _fold(y, length - 1.0)
        _split(y, offset, first, nearest, beyond, border, length)
        if axis == 0 and length == 1:  # a plane has no coefficients before and behind it
            first[:], border[:] = 0, 0


_SIGNATURE = types.void(
    types.Array(types.float32, 4, "C", readonly=True),
    types.Array(types.uint8, 3, "C", readonly=True),
    types.float64[:, ::1],
    types.float64[::1],
    types.float32[:, :, :, ::1],
    types.boolean,
    types.boolean,
    types.float32[::1],
    types.uint8,
    types.float32[:, :, :, ::1],
    types.uint8[:, :, ::1],
)


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Compile a function of ``_SIGNATURE``, and keep what comes out on disk where numba finds a folder for it."""
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    try:
        return njit(_SIGNATURE, cache=True, **options)(function)
    except RuntimeError:  # installation and home are read-only: two seconds in each process
        return njit(_SIGNATURE, **options)(function)


@_compiled
def _warp(
    coefficients: Any,
    label: Any,
    matrix: Any,
    shift: Any,
    field: Any,
    moved: bool,
    reflect: bool,
    fill: Any,
    outside: int,
    image_out: Any,
    label_out: Any,
) -> None:
    channels, length0, length1, length2 = coefficients.shape
    flat, classes = coefficients.reshape(-1), label.reshape(-1)
    plane, volume, width = length1 * length2, length0 * length1 * length2, label_out.shape[2]
    y0, y1, y2 = np.empty(width), np.empty(width), np.empty(width)
    offset0, offset1, offset2 = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    axes = (0, y0, offset0, length0), (1, y1, offset1, length1), (2, y2, offset2, length2)
    weights0, weights1 = np.empty((4, width), np.float32), np.empty((4, width), np.float32)
    first, nearest = np.empty(width, np.int32), np.empty(width, np.int32)  # coefficient of the block; label
    beyond, border = np.empty(width, np.int32), np.empty(width, np.int32)
    for x0, x1 in np.ndindex(label_out.shape[:2]):
        _locate((x0, x1), matrix, shift, field, moved, reflect, axes, first, nearest, beyond, border)
        _weigh_all(offset0, weights0)
        _weigh_all(offset1, weights1)
        for x in range(width):  # here, not in a function of its own: that takes up to a third longer
            label_out[x0, x1, x] = outside if beyond[x] else classes[nearest[x]]
            for c in range(channels):
                at = first[x] + c * volume
                if beyond[x]:
                    value = fill[c]
                elif border[x]:
                    value = _at_border(coefficients[c], y0[x], y1[x], y2[x])
                elif length0 == 1:
                    value = _gather_plane(flat, at, plane, length2, weights0, weights1, x, offset2[x])
                else:
                    value = _gather_block(flat, at, plane, length2, weights0, weights1, x, offset2[x])
                image_out[x0, x1, x, c] = value


_STILL = np.zeros((3, 1, 1, 1), np.float32)


def warp(
    coefficients: np.ndarray,
    label: np.ndarray,
    matrix: np.ndarray,
    shift: np.ndarray,
    field: np.ndarray | None,
    reflect: bool,
    fill: np.ndarray,
    outside: int,
    image_out: np.ndarray,
    label_out: np.ndarray,
) -> None:
    """Fill a patch; see ``_spline.warp``."""
    if label.ndim == 2:  # a plane is a volume of one voxel's depth
        coefficients, label = coefficients[:, None], label[None]
        matrix, shift = np.pad(matrix, ((1, 0), (1, 0))), np.pad(shift, (1, 0))
        field = None if field is None else np.concatenate([np.zeros_like(field[:1]), field])[:, None]
        image_out, label_out = image_out[None], label_out[None]
    moved = field is not None
    _warp(
        coefficients,
        label,
        np.ascontiguousarray(matrix, np.float64),
        np.ascontiguousarray(shift, np.float64),
        field if moved else _STILL,
        moved,
        reflect,
        np.ascontiguousarray(fill, np.float32),
        outside,
        image_out,
        label_out,
    )
