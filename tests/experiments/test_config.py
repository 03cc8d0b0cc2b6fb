from pathlib import Path

import pytest

from rareseg.experiments import config, grid
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
    ("training.schedule=cosin", "'none' or 'cosine', found 'cosin'"),
    ("grid.loss=[dise]", "unknown loss `dise`; did you mean `dice`?"),
    ("grid.loss=[]", "at least 1 item"),
    ("grid.network=[resnet]", "`resnet` does not stand under `networks`"),
    ("grid.dataset=[drvie]", "`drvie` does not stand under `datasets`; did you mean `drive`?"),
    ("datasets.msd={}", "--set datasets.msd: unknown data set"),
    ("datasets.drive.split.fractions=[0.5, 0, 0.2]", "three shares that add up to 1"),
    ("datasets.drive.split.fractions=[0.6, 0.2, 0.2]", "uses no validation cases"),
    ("datasets.drive.split.kind=rnd", "'random' or 'official', found 'rnd'"),
    ("datasets.isic2018.size=[100, 100]", "must be multiples of 16"),
    ("datasets.isic2018.channels=7", "less than or equal to 4, found 7"),
    ("losses.dice.smoth=1", "`dice` does not take `smoth`; did you mean `smooth`?"),
    ("losses.tversky.delta=1.2", "expected a number in [0, 1], found 1.2"),
    ("losses.tversky.delta=high", "expected a number in [0, 1], found 'high'"),
    ("losses.dice.pool=image", "expected one of sample, batch, found 'image'"),
    ("losses.dice.from_logits=true", "`from_logits` is set by the program"),
    ("losses.adaptive_log.base={name: dice, smooth: -1}", "expected a number in [0, inf), found -1"),
    ("losses.dicee={}", "unknown name `dicee`; did you mean `dice`?"),
    ("networks.unet={name: unet_al}", "unknown name `unet_al`; did you mean `unet_all`?"),
    ("networks.unet={name: unet_all, filtres: 8}", "`unet_all` does not take `filtres`; did you mean `filters`?"),
    ("networks.unet={name: unet_all, depth: 0}", "expected a number in [1, inf), found 0"),
    ("networks.unet={name: unet_all, filters: 2.5}", "expected a whole number, found 2.5"),
    ("networks.unet={name: unet_all, output: logits}", "`output` is set by the program"),
    ("networks.unet={name: attention_unet}", "`attention_unet` has several: add `deep_supervision: false`"),
    ("pipeline.backend=tf", "'native' or 'miscnn', found 'tf'"),
    ("pipeline.analysis=patches", "is needed with `analysis: patches`"),
    ("evaluation.metrics=[dise]", "found 'dise'"),
    ("evaluation.mask=inside", "'none' or 'fov', found 'inside'"),
    ("overrides=[{where: {dataset: drvie}}]", "`drvie` is not in the grid; did you mean `drive`?"),
    ("overrides=[{where: {dataset: drive}, training: {epoks: 3}}]", "unknown key; did you mean `epochs`?"),
    ("overrides=[{were: {dataset: drive}}]", "unknown key; did you mean `where`?"),
    ("training.epochs", "expected key.key=value"),
    ("training.epochs=[1", "--set training.epochs:1: not YAML"),
    ("seeds=[]", "at least 1 item"),
]


@pytest.mark.parametrize(("setting", "sentence"), MISTAKES, ids=[setting for setting, _ in MISTAKES])
def test_mistakes_on_the_command_line_are_named(setting, sentence):
    with pytest.raises(ConfigError) as caught:
        config.read(TABLE, "paper", [setting])
    assert sentence in str(caught.value)


EDITS = [  # text of the file, what it becomes, line that must be named, what the sentence must hold
    ("  epochs: 50", "  epoks: 50", "training.epoks: unknown key; did you mean `epochs`?"),
    ("      epochs: 100", "      epochz: 100", "training.epochz: unknown key; did you mean `epochs`?"),
    ("  demo:  ", "  demmo:  ", "profiles.demmo is unknown"),
    (
        "training: {steps: 2400, steps_per_epoch: 100}",
        "training: {step: 2400}",
        "training.step: unknown key; did you mean `steps`?",
    ),
    (
        "  focal: {alpha: 0.25, gamma: 2}",
        "  focal: {alpha: 0.25, gama: 2}",
        "`focal` does not take `gama`; did you mean `gamma`?",
    ),
]


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


@pytest.mark.parametrize("profile", config.PROFILES)
def test_every_configuration_has_all_profiles_and_its_runs(profile):
    for path in sorted(TABLE.parent.glob("*.yaml")):
        assert len(grid.points(config.read(path, profile))) == 36


def test_the_command_line_goes_before_every_override():
    points = grid.points(config.read(TABLE, "cpu", ["training.steps=7"]))
    assert {point.settings["training"]["steps"] for point in points} == {7}


def test_profiles_change_only_what_they_name():
    paper, cpu = (config.read(TABLE, profile) for profile in ("paper", "cpu"))
    assert paper.losses == cpu.losses
    assert cpu.training.batch_size == paper.training.batch_size == 16
    assert (paper.training.epochs, cpu.training.epochs) == (50, 100)
    drive = next(point.settings for point in grid.points(cpu) if point.dataset == "drive")
    assert (drive["training"]["steps"], drive["evaluation"]["mask"], drive["pipeline"]["patches"]["inside_fov"]) == (
        2400,
        "fov",
        0.95,
    )
