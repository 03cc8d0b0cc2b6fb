"""What must hold between the keys of a configuration: names that exist, values that suit each other."""

from collections.abc import Mapping
from typing import Any, NoReturn

from rareseg import datasets
from rareseg.experiments import catalogue
from rareseg.experiments._yaml import ConfigError
from rareseg.experiments.cases import pipeline_settings
from rareseg.experiments.catalogue import nearest
from rareseg.experiments.place import Source
from rareseg.experiments.resolve import loss_at, network_at, sections_at, triples
from rareseg.experiments.sections import Config, DatasetSection, Evaluation, Training


def check(config: Config, source: Source) -> None:
    """Check names against each other and the catalogue, then every point of the grid.

    Raises:
        ConfigError: One sentence with place, what was expected and the nearest valid name.
    """
    for part in (_grid, _datasets, _losses_and_networks, _sweep, _overrides):
        part(config, source)
    for point in triples(config):
        _point(config, point, source)


def _refuse(source: Source, loc: tuple[Any, ...], text: str) -> NoReturn:
    raise ConfigError(f"{source.place(loc)}: {text}")


def _grid(config: Config, source: Source) -> None:
    for number, product in enumerate(config.grid.root):
        for kind, known in (("dataset", config.datasets), ("network", config.networks)):
            for index, name in enumerate(getattr(product, kind)):
                if name not in known:
                    loc = ("grid", number, kind, index)
                    _refuse(source, loc, f"`{name}` does not stand under `{kind}s`{nearest(name, known)}")
        for index, name in enumerate(product.loss):
            if name not in config.losses and name not in catalogue.losses():
                loc = ("grid", number, "loss", index)
                _refuse(source, loc, f"unknown loss `{name}`{nearest(name, catalogue.losses())}")


def _datasets(config: Config, source: Source) -> None:
    for key, section in config.datasets.items():
        _reader(key, section, source)
        fractions = section.split.fractions
        if abs(sum(fractions) - 1) > 1e-9 or min(fractions) < 0:
            _refuse(source, ("datasets", key, "split", "fractions"), "expected three shares that add up to 1")
        if section.split.kind == "file" and not (
            section.split.path or (section.split.development and section.split.test)
        ):
            _refuse(source, ("datasets", key, "split"), "kind file needs `path`, or `development` and `test`")
        if section.split.fold >= section.split.folds:
            loc = ("datasets", key, "split", "fold")
            _refuse(source, loc, f"expected a fold below {section.split.folds}, found {section.split.fold}")


def _reader(key: str, section: DatasetSection, source: Source) -> None:
    if section.reader is None and key not in catalogue.datasets():
        hint = nearest(key, catalogue.datasets())
        _refuse(
            source, ("datasets", key), f"unknown data set{hint}. For your own files add `reader: folder` and `path`"
        )
    if section.reader is not None and section.reader not in catalogue.readers():
        loc = ("datasets", key, "reader")
        _refuse(source, loc, f"unknown reader `{section.reader}`{nearest(section.reader, catalogue.readers())}")
    if section.values is not None and section.reader != "folder":
        _refuse(source, ("datasets", key, "values"), "is for `reader: folder` alone")


def _losses_and_networks(config: Config, source: Source) -> None:
    for kind, known in (("losses", catalogue.losses()), ("networks", catalogue.networks())):
        for key, options in getattr(config, kind).items():
            _known({"name": key, **options} if kind == "losses" else options, known, (kind, key), source)


def _known(config: Mapping[str, Any], known: Mapping[str, Any], loc: tuple[Any, ...], source: Source) -> None:
    """Check a loss or a network against the catalogue; ``loc`` is where its options stand."""
    try:
        catalogue.check(config, known)
    except catalogue.OptionError as error:
        _refuse(source, (*loc, error.option), str(error))


def _sweep(config: Config, source: Source) -> None:
    for loss, swept in config.sweep.items():
        if loss not in config.grid.loss and loss not in config.losses:
            _refuse(source, ("sweep", loss), f"`{loss}` is not in the grid{nearest(loss, config.grid.loss)}")
        name = {"name": loss, **config.losses.get(loss, {})}["name"]
        for argument, values in [item for product in swept.root for item in product.items()]:
            if not values or len(set(values)) < len(values):
                _refuse(source, ("sweep", loss, argument), "expected different values")
            for value in values:
                _known({"name": name, argument: value}, catalogue.losses(), ("sweep", loss), source)


