"""The blocks that all networks share, for images and volumes alike.

Tensors (B, *space, C) come in and go out. Layer names are part of the interface: seeds, and with them initial weights,
are derived from them, so a changed name is a changed network.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
from keras import layers

from rareseg.models.normalisation import BatchNormalization, InstanceNormalization
from rareseg.models.seeded import Kind, Seeded, layer_seed

Order = Literal["conv_norm_act", "conv_act_norm"]
Normalisation = Literal["batch", "instance", "none"]
Output = Literal["probabilities", "logits"]


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """What the blocks of one network have in common, and the blocks themselves as methods.

    Args:
        rank: Number of spatial axes, 2 or 3.
        seed: Seed of all weights and of dropout.
        initialiser: How kernels are drawn.
        order: Whether the activation of `step` stands after the normalisation, or inside the convolution before it.
        normalisation: Kind of every normalisation layer; ``none`` leaves them out.
        momentum: Share of the moving statistics that one training step of batch normalisation keeps.
        decay: L2 factor on the kernels of `step`, `pair` and `residual`; upsampling, squeeze-and-excitation and heads
            have none, as in the released FocusNet.
    """

    rank: int
    seed: int
    initialiser: Kind = "he_normal"
    order: Order = "conv_norm_act"
    normalisation: Normalisation = "batch"
    momentum: float = 0.99
    decay: float = 0.0

    def conv(
        self, x: keras.KerasTensor, filters: int, size: int, *, name: str, decay: float = 0.0, **options: Any
    ) -> keras.KerasTensor:
        """Convolve with `size`-wide kernels and same padding; ``options`` are those of the Keras layer."""
        return self._layer("Conv")(
            filters,
            size,
            padding="same",
            kernel_initializer=self._kernel(name),
            kernel_regularizer=keras.regularizers.L2(decay) if decay else None,
            name=name,
            **options,
        )(x)

    def norm(self, x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
        """Normalise each channel over the batch, or over the positions of each sample, or not at all."""
        match self.normalisation:
            case "batch":
                return BatchNormalization(momentum=self.momentum, epsilon=1e-3, name=name)(x)
            case "instance":
                return InstanceNormalization(epsilon=1e-3, name=name)(x)
            case "none":
                return x

    def dropout(self, x: keras.KerasTensor, rate: float, *, name: str) -> keras.KerasTensor:
        """Drop single elements; a rate of 0 adds no layer."""
        return layers.Dropout(rate, seed=layer_seed(self.seed, name), name=name)(x) if rate else x

    def step(
        self, x: keras.KerasTensor, filters: int, *, name: str, number: str = "", size: int = 3, stride: int = 1
    ) -> keras.KerasTensor:
        """Convolve, normalise and rectify, in the network's order."""
        inside = "relu" if self.order == "conv_act_norm" else None
        conv = f"{name}_conv{number}"
        x = self.conv(x, filters, size, strides=stride, activation=inside, decay=self.decay, name=conv)
        x = self.norm(x, name=f"{name}_norm{number}")
        return x if inside else layers.ReLU(name=f"{name}_act{number}")(x)

    def pair(self, x: keras.KerasTensor, filters: int, *, name: str) -> keras.KerasTensor:
        """Two steps with 3-wide kernels: one level of a U-Net."""
        x = self.step(x, filters, name=name, number="1")
        return self.step(x, filters, name=name, number="2")

    def resize(self, x: keras.KerasTensor, factor: int, *, name: str) -> keras.KerasTensor:
        """Repeat every position `factor` times along each spatial axis."""
        return self._layer("UpSampling")(factor, name=name)(x)

    def resize_conv(self, x: keras.KerasTensor, filters: int, *, name: str) -> keras.KerasTensor:
        """Double the size by repetition, then smooth with a 2-wide rectified convolution."""
        x = self.resize(x, 2, name=f"{name}_resize")
        return self.conv(x, filters, 2, activation="relu", name=f"{name}_conv")

    def transposed_conv(
        self,
        x: keras.KerasTensor,
        filters: int,
        *,
        name: str,
        size: int = 2,
        stride: int = 2,
        activation: str | None = None,
    ) -> keras.KerasTensor:
        """Enlarge by `stride` with `size`-wide learned kernels."""
        return self._layer("Conv", "Transpose")(
            filters,
            size,
            strides=stride,
            padding="same",
            activation=activation,
            kernel_initializer=self._kernel(name),
            name=name,
        )(x)

    def max_pool(self, x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
        """Halve the size, keeping the largest of each 2-wide cell."""
        return self._layer("MaxPooling")(2, name=name)(x)

    def average_pool(self, x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
        """Halve the size, keeping the mean of each 2-wide cell."""
        return self._layer("AveragePooling")(2, name=name)(x)

    def concatenate(self, tensors: Sequence[keras.KerasTensor], *, name: str, dtype: Any = None) -> keras.KerasTensor:
        """Join tensors of equal size along their channels, in the given order."""
        return layers.Concatenate(name=name, dtype=dtype)(tensors)

    def residual(self, x: keras.KerasTensor, filters: int, *, name: str, down: bool = False) -> keras.KerasTensor:
        """Basic residual block, activated before its convolutions, nothing after the sum.

        Args:
            x: Features, shape (B, *space, C).
            filters: Channels of the result.
            name: Prefix of the layers.
            down: Whether the first convolution halves the size; only then it has a normalisation before it.

        Returns:
            Features, shape (B, *space or *space / 2, filters).

        Source: He et al. 2016, arXiv 1603.05027, in the form of FocusNet's release.
        """
        y = layers.ReLU(name=f"{name}_act1")(self.norm(x, name=f"{name}_norm1")) if down else x
        y = self.conv(y, filters, 3, strides=2 if down else 1, decay=self.decay, name=f"{name}_conv1")
        y = layers.ReLU(name=f"{name}_act2")(self.norm(y, name=f"{name}_norm2"))
        y = self.conv(y, filters, 3, decay=self.decay, name=f"{name}_conv2")
        return layers.Add(name=f"{name}_add")([self._shortcut(x, filters, name=name, down=down), y])

    def _shortcut(self, x: keras.KerasTensor, filters: int, *, name: str, down: bool) -> keras.KerasTensor:
        if not down and x.shape[-1] == filters:
            return x
        if down:
            # Never a strided 1-wide convolution: with fewer than 16 channels TensorFlow 2.21 (CPU, oneDNN) writes its
            # weight gradient outside the buffer. Thinning first gives the same numbers.
            x = self._layer("MaxPooling")(1, strides=2, name=f"{name}_thin")(x)
        return self.conv(x, filters, 1, decay=self.decay, name=f"{name}_skip")

    def squeeze_excite(self, x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
        """Scale each channel by a gate computed from all channel means.

        Source: Hu et al. 2018, arXiv 1709.01507, reduction 16 but never below 4 channels.
        """
        channels = x.shape[-1]
        # The dense layers see (B, C): TensorFlow's product of a tensor of rank 4 with a matrix corrupts memory.
        gate = self._layer("GlobalAveragePooling")(name=f"{name}_pool")(x)
        gate = self._dense(gate, max(4, channels // 16), "relu", name=f"{name}_reduce")
        gate = self._dense(gate, channels, "sigmoid", name=f"{name}_expand")
        gate = layers.Reshape((1,) * self.rank + (channels,), name=f"{name}_shape")(gate)
        return layers.Multiply(name=f"{name}_scale")([x, gate])

    def gate(
        self, x: keras.KerasTensor, signal: keras.KerasTensor, filters: int, *, name: str, stride: int = 1
    ) -> keras.KerasTensor:
        """Scale each position of the features by a gate computed from them and a coarser signal.

        Args:
            x: Features, shape (B, *space, C).
            signal: Shape (B, *space / (2 * stride), any number of channels).
            filters: Channels in which both are compared.
            name: Prefix of the layers.
            stride: How much coarser the signal is than half of `x`.

        Returns:
            Features, shape (B, *space, C).

        Source: Oktay et al. 2018, arXiv 1804.03999, equations 1 and 2, in the form of Abraham and Khan's release.
        """
        theta = self.conv(x, filters, 2, strides=2, name=f"{name}_theta")
        phi = self.conv(signal, filters, 1, name=f"{name}_phi")
        phi = self.transposed_conv(phi, filters, size=3, stride=stride, name=f"{name}_phi_up")
        y = layers.ReLU(name=f"{name}_act")(layers.Add(name=f"{name}_add")([phi, theta]))
        y = self.conv(y, 1, 1, activation="sigmoid", name=f"{name}_psi")
        y = self.resize(y, 2, name=f"{name}_resize")
        y = layers.Multiply(name=f"{name}_scale")([x, y])
        return self.norm(self.conv(y, x.shape[-1], 1, name=f"{name}_conv"), name=f"{name}_norm")

    def head(
        self,
        x: keras.KerasTensor,
        classes: int,
        *,
        name: str,
        output: Output = "probabilities",
        prior: float | None = None,
    ) -> keras.KerasTensor:
        """Turn features into classes, float32 under every dtype policy; one class means a sigmoid, more a softmax.

        With ``prior`` the biases alone give that probability of foreground, evenly over its classes.
        Source of ``prior``: Lin et al. 2017, arXiv 1708.02002, section 3.3.
        """
        # For logits the activation stays as a linear layer, so that names, and with them seeds, do not change.
        activation = "linear" if output == "logits" else "sigmoid" if classes == 1 else "softmax"
        bias = keras.initializers.Constant(0.0 if prior is None else _log_odds(prior, classes))
        x = self.conv(x, classes, 1, dtype="float32", bias_initializer=bias, name=f"{name}_logits")
        return layers.Activation(activation, dtype="float32", name=name)(x)

    def _layer(self, kind: str, suffix: str = "") -> Any:
        return getattr(layers, f"{kind}{self.rank}D{suffix}")

    def _kernel(self, name: str) -> Seeded:
        return Seeded(self.initialiser, layer_seed(self.seed, name))

    def _dense(self, x: keras.KerasTensor, units: int, activation: str, *, name: str) -> keras.KerasTensor:
        kernel = self._kernel(name)
        return layers.Dense(units, activation=activation, use_bias=False, kernel_initializer=kernel, name=name)(x)


def _log_odds(prior: float, classes: int) -> list[float]:
    """Return one logit per channel: of a foreground share, against the background's, which is 0."""
    foreground = max(1, classes - 1)
    odds = math.log(prior / foreground / (1 - prior))
    return [odds] if classes == 1 else [0.0] + [odds] * foreground
