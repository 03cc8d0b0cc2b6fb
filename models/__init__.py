"""Networks of both papers as Keras models, in 2D and 3D.

In: a preset's name, or a mapping of ``name`` and options; the shape of an image; the number of classes. Out: a
`keras.Model` from (B, *space, C) to (B, *space, classes). Every preset is one of the networks of `unet`, `focusnet` and
`attention_unet`, written with the layers of `blocks`; read `unet` first. To add a network, add a file with `PRESETS`,
`network` and `size_factor`, and name it in `_FAMILIES`; docs/extending.md has the rest.
"""

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import keras

from rareseg.models import attention_unet, focusnet, unet
from rareseg.models._options import Option, read_options, unknown
from rareseg.models.seeded import Seeded

__all__ = ["Seeded", "build", "final", "presets", "signatures", "size_factor"]

_FAMILIES = {name: family for family in (unet, focusnet, attention_unet) for name in family.PRESETS}


def build(config: str | Mapping[str, Any], input_shape: tuple[int | None, ...], classes: int) -> keras.Model:
    """Build a network; equal arguments give equal layer names and equal weights.

    Args:
        config: Name of a preset, or a mapping of ``name`` and the options that differ from the preset.
        input_shape: (H, W, C) or (D, H, W, C), channels last; a spatial size may be None, and otherwise must be a
            multiple of `size_factor`.
        classes: Number of channels of the output: 1 for a sigmoid, more for a softmax.

    Returns:
        A model whose input is ``image`` and whose last layer is ``output``, float32 under every dtype policy. With deep
        supervision it has several outputs, coarse to fine, the last of them ``output``; see `final`.

    Raises:
        TypeError: ``config`` is no name and no mapping.
        ValueError: A name, option, size or number of classes that cannot be.
    """
    name, options = _resolve(config)
    if not isinstance(classes, Integral) or isinstance(classes, bool) or classes < 1:
        raise ValueError(f"{name}: classes must be an integer of at least 1, got {classes!r}.")
    _check_shape(name, tuple(input_shape), _FAMILIES[name].size_factor(**options))
    image = keras.Input(tuple(input_shape), name="image")
    return keras.Model(image, _FAMILIES[name].network(image, classes, **options), name=name)


def presets() -> dict[str, dict[str, Any]]:
    """Return every preset with all its options; each is a configuration that `build` takes."""
    return {name: {"name": name, **{key: o.default for key, o in _options(name).items()}} for name in _FAMILIES}


def signatures() -> dict[str, dict[str, dict[str, Any]]]:
    """Return default, range and choices of every option of every preset, as plain data."""
    return {name: {key: _plain(option) for key, option in _options(name).items()} for name in _FAMILIES}


def size_factor(config: str | Mapping[str, Any]) -> int:
    """Return what every spatial size of the input must be a multiple of; images are padded to it."""
    name, options = _resolve(config)
    return _FAMILIES[name].size_factor(**options)


def final(model: keras.Model) -> keras.Model:
    """Return the model restricted to its output ``output``: what predictions are made with."""
    if len(model.outputs) == 1:
        return model
    return keras.Model(model.input, model.get_layer("output").output, name=model.name)


def _options(name: str) -> dict[str, Option]:
    """Return the options of a preset, its own values as their defaults."""
    family = _FAMILIES[name]
    own = family.PRESETS[name]
    return {
        key: option._replace(default=own.get(key, option.default))
        for key, option in read_options(family.network).items()
    }


def _plain(option: Option) -> dict[str, Any]:
    choices = None if option.choices is None else list(option.choices)
    return {"default": option.default, "range": option.range, "choices": choices}


def _resolve(config: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the preset's name and all options, checked."""
    if not isinstance(config, str | Mapping):
        raise TypeError(f"A network is a name or a mapping, got {config!r}.")
    given = {"name": config} if isinstance(config, str) else dict(config)
    name = given.pop("name", None)
    if name is None:
        raise ValueError(f"A network needs a name, got {config!r}.")
    if not isinstance(name, str) or name not in _FAMILIES:
        raise unknown("network", name, _FAMILIES)
    options = _options(name)
    for key, value in given.items():
        if key not in options:
            raise unknown(f"option of {name}", key, options)
        if not options[key].accepts(value):
            raise ValueError(f"{name}: {key} must be {options[key].expected()}, got {value!r}.")
    return name, {key: given.get(key, option.default) for key, option in options.items()}


def _check_shape(name: str, shape: tuple[int | None, ...], factor: int) -> None:
    if len(shape) not in (3, 4) or shape[-1] is None or shape[-1] < 1:
        raise ValueError(f"{name}: input_shape must be (H, W, C) or (D, H, W, C) with C known, got {shape}.")
    for size in shape[:-1]:
        if size is not None and (size < 1 or size % factor):
            raise ValueError(
                f"{name}: every spatial size must be a positive multiple of {factor}, got {size} in {shape}; "
                "pad or resize the images."
            )
