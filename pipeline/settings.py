"""Every setting of preparation, batches and prediction, as plain data checked once.

A setting may be accepted here and take effect elsewhere: what a value does stands beside it, who does it in
``preprocess``, ``augment``, ``batches`` and ``prediction``.
"""

import difflib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

CHOICES = {
    "scaling": ("unit", "zscore", "zscore_channel", "zscore_then_unit", "minmax", "none"),
    "backend": ("native", "miscnn"),
    "analysis": ("whole", "crop", "grid", "patches"),
    "outside": ("unlabelled", "background", "reflect"),
    "fill": ("zero", "minimum"),
    "crop_range": ("miscnn", "full"),
    "validation_crops": ("per_epoch", "fixed", "whole"),
    "blend": ("gaussian", "uniform", "miscnn"),
    "cache": ("memory", "disk", "none"),
    "split_by": ("image", "patch"),
}
Range = tuple[float, float]


@dataclass(frozen=True)
class PatchDraw:
    """How many patches are drawn, and where (DRIVE in Kaul et al.).

    Args:
        count: Patches over all images together.
        inside_fov: Share of them whose centre lies inside the field of view, 0 to 1.
        split_by: Whether experiments split the cases before (``image``) or after (``patch``) patches are drawn.
    """

    count: int
    inside_fov: float = 0.95
    split_by: str = "patch"

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        _whole_number("patches.count", self.count, 1)
        _share("patches.inside_fov", self.inside_fov)
        _one_of("patches.split_by", self.split_by, CHOICES["split_by"])


@dataclass(frozen=True)
class Augment:
    """What is changed at random in samples of training; the defaults are those of Yeung et al. (MIScnn's).

    A range (low, high) is drawn from uniformly, except that ``scale``, ``contrast`` and ``gamma`` fall below and above
    1 equally often; None leaves the transform out.

    Args:
        p: Probability of each transform but mirroring, each drawn on its own.
        mirror_axes: Axes that are flipped, each with probability 0.5; None is all of them, () none.
        mirror_probability: Probability that a sample is mirrored at all; 1 as in MIScnn, whose ``p`` leaves it out.
        scale: Factor of the coordinates, one for all axes: above 1 shows more of the image.
        rotate: Degrees about each axis (3D) or in the plane (2D); voxels count as cubes.
        rotate_axes: Axes to rotate about, in 3D; None is all of them.
        elastic_alpha: Factor of the displacement field.
        elastic_sigma: Standard deviation of the filter that smooths the field, in voxels.
        brightness: Factor of the intensities, one per channel.
        contrast: Factor of the distance from the channel's mean, one per channel.
        gamma: Exponent of the intensities between their least and greatest, one per channel.
        noise: Standard deviation of normal noise, one for the sample.
    """

    p: float = 0.15
    mirror_axes: tuple[int, ...] | None = None
    mirror_probability: float = 1.0
    scale: Range | None = (0.85, 1.25)
    rotate: Range | None = (-15.0, 15.0)
    rotate_axes: tuple[int, ...] | None = None
    elastic_alpha: Range | None = (0.0, 900.0)
    elastic_sigma: Range = (9.0, 13.0)
    brightness: Range | None = (0.5, 2.0)
    contrast: Range | None = None
    gamma: Range | None = None
    noise: Range | None = None

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        for key in ("p", "mirror_probability"):
            _share(f"augment.{key}", getattr(self, key))
        for key in ("mirror_axes", "rotate_axes"):
            if getattr(self, key) is not None:
                _axes(f"augment.{key}", getattr(self, key))
        _range("augment.elastic_sigma", self.elastic_sigma, above=0)
        for key, least in (("scale", 0), ("contrast", 0), ("gamma", 0)):
            if getattr(self, key) is not None:
                _range(f"augment.{key}", getattr(self, key), above=least)
        for key in ("elastic_alpha", "brightness", "noise"):
            if getattr(self, key) is not None:
                _range(f"augment.{key}", getattr(self, key), least=0)
        if self.rotate is not None:
            _range("augment.rotate", self.rotate)

    @classmethod
    def of(cls, config: "Mapping[str, Any] | Augment") -> "Augment":
        """Return the augmentation that a mapping of plain values describes."""
        if isinstance(config, Augment):
            return config
        _refuse_unknown("augment", config, [field.name for field in fields(cls)])
        return cls(**_tuples(config))

    def mirrored(self, dimensions: int) -> tuple[int, ...]:
        """Return the axes that may be flipped in images of so many dimensions."""
        axes = range(dimensions) if self.mirror_axes is None else self.mirror_axes
        return tuple(axis for axis in axes if axis < dimensions and self.mirror_probability > 0)


