"""U-Nets: that of the adaptive-logarithmic-loss paper, MIScnn's, and that of the unified-focal-loss paper.

Sources: Ronneberger et al. 2015, arXiv 1505.04597 (2D); Çiçek et al. 2016, arXiv 1606.06650 (3D). Neither is followed
to the letter: the presets are what the two papers state, completed from their authors' code and from MIScnn 1.4.0.
"""

from typing import Annotated, Any, Literal

import keras

from rareseg.models.blocks import Blocks, Normalisation, Order, Output
from rareseg.models.seeded import Kind

Downsampling = Literal["stride", "max"]
Upsampling = Literal["resize", "transpose"]
SkipOrder = Literal["skip_first", "skip_last"]

_MISCNN = {
    "order": "conv_act_norm",
    "downsampling": "max",
    "upsampling": "transpose",
    "skip_order": "skip_last",
    "dropout": 0.0,
    "initialiser": "glorot_uniform",
}

PRESETS: dict[str, dict[str, Any]] = {
    "unet_all": {},
    "unet_demo": {"filters": 8, "depth": 3, "dropout": 0.1, "momentum": 0.8},
    "unet_miscnn": _MISCNN,
    "unet_ufl": {**_MISCNN, "normalisation": "instance"},
}


def size_factor(*, depth: int, **_: Any) -> int:
    """Return what every spatial size must be a multiple of."""
    return 2**depth


def network(
    image: keras.KerasTensor,
    classes: int,
    *,
    filters: Annotated[int, "[1, inf)"] = 32,
    depth: Annotated[int, "[1, inf)"] = 4,
    order: Order = "conv_norm_act",
    normalisation: Normalisation = "batch",
    momentum: Annotated[float, "[0, 1)"] = 0.99,
    downsampling: Downsampling = "stride",
    upsampling: Upsampling = "resize",
    skip_order: SkipOrder = "skip_first",
    dropout: Annotated[float, "[0, 1)"] = 0.5,
    initialiser: Kind = "he_normal",
    decay: Annotated[float, "[0, inf)"] = 0.0,
    prior: Annotated[float | None, "(0, 1)"] = None,
    output: Output = "probabilities",
    seed: int = 0,
) -> keras.KerasTensor:
    """Connect a U-Net; level 1 is the finest.

    Args:
        image: Input, shape (B, *space, C), sizes multiples of ``2 ** depth``.
        classes: Channels of the output.
        filters: Channels of level 1; each level below has twice as many.
        depth: Number of times the size is halved.
        order: Order within a convolution step.
        normalisation: Kind of normalisation after every 3-wide convolution.
        momentum: That of batch normalisation.
        downsampling: Strided convolution step, or max pooling.
        upsampling: Repetition and convolution, or transposed convolution.
        skip_order: Whether the encoder's features stand first or last in each concatenation.
        dropout: Rate after the deepest encoder pair and after the bottom pair.
        initialiser: How kernels are drawn.
        decay: L2 factor on the kernels of pairs and strided convolutions.
        prior: Share of foreground that the biases of the output start from; None starts them at 0, as released.
        output: Whether the output is activated.
        seed: Seed of weights and dropout.

    Returns:
        Probabilities or logits, shape (B, *space, classes), float32.
    """
    blocks = Blocks(
        rank=len(image.shape) - 2,
        seed=seed,
        initialiser=initialiser,
        order=order,
        normalisation=normalisation,
        momentum=momentum,
        decay=decay,
    )
    x, skips = _encoder(blocks, image, filters, depth, downsampling, dropout)
    x = blocks.pair(x, filters * 2**depth, name="mid")
    x = blocks.dropout(x, dropout, name="mid_drop")
    x = _decoder(blocks, x, skips, filters, upsampling, skip_order)
    return blocks.head(x, classes, output=output, prior=prior, name="output")


def _encoder(
    blocks: Blocks, x: keras.KerasTensor, filters: int, depth: int, downsampling: Downsampling, dropout: float
) -> tuple[keras.KerasTensor, list[keras.KerasTensor]]:
    """Return the coarsest features and those that skip to the decoder, fine to coarse."""
    skips = []
    for level in range(1, depth + 1):
        width = filters * 2 ** (level - 1)
        x = blocks.pair(x, width, name=f"enc{level}")
        if level == depth:
            x = blocks.dropout(x, dropout, name=f"enc{level}_drop")
        skips.append(x)
        if downsampling == "stride":
            x = blocks.step(x, width, stride=2, name=f"enc{level}_down")
        else:
            x = blocks.max_pool(x, name=f"enc{level}_down")
    return x, skips


def _decoder(
    blocks: Blocks,
    x: keras.KerasTensor,
    skips: list[keras.KerasTensor],
    filters: int,
    upsampling: Upsampling,
    skip_order: SkipOrder,
) -> keras.KerasTensor:
    """Return features of the image's size."""
    upsample = blocks.resize_conv if upsampling == "resize" else blocks.transposed_conv
    for level in range(len(skips), 0, -1):
        width = filters * 2 ** (level - 1)
        joined = [skips[level - 1], upsample(x, width, name=f"dec{level}_up")]
        x = blocks.concatenate(joined if skip_order == "skip_first" else joined[::-1], name=f"dec{level}_cat")
        x = blocks.pair(x, width, name=f"dec{level}")
    return x
