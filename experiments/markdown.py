"""Markdown of tables: text without signs that mean something, and lines. Nothing heavy is imported."""

from collections.abc import Iterable


def escaped(text: str) -> str:
    """Return text in which no sign means anything to Markdown."""
    return text.translate({ord(sign): f"\\{sign}" for sign in "\\`*_|<>[]~&"})


def table_line(entries: Iterable[str]) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(entries)} |"
