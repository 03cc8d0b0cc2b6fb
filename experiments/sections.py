"""The sections of a configuration and what each key may hold; unknown keys are refused."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, model_validator


def _different(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("expected different values")
    return values


Value = TypeVar("Value")
Different = Annotated[
    list[Value], Field(min_length=1, json_schema_extra={"uniqueItems": True}), AfterValidator(_different)
]
Metric = Literal["dsc", "f1", "jaccard", "recall", "precision", "specificity", "auc", "hd95", "assd"]
Symbol = Literal["epsilon", "omega", "gamma"]
Axes = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=2, max_length=3)]
"""One whole number per axis: rows and columns, in 3D slices before them."""
Range = tuple[float, float]


class Section(BaseModel):
    """A mapping of known keys that never changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Product(Section):
    """Every data set with every network with every loss."""

    dataset: list[str] = Field(min_length=1, description="keys of `datasets`")
    network: list[str] = Field(description="keys of `networks`, or names of networks")
    loss: list[str] = Field(description="keys of `losses`, or names of losses")

    @model_validator(mode="after")
    def _both_or_neither(self) -> "Product":
        if bool(self.network) != bool(self.loss):
            raise ValueError(
                "network and loss should have at least 1 item each, or none both: a table of the data alone"
            )
        return self


class Grid(RootModel[list[Product]]):
    """The runs of a table: one product, or a list of products where it is none."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [value] if isinstance(value, dict) else value

    @property
    def dataset(self) -> list[str]:
        """Data sets of all products, once each."""
        return list(dict.fromkeys(name for product in self.root for name in product.dataset))

    @property
    def network(self) -> list[str]:
        """Networks of all products, once each."""
        return list(dict.fromkeys(name for product in self.root for name in product.network))

    @property
    def loss(self) -> list[str]:
        """Losses of all products, once each."""
        return list(dict.fromkeys(name for product in self.root for name in product.loss))


class Sweep(RootModel[list[dict[str, list[float]]]]):
    """Values of arguments of a loss: one product of them, or a list of products."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [value] if isinstance(value, dict) else value


class Split(Section):
    """Which cases train, validate and test."""

    kind: Literal["random", "official", "file", "folds"] = Field(
        "random",
        description="random by the seed; the parts that the data set states; those of a file; or one of n folds",
    )
    fractions: tuple[float, float, float] = Field(
        (0.8, 0.0, 0.2), description="training, validation, test; their sum is 1"
    )
    group_by: str = Field("none", description="what stays on one side: none, image, sequence, or a fact of the cases")
    stratify_by: str = Field("none", description="what every part holds in proportion: likewise")
    seed: int = Field(0, ge=0, description="seed of the draw")
    folds: int = Field(5, ge=2, description="with `kind: folds`: how many")
    fold: int = Field(0, ge=0, description="with `kind: folds`: which of them, from 0, is tested")
    path: str | None = Field(None, description="with `kind: file`: CSV with the columns case and part")
    development: str | None = Field(
        None, description="with `kind: file`: MIScnn's JSON file of training and validation"
    )
    test: str | None = Field(None, description="with `kind: file`: MIScnn's JSON file whose VALIDATION list is tested")


class Phantom(Section):
    """Synthetic cases in the official layout."""

    cases: int = Field(ge=4, description="number of cases")
    size: int = Field(ge=32, description="pixels of the shorter side")
    seed: int = Field(0, ge=0, description="seed of the drawing")


class DatasetSection(Section):
    """How the cases of one data set are read and prepared."""

    reader: str | None = Field(
        None, description="who reads the files: `folder` for your own; null: the key's own reader"
    )
    path: str | None = Field(None, description="where the files lie; null: a folder of the key's name below --data")
    values: dict[int, int] | None = Field(
        None, description="with `reader: folder`: grey level in the label files -> class; null: found by reading them"
    )
    options: dict[str, str | int | None] = Field({}, description="what the reader offers besides, as `corrections`")
    exclude: list[str] = Field([], description="ids of cases to leave out")
    size: Axes | None = Field(None, description="pixels per axis after resizing; null keeps the original size")
    spacing: tuple[float, float, float] | None = Field(
        None, description="millimetres per axis that volumes are resampled to; null keeps their own"
    )
    clip: Range | None = Field(None, description="least and greatest intensity, before scaling; null keeps all")
    scaling: Literal["unit", "zscore", "zscore_channel", "zscore_then_unit", "minmax", "none"] = Field(
        "zscore", description="how intensities become numbers; unit: the range of the file's type to [0, 1]"
    )
    channels: int | None = Field(None, ge=1, le=4, description="channels of the network's input; null: the image's own")
    split: Split = Field(
        default_factory=lambda: Split.model_validate({}), description="which cases train, validate and test"
    )
    phantom: Phantom | None = Field(None, description="use phantoms made with these arguments instead of real data")


