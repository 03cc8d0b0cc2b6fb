"""FocusNet: a U-Net whose features gate those of a second, wider one.

Source: Kaul, Manandhar and Pears 2019, arXiv 1902.03091, completed from two public releases by its author that differ:
`focusnet` is the later, `focusnet_2019` the earlier one. Deviations on purpose: batch normalisation predicts with
moving statistics (the release normalises a prediction by its batch), weight decay is off unless asked for, and the
narrowest layers, those of the tail and of squeeze-and-excitation, keep at least four channels.
"""

from typing import Annotated, Any

import keras
from keras import layers

from rareseg.models.blocks import Blocks, Output

PRESETS: dict[str, dict[str, Any]] = {
    "focusnet": {},
    "focusnet_2019": {"stem_filters": 24, "side_outputs": False},
    "focusnet_demo": {"width": 4, "stem_filters": 4, "dropout": 0.1, "momentum": 0.8},
}


def size_factor(**_: Any) -> int:
    """Return what every spatial size must be a multiple of: the second branch halves four times."""
    return 16


def network(
    image: keras.KerasTensor,
    classes: int,
    *,
    width: Annotated[int, "[2, inf)"] = 32,
    stem_filters: Annotated[int | None, "[1, inf)"] = None,
    side_outputs: bool = True,
    dropout: Annotated[float, "[0, 1)"] = 0.2,
    momentum: Annotated[float, "[0, 1)"] = 0.99,
    decay: Annotated[float, "[0, inf)"] = 0.0,
    stem_decay: Annotated[float, "[0, inf)"] = 0.0,
    prior: Annotated[float | None, "(0, 1)"] = None,
    output: Output = "probabilities",
    seed: int = 0,
) -> keras.KerasTensor:
    """Connect a FocusNet.

    Args:
        image: Input, shape (B, *space, C), sizes multiples of 16.
        classes: Channels of the output.
        width: Channels at the finest level.
        stem_filters: Channels of the gating branch's first convolution; None means `width`.
        side_outputs: Whether heads on all decoder levels are fused into the output; without them the last block has it.
        dropout: Rate at the bottom of the gating branch.
        momentum: That of batch normalisation.
        decay: L2 factor on the kernels of residual blocks and the second stem; 0.0001 in the release.
        stem_decay: L2 factor on the first stem; 0.0005 in the release.
        prior: Share of foreground that the biases of the output start from; None starts them at 0, as released.
        output: Whether the output is activated.
        seed: Seed of weights and dropout.

    Returns:
        Probabilities or logits, shape (B, *space, classes), float32.
    """
    blocks = Blocks(rank=len(image.shape) - 2, seed=seed, momentum=momentum, decay=decay)
    x = blocks.conv(image, stem_filters or width, 3, use_bias=False, decay=stem_decay, name="a_stem_conv")
    x = blocks.norm(x, name="a_stem_norm")
    x = layers.LeakyReLU(negative_slope=0.3, name="a_stem_act")(x)
    gates = _gating_branch(blocks, x, width, dropout)
    stem, x, downs = _gated_encoder(blocks, image, gates, width)
    x, features = _decoder(blocks, x, downs, width)
    x = _tail(blocks, x, stem, width)
    if side_outputs:
        x = _fusion(blocks, x, features, width, classes)
    return blocks.head(x, classes, output=output, prior=prior, name="output")


def _gating_branch(blocks: Blocks, x: keras.KerasTensor, width: int, dropout: float) -> dict[int, keras.KerasTensor]:
    """Return the decoder features of the residual U-Net of depth 3, by level."""
    skips = {1: x}
    for level in (1, 2, 3):
        x = blocks.residual(x, width * 2 ** (level - 1), down=True, name=f"a_down{level}")
        x = skips[level + 1] = blocks.residual(x, width * 2**level, name=f"a_enc{level + 1}")
    x = blocks.dropout(x, dropout, name="a_drop")
    features = {}
    for level in (3, 2, 1):
        x = blocks.resize_conv(x, width * 2**level, name=f"a_up{level}")
        x = blocks.concatenate([skips[level], x], name=f"a_dec{level}_cat")
        x = features[level] = blocks.residual(x, width * 2**level, name=f"a_dec{level}")
    return features


def _gated_encoder(
    blocks: Blocks, image: keras.KerasTensor, gates: dict[int, keras.KerasTensor], width: int
) -> tuple[keras.KerasTensor, keras.KerasTensor, dict[int, keras.KerasTensor]]:
    """Return the second branch's stem, its bottom, and its downsampled features by level."""
    x = stem = blocks.step(image, 2 * width, size=7, name="b_stem")
    downs = {}
    for level in (1, 2, 3):
        x = blocks.residual(x, width * 2**level, name=f"b_enc{level}")
        x = blocks.squeeze_excite(x, name=f"b_se{level}a")
        gate = layers.Activation("sigmoid", name=f"b_gate{level}_sigmoid")(gates[level])
        x = layers.Multiply(name=f"b_gate{level}")([x, gate])
        x = blocks.squeeze_excite(x, name=f"b_se{level}b")
        x = downs[level] = blocks.residual(x, width * 2**level, down=True, name=f"b_down{level}")
    x = blocks.residual(x, width * 16, name="b_enc4")
    x = blocks.squeeze_excite(x, name="b_se4")
    return stem, blocks.residual(x, width * 16, down=True, name="b_down4"), downs


def _decoder(
    blocks: Blocks, x: keras.KerasTensor, downs: dict[int, keras.KerasTensor], width: int
) -> tuple[keras.KerasTensor, dict[int, keras.KerasTensor]]:
    """Return the finest decoder features, and those of every level."""
    features = {}
    for level in (3, 2, 1):
        x = blocks.resize_conv(x, width * 2**level, name=f"b_up{level}")
        x = blocks.concatenate([downs[level], x], name=f"b_dec{level}_cat")
        x = features[level] = blocks.residual(x, width * 2**level, name=f"b_dec{level}")
    return x, features


def _tail(blocks: Blocks, x: keras.KerasTensor, stem: keras.KerasTensor, width: int) -> keras.KerasTensor:
    """Return to the size of the image and narrow down in three residual blocks."""
    x = blocks.resize_conv(x, width, name="b_up0")
    x = blocks.concatenate([stem, x], name="b_tail1_cat")
    x = blocks.residual(x, width, name="b_tail1")
    x = blocks.residual(x, max(4, width // 2), name="b_tail2")
    return blocks.residual(x, max(4, width // 8), name="b_tail3")


def _fusion(
    blocks: Blocks, tail: keras.KerasTensor, features: dict[int, keras.KerasTensor], width: int, classes: int
) -> keras.KerasTensor:
    """Join the probabilities of four heads, coarse to fine; they feed the output and are not supervised themselves."""
    sides = []
    for level in (3, 2, 1):
        x = blocks.resize(features[level], 2**level, name=f"side{level}_resize")
        x = blocks.conv(x, width, 3, activation="relu", name=f"side{level}_conv")
        sides.append(blocks.head(x, classes, name=f"side{level}"))
    sides.append(blocks.head(tail, classes, name="side0"))
    x = blocks.concatenate(sides, dtype="float32", name="fuse_cat")
    return blocks.conv(x, width, 3, activation="relu", name="fuse_conv")
