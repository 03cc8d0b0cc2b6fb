"""The report of one table as a single HTML file: no network, no outside file, a strict content security policy.

In: what stands on the page, as plain values (``Report`` collects it); pictures as SVG text. Out: HTML. The same input
gives the same bytes. All text is escaped by the template, whatever a case or a run is called.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import itertools
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import pandas as pd
from markupsafe import Markup

from rareseg.experiments import layout, tables
from rareseg.experiments.choices import choices
from rareseg.experiments.inline import inline
from rareseg.experiments.layout import content, name

KINDS = {
    **dict.fromkeys(("match", "overlap", "close"), "agree"),
    "higher": "higher",
    "lower": "lower",
    "failed": "wrong",
}
"""Verdict of a cell -> its colour; all others are open."""


class Figure(NamedTuple):
    """A picture on the page.

    Attributes:
        file: Its SVG.
        caption: What it shows.
    """

    file: Path
    caption: str


def render(shown: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        shown: What ``page.html.jinja`` names: title, data, verdict, claims, table (see ``table_of``), figures, ...
    """
    css, js = _packaged("page.css"), _packaged("page.js")
    numbers = itertools.count(1)
    subject = layout.subject(shown["compared"])
    data_sentence = f"{shown['data'].capitalize()} data: these numbers and pictures say nothing about {subject}"
    return _template().render(
        {**shown, "contents": _contents(shown), "data_sentence": data_sentence},
        css=Markup(css),
        js=Markup(js),
        css_hash=_hash(css),
        js_hash=_hash(js),
        drawn=lambda figure: _drawn(figure, f"f{next(numbers)}-"),
    )


def of_facts(long: pd.DataFrame, heading: Mapping[str, Any], source: str, again: str) -> str:
    """Return the page of a table about data sets, for which nothing was trained.

    Args:
        long: ``table_long``.
        heading: ``title`` and ``notes``.
        source: The configuration, as it is written.
        again: The call that makes it again.
    """
    data, compared = layout.data_of(long), int(long["verdict"].isin(["match", "higher", "lower", "close"]).sum())
    same = int((long["verdict"] == "match").sum())
    nothing: dict[str, Any] = dict.fromkeys(
        ("claims", "overview", "conclusions", "blocks", "comparison", "failed", "sections", "runs"), ()
    )
    return render(
        {
            **nothing,
            "title": layout.titled(heading["title"], data),
            "data": data,
            "compared": layout.compared(long),
            "verdict": f"{same} of {compared} values are the paper's, after rounding",
            "counted": tables.counted(long),
            "table": table_of(layout.grid(long), layout.decimals_of(long)),
            "legend": tables.legend(long),
            "facts": tables.facts(long, heading),
            "leaks": heading["notes"],
            "choices": choices(source),
            "again": [again],
            "configuration": source,
        }
    )


def table_of(arranged: layout.Grid, decimals: Mapping[str, int]) -> dict[str, Any]:
    """Return the table as the template wants it: heads by level, and rows of cells."""
    levels = []
    for level in range(len(arranged.top) - 1):
        groups = itertools.groupby(column[: level + 1] for column in arranged.columns)
        levels.append([(name(head[-1]), len(list(group))) for head, group in groups])
    rows = []
    for row in arranged.rows:
        records = [arranged.cells.get((row, column)) for column in arranged.columns]
        cells = [_cell(record, decimals) for record in records]
        baseline = not any(record and "verdict" in record for record in records)
        rows.append({"head": [name(part) for part in row], "cells": cells, "baseline": baseline})
    heads = [name(column[-1]) for column in arranged.columns]
    return {"side": [key.capitalize() for key in arranged.side], "levels": levels, "heads": heads, "rows": rows}


def _cell(record: Any, decimals: Mapping[str, int]) -> dict[str, Any]:
    value = None if record is None else record.get("ours")
    return {
        "text": content(record, decimals),
        "value": "" if value is None or pd.isna(value) else f"{value:.9g}",
        "kind": KINDS.get((record or {}).get("verdict", ""), "open"),
    }


def _contents(shown: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return anchor and heading of each section that is there."""
    entries = [
        ("claims", "Claims") if shown["claims"] else None,
        ("table", "The table"),
        ("comparison", "Which loss is best") if shown["conclusions"] else None,
        ("made-from", "What the numbers are made from"),
        *((block["anchor"], block["title"]) for block in shown["sections"]),
        ("runs", "Runs"),
    ]
    return [entry for entry in entries if entry]


def _drawn(figure: Figure, prefix: str) -> Markup:
    """Return a picture with its caption."""
    svg = Markup(inline(figure.file.read_text(encoding="utf-8"), prefix))
    return Markup('<figure><div class="wide">{}</div><figcaption>{}</figcaption></figure>').format(svg, figure.caption)


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _packaged(file: str) -> str:
    return resources.files("rareseg.experiments").joinpath(file).read_text(encoding="utf-8")


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(_packaged("page.html.jinja"))