class Patches(Section):
    """Patches drawn once from all images (ALL's DRIVE)."""

    count: int = Field(200_000, ge=1, description="number of patches")
    inside_fov: float = Field(
        0.95, ge=0, le=1, description="share of patches whose centre lies inside the field of view"
    )
    split_by: Literal["patch", "image"] = Field("patch", description="what is divided into training and test")


class Augment(Section):
    """Random changes of training samples; the defaults are those of UFL, which are MIScnn's."""

    p: float = Field(0.15, ge=0, le=1, description="probability of each transform but mirroring")
    mirror_axes: list[int] | None = Field(
        None, description="axes that are flipped half of the time; null: all, []: none"
    )
    mirror_probability: float = Field(1.0, ge=0, le=1, description="probability that a sample is mirrored at all")
    scale: Range | None = Field((0.85, 1.25), description="factor of the coordinates; above 1 shows more of the image")
    rotate: Range | None = Field((-15.0, 15.0), description="degrees")
    rotate_axes: list[int] | None = Field(None, description="axes to rotate about, in 3D; null: all")
    elastic_alpha: Range | None = Field((0.0, 900.0), description="factor of the displacements")
    elastic_sigma: Range = Field((9.0, 13.0), description="smoothness of the displacements, in pixels")
    brightness: Range | None = Field((0.5, 2.0), description="factor of the intensities, one per channel")
    contrast: Range | None = Field(None, description="factor of the distance from the channel's mean")
    gamma: Range | None = Field(None, description="exponent of the intensities within their range")
    noise: Range | None = Field(None, description="standard deviation of normal noise")


class Pipeline(Section):
    """How cases become batches, and predictions become label maps."""

    backend: Literal["native", "miscnn"] = Field("native", description="who makes the batches")
    analysis: Literal["whole", "crop", "grid", "patches"] = Field(
        "whole",
        description="samples: whole images, a random window of each, all windows of a grid, or patches drawn once",
    )
    patch: Axes | None = Field(None, description="pixels per axis of a window or patch; prediction goes by them")
    overlap: Axes | None = Field(
        None, description="pixels per axis that neighbouring windows share in prediction; null: half a patch"
    )
    patches: Patches | None = Field(None, description="how patches are drawn, with `analysis: patches`")
    augment: Augment | None = Field(
        None, description="random changes of training samples; null: none, {}: those of UFL"
    )
    outside: Literal["unlabelled", "background", "reflect"] = Field(
        "background", description="what lies outside an image: no class, class 0, or the mirrored image"
    )
    fill: Literal["zero", "minimum"] = Field("minimum", description="intensity outside an image")
    crop_range: Literal["miscnn", "full"] = Field(
        "full", description="where windows lie: anywhere inside, or where MIScnn draws them"
    )
    foreground: float = Field(0.33, ge=0, le=1, description="share of random windows drawn about foreground")
    validation_crops: Literal["per_epoch", "fixed", "whole"] = Field(
        "fixed", description="windows of validation: new ones each epoch, the same ones, or the whole case by windows"
    )
    blend: Literal["gaussian", "uniform", "miscnn"] = Field("gaussian", description="weights of overlapping windows")
    mirror_tta: bool = Field(False, description="average predictions over the flips of training")
    cache: Literal["memory", "disk", "none"] = Field(
        "memory", description="prepared cases: stored and read at once, stored and mapped, or held in memory alone"
    )


class Optimiser(Section):
    """The rule that changes the weights."""

    name: Literal["adam", "sgd"] = Field("adam", description="kind of optimiser")
    learning_rate: float = Field(0.001, gt=0, le=10, description="first learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd only")
    nesterov: bool = Field(False, description="sgd only: look ahead by the momentum")
    decay: float = Field(0.0, ge=0, description="after n steps the learning rate is divided by 1 + decay x n")


class Plateau(Section):
    """When the learning rate falls, with `schedule: plateau`."""

    factor: float = Field(0.1, gt=0, lt=1, description="what the learning rate is multiplied by")
    patience: int = Field(10, ge=1, description="epochs without a better value of `monitor`")
    min_delta: float = Field(1e-7, ge=0, description="what counts as better")
    cooldown: int = Field(1, ge=0, description="epochs after a fall that do not count")
    least_rate: float = Field(1e-4, ge=0, description="the learning rate never falls below")


