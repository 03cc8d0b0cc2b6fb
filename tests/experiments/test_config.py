import contextlib
import re
from pathlib import Path

import pytest

from rareseg.datasets import DataError
from rareseg.experiments import config, grid
from rareseg.experiments.checks import check_division
from rareseg.experiments.config import ConfigError

TABLE = Path(__file__).parents[2] / "configs" / "table3.yaml"

MISTAKES = [  # --set, what the sentence must hold
    ("training.epoks=3", "--set training.epoks: unknown key; did you mean `epochs`?"),
    ("trainin={}", "--set trainin: unknown key; did you mean `training`?"),
    ("training.epochs=0", "--set training.epochs: input should be greater than or equal to 1, found 0"),
    ("training.epochs=many", "--set training.epochs: input should be a valid integer"),
    ("training.batch_size=1.5", "--set training.batch_size: input should be a valid integer"),
    ("training.optimiser.name=adamw", "--set training.optimiser.name: input should be 'adam' or 'sgd', found 'adamw'"),
    ("training.optimiser.learning_rate=-1", "greater than 0, found -1"),
    ("training.optimiser.learning_rate=.nan", "finite number, found nan"),
    (
        "report={metric: dsc, network: unet, referenz: dice}",
        "--set report.referenz: unknown key; did you mean `reference`?",
    ),
    ("training.schedule=cosin", "'none', 'cosine' or 'plateau', found 'cosin'"),
    ("training.stop_early={patiense: 3}", "--set training.stop_early.patiense: unknown key; did you mean `patience`?"),
    ("training.monitor=val_dice", "'val_loss', 'val_dsc' or 'val_jaccard', found 'val_dice'"),
    ("training.selection=best_validation", "Give them a share, for example [0.64, 0.16, 0.2]"),
    ("training.schedule=plateau", "training looks at validation cases"),
    ("training.supervision={final: {name: tverski}}", "unknown name `tverski`; did you mean `tversky`?"),
    ("grid.loss=[dise]", "unknown loss `dise`; did you mean `dice`?"),
    ("grid.loss=[]", "at least 1 item"),
    ("grid.network=[resnet]", "`resnet` does not stand under `networks`"),
    ("grid=[{dataset: [drive], network: [unet], loss: [dise]}]", "unknown loss `dise`; did you mean `dice`?"),
    ("sweep={dise: {gamma: [0.1]}}", "`dise` is not in the grid; did you mean `dice`?"),
    ("sweep={adaptive_log: {gama: [0.1]}}", "`adaptive_log` does not take `gama`; did you mean `gamma`?"),
    ("sweep={adaptive_log: {gamma: [-1]}}", "sweep.adaptive_log.gamma: expected a number in [0, inf), found -1"),
    ("sweep={adaptive_log: {gamma: [0.1, 0.1]}}", "expected different values"),
    ("sweep={adaptive_log: {gamma: [0.1, 0.10000001]}}", "expected different values"),  # they are printed alike
    ("symbols={table1_rows: gamma}", "expected epsilon, omega and gamma once each"),
    ("grid.dataset=[drvie]", "`drvie` does not stand under `datasets`; did you mean `drive`?"),
    ("datasets.msd={}", "--set datasets.msd: unknown data set"),
    ("datasets={'../../x': {reader: folder}}", "datasets.../../x: expected a name of letters, digits"),
    ("networks={a/b: {name: unet_all}}", "networks.a/b: expected a name of letters, digits"),
    ("losses={/dice: {name: dice}}", "losses./dice: expected a name of letters, digits"),
    ("datasets.dsb2018.options={corection: drop_bad}", "does not take `corection`; did you mean `corrections`?"),
    ("datasets.dsb2018.options={corrections: x}", "options.corrections: input should be 'drop_bad', found 'x'"),
    ("datasets.drive.options={corrections: drop_bad}", "reader of drive does not take `corrections`. It takes none"),
    ("datasets.drive={reader: brats2020, options: {enhancing_label: 5}}", "input should be 3 or 4, found 5"),
    ("datasets.drive.split.fractions=[0.5, 0, 0.2]", "three shares that add up to 1"),
    ("datasets.drive.split.fractions=[0.6, 0.2, 0.2]", "uses no validation cases"),
    ("datasets.drive.split.fractions=[0, 0, 1]", "split.fractions: no case is left for training. Give it a share"),
    ("datasets.drive.split.fractions=[1, 0, 0]", "split.fractions: no case is left for test. Give it a share"),
    ("datasets.mine={reader: folder, phantom: {cases: 4, size: 32}}", "datasets.mine.phantom: there are no phantoms"),
    ("datasets.drive.split.kind=rnd", "'random', 'official', 'file' or 'folds', found 'rnd'"),
    ("datasets.drive.split.kind=file", "kind file needs `path`, or `development` and `test`"),
    ("datasets.drive.split={kind: folds, fold: 5}", "expected a fold below 5, found 5"),
    ("datasets.drive.size=[64]", "at least 2 items"),
    ("datasets.drive.reader=folders", "unknown reader `folders`; did you mean `folder`?"),
    ("datasets.drive.values={0: 0, 255: 1}", "is for `reader: folder` alone"),
    (
        "datasets.isic2018.size=[100, 100]",
        "--set datasets.isic2018.size: isic2018 reaches the network unet as 100 x 100",
    ),
    ("datasets.isic2018.size=[100, 100]", ", of which every side must be a multiple of 16"),
    ("datasets.isic2018.channels=7", "less than or equal to 4, found 7"),
    ("losses.dice.smoth=1", "`dice` does not take `smoth`; did you mean `smooth`?"),
    ("losses.tversky.delta=1.2", "expected a number in [0, 1], found 1.2"),
    ("losses.tversky.delta=high", "expected a number in [0, 1], found 'high'"),
    ("losses.dice.pool=image", "expected one of sample, batch, found 'image'"),
    ("losses.dice.include_background=no", "losses.dice.include_background: expected true or false, found 'no'"),
    ("losses.adaptive_log.base={name: dice, include_background: 1}", "expected true or false, found 1"),
    ("losses.adaptive_log.base={name: dice, pool: batch}", "`pool` of a base is that of the loss around it"),
    ("losses.adaptive_log.base=null", "losses.adaptive_log.base: expected a value such as 'dice', found none"),
    ("losses.adaptive_log.base=dise", "unknown name `dise`; did you mean `dice`?"),
    ("losses.dice.from_logits=true", "`from_logits` is set by the program"),
    ("losses.adaptive_log.base={name: dice, smooth: -1}", "expected a number in [0, inf), found -1"),
    ("losses.dicee={}", "unknown name `dicee`; did you mean `dice`?"),
    ("networks.unet={name: unet_al}", "unknown name `unet_al`; did you mean `unet_all`?"),
    ("networks.unet={name: unet_all, filtres: 8}", "`unet_all` does not take `filtres`; did you mean `filters`?"),
    ("networks.unet={name: unet_all, depth: 0}", "expected a number in [1, inf), found 0"),
    ("networks.unet={name: unet_all, filters: 2.5}", "expected a whole number, found 2.5"),
    ("networks.unet={name: unet_all, output: logits}", "`output` is set by the program"),
    ("pipeline.backend=tf", "'native' or 'miscnn', found 'tf'"),
    ("pipeline.analysis=patches", "is needed with `analysis: patches`"),
    ("pipeline.analysis=crop", "is needed with `analysis: crop`"),
    ("pipeline.augment={rotat: [-5, 5]}", "--set pipeline.augment.rotat: unknown key; did you mean `rotate`?"),
    ("pipeline={patch: [64, 64], overlap: [64, 64]}", "overlap [64, 64] must be smaller than patch [64, 64]"),
    ("datasets.drive.size=[64, 64, 64]", "volumes are counted on their own grid: expected `original`"),
    ("evaluation.metrics=[dise]", "found 'dise'"),
    ("evaluation.mask=inside", "'none' or 'fov', found 'inside'"),
    ("evaluation.metrics=[jaccard, jaccard]", "expected different values"),
    ("evaluation.metrics=[jaccard, dsc, f1]", "evaluation.metrics: `f1` is `dsc`; expected one of them"),
    ("evaluation={metrics: [jaccard, hd95]}", "evaluation.metrics: `hd95` needs `evaluation.distances: true`"),
    ("evaluation={metrics: [jaccard, hd95], distances: true, aggregation: pooled}", "`hd95` is no number of counts"),
    ("evaluation={metrics: [jaccard, auc], aggregation: keras_batch}", "`auc` is no number of counts, which `keras_b"),
    ("evaluation={aggregation: keras_batch, hec: true}", "expected `grid: network` and no `hec`"),
    ("evaluation={aggregation: keras_batch, grid: original}", "expected `grid: network` and no `hec`"),
    ("evaluation.parts=[validation]", "--set evaluation.parts: expected `test` among them"),
    ("evaluation.parts=[validation, test]", "evaluation looks at validation cases (`parts`), and there are none"),
    ("report.metric=dsc", "--set report.metric: `dsc` is not among the metrics of isic2018; known are recall"),
    ("report.network=unte", "--set report.network: `unte` is not in the grid; did you mean `unet`?"),
    ("report.reference=adaptve_log", "report.reference: `adaptve_log` is no row of the table; did you mean `adaptive_"),
    ("compare={rows: [network, loss], blocks: [dataset, metric, class]}", "`adaptive_log` is more than one row"),
    ("compare.rows=[los]", "input should be 'network', 'loss' or 'arguments', found 'los'"),
    ("compare.rows=[network]", "expected network under rows or under blocks, not under both"),
    ("compare.blocks=[dataset, network, metric]", "expected dataset, metric and class among the blocks"),
    ("compare.blocks=[dataset, metric, class]", "are called `jaccard`; expected columns that tell them apart. Add net"),
    ("sweep={focal: {gamma: [1, 2]}}", "Add arguments, or set `report.gamma_selection`"),
    ("overrides=[{where: {dataset: drvie}}]", "`drvie` is not in the grid; did you mean `drive`?"),
    ("overrides=[{where: {dataset: drive}, training: {epoks: 3}}]", "unknown key; did you mean `epochs`?"),
    ("overrides=[{were: {dataset: drive}}]", "unknown key; did you mean `where`?"),
    ("overrides=[{where: {network: unet}, evaluation: {mask: fov}}]", "expected no `network` under `where`"),
    ("overrides=[{where: {dataset: drive}, evaluation: {empty: one}}]", "holds for the whole table; expected nan"),
    ("overrides=[{where: {}, evaluation: {aggregation: pooled}}]", "holds for the whole table; expected case"),
    ("training.epochs", "expected key.key=value"),
    ("training.epochs=[1", "--set training.epochs:1: not YAML"),
    ("networks=3", "--set networks: input should be a valid dictionary, found 3"),
    ("losses=null", "--set losses: input should be a valid dictionary, found None"),
    ("overrides=3", "--set overrides: input should be a valid list, found 3"),
    ("training=3", "--set training: input should be a valid dictionary"),
    ("grid.network=3", "--set grid.network: input should be a valid list, found 3"),
    ("grid.loss=3", "--set grid.loss: input should be a valid list, found 3"),
    ("grid.network=[{a: 1}]", "--set grid.network.0: input should be a valid string, found {'a': 1}"),
    ("grid.network={? [a, b] : 1}", "--set grid.network:1: expected a word as a key, found a sequence"),
    ("training.epochs=!!int 1", "--set training.epochs:1: expected plain data, found the tag tag:yaml.org,2002:int."),
    ("seeds=[]", "at least 1 item"),
    ("seeds=[0, 0]", "--set seeds: value error, expected different values, found [0, 0]"),
    ("seeds=[-1]", "greater than or equal to 0, found -1"),
]


