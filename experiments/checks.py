"""What must hold between the keys of a configuration: names that exist, values that suit each other."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from pydantic import TypeAdapter, ValidationError

from rareseg import datasets
from rareseg.datasets.listing import by
from rareseg.evaluation.overlap import canonical
from rareseg.experiments import catalogue
from rareseg.experiments._yaml import ConfigError
from rareseg.experiments.cases import pipeline_settings
from rareseg.experiments.catalogue import nearest
from rareseg.experiments.place import Source
from rareseg.experiments.resolve import arguments_text, cells, network_at, renamed, sections_at, swept_at, triples
from rareseg.experiments.sections import Config, DatasetSection, Evaluation, Split, Training

NAME = re.compile(r"\w[\w.-]*")
PATCH = ("pipeline", "patch")
MEASURED = {"auc": "auc", "hd95": "distances", "assd": "distances"}
"""Metric that no counts hold -> key of `evaluation` that measures it."""


def check(config: Config, source: Source) -> None:
    """Check names against each other and the catalogue, then every point of the grid.

    Raises:
        ConfigError: One sentence with place, what was expected and the nearest valid name.
    """
    for part in (_names, _grid, _datasets, _losses_and_networks, _sweep, _overrides):
        part(config, source)
    for point in triples(config):
        _point(config, point, source)
    _report(config, source)


def _refuse(source: Source, loc: tuple[Any, ...], text: str) -> NoReturn:
    raise ConfigError(f"{source.place(loc)}: {text}")


def _names(config: Config, source: Source) -> None:
    """Refuse names that cannot be part of a path and of a run's id."""
    for kind in ("datasets", "networks", "losses"):
        for key in getattr(config, kind):
            if not NAME.fullmatch(key):
                _refuse(
                    source,
                    (kind, key),
                    "expected a name of letters, digits, `_`, `-` and `.`: files are named after it",
                )


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
        _options(key, section, source)
        if section.phantom and key not in catalogue.datasets():
            hint = nearest(key, catalogue.datasets())
            _refuse(source, ("datasets", key, "phantom"), f"there are no phantoms of {key}{hint}")
        _split(section.split, ("datasets", key, "split"), source)


def _split(split: Split, loc: tuple[str, ...], source: Source) -> None:
    """Refuse a split that no cases could make right; ``loc`` is where it stands."""
    train, _, test = split.fractions
    if abs(sum(split.fractions) - 1) > 1e-9 or min(split.fractions) < 0:
        _refuse(source, (*loc, "fractions"), "expected three shares that add up to 1")
    if not train or (split.kind == "random" and not test):
        part = "test" if train else "training"
        _refuse(source, (*loc, "fractions"), f"no case is left for {part}. Give it a share, for example [0.8, 0, 0.2]")
    if split.kind == "file" and not (split.path or (split.development and split.test)):
        _refuse(source, loc, "kind file needs `path`, or `development` and `test`")
    if split.fold >= split.folds:
        _refuse(source, (*loc, "fold"), f"expected a fold below {split.folds}, found {split.fold}")


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


def _options(key: str, section: DatasetSection, source: Source) -> None:
    """Refuse what the reader does not offer."""
    reader = section.reader or key
    offered = datasets.offered(reader)
    for name, value in section.options.items():
        loc = ("datasets", key, "options", name)
        if name not in offered:
            known = nearest(name, offered) if offered else ". It takes none"
            _refuse(source, loc, f"the reader of {reader} does not take `{name}`{known}")
        try:
            TypeAdapter(offered[name]).validate_python(value, strict=True)
        except ValidationError as error:
            expected = error.errors()[0]["msg"]
            _refuse(source, loc, f"{expected[0].lower()}{expected[1:]}, found {value!r}")


def _losses_and_networks(config: Config, source: Source) -> None:
    for kind, known in (("losses", catalogue.losses()), ("networks", catalogue.networks())):
        for key, options in getattr(config, kind).items():
            given = renamed(config, {"name": key, **options}) if kind == "losses" else options
            _known(given, known, (kind, key), source)


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
            if not values or len({f"{value:g}" for value in values}) < len(values):
                _refuse(source, ("sweep", loss, argument), "expected different values")
            for value in values:
                given = renamed(config, {"name": name, argument: value})
                _known(given, catalogue.losses(), ("sweep", loss), source)


def _overrides(config: Config, source: Source) -> None:
    plural = {"dataset": "datasets", "network": "networks", "loss": "losses"}
    for index, override in enumerate(config.overrides):
        for kind, names in override.where.items():
            for name in [names] if isinstance(names, str) else names:
                known = getattr(config.grid, kind)
                if name not in known and name not in getattr(config, plural[kind]):
                    loc = ("overrides", index, "where", kind)
                    _refuse(source, loc, f"`{name}` is not in the grid{nearest(name, known)}")
        _counted_alike(config, index, source)


