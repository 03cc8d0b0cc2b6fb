import dataclasses

import pytest

from rareseg.pipeline import Settings
from rareseg.pipeline.settings import PatchDraw

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
    pytest.param({"patch": [8, 8], "patches": {}}, "patches.count must be a whole number", id="draw without count"),
    pytest.param(
        {"patch": [8, 8], "patches": {"count": 5, "inside_fov": 1.1}}, r"\[0, 1\], got 1.1", id="share over 1"
    ),
    pytest.param({"patch": [8, 8], "patches": {"count": 5, "split_by": "x"}}, "image, patch, got 'x'", id="split by x"),
]


@pytest.mark.parametrize(("config", "sentence"), REFUSED)
def test_what_cannot_be_meant_is_refused_by_name(config, sentence):
    with pytest.raises(ValueError, match=sentence):
        Settings.of(config)


def test_settings_survive_the_way_through_plain_data():
    settings = Settings.of({"size": [4, 6], "patch": [2, 2], "patches": {"count": 3, "split_by": "patch"}})
    assert Settings.of(dataclasses.asdict(settings)) == settings
    assert settings.size == (4, 6)
    assert settings.patches == PatchDraw(3, inside_fov=0.95, split_by="patch")
    assert Settings.of(settings) is settings
