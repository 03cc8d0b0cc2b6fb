import pytest

from rareseg.experiments._yaml import MOST_ALIASES, MOST_BYTES, ConfigError, parse, read

SCALARS = [
    ("1e-3", 0.001),
    ("no", "no"),
    ("true", True),
    ("010", 10),
    ("12:30:45", "12:30:45"),
    ("-.5", -0.5),
    ("~", None),
    ("2026-01-01", "2026-01-01"),
    ("nan", "nan"),
    ("'1'", "1"),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_scalars_are_those_of_yaml_1_2(text, value):
    assert parse(f"key: {text}", "f.yaml")[0] == {"key": value}


REFUSED = [
    pytest.param("a: 1\nb: 2\na: 3", r"f\.yaml:3: `a` stands twice, first on line 1", id="key twice"),
    pytest.param("a:\n  b: 1\n  b: 2", r"f\.yaml:3: `b` stands twice", id="inner key twice"),
    pytest.param("[" * 20_000, r"f\.yaml:1: deeper than 50 levels", id="brackets"),
    pytest.param(
        "a: &x [1]\nb: [" + "*x, " * (MOST_ALIASES + 1) + "]", r"f\.yaml:2: more than 20 aliases", id="aliases"
    ),
    pytest.param("a: &x [*x]", r"an alias refers to itself", id="itself"),
    pytest.param("a: [1", r"f\.yaml:1: not YAML", id="open bracket"),
    pytest.param("a: !!python/object:os.system x", r"f\.yaml:1: expected plain data, found the tag tag:", id="object"),
    pytest.param("a: 1\nb: !!str 5", r"f\.yaml:2: .*found the tag tag:yaml\.org,2002:str\. Take it out", id="scalar"),
    pytest.param("a: 1\nb: !!set {x, y}", r"f\.yaml:2: .*found the tag tag:yaml\.org,2002:set", id="mapping"),
    pytest.param("a: 1\nb: !own [x]", r"f\.yaml:2: .*found the tag !own", id="own tag"),
    pytest.param("a: 1\n? [a, b]\n: 2", r"f\.yaml:2: expected a word as a key, found a sequence", id="list as key"),
    pytest.param("a: 1\n\tb: 2", r"f\.yaml:2: not YAML", id="tab"),
]


@pytest.mark.parametrize(("text", "sentence"), REFUSED)
def test_hostile_documents_are_refused_with_their_line(text, sentence):
    with pytest.raises(ConfigError, match=sentence):
        parse(text, "f.yaml")


def test_lines_of_keys_are_known():
    assert parse("a:\n  b: 1\nc: [1, 2]", "f.yaml")[1] == {
        ("a",): 1,
        ("a", "b"): 2,
        ("c",): 3,
        ("c", "0"): 3,
        ("c", "1"): 3,
    }


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"\xff\xfe", "cannot be read"), (b"a: 1\n" + b"#" * MOST_BYTES, "larger than")]
)
def test_files_that_cannot_be_configurations(tmp_path, content, sentence):
    path = tmp_path / "f.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=sentence):
        read(path)