class StopEarly(Section):
    """When a run ends before its last epoch."""

    patience: int = Field(20, ge=1, description="epochs without a better value of `monitor`")
    min_delta: float = Field(0.0, ge=0, description="what counts as better")


class Supervision(Section):
    """Losses of a network with several outputs, coarse to fine."""

    final: dict[str, Any] | None = Field(
        None, description="loss of the finest output; null: the run's loss, as elsewhere"
    )
    weights: list[float] | None = Field(
        None, description="one per output; null: halved from the finest to the coarsest, sum 1"
    )
    offset: Literal["centre", "origin"] = Field(
        "centre", description="which pixel labels a cell of a coarse output: the one at its centre, or its first"
    )


class Training(Section):
    """How one network is trained."""

    optimiser: Optimiser = Field(
        default_factory=lambda: Optimiser.model_validate({}), description="the rule that changes the weights"
    )
    schedule: Literal["none", "cosine", "plateau"] = Field(
        "none", description="cosine: falls to 0 over the run; plateau: falls when validation no longer improves"
    )
    plateau: Plateau = Field(
        default_factory=lambda: Plateau.model_validate({}), description="when it falls, with `schedule: plateau`"
    )
    stop_early: StopEarly | None = Field(None, description="end when validation no longer improves; null: never")
    selection: Literal["last", "best_validation"] = Field(
        "last", description="which weights are evaluated: the last, or the best on the validation cases"
    )
    monitor: Literal["val_loss", "val_dsc", "val_jaccard"] = Field(
        "val_loss", description="what `selection`, `stop_early` and `plateau` look at"
    )
    supervision: Supervision = Field(
        default_factory=lambda: Supervision.model_validate({}),
        description="losses of a network with several outputs",
    )
    batch_size: int = Field(8, ge=1, le=4096, description="samples per step")
    epochs: int = Field(50, ge=1, description="passes over the training cases")
    steps: int | None = Field(None, ge=1, description="stop after so many steps whatever `epochs` says")
    steps_per_epoch: int | None = Field(
        None, ge=1, description="steps until history and checkpoint are written; null: one pass over the cases"
    )
    checkpoint_seconds: int = Field(
        30, ge=0, description="write a checkpoint after an epoch only if the last one is older"
    )
    mixed_precision: Literal["float16", "bfloat16"] | None = Field(
        None, description="compute in this type, keep weights and losses in float32; bfloat16 suits CPUs, too"
    )
    xla: bool | None = Field(None, description="compile by XLA; null: where it pays, on GPUs and under JAX")
    loaders: int = Field(1, ge=1, le=64, description="threads that make batches ahead; changes no result")
    devices: int = Field(
        1,
        ge=1,
        le=64,
        description="GPUs that share the batches of one run, with JAX; changes the last bits",
    )
    threads: int = Field(1, ge=1, le=256, description="threads of one run; changes the last bits of the result")
    deterministic: bool = Field(
        False, description="same numbers on every repetition, at some cost of speed; on a GPU not with JAX"
    )

    @property
    def validates(self) -> bool:
        """Whether the run looks at validation cases."""
        return self.selection == "best_validation" or self.schedule == "plateau" or self.stop_early is not None


class Evaluation(Section):
    """How predictions are counted."""

    grid: Literal["network", "original"] = Field("original", description="size at which pixels are counted")
    mask: Literal["none", "fov"] = Field("none", description="fov: count inside the field of view only")
    aggregation: Literal["case", "pooled", "keras_batch"] = Field(
        "case", description="mean over cases; counts summed first; or ALL's related code: soft, by batches, smooth 1"
    )
    empty: Literal["nan", "one", "zero"] = Field(
        "nan", description="value of a case without foreground in truth and prediction"
    )
    metrics: Different[Metric] = Field(["dsc", "jaccard", "precision", "recall"], description="columns of the table")
    auc: bool = Field(False, description="also compute the area under the ROC curve")
    distances: bool = Field(False, description="also measure the distances of surfaces, hd95 and assd")
    hec: bool = Field(False, description="also count all foreground classes as one, `hec`: kidney plus tumour")
    parts: Different[Literal["validation", "test"]] = Field(
        ["test"], description="cases that are predicted: those of the test, which make the table, and others besides"
    )


