"""Every network to its last layer: parameters, shapes, names, connections."""

import json
import math
import re
from collections import Counter
from itertools import product
from pathlib import Path

import keras
import pytest

from rareseg import models

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
TOTALS = [  # the table on the page: network, what differs from its preset, input, classes, total, trainable, other
    (name, json.loads(options or "{}"), json.loads(f"[{shape}]"), *(int(n.replace(",", "")) for n in numbers))
    for name, options, shape, *numbers in re.findall(
        r"^\| `(\w+)` \| (?:`(.+)`)? \| \((.+)\) \| (\d) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", PAGE, re.MULTILINE
    )
]

UNET_ALL = {  # block: output shape without the batch, parameters
    "enc1": ((192, 256, 32), 10_400),
    "enc1_down": ((96, 128, 32), 9_376),
    "enc2": ((96, 128, 64), 55_936),
    "enc2_down": ((48, 64, 64), 37_184),
    "enc3": ((48, 64, 128), 222_464),
    "enc3_down": ((24, 32, 128), 148_096),
    "enc4": ((24, 32, 256), 887_296),
    "enc4_drop": ((24, 32, 256), 0),
    "enc4_down": ((12, 16, 256), 591_104),
    "mid": ((12, 16, 512), 3_544_064),
    "mid_drop": ((12, 16, 512), 0),
    "dec4_up": ((24, 32, 256), 524_544),
    "dec4": ((24, 32, 256), 1_772_032),
    "dec3_up": ((48, 64, 128), 131_200),
    "dec3": ((48, 64, 128), 443_648),
    "dec2_up": ((96, 128, 64), 32_832),
    "dec2": ((96, 128, 64), 111_232),
    "dec1_up": ((192, 256, 32), 8_224),
    "dec1": ((192, 256, 32), 27_968),
    "output": ((192, 256, 1), 33),
}

UNET_MISCNN = {
    "enc1": ((288, 384, 32), 10_400),
    "enc2": ((144, 192, 64), 55_936),
    "enc3": ((72, 96, 128), 222_464),
    "enc4": ((36, 48, 256), 887_296),
    "mid": ((18, 24, 512), 3_544_064),
    "dec4_up": ((36, 48, 256), 524_544),
    "dec4": ((36, 48, 256), 1_772_032),
    "dec3_up": ((72, 96, 128), 131_200),
    "dec3": ((72, 96, 128), 443_648),
    "dec2_up": ((144, 192, 64), 32_832),
    "dec2": ((144, 192, 64), 111_232),
    "dec1_up": ((288, 384, 32), 8_224),
    "dec1": ((288, 384, 32), 27_968),
    "output": ((288, 384, 2), 66),
}

INSTANCE = {
    "enc1": 10_272,
    "enc2": 55_680,
    "enc3": 221_952,
    "enc4": 886_272,
    "mid": 3_542_016,
    "dec4": 1_771_008,
    "dec3": 443_136,
    "dec2": 110_976,
    "dec1": 27_840,
}
UNET_UFL = {block: (shape, INSTANCE.get(block, count)) for block, (shape, count) in UNET_MISCNN.items()}

