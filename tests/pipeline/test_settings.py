import dataclasses
from typing import get_args

import pytest

from rareseg.experiments import sections
from rareseg.pipeline import Settings
from rareseg.pipeline.settings import CHOICES, Augment, PatchDraw

REFUSED = [  # settings, sentence
    pytest.param({"scalling": "unit"}, r"no setting 'scalling'; did you mean 'scaling'", id="unknown key"),
    pytest.param({"patch": [8, 8], "patches": {"cuont": 5}}, "'cuont'; did you mean 'count'", id="unknown inner key"),
    pytest.param({"scaling": "zcore"}, "scaling must be one of unit, zscore, .*got 'zcore'", id="unknown choice"),
    pytest.param({"batch_size": 0}, "batch_size must be a whole number from 1 on, got 0", id="no batch"),
    pytest.param({"batch_size": None}, "batch_size must be a whole number", id="batch missing"),
    pytest.param(
        {"steps_per_epoch": 1.5}, "steps_per_epoch must be a whole number from 1 on, got 1.5", id="half a step"
    ),
    pytest.param({"size": 64}, "size must be a list of pixels per axis, got 64", id="one number as size"),
    pytest.param({"size": [64, "x"]}, "size must be a whole number from 1 on, got 'x'", id="text as length"),
    pytest.param({"analysis": "patches"}, "patch is missing", id="patches without a patch"),
    pytest.param({"overlap": [4, 4]}, "patch is missing", id="overlap without a patch"),
    pytest.param({"patch": [8, 8], "overlap": [8, 4]}, "must be smaller than patch", id="overlap too large"),
    pytest.param({"patch": [8, 8], "overlap": [4]}, "must be smaller than patch", id="overlap of other dimension"),
    pytest.param({"patch": [8, 12], "size_factor": 8}, "multiples of 8", id="patch against the network"),
    pytest.param({"patch": [8, 8], "patches": 5}, "patches must be a mapping of .*, got 5", id="draw as a number"),
    pytest.param({"patch": [8, 8], "patches": {}}, "patches.count must be a whole number", id="draw without count"),
    pytest.param(
        {"patch": [8, 8], "patches": {"count": 5, "inside_fov": 1.1}}, r"\[0, 1\], got 1.1", id="share over 1"
    ),
    pytest.param({"patch": [8, 8], "patches": {"count": 5, "split_by": "x"}}, "image, patch, got 'x'", id="split by x"),
    pytest.param({"analysis": "crop"}, "patch is missing", id="crop without a patch"),
    pytest.param({"foreground": 2}, r"foreground must lie in \[0, 1\], got 2", id="foreground over 1"),
    pytest.param({"clip": [304, -79]}, r"clip must have the least number first, got \[304, -79\]", id="clip reversed"),
    pytest.param({"clip": [1, 1]}, "clip must leave a range", id="clip to a point"),
    pytest.param({"clip": 3}, "clip must be a list of two numbers", id="clip of one number"),
    pytest.param({"clip": [0, float("nan")]}, "clip must be a number, got nan", id="clip to nan"),
    pytest.param({"spacing": [1, 0, 1]}, "spacing must be a number above 0, got 0", id="no spacing"),
    pytest.param({"spacing": 2}, "spacing must be a list of millimetres per axis, got 2", id="one spacing"),
    pytest.param({"spacing": [1, 1], "size": [8, 8]}, "size and spacing both", id="two sizes"),
    pytest.param({"outside": "black"}, "unlabelled, background, reflect, got 'black'", id="outside"),
    pytest.param({"augment": {"rotation": [0, 5]}}, "augment has no setting 'rotation'; did you mean", id="rotation"),
    pytest.param({"augment": True}, "augment must be a mapping of its settings, or null", id="augment as a switch"),
    pytest.param({"augment": {"p": -1}}, r"augment.p must lie in \[0, 1\], got -1", id="chance below 0"),
    pytest.param(
        {"augment": {"scale": [0, 1]}}, "augment.scale must be a number above 0, got 0", id="scale to nothing"
    ),
    pytest.param({"augment": {"noise": [-1, 1]}}, "augment.noise must be a number from 0 on, got -1", id="noise"),
    pytest.param({"augment": {"elastic_sigma": None}}, "augment.elastic_sigma must be a list of two", id="no sigma"),
    pytest.param({"augment": {"rotate": "15"}}, "augment.rotate must be a list of two numbers", id="text as range"),
    pytest.param({"augment": {"mirror_axes": [3]}}, "mirror_axes must hold axes 0 to 2, got 3", id="fourth axis"),
    pytest.param({"augment": {"mirror_axes": [0, 0]}}, "mirror_axes must hold each axis once", id="axis twice"),
    pytest.param({"augment": {"mirror_axes": [[0]]}}, r"mirror_axes must be a whole number .*got \[0\]", id="nested"),
    pytest.param({"augment": {"mirror_axes": 0}}, "mirror_axes must be a list of axes, got 0", id="axis as a number"),
    pytest.param({"mirror_tta": True}, "mirror_tta needs a network trained with mirroring", id="unseen flips"),
    pytest.param({"mirror_tta": 1}, "mirror_tta must be true or false, got 1", id="flips as a number"),
]


