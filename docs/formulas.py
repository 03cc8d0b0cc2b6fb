"""Formulas of the documentation as MathML, which browsers draw without a script or a font from elsewhere."""

import html
import re
from typing import Any

from latex2mathml.converter import convert

_INLINE = re.compile(r'<span class="arithmatex">\\\((.+?)\\\)</span>', re.DOTALL)


def on_config(config: Any) -> None:
    """Take over the fences that GitHub calls ``math``."""
    config.mdx_configs["pymdownx.superfences"] = {
        "custom_fences": [{"name": "math", "class": "math", "format": _block}]
    }


def on_page_content(text: str, **_: Any) -> str:
    """Replace what stood between dollars."""
    return _INLINE.sub(lambda found: convert(html.unescape(found[1])), text)


def _block(source: str, *_: Any, **__: Any) -> str:
    return convert(source, display="block")
