"""Keras' normalisation layers, in one fused operation where TensorFlow has one.

Keras composes them of a dozen operations that each go through memory; on a CPU they take a quarter of a training step.
XLA fuses those itself, so JAX keeps Keras' own, as does all that TensorFlow's operation does not cover.
"""

from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="rareseg")
class BatchNormalization(layers.BatchNormalization):
    """Keras' layer of that name: each channel over the batch; in training by TensorFlow's fused operation."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise (B, *space, C), and in training follow the moving statistics."""
        if not (training and self.trainable and mask is None and _fusible(self, inputs)):
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = _fused(inputs, self.gamma, self.beta, self.epsilon)
        count = ops.cast(ops.prod(ops.shape(inputs)[:-1]), variance.dtype)
        biased = variance * ((count - 1) / count)  # the operation returns the unbiased one
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, biased)):
            moving.assign(moving * self.momentum + now * (1.0 - self.momentum))
        return outputs


@keras.saving.register_keras_serializable(package="rareseg")
class InstanceNormalization(layers.GroupNormalization):
    """Keras' group normalisation with a channel a group: over the positions of each sample.

    Source: Ulyanov et al. 2016, arXiv 1607.08022.
    """

    def __init__(self, *, groups: int = -1, **options: Any) -> None:
        if groups != -1:
            raise ValueError(
                f"InstanceNormalization: groups must be -1, a channel a group, got {groups}; "
                "take keras.layers.GroupNormalization"
            )
        super().__init__(groups=groups, **options)

    def call(self, inputs: Any) -> Any:
        """Normalise (B, *space, C)."""
        if not _fusible(self, inputs):
            return super().call(inputs)
        return _fused_each(inputs, self.gamma, self.beta, self.epsilon)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "InstanceNormalization":
        """Build the layer; one that was built has stored its number of channels as ``groups``."""
        return super().from_config({**config, "groups": -1})


def _fusible(layer: layers.Layer, inputs: Any) -> bool:
    """Return whether TensorFlow's operation covers the layer with its options, for these inputs."""
    half_or_single = keras.backend.standardize_dtype(inputs.dtype) != "float64"
    rank = len(inputs.shape)
    return (
        keras.backend.backend() == "tensorflow"
        and half_or_single
        and layer.variable_dtype == "float32"
        and rank in (4, 5)
        and layer.axis in (-1, rank - 1)
        and layer.center
        and layer.scale
        and not getattr(layer, "synchronized", False)
        and not getattr(layer, "renorm", False)
    )


def _fused(inputs: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """Return (B, *space, C) normalised over all but its channels, and their mean and unbiased variance, float32."""
    import tensorflow as tf

    *_, width, channels = inputs.shape
    volumes = len(inputs.shape) == 5
    # Volumes take the path of images; images keep their shape, for XLA fuses no further than a change of it.
    flat = tf.reshape(inputs, (1, -1, 1 if width is None else width, channels)) if volumes else inputs
    outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        flat, tf.cast(gamma, "float32"), tf.cast(beta, "float32"), epsilon=epsilon, is_training=True
    )
    if volumes:
        outputs = tf.ensure_shape(tf.reshape(outputs, tf.shape(inputs)), inputs.shape)
    return outputs, mean, variance


def _fused_each(inputs: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    """Return (B, *space, C) with each sample normalised on its own.

    TensorFlow traces a network for its first batch size, and for any size once it has seen two. Weights are repeated
    for each sample so that both traces add up their gradients alike, and give the same bits.
    """
    import tensorflow as tf

    repeated = [tf.broadcast_to(weight, (tf.shape(inputs)[0], inputs.shape[-1])) for weight in (gamma, beta)]

    def one(sample: tuple[Any, Any, Any]) -> Any:
        image, scale, offset = sample
        return _fused(image[None], scale, offset, epsilon)[0][0]

    if inputs.shape[0] is None:
        outputs = tf.map_fn(one, (inputs, *repeated), fn_output_signature=inputs.dtype)
        return tf.ensure_shape(outputs, inputs.shape)
    return tf.stack([one(sample) for sample in zip(*map(tf.unstack, (inputs, *repeated)), strict=True)])
