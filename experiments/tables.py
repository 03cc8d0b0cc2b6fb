"""Tables: ``table_long`` in the papers' own layout, as frame, Markdown, LaTeX and on the console.

In: the frame behind ``table_long.csv``, one row per cell, values as fractions. Out: text, or something rich can
print. Nothing is read or written here, and nothing computed but digits: numbers, ranks and verdicts stand in the
frame. Where each cell stands says ``layout``.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from rareseg.evaluation import to_csv
from rareseg.experiments.layout import (
    MISSING,
    UNFINISHED,
    Cell,
    Grid,
    Head,
    compared,
    content,
    data_of,
    decimals_of,
    grid,
    measured,
    name,
    text_of,
    titled,
    with_baselines,
    words,
)
from rareseg.experiments.markdown import escaped, table_line

DATA = {
    "real": "real, every case that the paper used",
    "subset": "subset of the real cases: no reproduction",
    "phantom": "phantom images drawn by a program: no reproduction",
}

VERDICTS = {
    "match": "the published value, rounded as printed, lies in our interval",
    "overlap": "our interval and the published one share values",
    "close": "outside our interval, but within the margin of the table",
    "higher": "ours is higher",
    "lower": "ours is lower",
    "imprecise": "fewer than ten cases, or an interval wider than 0.2",
    "flagged": "the printed values contradict each other, so they are not compared",
    "other_protocol": "a value that the paper states was changed, so no cell is compared; winner and order of a block "
    "of real data are",
    "not_real": "phantoms or a subset, so nothing is compared",
    "no_reference": "the published value is not known to us",
    "failed": "tried, without a finished run",
    "not_run": "not tried yet",
}

CONSOLE_COLUMNS = 3  # with ours, the paper's and a word or interval each, these fill 120 characters


def verdict_counts(long: pd.DataFrame) -> dict[str, int]:
    """Return the number of cells per verdict, in the order of ``VERDICTS``."""
    counts = words(long).value_counts()
    return {verdict: int(counts[verdict]) for verdict in VERDICTS if verdict in counts.index}


def facts(long: pd.DataFrame, heading: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the numbers are made from: read off the table first, then what only the caller knows."""
    cases = []
    for dataset, found in long.groupby("dataset", sort=False)["cases"]:
        low, high = found.min(), found.max()
        if not pd.isna(low):  # cells without a finished run have no cases
            cases.append(f"{name(str(dataset))} {low:.0f}" + (f" to {high:.0f}" if high > low else ""))
    sentences = DATA if compared(long) else DATA | {"real": "real, every case"}
    seeds = [str(seed) for seed in long["seed"].dropna().unique() if seed != ""]
    known = {
        "Data": "; ".join(sentence for kind, sentence in sentences.items() if kind in set(measured(long)["data"])),
        "Protocol": ", ".join(long["protocol"].dropna().unique()) if compared(long) else "",
        "Seeds": " or ".join(seeds) + (", by row" if len(seeds) > 1 else ""),
        "Test cases": ", ".join(cases),
    }
    given = {key: value for key, value in heading.items() if key not in ("title", "verdict", "notes")}
    return [(key[:1].upper() + key[1:], str(value)) for key, value in (known | given).items() if value != ""]


def legend(long: pd.DataFrame) -> list[str]:
    """Return one sentence per sign that a reader meets in the table."""
    sentences = ["Each cell: our value and its 95 % bootstrap interval over test cases.", "Bold: best of its block."]
    if compared(long):
        sentences = [
            "Each cell: our value, its 95 % bootstrap interval over test cases, the published value, the verdict.",
            "Bold: best of its block, ours and published apart.",
        ]
    if long["marker"].map(text_of).any():
        test = "differs from the reference loss, signed-rank test, p after Holm below 0.05, 0.01, 0.001"
        sentences.append(f"*, **, ***: {test}.")
    if long["seed_sd"].notna().any():
        sentences.append("sd: standard deviation over seeds.")
    if long["verdict"].isin(UNFINISHED).any():
        sentences.append(f"{MISSING}: no value of ours.")
    return sentences + [f"{found.replace('_', ' ')}: {VERDICTS[found]}." for found in verdict_counts(long)]


def counted(long: pd.DataFrame) -> str:
    """Return the number of cells, and of each verdict, as a sentence."""
    parts = ", ".join(f"{count} {verdict.replace('_', ' ')}" for verdict, count in verdict_counts(long).items())
    return f"{len(long)} cells: {parts}." if parts else f"{len(long)} cells."


