"""docs/losses.md: complete, its code runs, its numbers hold. docs/loss_explorer.html: true in a browser."""

import ast
import html
import itertools
import json
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from rareseg import losses

tf = pytest.importorskip("tensorflow")

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "losses.md").read_text(encoding="utf-8")
EXPLORER = (DOCS / "loss_explorer.html").read_text(encoding="utf-8")
TITLES = re.split(r"^#{1,3} (.+)\n", PAGE, flags=re.MULTILINE)[1:]
SECTIONS = dict(zip(TITLES[::2], TITLES[1::2], strict=True))
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(params=losses.names())
def name(request):
    return request.param


@pytest.fixture(scope="module")
def namespace():
    """Return what the page's code leaves behind."""
    names = {}
    for block in CODE.findall(PAGE):
        exec(compile(block, "losses.md", "exec"), names)
    return names


def test_every_section_of_a_loss_is_complete(name):
    for part in ("```math", "**When.**", "**Special cases.**", "**Empty mask.**", "**Source.**"):
        assert part in SECTIONS[name], part


def test_every_argument_is_written_with_its_default(name):
    call = ast.parse(CODE.findall(SECTIONS[name])[0]).body[0].value
    assert ast.unparse(call.func) == "rareseg.losses.get"
    assert call.args[0].value == name
    written = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    assert written == {argument: known["default"] for argument, known in losses.signatures()[name].items()}


def test_every_argument_is_explained_with_its_range(name):
    text = SECTIONS[name] + SECTIONS["Arguments that many losses share"]
    explained = " ".join(line for line in text.splitlines() if line.startswith("- "))
    for argument, known in losses.signatures()[name].items():
        choices = " or ".join(f'"{choice}"' for choice in known["choices"] or ())
        limits = f" in {known['range']}" if known["range"] else f", {choices}" if choices else ""
        assert f"`{argument}`{limits}" in explained


def test_five_lines_are_enough():
    lines = [line for line in CODE.findall(PAGE)[0].splitlines() if line]
    assert len(lines) == 5
    assert lines[-1].startswith("model.compile(")


def test_the_code_runs(namespace):
    assert namespace["truth"].shape == (4, 64, 64, 3)
    namespace["more"].on_epoch_begin(4, {})
    assert float(namespace["loss"].weight) == pytest.approx(0.05)
    assert namespace["weights"] == pytest.approx([1 / 3, 2 / 3])
    assert len(namespace["network"].loss) == 2


EMPTY = {
    loss: [cell.strip() for cell in cells.split("|")]
    for loss, cells in re.findall(r"^\| `(\w+)` \|(.+)\|$", SECTIONS["Empty masks"], re.MULTILINE)
}


def test_what_an_empty_mask_scores(name, namespace):
    *cells, skipped = EMPTY[name]
    found = [namespace["empty_mask"](name, p) for p in (0, 0.001, 0.01, 0.5)]
    if "absent" in losses.signatures()[name]:
        found.append(namespace["empty_mask"](name, 0.01, absent="skip"))
        cells.append(skipped)
    else:
        assert not skipped
    for value, cell in zip(found, cells, strict=True):
        assert value == pytest.approx(float(cell), rel=5e-3, abs=2e-7 if cell == "0" else 0)
    paragraph = SECTIONS[name].split("**Empty mask.**")[1].split("\n\n")[0]
    assert f"{cells[2]} at 1%" in paragraph
    assert f"{cells[3]} at 50%" in paragraph


def test_links_lead_somewhere():
    anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in SECTIONS}
    for target in re.findall(r"\]\((?!https:)([^)]+)\)", PAGE):
        assert target[1:] in anchors if target.startswith("#") else (DOCS / target).is_file(), target


def test_the_pictures_are_small_and_all_shown():
    shown = set(re.findall(r"\((losses/\w+\.svg)\)", PAGE))
    assert shown == {f"losses/{path.name}" for path in (DOCS / "losses").iterdir()}
    for path in (DOCS / "losses").iterdir():
        assert path.stat().st_size < 60_000, path.name
        ElementTree.parse(path)


@pytest.mark.slow
def test_the_pictures_are_drawn_alike_twice(tmp_path):
    draw = runpy.run_path(str(DOCS.parent / "scripts" / "draw_losses.py"))["draw"]
    once, again = tmp_path / "once", tmp_path / "again"
    draw(once)
    draw(again)
    assert sorted(path.name for path in once.iterdir()) == sorted(path.name for path in (DOCS / "losses").iterdir())
    for path in once.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


def test_the_explorer_is_one_file():
    assert "default-src 'none'" in EXPLORER
    assert not re.findall(r"\b(?:src|href)=|@import|\burl\(", EXPLORER)
    assert set(re.findall(r"\w+://[\w./]+", EXPLORER)) == {"http://www.w3.org/2000/svg"}


