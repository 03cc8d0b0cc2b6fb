from importlib.resources import files

import pytest

from rareseg.experiments.choices import MARK, choices, remarks

TEXT = """\
# a heading, chosen with care
seeds: [0]          # chosen
datasets:
  drive:
    size: null      # patches are cut at the original size
    split: {seed: 0}   # 80:20 stated; seed chosen
  isic2018:
    size: [192, 256]   # related code
training:
  epochs: 50
profiles:
  cpu:
    training: {epochs: 3}   # chosen
"""


def test_comments_that_say_so_are_choices():
    assert choices(TEXT) == [
        ("seeds: [0]", "chosen"),
        ("datasets.drive.split: {seed: 0}", "80:20 stated; seed chosen"),
        ("datasets.isic2018.size: [192, 256]", "related code"),
    ]


def test_every_choice_of_table_3_is_found():
    found = dict(choices(files("rareseg.configs").joinpath("table3.yaml").read_text(encoding="utf-8")))
    assert found["training.selection: last"] == "chosen: there is no validation set"
    assert any(key.startswith("losses.combo") for key in found)


OPEN = [  # table, keys of which the paper says nothing
    (
        "table4",
        ["datasets.isic2018.size", "losses.focal_tversky", "training.selection", "overrides.training.optimiser"],
    ),
    ("ufl_table2", ["report.gamma_selection", "evaluation.aggregation", "pipeline.outside", "pipeline.fill"]),
]


@pytest.mark.parametrize(("table", "keys"), OPEN)
def test_what_the_paper_leaves_open_is_found_whoever_filled_it_in(table, keys):
    found = choices(files("rareseg.configs").joinpath(f"{table}.yaml").read_text(encoding="utf-8"))
    assert set(keys) <= {key.split(":")[0] for key, _ in found}


REMARKED = sorted(file.name for file in files("rareseg.configs").iterdir() if file.name.startswith(("table", "ufl_")))


@pytest.mark.parametrize("file", REMARKED)
def test_every_remark_says_whether_the_paper_states_it(file):
    found = remarks(files("rareseg.configs").joinpath(file).read_text(encoding="utf-8"))
    assert [one for one in found if not MARK.search(one[1]) and "stated" not in one[1]] == []