def wide(long: pd.DataFrame) -> pd.DataFrame:
    """Return the table in the paper's layout, digits and units.

    Args:
        long: The frame behind ``table_long.csv``.

    Returns:
        Text only: the heads of the rows, then per column of the paper ``<head> ours`` (value, interval, spread
        over seeds, marker), ``<head> published`` and ``<head> verdict``; last ``data``. ``rareseg.evaluation.to_csv``
        writes it.
    """
    layout, decimals = grid(long), decimals_of(long)
    lines = []
    for row in layout.rows:
        line = dict(zip(layout.side, row, strict=True))
        for column in layout.columns:
            cell = content(layout.cells.get((row, column)), decimals)
            head = " ".join(column)
            line[f"{head} ours"] = " ".join(filter(None, (cell.ours, cell.interval, cell.spread, cell.marker)))
            line[f"{head} published"] = cell.published
            line[f"{head} verdict"] = cell.verdict
        lines.append(line | {"data": data_of(long)})
    return pd.DataFrame(lines)


def files(long: pd.DataFrame, heading: Mapping[str, Any], baselines: pd.DataFrame | None = None) -> dict[str, str]:
    """Return name and text of the files that every table has; arguments as `markdown`."""
    return {
        "table_long.csv": to_csv(long),
        "table_wide.csv": to_csv(wide(long)),
        "table.md": markdown(long, heading, baselines),
        "table.tex": latex(long, heading, baselines),
    }


def markdown(long: pd.DataFrame, heading: Mapping[str, Any], baselines: pd.DataFrame | None = None) -> str:
    """Return the table as Markdown, with what its numbers are made from above it and a legend below.

    Args:
        long: The frame behind ``table_long.csv``.
        heading: ``title``; where known ``verdict`` (of the whole table, a sentence) and ``notes`` (sentences); every
            other entry is shown as a fact under its own name: ``hardware``, ``date``, ``backend``, ...
        baselines: What needs no training, as rows below the losses: columns ``baseline, dataset, metric, class, ours``.
    """
    layout, decimals = with_baselines(grid(long), baselines), decimals_of(long)
    heads = [key.capitalize() for key in layout.side]
    heads += ["<br>".join(escaped(name(part)) for part in column) for column in layout.columns]
    table = [table_line(heads), "|" + "---|" * len(layout.side) + ":-:|" * len(layout.columns)]
    for row in layout.rows:
        cells = [_markdown_cell(content(layout.cells.get((row, column)), decimals)) for column in layout.columns]
        table.append(table_line([*(escaped(name(part)) for part in row), *cells]))
    parts = [
        [f"# {escaped(titled(heading['title'], data_of(long)))}"],
        ["| | |", "|---|---|", *(table_line(map(escaped, fact)) for fact in facts(long, heading))],
        [f"**{escaped(heading['verdict'])}**"] if heading.get("verdict") else [],
        [counted(long)],
        [f"- {escaped(note)}" for note in heading.get("notes", ())],
        table,
        [f"- {escaped(sentence)}" for sentence in legend(long)],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _markdown_cell(cell: Cell) -> str:
    ours = f"**{cell.ours}**" if cell.best else cell.ours
    published = f"**{cell.published}**" if cell.published_best else cell.published
    lines = [
        f"{ours}{escaped(cell.marker)} {cell.interval}".rstrip(),
        cell.spread,
        f"paper {published}" if published else "",
        cell.verdict,
    ]
    return "<br>".join(filter(None, lines))


LATEX_SIGNS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    MISSING: "--",
    **{sign: f"\\{sign}" for sign in "{}$&#%_"},
}

LATEX_START = r"""% Run pdflatex twice: longtable sets its columns in the second pass.
\documentclass[10pt]{article}
\usepackage[a4paper, landscape, margin=12mm]{geometry}
\usepackage{booktabs, longtable}
\setlength{\tabcolsep}{4pt}
\setlength{\parindent}{0pt}
\begin{document}
\footnotesize"""


def latex(long: pd.DataFrame, heading: Mapping[str, Any], baselines: pd.DataFrame | None = None) -> str:
    """Return the table as a LaTeX document that compiles alone (booktabs, longtable); arguments as `markdown`."""
    layout, decimals = with_baselines(grid(long), baselines), decimals_of(long)
    made_from = " ".join(f"{key}: {value}." for key, value in facts(long, heading))
    below = [made_from, heading.get("verdict", ""), counted(long), *heading.get("notes", ()), *legend(long)]
    lines = [
        LATEX_START,
        rf"\section*{{{_tex(titled(heading['title'], data_of(long)))}}}",
        rf"\begin{{longtable}}{{{'l' * len(layout.side)}{'c' * len(layout.columns)}}}",
        r"\toprule",
        *_latex_heads(layout),
        r"\midrule",
        r"\endhead",
        "\\\\[4pt]\n".join(_latex_row(row, layout, decimals) for row in layout.rows) + r"\\",
        r"\bottomrule",
        r"\end{longtable}",
        "\n\n".join(_tex(sentence) for sentence in below if sentence),
        r"\end{document}",
    ]
    return "\n".join(lines) + "\n"