SHARED = {"smooth": (0, 1e-6, 0.5, 10), "absent": ("keep", "skip"), "include_background": (True, False)}
ARGUMENTS = {  # what the explorer offers, and some values of each
    "cross_entropy": {"include_background": (True, False)},
    "focal": {"gamma": (0, 0.5, 2, 5), "alpha": (None, 0, 0.25, 0.9), "include_background": (True, False)},
    "dice": SHARED,
    "tversky": {"delta": (0, 0.3, 0.7, 1), **SHARED},
    "focal_tversky": {"gamma": (0, 0.5, 1, 2.5), "delta": (0.2, 0.7), **SHARED},
    "combo": {"alpha": (0, 0.5, 1), "beta": (0.1, 0.5, 0.9), **SHARED},
    "unified_focal": {
        "weight": (0, 0.5, 1),
        "delta": (0.2, 0.6, 0.9),
        "gamma": (0, 0.5, 0.9),
        "asymmetric": (True, False),
        **SHARED,
    },
    "adaptive_log": {"gamma": (0, 0.1, 0.4), "omega": (5, 10), "epsilon": (0.1, 0.5, 2)},
}


def draw_points(count, seed):
    """Return calls of ``evaluate``: loss, arguments, scenario; some arguments are left out, and some classes."""
    rng = np.random.default_rng(seed)

    def choose(arguments):
        chosen = {argument: values[rng.integers(len(values))] for argument, values in arguments.items()}
        return {argument: value for argument, value in chosen.items() if rng.random() < 0.8}

    for loss in itertools.islice(itertools.cycle(ARGUMENTS), count):
        arguments = choose(ARGUMENTS[loss])
        volumes = [(1, 0), (0, 1), (0, 40), (40, 0), *[(7, 50), (30, 30), (3, 200)] * 8][rng.integers(28)]
        scenario = dict(zip(("foreground", "background"), volumes, strict=True))
        scenario |= {"p_foreground": rng.uniform(0.01, 0.99), "p_background": rng.uniform(0.01, 0.99)}
        if loss == "adaptive_log":
            if rng.random() < 0.5:
                scenario = {"base": rng.uniform(0, 1)}
            else:
                arguments["base"] = {"name": "dice", **choose(SHARED)}
        yield loss, arguments, scenario


def expected(loss, arguments, scenario):
    """Return value and gradient of a scenario from the library."""
    if "base" in scenario:  # as the mean of 1 - p over one pixel, which can be any number
        arguments = {**arguments, "base": {"name": "generalised_cross_entropy", "q": 1}}
        value, gradient = on_image(loss, arguments, (1, 0), (1 - scenario["base"], 0.5))
        return {"value": value, "gradient": -gradient[0]}
    kinds = ("foreground", "background")
    volumes, probabilities = ([scenario[prefix + kind] for kind in kinds] for prefix in ("", "p_"))
    value, gradient = on_image(loss, arguments, volumes, probabilities)
    return {"value": value, "gradient": dict(zip(kinds, gradient, strict=True))}


def on_image(loss, arguments, volumes, probabilities):
    label = np.repeat([1, 0], volumes)[None]
    given = tf.constant(probabilities, "float64")
    with tf.GradientTape() as tape:
        tape.watch(given)
        logits = tf.repeat((tf.math.log(given) - tf.math.log1p(-given)) * [1, -1], volumes)
        value = losses.get(loss, from_logits=True, **arguments)(label, logits[None, :, None])
    gradient = tape.gradient(value, given, unconnected_gradients="zero")  # a power of 0 forgets its base
    return float(value), gradient.numpy().tolist()


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
QUIET = "--disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
WALK = """
const broken = [];
const change = (node, value) => { node.value = value; node.dispatchEvent(new Event("input", {bubbles: true}));
                                  node.dispatchEvent(new Event("change", {bubbles: true})); };
addEventListener("error", (event) => broken.push(event.message));
const all = (selector) => [...document.querySelectorAll(selector)];
for (const loss of all("#loss option").map((option) => option.value)) {
  change(document.getElementById("loss"), loss);
  for (const scene of all("[name=scene]")) for (const over of all("[name=over]")) {
    scene.click(); over.click();
    for (const range of all("#settings input[type=range]")) for (const end of [range.min, range.max]) {
      change(range, end);
      const curves = all("#value path, #gradient path").map((path) => path.getAttribute("d"));
      if (!curves.length || curves.some((d) => /NaN|Infinity/.test(d))) broken.push([loss, scene.value, range.id, end]);
    }
  }
}
"""


def run_in_browser(script, folder):
    """Return what the expression ``result`` is after a script has run in the explorer."""
    page = folder / "page.html"
    write = 'document.body.append(Object.assign(document.createElement("pre"), {id: "result", textContent: '
    body = f"<script>{{{script}\n{write}JSON.stringify(result)}}));}}</script>"
    page.write_text(EXPLORER + body, encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", *QUIET.split(), f"--user-data-dir={folder}"]
    done = subprocess.run([*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, check=True)
    return json.loads(html.unescape(re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)[1]))


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium found")
def test_the_explorer_agrees_with_the_library(tmp_path):
    points = list(draw_points(96, seed=0))
    found = run_in_browser(f"const result = {json.dumps(points)}.map((point) => evaluate(...point));", tmp_path)
    for point, one in zip(points, found, strict=True):
        wanted = expected(*point)
        for key in ("value", "gradient"):
            assert one[key] == pytest.approx(wanted[key], rel=1e-5, abs=1e-5), point


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium found")
def test_every_slider_of_the_explorer_draws_curves(tmp_path):
    assert run_in_browser(f"{WALK} const result = broken;", tmp_path) == []
