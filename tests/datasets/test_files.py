import logging
import struct
import threading
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, UnidentifiedImageError

from rareseg.datasets import DataError
from rareseg.datasets.files import binary, codes, grey, grey_share, picture, quiet, rgb, shape

RAMP = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


def saved(path, pixels, **options):
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(path, **options)
    return path


def palette(indices, *colours):
    picture = Image.fromarray(np.asarray(indices, np.uint8), mode="P")
    picture.putpalette([value for colour in colours for value in colour])
    return picture


LOSSLESS = [
    pytest.param("a.png", {}, id="png"),
    pytest.param("a.gif", {}, id="gif"),
    pytest.param("a.tif", {"compression": "tiff_lzw"}, id="tiff-lzw"),
    pytest.param("a.tif", {"compression": "tiff_adobe_deflate"}, id="tiff-deflate"),
    pytest.param("a.bmp", {}, id="bmp"),
]


@pytest.mark.parametrize(("name", "options"), LOSSLESS)
def test_grey_files_come_back_as_two_axes(tmp_path, name, options):
    path = saved(tmp_path / name, RAMP, **options)
    np.testing.assert_array_equal(grey(path), RAMP)
    assert shape(path) == (3, 4)
    np.testing.assert_array_equal(rgb(path), np.stack([RAMP] * 3, axis=-1))


STORED = [  # one mask, stored in every way that was met
    pytest.param("a.png", Image.fromarray(np.array([[0, 255]], np.uint8)), id="0/255"),
    pytest.param("a.png", Image.fromarray(np.array([[0, 1]], np.uint8)), id="0/1"),
    pytest.param("a.png", Image.fromarray(np.array([[False, True]])), id="one-bit-png"),
    pytest.param("a.gif", Image.fromarray(np.array([[False, True]])), id="one-bit-gif"),
    pytest.param("a.gif", palette([[0, 1]], (4, 2, 4), (252, 254, 252)), id="palette of the second observer"),
    pytest.param("a.png", palette([[1, 0]], (255, 255, 255), (0, 0, 0)), id="palette upside down"),
    pytest.param("a.png", Image.fromarray(np.array([[[0] * 3, [255] * 3]], np.uint8)), id="rgb"),
    pytest.param("a.png", Image.fromarray(np.array([[[0] * 3 + [255], [255] * 4]], np.uint8)), id="rgba"),
    pytest.param("a.png", Image.fromarray(np.array([[0, 65535]], np.uint16)), id="16-bit"),
    pytest.param("a.png", Image.fromarray(np.array([[127, 128]], np.uint8)), id="interpolated edge"),
]


@pytest.mark.parametrize(("name", "picture"), STORED)
def test_a_mask_means_the_same_however_it_is_stored(tmp_path, name, picture):
    label = binary(grey(saved(tmp_path / name, picture)))
    assert label.dtype == np.uint8
    assert label.tolist() == [[0, 1]]


def test_an_empty_mask_is_empty():
    assert not binary(np.zeros((2, 2), np.uint8)).any()


@pytest.mark.parametrize(
    ("values", "share"),
    [([0, 255, 255, 0], 0), ([0, 1], 0), ([4, 252], 0), ([0, 14, 255, 255], 0.25), ([0, 65535], 0)],
)
def test_grey_share_counts_what_is_neither_black_nor_white(values, share):
    assert grey_share(np.array(values)) == share


def test_constant_alpha_is_dropped_and_varying_alpha_refused(tmp_path):
    pixels = np.full((2, 2, 4), 255, np.uint8)
    assert rgb(saved(tmp_path / "whole.png", pixels)).shape == (2, 2, 3)
    pixels[0, 0, 3] = 7
    with pytest.raises(DataError, match=r"holes\.png: parts are transparent"):
        rgb(saved(tmp_path / "holes.png", pixels))


def grey_tagged(path, pixels, **options):
    """Write a colour TIFF that says it is grey, with no word on the other samples, as CVC-ClinicDB's are."""
    saved(path, pixels, **options)
    whole = bytearray(path.read_bytes())
    entry = whole.index(struct.pack("<HHIH", 262, 3, 1, 2))
    struct.pack_into("<H", whole, entry + 8, 1)
    path.write_bytes(whole)
    return path


COLOURS = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)


@pytest.mark.parametrize("compression", [None, "tiff_adobe_deflate"])
def test_a_colour_tiff_that_says_it_is_grey_keeps_its_colours(tmp_path, compression):
    path = grey_tagged(tmp_path / "a.tif", COLOURS, compression=compression)
    with pytest.raises(UnidentifiedImageError):
        Image.open(path)
    np.testing.assert_array_equal(rgb(path), COLOURS)
    assert shape(path) == (40, 30)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95, 0.999])