@pytest.mark.parametrize(("config", "sentence"), REFUSED)
def test_what_cannot_be_meant_is_refused_by_name(config, sentence):
    with pytest.raises(ValueError, match=sentence):
        Settings.of(config)


def test_settings_survive_the_way_through_plain_data():
    settings = Settings.of(
        {
            "size": [4, 6],
            "clip": [-79, 304],
            "patch": [2, 2],
            "patches": {"count": 3, "split_by": "patch"},
            "augment": {"scale": [0.9, 1.1], "rotate": None, "mirror_axes": [1]},
        }
    )
    assert Settings.of(dataclasses.asdict(settings)) == settings
    assert settings.size == (4, 6)
    assert settings.patches == PatchDraw(3, inside_fov=0.95, split_by="patch")
    assert Settings.of(settings) is settings
    assert settings.augment == Augment(scale=(0.9, 1.1), rotate=None, mirror_axes=(1,))
    assert settings.clip == (-79, 304)
    assert Settings.of({}).augment is None


def test_the_axes_that_may_be_flipped_follow_the_image():
    assert Augment().mirrored(2) == (0, 1)
    assert Augment().mirrored(3) == (0, 1, 2)
    assert Augment(mirror_axes=(1, 2)).mirrored(2) == (1,)
    assert Augment(mirror_axes=()).mirrored(3) == Augment(mirror_probability=0).mirrored(3) == ()


TWICE = [  # section of a configuration, settings: each says what it needs, and neither imports the other
    pytest.param(sections.Pipeline, Settings, id="pipeline"),
    pytest.param(sections.DatasetSection, Settings, id="dataset"),
    pytest.param(sections.Training, Settings, id="training"),
    pytest.param(sections.Augment, Augment, id="augment"),
    pytest.param(sections.Patches, PatchDraw, id="patches"),
]


@pytest.mark.parametrize(("section", "settings"), TWICE)
def test_keys_of_a_configuration_have_the_defaults_and_choices_of_settings(section, settings):
    fields = {field.name: field for field in dataclasses.fields(settings)}
    shared = fields.keys() & section.model_fields.keys()
    assert shared == fields.keys() or settings is Settings
    for key in shared:
        known, listed = fields[key], section.model_fields[key]
        assert known.default in (listed.default, dataclasses.MISSING), key
        assert key not in CHOICES or set(CHOICES[key]) == set(get_args(listed.annotation)), key


def test_every_setting_can_be_given_in_a_configuration():
    parts = (sections.Pipeline, sections.DatasetSection, sections.Training)
    known = {field.name for field in dataclasses.fields(Settings)}
    assert known - set().union(*(part.model_fields for part in parts)) == {"size_factor"}  # the network's
    assert sections.Pipeline.model_fields.keys() <= known