FOCUSNET = {
    "a_stem": ((192, 256, 32), 992),
    "a_down1": ((96, 128, 32), 19_808),
    "a_enc2": ((96, 128, 64), 57_792),
    "a_down2": ((48, 64, 64), 78_528),
    "a_enc3": ((48, 64, 128), 230_272),
    "a_down3": ((24, 32, 128), 312_704),
    "a_enc4": ((24, 32, 256), 919_296),
    "a_drop": ((24, 32, 256), 0),
    "a_up3": ((48, 64, 256), 262_400),
    "a_dec3": ((48, 64, 256), 1_574_656),
    "a_up2": ((96, 128, 128), 131_200),
    "a_dec2": ((96, 128, 128), 394_112),
    "a_up1": ((192, 256, 64), 32_832),
    "a_dec1": ((192, 256, 64), 98_752),
    "b_stem": ((192, 256, 64), 9_728),
    "b_enc1": ((192, 256, 64), 74_112),
    "b_se1a": ((192, 256, 64), 512),
    "b_gate1": ((192, 256, 64), 0),
    "b_se1b": ((192, 256, 64), 512),
    "b_down1": ((96, 128, 64), 78_528),
    "b_enc2": ((96, 128, 128), 230_272),
    "b_se2a": ((96, 128, 128), 2_048),
    "b_gate2": ((96, 128, 128), 0),
    "b_se2b": ((96, 128, 128), 2_048),
    "b_down2": ((48, 64, 128), 312_704),
    "b_enc3": ((48, 64, 256), 919_296),
    "b_se3a": ((48, 64, 256), 8_192),
    "b_gate3": ((48, 64, 256), 0),
    "b_se3b": ((48, 64, 256), 8_192),
    "b_down3": ((24, 32, 256), 1_248_000),
    "b_enc4": ((24, 32, 512), 3_673_600),
    "b_se4": ((24, 32, 512), 32_768),
    "b_down4": ((12, 16, 512), 4_986_368),
    "b_up3": ((24, 32, 256), 524_544),
    "b_dec3": ((24, 32, 256), 1_902_336),
    "b_up2": ((48, 64, 128), 131_200),
    "b_dec2": ((48, 64, 128), 476_032),
    "b_up1": ((96, 128, 64), 32_832),
    "b_dec1": ((96, 128, 64), 119_232),
    "b_up0": ((192, 256, 32), 8_224),
    "b_tail1": ((192, 256, 32), 40_160),
    "b_tail2": ((192, 256, 16), 7_536),
    "b_tail3": ((192, 256, 4), 812),
    "side3": ((192, 256, 1), 73_793),
    "side2": ((192, 256, 1), 36_929),
    "side1": ((192, 256, 1), 18_497),
    "side0": ((192, 256, 1), 5),
    "fuse": ((192, 256, 32), 1_184),
    "output": ((192, 256, 1), 33),
}

ATTENTION_UNET = {
    "enc1": ((192, 256, 32), 10_400),
    "scale2": ((96, 128, 96), 1_792),  # with what it is joined with
    "scale3": ((48, 64, 192), 3_584),
    "scale4": ((24, 32, 384), 7_168),
    "enc2": ((96, 128, 64), 92_800),
    "enc3": ((48, 64, 128), 369_920),
    "enc4": ((24, 32, 64), 258_688),
    "mid": ((12, 16, 512), 2_659_328),
    "gate4_signal": ((12, 16, 512), 264_704),
    "gate4": ((24, 32, 64), 250_689),
    "dec4": ((24, 32, 96), 147_488),
    "gate3_signal": ((24, 32, 96), 9_696),
    "gate3": ((48, 64, 128), 93_057),
    "dec3": ((48, 64, 192), 55_360),
    "gate2_signal": ((24, 32, 96), 9_696),
    "gate2": ((96, 128, 64), 25_025),
    "dec2": ((96, 128, 96), 55_328),
    "dec1": ((192, 256, 64), 27_680),
    "pred1": ((24, 32, 1), 813_825),
    "pred2": ((48, 64, 1), 370_049),
    "pred3": ((96, 128, 1), 92_865),
    "output": ((192, 256, 1), 28_001),
}

BLOCKS = [
    ("unet_all", (192, 256, 3), 1, UNET_ALL),
    ("unet_miscnn", (288, 384, 3), 2, UNET_MISCNN),
    ("unet_ufl", (288, 384, 3), 2, UNET_UFL),
    ("focusnet", (192, 256, 3), 1, FOCUSNET),
    ("attention_unet", (192, 256, 3), 1, ATTENTION_UNET),
]

