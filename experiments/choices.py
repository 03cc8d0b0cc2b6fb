"""What we chose where a paper leaves something open: said in the comments of a configuration, read from there."""

import re
from collections.abc import Iterator

LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w-]+): *(?P<value>[^#]*?) *(?:#(?P<comment>.*))?$")
MARK = re.compile(r"\bchosen\b|\balternative\b|\b(?:related|later|sister|authors'|FTL) code\b|\bMIScnn\b")


def choices(text: str) -> list[tuple[str, str]]:
    """Return the keys whose comment says that their value is no statement of the paper.

    Args:
        text: A configuration, as it is written.

    Returns:
        ``training.schedule: none`` and what the comment says, for each such line outside of ``profiles``.
    """
    return [(key, remark) for key, remark in remarks(text) if MARK.search(remark)]


def remarks(text: str) -> Iterator[tuple[str, str]]:
    """Yield each line outside of ``profiles`` that has a comment, as `choices` returns them."""
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = LINE.match(line)
        if not match:
            continue
        depth = len(match["indent"])
        path = [(indent, key) for indent, key in path if indent < depth] + [(depth, match["key"])]
        if path[0][1] != "profiles" and match["comment"]:
            dotted = ".".join(key for _, key in path)
            yield f"{dotted}: {match['value']}".removesuffix(": "), match["comment"].strip()