@dataclass(frozen=True)
class Settings:
    """What is done to cases before a network sees them, and how its answer is put together.

    Args:
        size: Pixels per axis given to the network; None keeps each case's own size.
        spacing: Millimetres per axis that volumes are resampled to; None keeps each case's own.
        clip: Least and greatest intensity, applied after resampling and before scaling; None keeps all.
        scaling: Of intensities: ``unit`` (integer type's range to [0, 1]), ``zscore`` (over all channels together),
            ``zscore_channel``, ``zscore_then_unit`` (z-score, then least to greatest to [0, 1]), ``minmax``, ``none``.
        channels: Channels given to the network; None keeps the case's own.
        backend: ``native``, or ``miscnn`` for batches made by stock MIScnn.
        analysis: Samples of training: ``whole`` images, ``crop`` (a window drawn anew each time), ``grid`` (all windows
            of a grid, shuffled), or ``patches`` made by ``draw_patches``.
        patch: Pixels per axis of a patch; with it, prediction goes by overlapping patches.
        overlap: Pixels per axis shared by neighbouring patches, in prediction and in ``grid``; None is half a patch.
        patches: How patches are drawn.
        augment: Random changes of training samples; None: none.
        outside: What lies outside an image: ``unlabelled`` (no class), ``background`` (class 0), or ``reflect``, the
            image mirrored about its border, in training and where prediction pads.
        fill: Intensity outside an image that is not mirrored: ``zero``, or the ``minimum`` of each of its channels.
        crop_range: Where windows lie: ``full``, anywhere inside; ``miscnn`` draws from MIScnn's ranges, which leave out
            the last position.
        foreground: Share of crops drawn about foreground, where the case has any; deformed ones mostly hold it too.
        validation_crops: Windows of validation: the same of each case in every epoch (``fixed``), a new one
            (``per_epoch``), or the case predicted patchwise (``whole``).
        blend: Weight of a pixel within its patch in prediction: ``gaussian`` trusts the centre, ``uniform`` does not,
            ``miscnn`` averages pair by pair as MIScnn does.
        mirror_tta: Whether predictions are averaged over the flips of the axes that training mirrored.
        cache: Of prepared cases: ``memory`` stores them and reads sets of up to 1 GiB at once, ``disk`` stores and maps
            them, ``none`` stores nothing: all cases are kept in memory, whatever their size, and what augmentation
            makes of them, which takes as much again.
        batch_size: Samples per batch, in training and in prediction.
        steps_per_epoch: Batches per epoch; None is one pass over the samples.
        size_factor: The network's sides must be multiples of it; whole images are padded for prediction and cut back.
    """

    size: tuple[int, ...] | None = None
    spacing: tuple[float, ...] | None = None
    clip: Range | None = None
    scaling: str = "zscore"
    channels: int | None = None
    backend: str = "native"
    analysis: str = "whole"
    patch: tuple[int, ...] | None = None
    overlap: tuple[int, ...] | None = None
    patches: PatchDraw | None = None
    augment: Augment | None = None
    outside: str = "background"
    fill: str = "minimum"
    crop_range: str = "full"
    foreground: float = 0.33
    validation_crops: str = "fixed"
    blend: str = "gaussian"
    mirror_tta: bool = False
    cache: str = "memory"
    batch_size: int = 8
    steps_per_epoch: int | None = None
    size_factor: int = 1

    @classmethod
    def of(cls, config: "Mapping[str, Any] | Settings") -> "Settings":
        """Return the settings that a mapping of plain values describes; settings come back as they are.

        Raises:
            ValueError: A key is unknown, or a value is not possible.
        """
        if isinstance(config, Settings):
            return config
        values = _tuples(config)
        _refuse_unknown("pipeline", values, [field.name for field in fields(cls)])
        if isinstance(values.get("patches"), Mapping):
            _refuse_unknown("patches", values["patches"], [field.name for field in fields(PatchDraw)])
            values["patches"] = PatchDraw(**{"count": None, **values["patches"]})  # without a count: refused there
        if isinstance(values.get("augment"), Mapping):
            values["augment"] = Augment.of(values["augment"])
        return cls(**values)

    def shared(self, patch: Sequence[int]) -> tuple[int, ...]:
        """Return the pixels per axis that neighbours among windows of ``patch`` pixels share."""
        return self.overlap or tuple(length // 2 for length in patch)

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant, each on its own and then together."""
        for key, choices in CHOICES.items():
            if hasattr(self, key):
                _one_of(key, getattr(self, key), choices)
        for key in ("batch_size", "size_factor"):
            _whole_number(key, getattr(self, key), 1)
        for key in ("channels", "steps_per_epoch"):
            if getattr(self, key) is not None:
                _whole_number(key, getattr(self, key), 1)
        for key, least in (("size", 1), ("patch", 1), ("overlap", 0)):
            if getattr(self, key) is not None:
                _lengths(key, getattr(self, key), least)
        _share("foreground", self.foreground)
        self._check_preparation()
        self._check_patch()
        self._check_mirrors()

    def _check_preparation(self) -> None:
        """Refuse lengths and intensities that cannot be, and two answers to how large an image becomes."""
        if self.clip is not None:
            _range("clip", self.clip)
            if self.clip[0] == self.clip[1]:
                raise ValueError(f"clip must leave a range of intensities, got {list(self.clip)}")
        if self.spacing is not None:
            if not isinstance(self.spacing, tuple) or not self.spacing:
                raise ValueError(f"spacing must be a list of millimetres per axis, got {self.spacing!r}")
            for length in self.spacing:
                _number("spacing", length, above=0)
            if self.size is not None:
                raise ValueError("size and spacing both say how large images become; give one of them")

    def _check_patch(self) -> None:
        """Refuse a patch that is missing, that does not suit the network, or that its overlap exceeds."""
        if self.patches is not None and not isinstance(self.patches, PatchDraw):
            raise ValueError(f"patches must be a mapping of its settings, or null for none, got {self.patches!r}")
        if self.patch is None:
            if self.analysis != "whole" or self.overlap or self.patches:
                raise ValueError(
                    "patch is missing: `crop`, `grid` and `patches`, as analysis or draw, and `overlap` need it, "
                    "e.g. [48, 48]"
                )
            return
        if any(length % self.size_factor for length in self.patch):
            raise ValueError(f"patch {list(self.patch)} must hold multiples of {self.size_factor}, as the network asks")
        shared = self.overlap or (0,) * len(self.patch)
        if len(shared) != len(self.patch) or any(a >= b for a, b in zip(shared, self.patch, strict=True)):
            raise ValueError(f"overlap {list(shared)} must be smaller than patch {list(self.patch)} along each axis")

    def _check_mirrors(self) -> None:
        """Refuse predictions averaged over flips that the network never saw."""
        if self.augment is not None and not isinstance(self.augment, Augment):
            raise ValueError(f"augment must be a mapping of its settings, or null for none, got {self.augment!r}")
        if not isinstance(self.mirror_tta, bool):
            raise ValueError(f"mirror_tta must be true or false, got {self.mirror_tta!r}")
        if self.mirror_tta and not (self.augment and self.augment.mirrored(3)):
            raise ValueError("mirror_tta needs a network trained with mirroring; set augment.mirror_axes, or leave it")


def _tuples(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mapping with lists, as files hold them, turned into tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}


def _refuse_unknown(where: str, given: Collection[str], known: list[str]) -> None:
    """Name the first unknown key, and the known one that is nearest."""
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0)
            raise ValueError(f"{where} has no setting {key!r}; did you mean {near[0]!r}?")


def _one_of(key: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{key} must be one of {', '.join(choices)}, got {value!r}")


def _lengths(key: str, value: object, least: int) -> None:
    if not isinstance(value, tuple) or not value:
        raise ValueError(f"{key} must be a list of pixels per axis, got {value!r}")
    for length in value:
        _whole_number(key, length, least)


def _whole_number(key: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{key} must be a whole number from {least} on, got {value!r}")


def _number(key: str, value: object, least: float = -math.inf, above: float = -math.inf) -> None:
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not (math.isfinite(value) and value >= least and value > above)
    ):
        bound = f" above {above:g}" if above > -math.inf else f" from {least:g} on" if least > -math.inf else ""
        raise ValueError(f"{key} must be a number{bound}, got {value!r}")


def _share(key: str, value: object) -> None:
    _number(key, value)
    if not 0 <= value <= 1:  # pyright: ignore[reportOperatorIssue]
        raise ValueError(f"{key} must lie in [0, 1], got {value}")


def _range(key: str, value: object, least: float = -math.inf, above: float = -math.inf) -> None:
    if not isinstance(value, tuple) or len(value) != 2:
        raise ValueError(f"{key} must be a list of two numbers, least and greatest, got {value!r}")
    for end in value:
        _number(key, end, least, above)
    if value[0] > value[1]:
        raise ValueError(f"{key} must have the least number first, got {list(value)}")


def _axes(key: str, value: Sequence[int]) -> None:
    if not isinstance(value, tuple):
        raise ValueError(f"{key} must be a list of axes, got {value!r}")
    for axis in value:
        _whole_number(key, axis, 0)
        if axis > 2:
            raise ValueError(f"{key} must hold axes 0 to 2, got {axis}")
    if len(set(value)) != len(value):
        raise ValueError(f"{key} must hold each axis once, got {list(value)}")