def test_a_truncated_tiff_that_says_it_is_grey_is_named(tmp_path, share):
    """tifffile alone would fill what lacks with zeros."""
    path = grey_tagged(tmp_path / "a.tif", COLOURS)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"a\.tif: cannot be read \(.+\)\. Get the file again"):
        rgb(path)


def test_a_bomb_that_says_it_is_grey_is_refused_before_a_pixel_is_decoded(tmp_path):
    path = grey_tagged(tmp_path / "a.tif", COLOURS)
    whole = bytearray(path.read_bytes())
    for tag, old in ((256, 30), (257, 40)):
        entry = next(
            whole.index(struct.pack("<HHI", tag, kind, 1))
            for kind in (3, 4)
            if struct.pack("<HHI", tag, kind, 1) in whole
        )
        assert struct.unpack_from("<H", whole, entry + 8)[0] == old
        struct.pack_into("<H", whole, entry + 8, 30_000)
    path.write_bytes(whole)
    with pytest.raises(DataError, match=r"claims 30000 x 30000 pixels, over the limit"):
        rgb(path)


def test_a_coloured_mask_is_refused(tmp_path):
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 0] = 255, 0, 0
    with pytest.raises(DataError, match=r"red\.png: a coloured picture"):
        grey(saved(tmp_path / "red.png", pixels))


def test_a_colour_image_of_16_bits_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"deep\.png: uint16 pixels, expected 8 bits"):
        rgb(saved(tmp_path / "deep.png", RAMP.astype(np.uint16) * 200))


def test_other_colour_models_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"print\.jpg: colour mode CMYK"):
        rgb(saved(tmp_path / "print.jpg", Image.new("CMYK", (4, 4))))


@pytest.mark.parametrize(("largest", "fits"), [(65535, True), (65536, False), (-1, False)])
def test_32_bits_are_read_where_16_hold_them(tmp_path, largest, fits):
    Image.fromarray(np.array([[0, largest]], "int32")).save(tmp_path / "grey.tif")
    if fits:
        assert grey(tmp_path / "grey.tif").tolist() == [[0, largest]]
    else:
        with pytest.raises(DataError, match=r"grey\.tif: values that need 32 bits"):
            grey(tmp_path / "grey.tif")


def test_a_colour_tiff_of_several_frames_that_says_it_is_grey_is_refused(tmp_path):
    frames = np.zeros((2, 4, 5, 3), "uint8")
    tifffile.imwrite(tmp_path / "frames.tif", frames, photometric="minisblack", planarconfig="contig")
    with pytest.raises(DataError, match="2 frames, expected one picture"):
        rgb(tmp_path / "frames.tif")


@pytest.mark.parametrize("colour", [(9, 9, 9), (255, 0, 0)], ids=["grey", "colour"])
@pytest.mark.parametrize("read", [grey, rgb, picture, codes, shape])
def test_an_animation_is_refused(tmp_path, read, colour):
    frames = [palette(np.eye(4) == turn, (0, 0, 0), colour) for turn in (0, 1)]
    path = saved(tmp_path / "film.gif", frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"film\.gif: 2 frames, expected one picture"):
        read(path)


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.jpg", "a.tif"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_truncated_file_is_named(tmp_path, name, share):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    path = saved(tmp_path / name, pixels)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=rf"{name}: cannot be read \(.+\)\. Get the file again"):
        grey(path)


@pytest.mark.parametrize(
    ("content", "cause"), [(None, "no such file"), (b"", "not a PNG"), (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not a PNG")]
)
def test_what_is_no_picture_is_named_with_the_cause(tmp_path, content, cause):
    path = tmp_path / "odd.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"odd\.png: cannot be read \({cause}"):
        rgb(path)


@pytest.mark.parametrize("side", [9_001, 12_000, 20_000])
def test_a_bomb_is_refused_before_a_pixel_is_decoded(tmp_path, side):
    """9,001 squared passes the limits of Pillow's `open`, 12,000 makes it warn, 20,000 makes it raise."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    sentence = f"bomb\\.png: the header claims {side} x {side} pixels, over the limit of 80,000,000\\. Remove the file"
    with pytest.raises(DataError, match=sentence):
        grey(path)


def test_loggers_are_quiet_for_one_call_of_one_thread(caplog):
    other = threading.Thread(target=logging.getLogger("tifffile").warning, args=("of another thread",))
    with quiet("tifffile"):
        logging.getLogger("tifffile").warning("of this one, meanwhile")
        other.start()
        other.join()
    logging.getLogger("tifffile").warning("afterwards")
    assert caplog.messages == ["of another thread", "afterwards"]


def test_reading_a_tiff_says_nothing_and_leaves_the_logger_as_it_was(tmp_path, caplog):
    path = grey_tagged(tmp_path / "a.tif", COLOURS)
    path.write_bytes(path.read_bytes()[:-50])
    before = logging.getLogger("tifffile").level
    with pytest.raises(DataError):
        rgb(path)
    assert caplog.messages == []
    assert logging.getLogger("tifffile").level == before