@pytest.mark.parametrize(("setting", "sentence"), MISTAKES, ids=[setting for setting, _ in MISTAKES])
def test_mistakes_on_the_command_line_are_named(setting, sentence):
    with pytest.raises(ConfigError) as caught:
        config.read(TABLE, "paper", [setting])
    assert sentence in str(caught.value)


SWEPT = [  # changes of a table that takes one point of each sweep, what the sentence must hold
    (["evaluation.parts=[test]"], "report.gamma_selection: `validation` needs the validation cases"),
    (["report.gamma_selection=0.55"], "the number of one point in the sweep of unified_focal_symmetric, found"),
    (["report.gamma_selection=0.5", "sweep.unified_focal_symmetric=[{gamma: [0.5, 0.6], delta: [0.5]}]"], "found 0.5;"),
    (["report.gamma_selection=null"], "compare.rows: several points of a block are called `unified_focal_symmetric`"),
    (["datasets.drive.split.fractions=[0.8, 0, 0.2]"], "training looks at validation cases"),
]


@pytest.mark.parametrize(("changes", "sentence"), SWEPT, ids=[" ".join(changes) for changes, _ in SWEPT])
def test_a_sweep_that_cannot_become_a_row_is_refused_before_training(changes, sentence):
    with pytest.raises(ConfigError) as caught:
        config.read(TABLE.with_name("ufl_table3.yaml"), "paper", changes)
    assert sentence in str(caught.value)


