from importlib.resources import files

from rareseg.experiments.choices import choices

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
