"""Every setting of preparation, batches and prediction, as plain data checked once."""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

CHOICES = {
    "scaling": ("unit", "zscore", "zscore_channel", "minmax", "none"),
    "backend": ("native", "miscnn"),
    "analysis": ("whole", "patches"),
    "blend": ("gaussian", "uniform"),
    "cache": ("memory", "disk", "none"),
    "split_by": ("image", "patch"),
}


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
    split_by: str = "image"

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        _whole_number("patches.count", self.count, 1)
        if not 0 <= self.inside_fov <= 1:
            raise ValueError(f"patches.inside_fov must lie in [0, 1], got {self.inside_fov}")
        _one_of("patches.split_by", self.split_by, CHOICES["split_by"])


@dataclass(frozen=True)
class Settings:
    """What is done to cases before a network sees them, and how its answer is put together.

    Args:
        size: Pixels per axis given to the network; None keeps each case's own size.
        scaling: Of intensities: ``unit`` (integer type's range to [0, 1]), ``zscore`` (over all channels together),
            ``zscore_channel``, ``minmax``, ``none``.
        channels: Channels given to the network; None keeps the case's own.
        backend: ``native``, or ``miscnn`` for batches made by stock MIScnn.
        analysis: Samples of training: ``whole`` images, or ``patches`` made by ``draw_patches``.
        patch: Pixels per axis of a patch; with it, prediction goes by overlapping patches.
        overlap: Pixels per axis shared by neighbouring patches in prediction; None is half a patch.
        patches: How patches are drawn.
        blend: Weight of a pixel within its patch in prediction: ``gaussian`` trusts the centre, ``uniform`` does not.
        cache: Of prepared cases: ``memory`` stores them and reads small sets at once, ``disk`` stores and maps them,
            ``none`` stores nothing.
        batch_size: Samples per batch, in training and in prediction.
        steps_per_epoch: Batches per epoch; None is one pass over the samples.
        size_factor: The network's sides must be multiples of it; whole images are padded for prediction and cut back.
    """

    size: tuple[int, ...] | None = None
    scaling: str = "zscore"
    channels: int | None = None
    backend: str = "native"
    analysis: str = "whole"
    patch: tuple[int, ...] | None = None
    overlap: tuple[int, ...] | None = None
    patches: PatchDraw | None = None
    blend: str = "gaussian"
    cache: str = "memory"
    batch_size: int = 16
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
        values: dict[str, Any] = {**config}
        _refuse_unknown("pipeline", values, [field.name for field in fields(cls)])
        for key in ("size", "patch", "overlap"):
            if isinstance(values.get(key), list):
                values[key] = tuple(values[key])
        if isinstance(values.get("patches"), Mapping):
            _refuse_unknown("patches", values["patches"], [field.name for field in fields(PatchDraw)])
            values["patches"] = PatchDraw(**{"count": None, **values["patches"]})  # without a count: refused there
        return cls(**values)

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant, each on its own and then together."""
        for key in ("scaling", "backend", "analysis", "blend", "cache"):
            _one_of(key, getattr(self, key), CHOICES[key])
        for key in ("batch_size", "size_factor"):
            _whole_number(key, getattr(self, key), 1)
        for key in ("channels", "steps_per_epoch"):
            if getattr(self, key) is not None:
                _whole_number(key, getattr(self, key), 1)
        for key, least in (("size", 1), ("patch", 1), ("overlap", 0)):
            if getattr(self, key) is not None:
                _lengths(key, getattr(self, key), least)
        self._check_patch()

    def _check_patch(self) -> None:
        """Refuse a patch that is missing, that does not suit the network, or that its overlap exceeds."""
        if self.patch is None:
            if self.analysis == "patches" or self.overlap or self.patches:
                raise ValueError(
                    "patch is missing: `patches`, as analysis or draw, and `overlap` need it, e.g. [48, 48]"
                )
            return
        if any(length % self.size_factor for length in self.patch):
            raise ValueError(f"patch {list(self.patch)} must hold multiples of {self.size_factor}, as the network asks")
        shared = self.overlap or (0,) * len(self.patch)
        if len(shared) != len(self.patch) or any(a >= b for a, b in zip(shared, self.patch, strict=True)):
            raise ValueError(f"overlap {list(shared)} must be smaller than patch {list(self.patch)} along each axis")


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