SYMBOLS = "symbols={table1_rows: gamma, table2: epsilon}"


@pytest.mark.parametrize("change", ["losses.adaptive_log.gamma=0", "sweep={adaptive_log: {gamma: [0, 1]}}"])
def test_arguments_are_checked_as_what_their_symbols_are(change):
    with pytest.raises(ConfigError, match=r"adaptive_log\.epsilon: expected a number in \(0, inf\), found 0"):
        config.read(TABLE, "paper", [SYMBOLS, "report.gamma_selection=best_test", change])


def test_losses_that_are_compared_over_batches_need_batches_of_one_size():
    changes = ["evaluation.aggregation=keras_batch", "overrides=[{where: {loss: dice}, training: {batch_size: 2}}]"]
    with pytest.raises(ConfigError, match="losses need batches of one size"):
        config.read(TABLE, "paper", changes)


LAST = "training={selection: last, schedule: none, stop_early: null}"
FILE = "datasets.drive.split={kind: file, path: split.csv}"
WITHOUT = [  # table, changes, part without cases, what the sentence must hold; None: they are not missed
    ("ufl_table3", [], "validation", "of 2 cases none is left for validation, and training needs some. Give more"),
    ("ufl_table3", [LAST], "validation", "none is left for validation, and `evaluation.parts` asks for them. Give mo"),
    ("ufl_table3", [LAST, FILE], "validation", "file names no validation case, and `evaluation.parts` asks for them."),
    ("ufl_table3", [FILE], "validation", "the split file names no validation case, and training needs some. Add them"),
    ("table3", [], "validation", None),
    ("table3", [], "test", "of 2 cases none is left for test, and the table is made of them. Give more"),
    ("ufl_table3", [FILE], "test", "the split file names no test case, and the table is made of them. Add them"),
]