def _latex_heads(layout: Grid) -> list[str]:
    """Return one line per level of the heads; a head that spans columns stands over a rule."""
    lines = []
    for level in range(len(layout.top) - 1):
        entries, rules = [""] * len(layout.side), []
        first = len(layout.side) + 1
        for head, group in itertools.groupby(column[: level + 1] for column in layout.columns):
            width = len(list(group))
            entries.append(rf"\multicolumn{{{width}}}{{c}}{{{_tex(name(head[-1]))}}}")
            rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
            first += width
        lines += [" & ".join(entries) + r"\\", " ".join(rules)]
    last = [key.capitalize() for key in layout.side] + [name(column[-1]) for column in layout.columns]
    return [*lines, " & ".join(map(_tex, last)) + r"\\"]


def _latex_row(row: Head, layout: Grid, decimals: Mapping[str, int]) -> str:
    """Return the lines of one row, below each other: ours, interval, spread over seeds, published, verdict."""
    cells = [content(layout.cells.get((row, column)), decimals) for column in layout.columns]
    lines = [
        [
            _bold(cell.ours, cell.best) + (rf"\textsuperscript{{{cell.marker}}}" if cell.marker else "")
            for cell in cells
        ],
        [cell.interval for cell in cells],
        [cell.spread for cell in cells],
        [f"paper {_bold(cell.published, cell.published_best)}" if cell.published else "" for cell in cells],
        [rf"\textit{{{cell.verdict}}}" if cell.verdict else "" for cell in cells],
    ]
    heads = itertools.chain([[_tex(name(part)) for part in row]], itertools.repeat([""] * len(row)))
    shown = (line for line in lines if any(line))
    return "\\\\*\n".join(" & ".join([*head, *line]) for head, line in zip(heads, shown, strict=False))


def _bold(text: str, bold: bool) -> str:
    return rf"\textbf{{{_tex(text)}}}" if bold else _tex(text)


def _tex(text: str) -> str:
    return str(text).translate(str.maketrans(LATEX_SIGNS))


def console(long: pd.DataFrame, heading: Mapping[str, Any], baselines: pd.DataFrame | None = None) -> Group:
    """Return ours beside the paper's for a terminal of 120 columns, one block per data set; arguments as `markdown`.

    A block whose cells share one verdict says it once, in its title, and shows intervals in its place; so does one
    beside which nothing was published.
    """
    layout, decimals = with_baselines(grid(long), baselines), decimals_of(long)
    blocks = [_console_block(layout, columns, decimals) for columns in _console_columns(layout)]
    closing = filter(None, [heading.get("verdict", ""), counted(long)])
    return Group(Text(titled(heading["title"], data_of(long)), style="bold"), *blocks, Text("\n".join(closing)))


def _console_columns(layout: Grid) -> list[list[Head]]:
    """Cut the columns where the data set changes, and where a block would be too wide for a terminal."""
    blocks = []
    for _, group in itertools.groupby(layout.columns, key=lambda head: head[0] if layout.top[0] == "dataset" else ""):
        columns = list(group)
        blocks += [columns[first : first + CONSOLE_COLUMNS] for first in range(0, len(columns), CONSOLE_COLUMNS)]
    return blocks


def _console_block(layout: Grid, columns: list[Head], decimals: Mapping[str, int]) -> Table:
    records = [record for (_, column), record in layout.cells.items() if column in columns and "verdict" in record]
    verdicts = {str(record["verdict"]).replace("_", " ") for record in records}
    common = verdicts.pop() if len(verdicts) == 1 else ""
    dataset = "" if "dataset" in layout.side else titled(name(records[0]["dataset"]), data_of(pd.DataFrame(records)))
    title = ", ".join(filter(None, [dataset, f"every cell: {common}" if common else ""]))
    intervals = bool(common) or not layout.compared
    table = _console_heads(layout, columns, title, intervals)
    for above, row in zip([layout.rows[0], *layout.rows], layout.rows, strict=False):
        if len(row) > 1 and above[0] != row[0]:
            table.add_section()
        shown: list[str | Text] = [*map(name, row)]
        for column in columns:
            cell = content(layout.cells.get((row, column)), decimals)
            paper = [cell.published] if layout.compared else []
            shown += [_console_number(cell), *paper, cell.interval if intervals else cell.verdict]
        table.add_row(*shown)
    return table


def _console_heads(layout: Grid, columns: list[Head], title: str, intervals: bool) -> Table:
    """Return a block without rows: three columns for each column of the paper, two where there is no paper."""
    table = Table(title=f"\n{title}", title_justify="left", box=SIMPLE_HEAD, padding=0, show_edge=False)
    for key in layout.side:
        table.add_column(f"\n{key}")
    for column in columns:
        metric = " ".join(map(name, column[layout.top[0] == "dataset" :]))
        table.add_column(f"{metric}\nours", justify="right")
        if layout.compared:
            table.add_column("\npaper", justify="right", style="dim")
        table.add_column("\n95 % interval" if intervals else "\nverdict")
    return table


def _console_number(cell: Cell) -> Text:
    """Return a number with room for three stars, so that the digits stand below each other."""
    return Text(cell.ours, style="bold" if cell.best else "").append(f"{cell.marker:<3}")