def _overrides(config: Config, source: Source) -> None:
    plural = {"dataset": "datasets", "network": "networks", "loss": "losses"}
    for index, override in enumerate(config.overrides):
        for kind, names in override.where.items():
            for name in [names] if isinstance(names, str) else names:
                known = getattr(config.grid, kind)
                if name not in known and name not in getattr(config, plural[kind]):
                    loc = ("overrides", index, "where", kind)
                    _refuse(source, loc, f"`{name}` is not in the grid{nearest(name, known)}")


def _point(config: Config, point: Mapping[str, str], source: Source) -> None:
    """Check the sections that hold for one point of the grid."""
    sections, dataset = sections_at(config, point, source), config.datasets[point["dataset"]]
    pipeline, training = sections["pipeline"], sections["training"]
    if pipeline.analysis != "whole" and pipeline.patch is None:
        loc = ("pipeline", "patch")
        _refuse(source, loc, f"is needed with `analysis: {pipeline.analysis}`, for example [48, 48]")
    if pipeline.analysis == "patches" and pipeline.patches is None:
        _refuse(source, ("pipeline", "patches"), "is needed with `analysis: patches`, for example {count: 200000}")
    _sides(config, point, dataset, pipeline, source)
    _validation(point["dataset"], dataset, training, source)
    volume = 3 in (len(pipeline.patch or ()), len(dataset.size or ())) or dataset.spacing is not None
    if volume and sections["evaluation"].grid == "network":
        _refuse(source, ("evaluation", "grid"), "volumes are counted on their own grid: expected `original`")
    _supervision(training, source)
    if training.batch_size % training.devices:
        text = f"{training.batch_size} samples cannot be shared evenly by {training.devices} devices; use a multiple"
        _refuse(source, ("training", "batch_size"), text)
    _evaluation(sections["evaluation"], source)
    plain = {name: section.model_dump(mode="json") for name, section in sections.items()}
    plain |= {"dataset": dataset.model_dump(mode="json"), "network": network_at(config, point["network"])}
    try:
        pipeline_settings(plain)
        loss_at(config, point["loss"], {})
    except ValueError as error:
        _refuse(source, ("pipeline",), f"{point['dataset']}: {error}")


def _sides(config: Config, point: Mapping[str, str], dataset: DatasetSection, pipeline: Any, source: Source) -> None:
    """Refuse a size or a patch that the network cannot halve as often as it must."""
    factor = catalogue.size_factor(config.networks[point["network"]])
    size = pipeline.patch if pipeline.analysis != "whole" else dataset.size
    if size and any(side % factor for side in size):
        raise ConfigError(
            f"{source.path}: {point['dataset']} reaches the network {point['network']} as "
            f"{' x '.join(map(str, size))}, which must be multiples of {factor}. Change `size` or `patch`"
        )


def _validation(key: str, dataset: DatasetSection, training: Training, source: Source) -> None:
    """Refuse validation cases that nothing looks at, and a look at validation cases that are not there."""
    if dataset.split.kind == "file":
        return
    share, loc = dataset.split.fractions[1], ("datasets", key, "split", "fractions")
    if share and not training.validates:
        _refuse(
            source,
            loc,
            "`selection: last` without `stop_early` or `schedule: plateau` uses no validation cases. "
            "Make the second share 0, or set `training.selection: best_validation`",
        )
    if training.validates and not share:
        _refuse(
            source,
            loc,
            "training looks at validation cases (`selection`, `stop_early` or `schedule`), and there are none. "
            "Give them a share, for example [0.64, 0.16, 0.2]",
        )


def _evaluation(evaluation: Evaluation, source: Source) -> None:
    """Refuse metrics that are not measured."""
    for metric, key in (("auc", "auc"), ("hd95", "distances"), ("assd", "distances")):
        if metric in evaluation.metrics and not getattr(evaluation, key):
            _refuse(source, ("evaluation", "metrics"), f"`{metric}` needs `evaluation.{key}: true`")
    if evaluation.aggregation == "keras_batch" and evaluation.grid == "original":
        _refuse(
            source, ("evaluation", "aggregation"), "batches need cases of one size: `keras_batch` with `grid: network`"
        )


def _supervision(training: Training, source: Source) -> None:
    """Check the loss of the finest output."""
    if training.supervision.final is not None:
        _known(training.supervision.final, catalogue.losses(), ("training", "supervision", "final"), source)


def check_division(key: str, division: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse a split without the validation cases that training looks at: files can make one, and very few cases."""
    if not Training.model_validate(settings["training"]).validates or division["validation"]:
        return
    if settings["dataset"]["split"]["kind"] == "file":
        raise datasets.DataError(f"{key}: the split file names no validation case, and training needs some. Add them.")
    raise datasets.DataError(
        f"{key}: of {sum(map(len, division.values()))} cases none is left for validation, and training needs some. "
        "Give more cases, or change `split.fractions`."
    )