@pytest.mark.parametrize(("table", "changes", "part", "sentence"), WITHOUT)
def test_a_split_without_cases_that_are_looked_at_is_refused(table, changes, part, sentence):
    settings = grid.points(config.read(TABLE.with_name(f"{table}.yaml"), "paper", changes))[0].settings
    division = {"train": ["a"], "validation": ["b"], "test": ["c"], part: []}
    with pytest.raises(DataError, match=re.escape(sentence)) if sentence else contextlib.nullcontext():
        check_division("drive", division, settings)


def test_the_validation_cases_that_choose_from_a_sweep_may_do_nothing_else():
    found = config.read(TABLE.with_name("ufl_table3.yaml"), "paper", [LAST])
    assert (found.training.validates, found.report.gamma_selection) == (False, "validation")


EDITS = [  # text of the file, what it becomes, line that must be named, what the sentence must hold
    ("  epochs: 50", "  epoks: 50", "training.epoks: unknown key; did you mean `epochs`?"),
    ("      epochs: 70", "      epochz: 70", "training.epochz: unknown key; did you mean `epochs`?"),
    ("  demo:  ", "  demmo:  ", "profiles.demmo is unknown"),
    (
        "training: {steps: 1600, steps_per_epoch: 100}",
        "training: {step: 1600}",
        "training.step: unknown key; did you mean `steps`?",
    ),
    (
        "  focal: {alpha: 0.25, gamma: 2}",
        "  focal: {alpha: 0.25, gama: 2}",
        "`focal` does not take `gama`; did you mean `gamma`?",
    ),
]


HEAD = "table: mine\ngrid: {dataset: [drive], network: [unet_demo], loss: [dice]}\ndatasets: {drive: {}}\n"
PROFILES = [  # line 4 of a file, what the sentence must hold
    ("profiles: [cpu]", "profiles: expected a mapping of profiles, found ['cpu']"),
    ("profiles: 3", "profiles: expected a mapping of profiles, found 3"),
    ("profiles: {1: {}}", "profiles.1 is unknown, known are paper, cpu, demo"),
    ("profiles: {cpu: [1]}", "profiles.cpu: expected a mapping of what differs, found [1]"),
    ("profiles: {cpu: {networks: [a]}}", "networks: input should be a valid dictionary, found ['a']"),
    ("profiles: {cpu: {losses: null}}", "losses: input should be a valid dictionary, found None"),
    ("profiles: {cpu: {overrides: null}}", "overrides: input should be a valid list, found None"),
    ("profiles: {cpu: {grid: {loss: 3}}}", "grid.loss: input should be a valid list, found 3"),
]


