"""Random displacement fields: smooth noise of any size from a few numbers, instead of a filter over every voxel."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

NODES = 2.0  # per sigma; 0.5 % of the variance is lost to their number, 2 % with half as many
LEAST_NODES = 5  # on axes shorter than two sigmas, where three lose more than 1 %
TRUNCATE = 4.0  # sigmas after which the filter is cut, as in scipy.ndimage


@lru_cache(maxsize=64)
def factor(length: int, sigma: float) -> np.ndarray:
    """Return the matrix L, (length, K), float32, whose L L^T is the covariance of Gaussian-filtered white noise.

    With nodes u_k = (k + 0.5) h - 0.5, h = length / K, the entry is sqrt(h) times a Gaussian of x - u_k, and zero where
    the filter is cut. Outside the axis there is no noise, so the variance decays towards its ends, as it does where
    batchgenerators filters noise with zeros around it.

    Args:
        length: Voxels along the axis.
        sigma: Standard deviation of the filter, in voxels.
    """
    nodes = max(LEAST_NODES, math.ceil(length * NODES / sigma))
    step = length / nodes
    distance = np.arange(length)[:, None] - ((np.arange(nodes) + 0.5) * step - 0.5)
    weight = np.exp(-0.5 * (distance / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
    weight[np.abs(distance) > int(TRUNCATE * sigma + 0.5) + 0.5] = 0
    return (math.sqrt(step) * weight).astype(np.float32)


def displacement(shape: Sequence[int], alpha: float, sigma: float, random: np.random.Generator) -> np.ndarray:
    """Draw a displacement per voxel, in voxels.

    Equal in distribution to batchgenerators' field, uniform noise on [-1, 1] filtered with ``sigma`` times ``alpha``,
    but for the noise being normal, which a filter over thousands of voxels makes of the uniform one too.

    Args:
        shape: Voxels per axis.
        alpha: Factor.
        sigma: Standard deviation of the filter, in voxels.
        random: Source of the noise.

    Returns:
        Shape (dimensions, *shape), float32.
    """
    factors = [factor(length, sigma) for length in shape]
    field = random.standard_normal((len(shape), *(one.shape[1] for one in factors)), np.float32)
    field *= np.float32(alpha / math.sqrt(3))  # the standard deviation of the uniform noise
    for axis in range(len(shape), 0, -1):  # the last axis first: what is still to come stays small
        held = field.shape
        block = field.reshape(*held[: axis - 1], -1, held[axis], math.prod(held[axis + 1 :]))
        with np.errstate(invalid="ignore"):  # BLAS reads beyond the block, and leaves a flag if it finds NaN there
            field = np.matmul(factors[axis - 1], block).reshape(*held[:axis], -1, *held[axis + 1 :])
    return field
