"""Every key says what it means, and the editors' schema agrees with what is accepted."""

import json
from pathlib import Path

import pytest
import yaml

from rareseg.experiments import explain, sections
from rareseg.experiments.config import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"


def explained(key="", table="table3", profile="paper", settings=()):
    return list(explain.explain(CONFIGS / f"{table}.yaml", profile, list(settings), key))


@pytest.mark.parametrize("name", [name for name, one in vars(sections).items() if hasattr(one, "model_fields")])
def test_every_key_has_a_meaning(name):
    for key, field in getattr(sections, name).model_fields.items():
        assert key == "root" or field.description, f"{name}.{key}"


EXPLAINED = [  # key, profile, changes, what the two lines must hold
    ("training.monitor", "paper", [], ["what `selection`", 'default "val_loss"; here "val_loss", from default']),
    ("training.epochs", "paper", [], ["passes over the training cases", "default 50; here 50, from table3.yaml:"]),
    ("training.monitor", "paper", ["training.monitor=val_loss"], ['here "val_loss", from --set training.monitor']),
    ("training.epochs", "cpu", [], ["default 50; here 70, from table3.yaml:"]),
    ("training.epochs", "cpu", ["training.epochs=3"], ["here 3, from --set training.epochs"]),
    ("losses.tversky.delta", "paper", [], ["argument of tversky: [0, 1]", "here 0.7, from table3.yaml:"]),
    ("datasets.drive.split.kind", "cpu", [], ['default "random"; here "official", from table3.yaml:']),
    ("pipeline.patch", "paper", [], ["pixels per axis of a window", "default null; here null, from default"]),
    ("pipeline.augment.p", "paper", [], ["probability of each", "default 0.15; here null, from table3.yaml:"]),
    ("training.stop_early", "paper", [], ["end when", "training.stop_early.patience: epochs", "default 20; here null"]),
    ("datasets.drive.phantom.cases", "paper", [], ["default none: it must be given; here null, from default"]),
]


@pytest.mark.parametrize(("key", "profile", "settings", "expected"), EXPLAINED)
def test_a_key_is_explained_with_default_value_and_origin(key, profile, settings, expected):
    text = "\n".join(explained(key, profile=profile, settings=settings))
    assert text.startswith(f"{key}: ")
    assert all(part in text for part in expected), text


def test_sections_without_keys_of_their_own_are_explained_whole():
    meaning, values = explained("sweep", table="ufl_table2")
    assert meaning.startswith("sweep: loss of the grid -> argument -> values")
    assert '"unified_focal_symmetric": [{"gamma": [0.1, 0.2,' in values
    assert values.endswith(", from ufl_table2.yaml:12")


def test_all_keys_are_explained_and_a_section_explains_its_own():
    names = [line.split(": ")[0] for line in explained() if not line.startswith(" ")]
    assert len(names) == len(set(names)) > 100
    assert {"table", "grid", "training.optimiser.decay", "datasets.isic2018.clip", "networks.unet.depth"} <= set(names)
    part = [line.split(": ")[0] for line in explained("training") if not line.startswith(" ")]
    assert part == [name for name in names if name.startswith("training.")]


def test_an_unknown_key_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"--explain training.epoks: unknown key; did you mean `training.epochs`"):
        explained("training.epoks")


def test_the_schema_is_current():
    stored = (CONFIGS / "schema.json").read_text(encoding="utf-8")
    assert stored == explain.schema(), "run: uv run scripts/update_catalogue.py"


def refused(value, node, schema, path=()):
    """Yield the keys of plain data that the schema does not know."""
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    if "anyOf" in node:
        found = [list(refused(value, one, schema, path)) for one in node["anyOf"]]
        yield from min(found, key=len)
    elif isinstance(value, dict) and "properties" in node:
        for key, inner in value.items():
            if key in node["properties"]:
                yield from refused(inner, node["properties"][key], schema, (*path, key))
            else:
                yield ".".join((*path, key))
    elif isinstance(value, dict) and isinstance(node.get("additionalProperties"), dict):
        for key, inner in value.items():
            yield from refused(inner, node["additionalProperties"], schema, (*path, str(key)))
    elif isinstance(value, list) and "items" in node:
        for inner in value:
            yield from refused(inner, node["items"], schema, path)
    elif node.get("type") == ("object" if not isinstance(value, dict) else "array"):
        yield ".".join(path)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_schema_knows_every_key_of_the_configurations(path):
    schema = json.loads(explain.schema())
    assert list(refused(yaml.safe_load(path.read_text(encoding="utf-8")), schema, schema)) == []


def test_the_schema_knows_no_misspelt_key():
    schema = json.loads(explain.schema())
    wrong = {"grid": {"datset": []}, "training": {"epoks": 3}, "losses": {"dice": {"smoth": 1}}}
    wrong["profiles"] = {"demo": {"training": {"optimizer": {}}}}
    expected = ["grid.datset", "training.epoks", "losses.dice.smoth", "profiles.demo.training.optimizer"]
    assert list(refused(wrong, schema, schema)) == expected