PAIR = "conv1 norm1 act1 conv2 norm2 act2"
RESIDUAL = "conv1 norm2 act2 conv2 skip add"
DOWN = "norm1 act1 conv1 norm2 act2 conv2 thin skip add"
SE = "pool reduce expand shape scale"
UP = "resize conv"
NAMES = {  # preset: {block: suffixes of its layers}; "." is the layer named as the block itself
    "unet_demo": {
        "image": ".",
        **{f"enc{i}": PAIR for i in (1, 2, 3)},
        **{f"enc{i}_down": "conv norm act" for i in (1, 2, 3)},
        "enc3_drop": ".",
        "mid": PAIR,
        "mid_drop": ".",
        **{f"dec{i}": f"{PAIR} cat" for i in (1, 2, 3)},
        **{f"dec{i}_up": UP for i in (1, 2, 3)},
        "output": "logits .",
    },
    "unet_ufl": {
        "image": ".",
        **{f"enc{i}": "conv1 norm1 conv2 norm2 down" for i in (1, 2, 3, 4)},
        "mid": "conv1 norm1 conv2 norm2",
        **{f"dec{i}": "up cat conv1 norm1 conv2 norm2" for i in (1, 2, 3, 4)},
        "output": "logits .",
    },
    "focusnet_demo": {
        "image": ".",
        "a_stem": "conv norm act",
        "b_stem": "conv norm act",
        "a_drop": ".",
        **{f"a_enc{i}": RESIDUAL for i in (2, 3, 4)},
        **{f"a_down{i}": DOWN for i in (1, 2, 3)},
        **{f"a_dec{i}": f"{RESIDUAL} cat" for i in (1, 2, 3)},
        **{f"{branch}_up{i}": UP for branch in "ab" for i in (1, 2, 3)},
        "b_up0": UP,
        "b_enc1": "conv1 norm2 act2 conv2 add",
        **{f"b_enc{i}": RESIDUAL for i in (2, 3, 4)},
        **{f"b_se{i}{half}": SE for i in (1, 2, 3) for half in "ab"},
        "b_se4": SE,
        **{f"b_gate{i}": "sigmoid ." for i in (1, 2, 3)},
        **{f"b_down{i}": DOWN for i in (1, 2, 3, 4)},
        **{f"b_dec{i}": f"{RESIDUAL} cat" for i in (1, 2, 3)},
        "b_tail1": f"{RESIDUAL} cat",
        "b_tail2": "conv1 norm2 act2 conv2 add",
        "b_tail3": "conv1 norm2 act2 conv2 add",
        **{f"side{i}": "resize conv logits ." for i in (1, 2, 3)},
        "side0": "logits .",
        "fuse": "cat conv",
        "output": "logits .",
    },
    "attention_unet": {
        "image": ".",
        **{f"enc{i}": f"{PAIR} down" for i in (1, 2, 3, 4)},
        **{f"scale{i}": ". conv cat" for i in (2, 3, 4)},
        "mid": PAIR,
        **{f"gate{i}_signal": "conv norm act" for i in (4, 3, 2)},
        **{f"gate{i}": "theta phi phi_up add act psi resize scale conv norm" for i in (4, 3, 2)},
        **{f"dec{i}": "up cat" for i in (4, 3, 2, 1)},
        **dict.fromkeys(("pred1", "pred2", "pred3", "output"), f"{PAIR} logits ."),
    },
}