def _counted_alike(config: Config, index: int, source: Source) -> None:
    """Refuse what a table would compare although it was not counted, or not averaged, in the same way."""
    override, loc, common = config.overrides[index], ("overrides", index, "evaluation"), config.evaluation
    if override.evaluation and (apart := [kind for kind in override.where if kind != "dataset"]):
        text = f"all runs of a data set are evaluated alike; expected no `{apart[0]}` under `where`"
        _refuse(source, loc, f"{text}. Take one of them out")
    for key in ("aggregation", "empty"):
        expected = getattr(common, key)
        if (value := override.evaluation.get(key, expected)) != expected:
            _refuse(source, (*loc, key), f"holds for the whole table; expected {expected}, found {value!r}")
    if common.aggregation == "keras_batch" and "loss" in override.where and "batch_size" in override.training:
        loc = ("overrides", index, "training", "batch_size")
        _refuse(source, loc, "with `aggregation: keras_batch` losses need batches of one size. Take it out")


def _point(config: Config, point: Mapping[str, str], source: Source) -> None:
    """Check the sections that hold for one point of the grid."""
    sections, dataset = sections_at(config, point, source), config.datasets[point["dataset"]]
    pipeline, training = sections["pipeline"], sections["training"]
    if pipeline.analysis != "whole" and pipeline.patch is None:
        _refuse(source, PATCH, f"is needed with `analysis: {pipeline.analysis}`, for example [48, 48]")
    if pipeline.analysis == "patches" and pipeline.patches is None:
        _refuse(source, ("pipeline", "patches"), "is needed with `analysis: patches`, for example {count: 200000}")
    _sides(config, point, dataset, pipeline, source)
    _evaluation(config, point, sections["evaluation"], source)
    _validation(point["dataset"], dataset, training, sections["evaluation"], source)
    volume = 3 in (len(pipeline.patch or ()), len(dataset.size or ())) or dataset.spacing is not None
    if volume and sections["evaluation"].grid == "network":
        _refuse(source, ("evaluation", "grid"), "volumes are counted on their own grid: expected `original`")
    _supervision(training, source)
    if training.batch_size % training.devices:
        text = f"{training.batch_size} samples cannot be shared evenly by {training.devices} devices; use a multiple"
        _refuse(source, ("training", "batch_size"), text)
    plain = {name: section.model_dump(mode="json") for name, section in sections.items()}
    plain |= {"dataset": dataset.model_dump(mode="json"), "network": network_at(config, point["network"])}
    try:
        pipeline_settings(plain)
    except ValueError as error:
        _refuse(source, ("pipeline",), f"{point['dataset']}: {error}")


def _sides(config: Config, point: Mapping[str, str], dataset: DatasetSection, pipeline: Any, source: Source) -> None:
    """Refuse a size or a patch that the network cannot halve as often as it must."""
    factor = catalogue.size_factor(config.networks[point["network"]])
    whole = pipeline.analysis == "whole"
    size, loc = (dataset.size, ("datasets", point["dataset"], "size")) if whole else (pipeline.patch, PATCH)
    if size and any(side % factor for side in size):
        text = f"{point['dataset']} reaches the network {point['network']} as {by(size)}"
        _refuse(source, loc, f"{text}, of which every side must be a multiple of {factor}")


def _validation(key: str, dataset: DatasetSection, training: Training, evaluation: Evaluation, source: Source) -> None:
    """Refuse validation cases that nothing looks at, and a look at validation cases that are not there."""
    if dataset.split.kind == "file":
        return
    share, loc = dataset.split.fractions[1], ("datasets", key, "split", "fractions")
    looks = "validation" in evaluation.parts or training.validates
    if share and not looks:
        _refuse(
            source,
            loc,
            "`selection: last` without `stop_early` or `schedule: plateau` uses no validation cases. "
            "Make the second share 0, or set `training.selection: best_validation`",
        )
    if looks and not share:
        who = "training" if training.validates else "evaluation"
        keys = "`selection`, `stop_early` or `schedule`" if training.validates else "`parts`"
        _refuse(
            source,
            loc,
            f"{who} looks at validation cases ({keys}), and there are none. "
            "Give them a share, for example [0.64, 0.16, 0.2]",
        )


