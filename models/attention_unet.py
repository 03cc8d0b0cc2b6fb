"""Attention U-Net with an image pyramid and deep supervision, which the adaptive-logarithmic-loss paper compares with.

Source: Abraham and Khan 2019, arXiv 1810.07842, completed from their released code. Odd widths and connections are the
release's: its fourth level has as few channels as the second, and two gates share a signal. Chosen here: 3D, `width`,
and the three parts as options.
"""

from dataclasses import replace
from typing import Annotated, Any

import keras

from rareseg.models.blocks import Blocks, Output

PRESETS: dict[str, dict[str, Any]] = {"attention_unet": {}}


def size_factor(**_: Any) -> int:
    """Return what every spatial size must be a multiple of: four levels are pooled."""
    return 16


def network(
    image: keras.KerasTensor,
    classes: int,
    *,
    width: Annotated[int, "[2, inf)"] = 32,
    attention_gates: bool = True,
    multi_input: bool = True,
    deep_supervision: bool = True,
    momentum: Annotated[float, "[0, 1)"] = 0.99,
    prior: Annotated[float | None, "(0, 1)"] = None,
    output: Output = "probabilities",
    seed: int = 0,
) -> keras.KerasTensor | list[keras.KerasTensor]:
    """Connect an attention U-Net; level 1 is the finest.

    Args:
        image: Input, shape (B, *space, C), sizes multiples of 16.
        classes: Channels of every output.
        width: Channels at the finest level.
        attention_gates: Whether the decoder sees the encoder's features through gates; without them it sees all.
        multi_input: Whether every level of the encoder sees the image, reduced to its size.
        deep_supervision: Whether the decoder's coarser levels have outputs of their own.
        momentum: That of batch normalisation.
        prior: Share of foreground that the biases of the outputs start from; None starts them at 0, as released.
        output: Whether the outputs are activated.
        seed: Seed of weights.

    Returns:
        Probabilities or logits, float32, shape (B, *space / n, classes): a list for n = 8, 4, 2, 1; without deep
        supervision its last entry alone.
    """
    blocks = Blocks(rank=len(image.shape) - 2, seed=seed, initialiser="glorot_normal", momentum=momentum)
    plain = replace(blocks, initialiser="glorot_uniform")  # where the release leaves Keras' default
    *skips, bottom = _encoder(blocks, plain, image, width, multi_input)
    features = _decoder(blocks, plain, skips, bottom, width, attention_gates)
    names = ("pred1", "pred2", "pred3", "output") if deep_supervision else ("output",)
    outputs = []
    for name in names:
        x, filters = features[name]
        x = blocks.pair(x, filters, name=name)
        outputs.append(plain.head(x, classes, output=output, prior=prior, name=name))
    return outputs if deep_supervision else outputs[0]


def _encoder(
    blocks: Blocks, plain: Blocks, image: keras.KerasTensor, width: int, multi_input: bool
) -> list[keras.KerasTensor]:
    """Return the features of four levels and of the bottom, fine to coarse."""
    x, features = image, []
    for level, filters in enumerate((width, 2 * width, 4 * width, 2 * width), start=1):
        if level > 1:
            x = blocks.max_pool(x, name=f"enc{level - 1}_down")
            if multi_input:
                image = blocks.average_pool(image, name=f"scale{level}")
                seen = plain.conv(image, width * 2 ** (level - 1), 3, activation="relu", name=f"scale{level}_conv")
                x = blocks.concatenate([seen, x], name=f"scale{level}_cat")
        x = blocks.pair(x, filters, name=f"enc{level}")
        features.append(x)
    x = blocks.max_pool(x, name="enc4_down")
    return [*features, blocks.pair(x, 16 * width, name="mid")]


def _decoder(
    blocks: Blocks,
    plain: Blocks,
    skips: list[keras.KerasTensor],
    bottom: keras.KerasTensor,
    width: int,
    attention_gates: bool,
) -> dict[str, tuple[keras.KerasTensor, int]]:
    """Return what each output is made of, coarse to fine: features, and the channels of the pair that reads them."""

    def gated(level: int, signal: keras.KerasTensor, filters: int, stride: int = 1) -> keras.KerasTensor:
        if not attention_gates:
            return skips[level - 1]
        signal = blocks.step(signal, signal.shape[-1], size=1, name=f"gate{level}_signal")
        return plain.gate(skips[level - 1], signal, filters, stride=stride, name=f"gate{level}")

    def joined(level: int, x: keras.KerasTensor, filters: int, skip: keras.KerasTensor) -> keras.KerasTensor:
        x = blocks.transposed_conv(x, filters, size=3, activation="relu", name=f"dec{level}_up")
        return blocks.concatenate([x, skip], name=f"dec{level}_cat")

    dec4 = joined(4, bottom, width, gated(4, bottom, 4 * width))
    dec3 = joined(3, dec4, 2 * width, gated(3, dec4, 2 * width))
    dec2 = joined(2, dec3, width, gated(2, dec4, width, stride=2))
    dec1 = joined(1, dec2, width, skips[0])
    return {"pred1": (dec4, 8 * width), "pred2": (dec3, 4 * width), "pred3": (dec2, 2 * width), "output": (dec1, width)}