INPUTS = [  # preset, layer, the layers it reads, in order
    ("unet_all", "enc2_conv1", ["enc1_down_act"]),
    ("unet_all", "enc4_down_conv", ["enc4_drop"]),
    ("unet_all", "dec4_up_resize", ["mid_drop"]),
    ("unet_all", "dec4_cat", ["enc4_drop", "dec4_up_conv"]),
    ("unet_all", "dec1_cat", ["enc1_act2", "dec1_up_conv"]),
    ("unet_ufl", "dec4_cat", ["dec4_up", "enc4_norm2"]),
    ("unet_ufl", "output_logits", ["dec1_norm2"]),
    ("focusnet", "a_dec3_cat", ["a_enc3_add", "a_up3_conv"]),
    ("focusnet", "a_dec1_cat", ["a_stem_act", "a_up1_conv"]),
    ("focusnet", "b_stem_conv", ["image"]),
    ("focusnet", "b_gate1_sigmoid", ["a_dec1_add"]),
    ("focusnet", "b_gate3", ["b_se3a_scale", "b_gate3_sigmoid"]),
    ("focusnet", "b_down1_norm1", ["b_se1b_scale"]),
    ("focusnet", "b_down1_thin", ["b_se1b_scale"]),
    ("focusnet", "b_enc2_conv1", ["b_down1_add"]),
    ("focusnet", "b_dec3_cat", ["b_down3_add", "b_up3_conv"]),
    ("focusnet", "b_tail1_cat", ["b_stem_act", "b_up0_conv"]),
    ("focusnet", "side3_resize", ["b_dec3_add"]),
    ("focusnet", "side0_logits", ["b_tail3_add"]),
    ("focusnet", "fuse_cat", ["side3", "side2", "side1", "side0"]),
    ("focusnet", "output_logits", ["fuse_conv"]),
    ("focusnet_2019", "output_logits", ["b_tail3_add"]),
    ("attention_unet", "scale2", ["image"]),
    ("attention_unet", "scale3", ["scale2"]),
    ("attention_unet", "scale3_cat", ["scale3_conv", "enc2_down"]),
    ("attention_unet", "gate4_signal_conv", ["mid_act2"]),
    ("attention_unet", "gate4_theta", ["enc4_act2"]),
    ("attention_unet", "gate4_phi", ["gate4_signal_act"]),
    ("attention_unet", "gate4_scale", ["enc4_act2", "gate4_resize"]),
    ("attention_unet", "dec4_up", ["mid_act2"]),
    ("attention_unet", "dec4_cat", ["dec4_up", "gate4_norm"]),
    ("attention_unet", "gate3_signal_conv", ["dec4_cat"]),
    ("attention_unet", "gate2_signal_conv", ["dec4_cat"]),
    ("attention_unet", "dec2_cat", ["dec2_up", "gate2_norm"]),
    ("attention_unet", "dec1_cat", ["dec1_up", "enc1_act2"]),
    ("attention_unet", "pred2_conv1", ["dec3_cat"]),
    ("attention_unet", "output_conv1", ["dec1_cat"]),
]


def count(weights):
    return sum(math.prod(weight.shape) for weight in weights)


def block_of(layer, blocks):
    """Return the longest block name that the layer's name starts with."""
    return max((b for b in blocks if layer.name == b or layer.name.startswith(f"{b}_")), key=len, default=None)


def inputs(layer):
    """Return the names of the layers whose results a layer reads."""
    given = layer.input if isinstance(layer.input, list) else [layer.input]
    return [tensor._keras_history.operation.name for tensor in given]


@pytest.mark.parametrize(("name", "options", "shape", "classes", "total", "trainable", "other"), TOTALS)
def test_parameters_are_those_of_the_page(name, options, shape, classes, total, trainable, other):
    model = models.build({"name": name, **options}, tuple(shape), classes)
    assert count(model.trainable_weights) == trainable
    assert count(model.non_trainable_weights) == other
    assert model.count_params() == total
    assert models.final(model).output_shape == (None, *shape[:-1], classes)


def test_the_page_counts_every_network():
    assert {name for name, *_ in TOTALS} == set(models.presets())


@pytest.mark.parametrize(("name", "shape", "classes", "table"), BLOCKS, ids=[row[0] for row in BLOCKS])
def test_each_block_has_its_parameters_and_shape(name, shape, classes, table):
    found, shapes = Counter(), {}
    for layer in models.build(name, shape, classes).layers:
        block = block_of(layer, table)
        found[block] += layer.count_params()
        if not layer.name.endswith("_down"):  # a pooling layer is no part of the pair above it
            shapes[block] = layer.output.shape[1:]
    assert found.pop(None) == 0
    assert {block: (shapes[block], found[block]) for block in table} == table


@pytest.mark.parametrize("name", NAMES)
def test_layer_names_are_fixed(name):
    layers = [layer.name for layer in models.build(name, (64, 64, 3), 2).layers]
    expected = [
        block if suffix == "." else f"{block}_{suffix}"
        for block, suffixes in NAMES[name].items()
        for suffix in suffixes.split()
    ]
    assert sorted(layers) == sorted(expected)
    assert (layers[0], layers[-1]) == ("image", "output")


@pytest.mark.parametrize(("name", "layer", "expected"), INPUTS)
def test_layers_are_connected_in_order(narrow_model, name, layer, expected):
    model = narrow_model(name, depth=4) if name.startswith("unet") else narrow_model(name)
    assert inputs(model.get_layer(layer)) == expected