@pytest.mark.parametrize(("text", "sentence"), PROFILES, ids=[text for text, _ in PROFILES])
def test_profiles_of_a_wrong_kind_are_refused_with_their_line(tmp_path, text, sentence):
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        config.read(path)
    assert f"{path}:4: {sentence}" in str(caught.value)


BLAMED = [  # sections of two overrides, which of them is named, what the sentence must hold
    ("training: {batch_size: 0}", "training: {epochs: 5}", 0, "batch_size: input should be greater than or equal to 1"),
    ("training: {epochs: 5}", "training: {batch_size: 0}", 1, "batch_size: input should be greater than or equal to 1"),
    ("training: {batch_size: 0}", "training: {epochs: 5}", 0, ", found 0"),
    ("training: {optimiser: {nam: sgd}}", "training: {optimiser: {momentum: 0}}", 0, "did you mean `name`?"),
]


@pytest.mark.parametrize(("first", "second", "index", "sentence"), BLAMED)
def test_of_several_overrides_the_last_that_holds_the_key_is_named(tmp_path, first, second, index, sentence):
    path = tmp_path / "mine.yaml"
    overrides = "".join(f"- where: {{}}\n  {section}\n" for section in (first, second))
    path.write_text(f"{HEAD}overrides:\n{overrides}", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        config.read(path)
    assert f"{path}:{6 + 2 * index}: overrides.{index}.training" in str(caught.value)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(("old", "new", "sentence"), EDITS, ids=[new.strip() for _, new, _ in EDITS])
def test_mistakes_in_the_file_are_named_with_their_line_whatever_the_profile(tmp_path, old, new, sentence):
    text = TABLE.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path = tmp_path / "table3.yaml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    line = text[: text.index(old)].count("\n") + 1
    with pytest.raises(ConfigError) as caught:
        config.read(path, "paper")
    assert f"{path}:{line}: " in str(caught.value)
    assert sentence in str(caught.value)


RUNS = {  # the specification's table 2.3: runs of profile paper
    **{"table1": 24, "table2": 6, "table3": 36, "table4": 9},
    **{"ufl_table1": 0, "ufl_table2": 24, "ufl_table3": 24, "ufl_table4": 24, "ufl_table5": 8, "ufl_table6": 8},
    **{"ufl_supplement": 3 * 2 * 18, "example_folder": 15},
}


@pytest.mark.parametrize("table", RUNS)
def test_profile_paper_has_the_runs_of_the_paper_and_no_other_has_more(table):
    assert {path.stem for path in TABLE.parent.glob("*.yaml")} == set(RUNS)
    paper, *others = (config.read(TABLE.with_name(f"{table}.yaml"), profile) for profile in config.PROFILES)
    assert len(grid.points(paper)) == RUNS[table]
    assert "thinned" not in paper.title
    for other in others:
        assert set(config.cells(other)) <= set(config.cells(paper))
        assert ("thinned" in other.title) == (set(config.cells(other)) < set(config.cells(paper)))


STATED = [  # table, a value of every run in profile paper, as the papers and the authors' code state it
    ("table1", "training.batch_size", 16),
    ("table4", "training.monitor", "val_dsc"),
    ("table4", "dataset.split.fractions", [0.6375, 0.1125, 0.25]),
    ("ufl_table2", "training.optimiser", {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    ("ufl_table3", "training.plateau", {"factor": 0.1, "patience": 10, "min_delta": 1e-7, "cooldown": 1}),
    ("ufl_table4", "training.stop_early", {"patience": 20}),
    ("ufl_table5", "pipeline.patch", [96, 96, 96]),
    ("ufl_table5", "pipeline.overlap", [48, 48, 48]),
    ("ufl_table6", "dataset.clip", [-79, 304]),
    ("ufl_table6", "dataset.spacing", [3.22, 1.62, 1.62]),
    ("ufl_table6", "pipeline.augment", {"p": 0.15, "scale": [0.85, 1.25], "elastic_alpha": [0, 900], "gamma": None}),
]


@pytest.mark.parametrize(("table", "key", "expected"), STATED)
def test_profile_paper_is_what_is_stated(table, key, expected):
    for point in grid.points(config.read(TABLE.with_name(f"{table}.yaml"))):
        found = point.settings
        for part in key.split("."):
            found = found[part]
        assert found == expected if not isinstance(expected, dict) else expected.items() <= found.items()


def test_tables_share_the_runs_that_they_have_in_common():
    def identities(table):
        points = grid.points(config.read(TABLE.with_name(f"{table}.yaml")))
        return {point.cell: grid.identity(point, "data", "tensorflow") for point in points}

    common = {
        identities("table1")["isic2018", "focusnet", "adaptive_log", "epsilon=0.5;omega=10"],
        identities("table2")["isic2018", "focusnet", "adaptive_log", "gamma=0.1"],
        identities("table3")["isic2018", "focusnet", "adaptive_log", ""],
    }
    assert len(common) == 1
    swept = identities("ufl_supplement")
    for loss in ("unified_focal_symmetric", "unified_focal_asymmetric"):
        runs = {swept["drive", "unet", loss, one] for one in ("delta=0.6", "weight=0.5")}
        assert runs == {identities("ufl_table3")["drive", "unet", loss, "gamma=0.5"]}


def test_the_example_says_only_what_differs_from_the_defaults():
    found = config.read(TABLE.with_name("example_folder.yaml"))
    assert (found.table, found.report.network, found.report.reference) == (
        "example_folder",
        "unet_demo",
        "cross_entropy",
    )
    assert found.pipeline.validation_crops == "fixed"


def test_the_command_line_goes_before_every_override():
    points = grid.points(config.read(TABLE, "cpu", ["training.steps=7"]))
    assert {point.settings["training"]["steps"] for point in points} == {7}


COMBO = {"alpha": 0.5, "beta": 0.5, "pool": "batch", "include_background": False, "smooth": 0.5}
BASE = {"name": "dice", "include_background": False, "smooth": 0.5}
CHANGED = [  # table, --set, section, entry, what it holds then
    ("table3", "losses.combo.alpha=0.3", "losses", "combo", {**COMBO, "alpha": 0.3}),
    ("table3", "losses={combo: {alpha: 0.3}}", "losses", "combo", {**COMBO, "alpha": 0.3}),
    ("table3", "losses.combo={name: dice}", "losses", "combo", {"name": "dice"}),
    ("table3", "losses.combo.name=dice", "losses", "combo", {"name": "dice"}),
    ("table3", "losses.adaptive_log.base.smooth=1", "losses", "adaptive_log.base", {**BASE, "smooth": 1}),
    ("table3", "losses.adaptive_log.base={name: jaccard}", "losses", "adaptive_log.base", {"name": "jaccard"}),
    ("table3", "networks.unet.filters=16", "networks", "unet", {"name": "unet_all", "filters": 16}),
    ("table3", "networks.unet={name: unet_ufl}", "networks", "unet", {"name": "unet_ufl"}),
    ("example_folder", "networks.unet_demo.filters=4", "networks", "unet_demo", {"name": "unet_demo", "filters": 4}),
]


@pytest.mark.parametrize(("table", "setting", "section", "entry", "expected"), CHANGED)
def test_the_command_line_changes_one_option_and_a_name_begins_anew(table, setting, section, entry, expected):
    found = getattr(config.read(TABLE.with_name(f"{table}.yaml"), "paper", [setting]), section)
    for key in entry.split("."):
        found = found[key]
    assert found == expected


def test_a_profile_replaces_whole_entries(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD + "losses: {dice: {smooth: 2}}\nprofiles: {cpu: {losses: {dice: {pool: batch}}}}\n")
    assert config.read(path, "cpu").losses == {"dice": {"pool": "batch"}}


THINNED = [("paper", ["grid.loss=[dice, adaptive_log]"], True), ("paper", ["training.epochs=3"], False)]


@pytest.mark.parametrize(("profile", "changes", "thinned"), THINNED)
def test_fewer_cells_than_the_file_has_are_told(profile, changes, thinned):
    assert ("thinned" in config.read(TABLE, profile, changes).title) is thinned


def test_profiles_change_only_what_they_name():
    paper, cpu = (config.read(TABLE, profile) for profile in ("paper", "cpu"))
    assert paper.losses == cpu.losses
    assert cpu.training.batch_size == paper.training.batch_size == 16
    assert (paper.training.epochs, cpu.training.epochs) == (50, 70)
    drive = next(point.settings for point in grid.points(cpu) if point.dataset == "drive")
    assert (drive["training"]["steps"], drive["evaluation"]["mask"], drive["pipeline"]["patches"]["inside_fov"]) == (
        1600,
        "fov",
        0.95,
    )
