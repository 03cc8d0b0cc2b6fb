import json
from dataclasses import dataclass, field

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rareseg.datasets import DataError, read_split, split, write_split


@dataclass(frozen=True)
class Item:
    id: str
    group: str
    part: str = ""
    info: dict = field(default_factory=dict)


def items(count, group=str, part=lambda _: ""):
    return [Item(f"{k:03d}", group(k), part(k)) for k in range(count)]


def sizes(parts):
    return [len(parts[name]) for name in ("train", "validation", "test")]


def ids(parts):
    return {name: [case.id for case in cases] for name, cases in parts.items()}


PUBLISHED = [  # cases and sizes of the papers' splits (80:20, and 80:20 twice)
    pytest.param(612, [0.64, 0.16, 0.2], [392, 98, 122], id="cvc_clinicdb"),
    pytest.param(163, [0.64, 0.16, 0.2], [104, 26, 33], id="bus2017"),
    pytest.param(342, [0.64, 0.16, 0.2], [219, 55, 68], id="brats2020"),
    pytest.param(204, [0.64, 0.16, 0.2], [130, 33, 41], id="kits19"),
    pytest.param(2594, [0.8, 0, 0.2], [2075, 0, 519], id="isic2018"),
    pytest.param(670, [0.8, 0, 0.2], [536, 0, 134], id="dsb2018"),
    pytest.param(10, [0.85, 0, 0.15], [8, 0, 2], id="half is rounded up"),
]


@pytest.mark.parametrize(("count", "fractions", "expected"), PUBLISHED)
def test_random_split_has_the_published_sizes(count, fractions, expected):
    assert sizes(split(items(count), {"fractions": fractions})) == expected


@settings(deadline=None)  # the machine may be busy
@given(
    groups=st.lists(st.integers(0, 12), min_size=20, max_size=60),
    seed=st.integers(0, 99),
    kind=st.sampled_from(["random", "folds"]),
)
def test_every_case_has_one_part_and_groups_stay_together(groups, seed, kind):
    cases = items(len(groups), group=lambda k: str(groups[k]))
    config = {"kind": kind, "fractions": [0.6, 0.2, 0.2], "group_by": "image", "seed": seed, "folds": 3}
    try:
        parts = split(cases, config)
    except DataError:  # large groups leave a part empty, which has a test of its own
        assume(False)
    assert sorted(case.id for part in parts.values() for case in part) == [case.id for case in cases]
    owners = [{case.group for case in part} for part in parts.values()]
    assert sum(map(len, owners)) == len(set.union(*owners))


