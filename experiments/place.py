"""Where a key of a merged configuration was written: file and line, or the option of the command line."""

from pathlib import Path
from typing import Any

Lines = dict[tuple[str, ...], int]


class Source:
    """Knows where a key of the merged document was written.

    Args:
        path: The YAML file.
        lines: Line of every key, by its path from the root.
        profile: The profile that was merged in.
        settings: Changes of the command line, each ``a.b=value``.
    """

    def __init__(self, path: Path, lines: Lines, profile: str, settings: tuple[str, ...] = ()) -> None:
        self.path, self.lines, self.profile, self.settings = path, lines, profile, settings

    def place(self, loc: tuple[Any, ...]) -> str:
        """Return ``file:line: a.b`` for a key, or the option of the command line that set it."""
        keys = self._as_written(tuple(str(part) for part in loc))
        dotted = ".".join(keys)
        for setting in self.settings:
            if f"{dotted}.".startswith(setting.partition("=")[0] + ".") or setting.startswith(f"{dotted}."):
                return f"--set {dotted}"
        own = sum(len(path) == 2 and path[0] == "overrides" for path in self.lines)
        if keys[0] == "overrides" and len(keys) > 1 and int(keys[1]) >= own:  # the profile's come after the file's
            keys = ("profiles", self.profile, "overrides", str(int(keys[1]) - own), *keys[2:])
        for depth in range(len(keys), 0, -1):
            for path in (("profiles", self.profile, *keys[:depth]), keys[:depth]):
                if path in self.lines:
                    return f"{self.path}:{self.lines[path]}: {dotted}"
        return f"{self.path}: {dotted}"

    def wrote(self, loc: tuple[Any, ...]) -> bool:
        """Return whether just this key was written, be it with the value that it has anyway."""
        keys = self._as_written(tuple(str(part) for part in loc))
        changed = [setting.partition("=")[0] for setting in self.settings]
        return ".".join(keys) in changed or keys in self.lines or ("profiles", self.profile, *keys) in self.lines

    def _as_written(self, keys: tuple[str, ...]) -> tuple[str, ...]:
        """Return the keys without the place in the list where `grid` is written as a single product."""
        listed = any(path[-2:] == ("grid", "0") for path in self.lines)
        return keys if keys[0] != "grid" or listed else (keys[0], *keys[2:])