@pytest.mark.parametrize("name", models.presets())
@pytest.mark.parametrize("shape", [(16, 32, 3), (16, 16, 32, 3)], ids=["2D", "3D"])
def test_no_layer_is_one_that_corrupts_memory(narrow_model, name, shape):
    """TensorFlow 2.21 writes beside the buffers of two products; see ``blocks``."""
    model = narrow_model(name, shape)
    assert all(isinstance(layer, keras.layers.Layer) for layer in model.operations)  # no bare product among them
    convolutions = [layer for layer in model.layers if hasattr(layer, "kernel_size")]
    assert convolutions
    assert not [c.name for c in convolutions if set(c.kernel_size) == {1} and set(c.strides) != {1}]
    multiplying = [layer for layer in model.layers if any(len(weight.shape) == 2 for weight in layer.weights)]
    assert multiplying or not name.startswith("focusnet")
    assert not [layer.name for layer in multiplying if len(layer.input.shape) > 3]


@pytest.mark.parametrize(("gates", "pyramid", "supervision"), list(product([False, True], repeat=3)))
def test_attention_unets_have_the_parts_that_are_asked_for(narrow_model, gates, pyramid, supervision):
    options = {"attention_gates": gates, "multi_input": pyramid, "deep_supervision": supervision}
    model = narrow_model("attention_unet", **options)
    parts = {re.match("[a-z]+", layer.name)[0] for layer in model.layers}
    asked = {part for part, wanted in {"gate": gates, "scale": pyramid, "pred": supervision}.items() if wanted}
    assert parts == {"image", "enc", "mid", "dec", "output"} | asked
    coarse = ["pred1", "pred2", "pred3"] if supervision else []
    assert model.output_names == [*coarse, "output"]
    assert [tensor.shape[1:-1] for tensor in model.outputs] == [(2, 4), (4, 8), (8, 16), (16, 32)][
        -len(model.outputs) :
    ]
    assert inputs(model.get_layer("enc2_conv1")) == ["scale2_cat" if pyramid else "enc1_down"]
    assert inputs(model.get_layer("dec3_cat")) == ["dec3_up", "gate3_norm" if gates else "enc3_act2"]


def test_attention_unets_start_as_released(narrow_model):
    layers = [layer for layer in narrow_model("attention_unet").layers if hasattr(layer, "kernel_initializer")]
    started = {layer.name: layer.kernel_initializer.kind for layer in layers}
    normal = re.compile(r"(enc\d|mid|pred\d|output)_conv\d|gate\d_signal_conv|dec\d_up")
    assert started == {name: "glorot_normal" if normal.fullmatch(name) else "glorot_uniform" for name in started}


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("unet_all", {"decay": 0.1}, {"enc1_conv1": 0.1, "enc1_down_conv": 0.1, "dec1_conv2": 0.1}),
        ("focusnet", {"decay": 0.1}, {"b_stem_conv": 0.1, "a_enc2_conv1": 0.1, "a_enc2_skip": 0.1}),
        ("focusnet", {"stem_decay": 0.5}, {"a_stem_conv": 0.5}),
        ("focusnet", {}, {}),
    ],
)
def test_weight_decay_acts_on_the_named_kernels_only(narrow_model, name, options, expected):
    model = narrow_model(name, **options)
    found = {layer.name: layer.kernel_regularizer for layer in model.layers if hasattr(layer, "kernel_regularizer")}
    decayed = {layer: float(regulariser.l2) for layer, regulariser in found.items() if regulariser}
    assert expected.items() <= decayed.items()
    free = ("_logits", "_up1_conv", "_reduce", "_expand", "fuse_conv", "side1_conv")
    assert not [layer for layer in decayed if layer.endswith(free)]
    assert bool(decayed) == bool(expected)


@pytest.mark.parametrize(("name", "momentum"), [("unet_all", 0.99), ("unet_demo", 0.8), ("focusnet_demo", 0.8)])
def test_momentum_reaches_every_batch_normalisation(narrow_model, name, momentum):
    layers = [layer for layer in narrow_model(name).layers if hasattr(layer, "moving_mean")]
    assert {(layer.momentum, layer.epsilon) for layer in layers} == {(momentum, 1e-3)}


def test_the_first_stem_leaks_by_three_tenths(narrow_model):
    assert narrow_model("focusnet").get_layer("a_stem_act").negative_slope == pytest.approx(0.3)