@pytest.mark.parametrize("seed", range(10))
def test_groups_miss_the_wanted_size_by_half_a_group_at_most(seed):
    cases = items(100, group=lambda k: str(k // 10))
    assert sizes(split(cases, {"group_by": "image", "fractions": [0.6, 0.2, 0.2], "seed": seed})) == [60, 20, 20]
    uneven = items(100, group=lambda k: str(int(k**0.5)))  # groups of 1, 3, 5, ... 19
    parts = split(uneven, {"group_by": "image", "fractions": [0.5, 0, 0.5], "seed": seed})
    assert abs(len(parts["test"]) - 50) <= 19 / 2


def test_the_seed_alone_decides():
    cases = items(50)
    first = ids(split(cases, {"seed": 3}))
    assert first == ids(split(cases, {"seed": 3}))
    assert first != ids(split(cases, {"seed": 4}))
    assert first["train"] == sorted(first["train"])


def test_an_entry_of_info_may_group():
    cases = [Item(str(k), str(k), info={"site": k % 4}) for k in range(20)]
    parts = split(cases, {"group_by": "site", "fractions": [0.75, 0, 0.25]})
    assert len({case.info["site"] for case in parts["test"]}) == 1


@pytest.mark.parametrize("key", ["group_by", "stratify_by"])
@pytest.mark.parametrize(("info", "has"), [({"site": 1, "day": 2}, "site, day"), ({}, "none")])
def test_a_fact_that_a_case_lacks_is_refused(key, info, has):
    with pytest.raises(
        DataError, match=rf"split\.{key} must be .* fact of every case, got scanner; the facts of 0: {has}$"
    ):
        split([Item("0", "0", info=info)] * 9, {key: "scanner"})


@pytest.mark.parametrize("seed", range(10))
def test_stratified_parts_hold_every_stratum_in_proportion(seed):
    cases = [Item(f"{k:03d}", str(k // 2), info={"sort": "abc"[(k > 107) + (k > 131)]}) for k in range(136)]
    config = {"stratify_by": "sort", "group_by": "image", "fractions": [0.5, 0.25, 0.25], "seed": seed}
    parts = split(cases, config)
    assert sizes(parts) == [68, 34, 34]
    for part, share in zip(parts.values(), [0.5, 0.25, 0.25], strict=True):
        for stratum, count in (("a", 108), ("b", 24), ("c", 4)):
            held = sum(case.info["sort"] == stratum for case in part)
            assert abs(held - share * count) <= 2, (stratum, held)
    assert ids(parts) != ids(split(cases, {**config, "seed": seed + 1}))
    folds = [split(cases, {**config, "kind": "folds", "folds": 4, "fold": k})["test"] for k in range(4)]
    assert {sum(case.info["sort"] == "b" for case in fold) for fold in folds} == {6}


def test_official_halves_and_the_last_of_training_validate():
    cases = items(40, part=lambda k: "test" if k < 20 else "training")
    parts = ids(split(cases, {"kind": "official", "fractions": [0.64, 0.16, 0.2]}))
    assert parts["validation"] == ["036", "037", "038", "039"]
    assert parts["test"] == [f"{k:03d}" for k in range(20)]


def test_official_patches_of_one_image_validate_together():
    cases = items(60, group=lambda k: str(k // 6), part=lambda k: "test" if k < 30 else "training")
    parts = split(cases, {"kind": "official", "fractions": [0.64, 0.16, 0.2]})
    assert {case.group for case in parts["validation"]} == {"9"}
    assert len(parts["validation"]) == 6


def test_official_groups_validate_together_under_the_name_that_is_given():
    """Patients of two cases each, in turns: without `group_by` the last case of training would validate alone."""
    cases = [Item(str(k), str(k), "training" if k < 8 else "test", {"patient": k % 4 + k // 8 * 4}) for k in range(12)]
    config = {"kind": "official", "fractions": [0.6, 0.2, 0.2], "group_by": "patient"}
    parts = ids(split(cases, config))
    assert parts == {
        "train": ["0", "1", "2", "4", "5", "6"],
        "validation": ["3", "7"],
        "test": ["8", "9", "10", "11"],
    }
    with pytest.raises(DataError, match=r"split\.group_by must be none, .* got nonsense"):
        split(cases, {**config, "group_by": "nonsense"})


@pytest.mark.parametrize("other", ["validation", "test"])
def test_official_parts_that_tear_a_group_are_refused_where_it_was_asked_for(other):
    parts = ["training", "training", "validation", "test"]
    cases = [Item(str(k), str(k), part, {"patient": f"p{k}"}) for k, part in enumerate(parts)]
    torn = [*cases, Item("4", "4", other, {"patient": "p1"})]
    config = {"kind": "official", "group_by": "patient"}
    assert sizes(split(cases, config)) == [2, 1, 1]
    assert sum(sizes(split(torn, {**config, "group_by": "none"}))) == 5
    with pytest.raises(DataError, match=r"put groups of patient on several sides: 1 \(p1\)\. Leave out"):
        split(torn, config)


def test_an_official_validation_part_is_kept():
    cases = items(6, part=lambda k: ("training", "validation", "test")[k % 3])
    parts = split(cases, {"kind": "official", "fractions": [0.4, 0.4, 0.2]})
    assert ids(parts) == {"train": ["000", "003"], "validation": ["001", "004"], "test": ["002", "005"]}


def test_official_needs_both_halves():
    with pytest.raises(DataError, match=r"Set split\.kind to random"):
        split(items(20, part=lambda _: "training"), {"kind": "official"})


@pytest.mark.parametrize("part", ["", "training set"])
def test_official_needs_the_part_of_every_case(part):
    cases = items(9, part=lambda k: ("training", "test", part)[k % 3])
    with pytest.raises(DataError, match=r"it lacks for 3 \(002, 005, 008\)\. Fill `split` in their table, or list"):
        split(cases, {"kind": "official"})


def test_folds_test_every_case_once():
    cases = items(23)
    folds = [split(cases, {"kind": "folds", "folds": 5, "fold": k, "fractions": [0.75, 0.25, 0]}) for k in range(5)]
    tested = [case.id for parts in folds for case in parts["test"]]
    assert sorted(tested) == [case.id for case in cases]
    assert {len(parts["test"]) for parts in folds} == {4, 5}
    assert all(len(parts["validation"]) in (4, 5) for parts in folds)


REFUSED = [
    pytest.param({"kind": "odd"}, r"split\.kind must be one of random, official, file, folds", id="kind"),
    pytest.param({"fraction": [1]}, "unknown key fraction", id="key"),
    pytest.param({"fractions": [0.8, 0.2]}, r"split\.fractions must be", id="two fractions"),
    pytest.param({"fractions": [0.8, 0.1, 0.2]}, r"split\.fractions must be", id="sum"),
    pytest.param({"fractions": [0.0, 0.8, 0.2]}, r"split\.fractions must be", id="no training"),
    pytest.param({"fractions": [0.98, 0, 0.02]}, "the test part would be empty with 10 cases; change", id="empty"),
    pytest.param(
        {"kind": "folds", "folds": 10, "fractions": [0.98, 0.02, 0]},
        r"the validation part .*; change split\.folds, split\.fractions or",
        id="folds empty",
    ),
    pytest.param(
        {"kind": "official", "stratify_by": "x"}, r"split\.stratify_by has no effect with kind official", id="idle"
    ),
    pytest.param({"kind": "file", "group_by": "x"}, r"split\.group_by has no effect with kind file", id="idle too"),
    pytest.param({"kind": "folds", "folds": 11}, "fold 0 of 11 folds", id="folds"),
    pytest.param({"kind": "file"}, "kind file needs path", id="file"),
]


@pytest.mark.parametrize(("config", "sentence"), REFUSED)
def test_a_bad_configuration_is_refused(config, sentence):
    with pytest.raises(ValueError, match=sentence):
        split(items(10), config)


def test_a_split_survives_the_disk(tmp_path):
    cases = items(30, group=lambda k: f'a "{k // 3}", b')
    parts = split(cases, {"fractions": [0.6, 0.2, 0.2], "group_by": "image"})
    path = tmp_path / "deep" / "split.csv"
    write_split(path, parts)
    assert read_split(path) == ids(parts)
    assert ids(split(cases, {"kind": "file", "path": str(path)})) == ids(parts)
    assert [file.name for file in path.parent.iterdir()] == ["split.csv"]


BAD_FILES = [
    pytest.param("case,part\n000,train\n001,exam\n", "line 3: expected columns", id="part"),
    pytest.param("name,part\n000,train\n", "line 2: expected columns", id="column"),
    pytest.param("case,part\n\n000,train\n\n001,exam\n", "line 5: expected columns", id="blank lines"),
    pytest.param("case,part\n000,train\n000,test\n", r"more than once: 1 \(000\)", id="twice"),
    pytest.param("case,part\n000,train\n001,test\n", r"cases without a part: 1 \(002\)", id="missing"),
    pytest.param("case,part\n000,test\n001,test\n002,test\n", "the train part .*change the file that", id="no train"),
    pytest.param("case,part\n000,train\n9,test\n", r"not in the data set: 1 \(9\)", id="stranger"),
]


@pytest.mark.parametrize(("text", "sentence"), BAD_FILES)
def test_a_bad_split_file_is_refused_by_name(tmp_path, text, sentence):
    path = tmp_path / "split.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=sentence) as fault:
        split(items(3), {"kind": "file", "path": str(path)})
    assert str(path) in str(fault.value) or "the train part" in str(fault.value)


def test_a_split_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"split\.csv: cannot be read as a split \(no such file or directory\)\. Give"):
        read_split(tmp_path / "split.csv")
    (tmp_path / "split.csv").write_bytes(b"case,part\n\xff\xfe,train\n")
    with pytest.raises(DataError, match=r"split\.csv: cannot be read as a split"):
        read_split(tmp_path / "split.csv")


def test_miscnn_files_may_hold_ids(tmp_path):
    path, none = tmp_path / "list.json", tmp_path / "none.json"
    path.write_text(json.dumps({"TRAINING": ["001", "000"], "VALIDATION": ["002"]}))
    none.write_text(json.dumps({"TRAINING": [], "VALIDATION": ["003"]}))
    parts = split(items(4), {"kind": "file", "development": str(path), "test": str(none)})
    assert {part: sorted(found) for part, found in ids(parts).items()} == {
        "train": ["000", "001"],
        "validation": ["002"],
        "test": ["003"],
    }


def test_miscnn_files_count_positions(tmp_path):
    """CVC's names count from 1, the others from 0; the second file's VALIDATION is the test part."""
    for prefix, first in (("imgname", 1), ("img", 0)):
        named = [f"{prefix}{k + first:05d}" for k in range(4)]
        development, test = tmp_path / "sample_list.json", tmp_path / "testing.json"
        development.write_text(json.dumps({"TRAINING": named[:2], "VALIDATION": named[2:3]}))
        test.write_text(json.dumps({"TRAINING": [], "VALIDATION": named[3:]}))
        parts = split(items(4), {"kind": "file", "development": str(development), "test": str(test)})
        assert ids(parts) == {"train": ["000", "001"], "validation": ["002"], "test": ["003"]}


def test_positions_count_where_no_name_is_an_id(tmp_path):
    """A case that was removed since must not hand its place to another."""
    path, none = tmp_path / "list.json", tmp_path / "none.json"
    path.write_text(json.dumps({"TRAINING": ["x_0", "x_1"], "VALIDATION": ["x_5"]}))
    none.write_text(json.dumps({"TRAINING": [], "VALIDATION": []}))
    config = {"kind": "file", "development": str(path), "test": str(none)}
    with pytest.raises(DataError, match=r"not in the data set: 1 \(x_0\)"):
        split([Item("x_1", "1"), Item("x_5", "5")], config)


MISCNN_FAULTS = [  # what the second file tests, of two cases that the first trains on, the message without the files
    pytest.param(["000"], "cases listed more than once: 1 (000). Keep each once.", id="in both"),
    pytest.param(["9"], "cases that are not in the data set: 1 (9). Remove them.", id="stranger"),
]


@pytest.mark.parametrize(("tested", "sentence"), MISCNN_FAULTS)
def test_what_either_miscnn_file_may_have_done_names_both(tmp_path, tested, sentence):
    development, test = tmp_path / "list.json", tmp_path / "testing.json"
    development.write_text(json.dumps({"TRAINING": ["000", "001"], "VALIDATION": []}))
    test.write_text(json.dumps({"TRAINING": [], "VALIDATION": tested}))
    with pytest.raises(DataError) as fault:
        split(items(2), {"kind": "file", "development": str(development), "test": str(test)})
    assert str(fault.value) == f"{development} and {test}: {sentence}"


@pytest.mark.parametrize(("text", "reason"), [('{"TRAINING": []}', "one is missing"), ("{", "Expecting property name")])
def test_a_broken_miscnn_file_is_named(tmp_path, text, reason):
    path = tmp_path / "list.json"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"list\.json: expected MIScnn's lists TRAINING and VALIDATION \({reason}"):
        split(items(2), {"kind": "file", "development": str(path), "test": str(path)})
