"""The sections of a configuration and what each key may hold; unknown keys are refused."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Metric = Literal["dsc", "f1", "jaccard", "recall", "precision", "specificity"]


class Section(BaseModel):
    """A mapping of known keys that never changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Grid(Section):
    """The product of runs."""

    dataset: list[str] = Field(min_length=1, description="keys of `datasets`")
    network: list[str] = Field(min_length=1, description="keys of `networks`")
    loss: list[str] = Field(min_length=1, description="keys of `losses`, or names of losses")


class Split(Section):
    """Which cases train, validate and test."""

    kind: Literal["random", "official"] = Field(
        "random", description="random by the seed, or the halves that the data set states"
    )
    fractions: tuple[float, float, float] = Field(
        (0.8, 0.0, 0.2), description="training, validation, test; their sum is 1"
    )
    group_by: str = Field("none", description="what stays on one side: none, image, sequence, or a fact of the cases")
    stratify_by: str = Field("none", description="what every part holds in proportion: likewise")
    seed: int = Field(0, ge=0, description="seed of the draw")


class Phantom(Section):
    """Synthetic cases in the official layout."""

    cases: int = Field(ge=4, description="number of cases")
    size: int = Field(ge=32, description="pixels of the longer side")
    seed: int = Field(0, ge=0, description="seed of the drawing")


class DatasetSection(Section):
    """How the cases of one data set are read and prepared."""

    size: tuple[int, int] | None = Field(
        None, description="rows and columns after resizing; null keeps the original size"
    )
    scaling: Literal["unit", "zscore", "zscore_channel", "minmax", "none"] = Field(
        "unit", description="how grey levels become numbers"
    )
    channels: int = Field(3, ge=1, le=4, description="channels of the network's input")
    split: Split = Field(default_factory=lambda: Split.model_validate({}))
    phantom: Phantom | None = Field(None, description="use phantoms made with these arguments instead of real data")


class Patches(Section):
    """Patches drawn once from all images (ALL's DRIVE)."""

    count: int = Field(200_000, ge=1, description="number of patches")
    inside_fov: float = Field(
        0.95, ge=0, le=1, description="share of patches whose centre lies inside the field of view"
    )
    split_by: Literal["patch", "image"] = Field("patch", description="what is divided into training and test")


class Pipeline(Section):
    """How cases become batches, and predictions become label maps."""

    backend: Literal["native", "miscnn"] = Field("native", description="who makes the batches")
    analysis: Literal["whole", "patches"] = Field("whole", description="whole images, or patches drawn from them")
    patch: tuple[int, int] | None = Field(None, description="rows and columns of a patch")
    overlap: tuple[int, int] | None = Field(
        None, description="rows and columns that neighbouring patches share in prediction"
    )
    patches: Patches | None = Field(None, description="how patches are drawn, with `analysis: patches`")
    blend: Literal["uniform", "gaussian"] = Field("uniform", description="weights of overlapping patches")


class Optimiser(Section):
    """The rule that changes the weights."""

    name: Literal["adam", "sgd"] = "adam"
    learning_rate: float = Field(gt=0, le=10, description="first learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd only")
    nesterov: bool = Field(False, description="sgd only")


class Training(Section):
    """How one network is trained."""

    optimiser: Optimiser
    schedule: Literal["none", "cosine"] = Field(
        "none", description="cosine: falls from the first learning rate to 0 over the run"
    )
    batch_size: int = Field(ge=1, le=4096, description="samples per step")
    epochs: int = Field(ge=1, description="passes over the training cases")
    steps: int | None = Field(None, ge=1, description="stop after so many steps whatever `epochs` says")
    steps_per_epoch: int | None = Field(
        None, ge=1, description="steps until history and checkpoint are written; null: one pass over the cases"
    )
    checkpoint_seconds: int = Field(
        30, ge=0, description="write a checkpoint after an epoch only if the last one is older"
    )
    selection: Literal["last"] = Field("last", description="which weights are evaluated")
    threads: int = Field(1, ge=1, le=256, description="threads of one run; changes the last bits of the result")
    deterministic: bool = Field(False, description="same numbers on every repetition, at some cost of speed")


class Evaluation(Section):
    """How predictions are counted."""

    grid: Literal["network", "original"] = Field("network", description="size at which pixels are counted")
    mask: Literal["none", "fov"] = Field("none", description="fov: count inside the field of view only")
    aggregation: Literal["case", "pooled"] = Field("case", description="mean over cases, or counts summed first")
    empty: Literal["nan", "one", "zero"] = Field(
        "nan", description="value of a case without foreground in truth and prediction"
    )
    metrics: list[Metric] = Field(min_length=1, description="columns of the table")
    auc: bool = Field(True, description="also compute the area under the ROC curve")


class Report(Section):
    """What leads the report."""

    metric: Metric
    network: str
    reference: str = Field(description="the loss that the others are tested against")
    margin: float = Field(0.02, ge=0, le=1, description="difference that still counts as close")


class Compare(Section):
    """Which columns of the table are rows of a comparison, and which make a block."""

    rows: list[str]
    blocks: list[str]


class Override(Section):
    """What differs for some points of the grid."""

    where: dict[Literal["dataset", "network", "loss"], str | list[str]]
    pipeline: dict[str, Any] = {}
    training: dict[str, Any] = {}
    evaluation: dict[str, Any] = {}


class Config(Section):
    """A whole file, one profile merged in."""

    table: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str = Field(description="heading of tables and figures")
    seeds: list[int] = Field(min_length=1)
    grid: Grid
    datasets: dict[str, DatasetSection]
    networks: dict[str, dict[str, Any]]
    losses: dict[str, dict[str, Any]] = {}
    pipeline: Pipeline
    training: Training
    evaluation: Evaluation
    report: Report
    compare: Compare
    overrides: list[Override] = []