class Report(Section):
    """What leads the report."""

    metric: Metric = Field("dsc", description="primary metric of figures, tests and orders")
    network: str = Field(
        description="primary network: its blocks come first, and the figure over gamma is its own; "
        "not given: the first of the grid"
    )
    reference: str = Field(description="the loss that the others are tested against; not given: the first of the grid")
    margin: float = Field(0.02, ge=0, le=1, description="difference that still counts as close")
    gamma_selection: Literal["validation", "best_test"] | float | None = Field(
        None,
        description="which point of a sweep is the row of the table: best validation DSC, best test DSC (an upper "
        "bound), or the one with this value; null: every point is a row",
    )


class Compare(Section):
    """Which columns of the table are rows of a comparison, and which make a block."""

    rows: Different[Literal["network", "loss", "arguments"]] = Field(
        ["loss"], description="columns that name a row of a block"
    )
    blocks: Different[Literal["dataset", "network", "loss", "metric", "class"]] = Field(
        ["dataset", "network", "metric", "class"],
        description="columns that name a block; of these dataset, metric and class always",
    )

    @model_validator(mode="after")
    def _alike_within_a_block(self) -> "Compare":
        if not {"dataset", "metric", "class"} <= set(self.blocks):
            raise ValueError("expected dataset, metric and class among the blocks: nothing is compared across them")
        if both := [name for name in self.rows if name in self.blocks]:
            raise ValueError(f"expected {both[0]} under rows or under blocks, not under both")
        return self


class Symbols(Section):
    """Which argument of the loss each printed symbol of ALL's Tables 1 and 2 is; a permutation."""

    table1_rows: Symbol = Field("epsilon", description="argument that the rows of Table 1, printed as epsilon, change")
    table1_columns: Symbol = Field(
        "omega", description="argument that the columns of Table 1, printed as omega, change"
    )
    table2: Symbol = Field("gamma", description="argument that Table 2, printed as gamma, changes")

    @model_validator(mode="after")
    def _permutation(self) -> "Symbols":
        if len({self.table1_rows, self.table1_columns, self.table2}) < 3:
            raise ValueError("expected epsilon, omega and gamma once each")
        return self

    @property
    def renamed(self) -> dict[str, str]:
        """Printed symbol -> argument."""
        return {"epsilon": self.table1_rows, "omega": self.table1_columns, "gamma": self.table2}


class Override(Section):
    """What differs for some points of the grid."""

    where: dict[Literal["dataset", "network", "loss"], str | list[str]] = Field(
        description="the points: a name or a list of names for some of dataset, network, loss"
    )
    pipeline: dict[str, Any] = Field({}, description="keys of `pipeline` that differ")
    training: dict[str, Any] = Field({}, description="keys of `training` that differ")
    evaluation: dict[str, Any] = Field({}, description="keys of `evaluation` that differ")


class Config(Section):
    """A whole file, one profile merged in."""

    table: str = Field(
        pattern=r"^[a-z0-9_]+$",
        description="folder of the results and name of the published table; not given: the file's",
    )
    title: str = Field(description="heading of tables and figures; not given: the name of the table")
    seeds: Different[Annotated[int, Field(ge=0)]] = Field(
        [0], description="seeds of weights, batches and dropout, not of the split"
    )
    grid: Grid = Field(description="the runs: one product of data sets, networks and losses, or a list of products")
    sweep: dict[str, Sweep] = Field(
        {},
        description="loss of the grid -> argument -> values; several arguments make a product; or a list of products",
    )
    symbols: Symbols = Field(
        default_factory=lambda: Symbols.model_validate({}),
        description="which argument of adaptive_log each printed symbol of ALL's tables is",
    )
    datasets: dict[str, DatasetSection] = Field(description="how each data set is read and prepared")
    networks: dict[str, dict[str, Any]] = Field(
        {}, description="name in the grid -> `name` of a network, and its options"
    )
    losses: dict[str, dict[str, Any]] = Field(
        {}, description="name in the grid -> arguments, and `name` of the loss where it differs"
    )
    pipeline: Pipeline = Field(
        default_factory=lambda: Pipeline.model_validate({}), description="how cases become batches"
    )
    training: Training = Field(
        default_factory=lambda: Training.model_validate({}), description="how one network is trained"
    )
    evaluation: Evaluation = Field(
        default_factory=lambda: Evaluation.model_validate({}), description="how predictions are counted"
    )
    report: Report = Field(description="what leads the report")
    compare: Compare = Field(
        default_factory=lambda: Compare.model_validate({}), description="what is compared with what"
    )
    overrides: list[Override] = Field([], description="what differs for some points of the grid, in this order")
