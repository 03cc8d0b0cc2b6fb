"""A figure's SVG file -> a lean piece of a page that obeys a strict content security policy and the page's colours.

Matplotlib writes ``style`` attributes, which such a policy forbids, and black ink on white, which a dark page must be
able to turn round. Here declarations become attributes, the white ground goes, and black fills are left to inheritance;
``page.css`` says what colour ink has.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
TITLE = "{http://purl.org/dc/elements/1.1/}title"
NUMBER = re.compile(r"-?\d+\.\d{2,}")
REFERENCE = re.compile(r"#([\w.-]+)")
IMPLIED = {"stroke-linejoin": "miter", "stroke-linecap": "square", "text-anchor": "start", "stroke-width": "1"}
"""Attributes that change nothing that can be seen at the size of a figure."""


def inline(svg: str, prefix: str) -> str:
    """Return the same picture as an ``svg`` element.

    Args:
        svg: What Matplotlib wrote.
        prefix: Makes its ids differ from those of other pictures on the page.
    """
    root = ElementTree.fromstring(svg)
    title = root.findtext(f".//{TITLE}", "")
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{SVG}metadata", f"{SVG}style") or child.get("id") == "patch_1":  # the white ground
                parent.remove(child)
    wanted = [name for element in root.iter() for value in element.attrib.values() for name in REFERENCE.findall(value)]
    short = {name: f"{prefix}{place}" for place, name in enumerate(dict.fromkeys(wanted))}
    for element in root.iter():
        _lighten(element, short)
    _tidy(root)
    box = root.attrib["viewBox"]
    width, height = (round(float(part) * 4 / 3) for part in box.split()[2:])
    root.attrib.clear()
    root.attrib |= {"viewBox": box, "width": str(width), "height": str(height), "role": "img", "aria-label": title}
    root.tail = None
    return re.sub(r">\s+<", "><", ElementTree.tostring(root, encoding="unicode")).replace(" />", "/>")


def _lighten(element: ElementTree.Element, short: dict[str, str]) -> None:
    """Bring one element into the form that a page needs."""
    element.tag = element.tag.removeprefix(SVG)
    attributes = {key.removeprefix(XLINK): value for key, value in element.attrib.items()}
    attributes |= _declarations(attributes.pop("style", ""))
    if element.tag != "image":
        attributes = {key: NUMBER.sub(_rounded, value) for key, value in attributes.items()}
    if attributes.get("transform", "").startswith("rotate(-0 "):
        del attributes["transform"]
    if "d" in attributes:
        attributes["d"] = re.sub(r"\s+(?=[A-Za-z])|(?<=[A-Z])\s+", "", attributes["d"].strip())
    name = short.get(attributes.pop("id", ""))
    attributes |= {"id": name} if name else {}
    element.attrib.clear()
    for key, value in attributes.items():
        if IMPLIED.get(key) != value:
            refers = key in ("href", "clip-path")
            element.set(key, REFERENCE.sub(lambda found: f"#{short[found[1]]}", value) if refers else value)


def _declarations(style: str) -> dict[str, str]:
    """Turn ``fill: none; stroke: #000000`` into attributes; the page decides on fonts."""
    pairs = [part.split(":", 1) for part in style.split(";") if ":" in part]
    found = {key.strip(): value.strip() for key, value in pairs}
    if "font" in found:  # "8px 'DejaVu Sans', sans-serif"
        found["font-size"] = found.pop("font").split("px")[0].split()[-1]
    if "font-size" in found:
        found["font-size"] = found["font-size"].removesuffix("px")
    return {key: value for key, value in found.items() if key not in ("font-family", "mix-blend-mode")}


def _rounded(number: re.Match[str]) -> str:
    value = float(number[0])
    return f"{value:.1f}".removesuffix(".0") if abs(value) >= 1 else f"{value:.2f}"


def _tidy(element: ElementTree.Element) -> None:
    """Drop what cannot be seen, and groups that only hold others together."""
    kept: list[ElementTree.Element] = []
    for child in element:
        _tidy(child)
        unseen = child.tag == "path" and child.get("fill") == "none" and "stroke" not in child.attrib
        if unseen or (child.tag in ("g", "defs") and not len(child)):
            continue
        kept += list(child) if child.tag == "g" and not child.attrib else [child]
    element[:] = kept