def _evaluation(config: Config, point: Mapping[str, str], evaluation: Evaluation, source: Source) -> None:
    """Refuse metrics that are not measured, or not in this way, and a table without its cases."""
    for metric in evaluation.metrics:
        if (key := MEASURED.get(metric)) and not getattr(evaluation, key):
            _refuse(source, ("evaluation", "metrics"), f"`{metric}` needs `evaluation.{key}: true`")
        if metric in MEASURED and evaluation.aggregation != "case":
            text = f"`{metric}` is no number of counts, which `{evaluation.aggregation}` takes; expected `case`"
            _refuse(source, ("evaluation", "aggregation"), text)
    names = list(map(canonical, evaluation.metrics))
    if len(set(names)) < len(names):
        _refuse(source, ("evaluation", "metrics"), "`f1` is `dsc`; expected one of them")
    if evaluation.aggregation == "keras_batch" and (evaluation.grid == "original" or evaluation.hec):
        text = "`keras_batch` counts classes one by one, in batches of one size: expected `grid: network` and no `hec`"
        _refuse(source, ("evaluation", "aggregation"), text)
    if "test" not in evaluation.parts:
        _refuse(source, ("evaluation", "parts"), "expected `test` among them: a table is made of test cases")
    leading = config.report.metric
    if canonical(leading) not in names:
        text = f"`{leading}` is not among the metrics of {point['dataset']}{nearest(leading, evaluation.metrics)}"
        _refuse(source, ("report", "metric"), text)
    selected = config.report.gamma_selection == "validation" and point["loss"] in config.sweep
    if selected and "validation" not in evaluation.parts:
        text = "`validation` needs the validation cases: expected `evaluation.parts: [validation, test]`"
        _refuse(source, ("report", "gamma_selection"), text)


def _report(config: Config, source: Source) -> None:
    """Check what leads the report: it must be in the table, and rows must be told apart."""
    if not (points := cells(config)):
        return
    networks, chosen = config.grid.network, config.report.gamma_selection
    if len(networks) > 1 and config.report.network not in networks:
        text = f"`{config.report.network}` is not in the grid{nearest(config.report.network, networks)}"
        _refuse(source, ("report", "network"), text)
    if isinstance(chosen, float):
        _number(config, chosen, source)
    # Which point of a sweep becomes the row is not known here: all of them have its name.
    rows = _rows(config, points if chosen is None else {point[:3]: point for point in points}.values())
    for names in rows.values():
        if twice := [name for name in names if names.count(name) > 1]:
            known = (*config.compare.rows, *config.compare.blocks)
            others = " or ".join(name for name in ("network", "loss", "arguments") if name not in known)
            hint = ", or set `report.gamma_selection`" if chosen is None and config.sweep else ""
            text = f"several points of a block are called `{twice[0]}`; expected columns that tell them apart"
            _refuse(source, ("compare", "rows"), f"{text}. Add {others}{hint}")
    _reference(config, list(_rows(config, points).values()), source)


def _number(config: Config, chosen: float, source: Source) -> None:
    """Refuse a number that does not single out one point of every sweep."""
    for loss in config.grid.loss:
        swept = swept_at(config, loss)
        if len(swept) > 1 and sum(chosen in point.values() for point in swept) != 1:
            known = nearest(f"{chosen:g}", [arguments_text(point) for point in swept])
            text = f"expected the number of one point in the sweep of {loss}, found {chosen:g}{known}"
            _refuse(source, ("report", "gamma_selection"), text)


def _rows(config: Config, points: Iterable[Sequence[str]]) -> dict[tuple[str, ...], list[str]]:
    """Return the names of the rows of each block, as far as its metric and class do not matter."""
    found: dict[tuple[str, ...], list[str]] = {}
    for point in points:
        named = dict(zip(("dataset", "network", "loss", "arguments"), point, strict=True))
        block = tuple(named[name] for name in config.compare.blocks if name in named)
        found.setdefault(block, []).append("/".join(named[name] for name in config.compare.rows))
    return found


def _reference(config: Config, blocks: Sequence[Sequence[str]], source: Source) -> None:
    """Refuse a reference that no block of several rows has, or that all of them have several times."""
    compared = [list(dict.fromkeys(names)) for names in blocks if len(set(names)) > 1]
    reference = config.report.reference
    counts = [sum(reference in (name, *name.split("/")) for name in names) for names in compared]
    if compared and 1 not in counts:
        known = nearest(reference, dict.fromkeys(name for names in compared for name in names))
        text = f"`{reference}` is {'more than one row' if any(counts) else 'no row'} of the table{known}"
        _refuse(source, ("report", "reference"), text)


def _supervision(training: Training, source: Source) -> None:
    """Check the loss of the finest output."""
    if training.supervision.final is not None:
        _known(training.supervision.final, catalogue.losses(), ("training", "supervision", "final"), source)


def check_division(key: str, division: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse a split without cases of test or validation that are looked at: files can make one, and very few cases."""
    looks = {"test": "the table is made of them"}
    if "validation" in settings["evaluation"]["parts"]:
        looks["validation"] = "`evaluation.parts` asks for them"
    if Training.model_validate(settings["training"]).validates:
        looks["validation"] = "training needs some"
    for part, who in looks.items():
        if division[part]:
            continue
        if settings["dataset"]["split"]["kind"] == "file":
            raise datasets.DataError(f"{key}: the split file names no {part} case, and {who}. Add them.")
        raise datasets.DataError(
            f"{key}: of {sum(map(len, division.values()))} cases none is left for {part}, and {who}. "
            "Give more cases, or change `split.fractions`."
        )
