"""What a person sees while runs go on: a live display in a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

QUIET_SECONDS = 30
"""Without a terminal, an epoch is told of only if nothing was for so long."""


class Progresser:
    """Shows run k of n, epoch, loss, DSC and time left.

    Args:
        console: Where to.
        total: Number of runs that are due.
    """

    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total, self._done = console, total, 0
        self._began = self._told = time.monotonic()
        self._numbers: dict[str, int] = {}
        self._last: dict[str, Mapping[str, Any]] = {}
        self._tasks: dict[str, TaskID] = {}
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._all = self._progress.add_task("all runs", total=total, note="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Show one event of the pool."""
        getattr(self, f"_{event['kind']}", self._ended)(event)

    def _started(self, event: Mapping[str, Any]) -> None:
        self._numbers.setdefault(event["run"], len(self._numbers) + 1)
        self._tasks[event["run"]] = self._progress.add_task(event["run"], total=None, note="starts")

    def _resumed(self, event: Mapping[str, Any]) -> None:
        self._say(f"{self._name(event)} goes on after step {event['step']} of {event['steps']}")

    def _note(self, event: Mapping[str, Any]) -> None:
        self._say(f"{self._name(event)}: {event['text']}")

    def _epoch(self, event: Mapping[str, Any]) -> None:
        self._last[event["run"]] = event
        note = f"step {event['step']} of {event['steps']}, loss {event['loss']:.4f}, {_dsc(event)}"
        self._progress.update(self._tasks[event["run"]], total=event["steps"], completed=event["step"], note=note)
        if not self._console.is_terminal and time.monotonic() - self._told > QUIET_SECONDS:
            self._say(f"{self._name(event)}: {note}{self._left()}")

    def _held(self, event: Mapping[str, Any]) -> None:
        self._progress.remove_task(self._tasks.pop(event["run"]))
        self._say(f"{self._name(event)} is held by another command")

    def _waiting(self, event: Mapping[str, Any]) -> None:
        self._say(f"{event['runs']} runs are held by other commands; this one waits for them")

    def _scoring(self, event: Mapping[str, Any]) -> None:
        self._progress.update(self._tasks[event["run"]], note="predicts the test cases")

    def _ended(self, event: Mapping[str, Any]) -> None:
        """Tell how a run ended."""
        self._numbers.setdefault(event["run"], len(self._numbers) + 1)
        self._done += 1
        self._progress.update(self._all, completed=self._done)
        if (task := self._tasks.pop(event["run"], None)) is not None:
            self._progress.remove_task(task)
        last = self._last.get(event["run"])
        text = f": training loss {last['loss']:.4f}, {_dsc(last)}" if last and event["kind"] == "finished" else ""
        reason = f": {event['reason']}" if event.get("reason") else ""
        self._say(f"{self._name(event)} {event['kind']}{text}{reason}{self._left()}")

    def _name(self, event: Mapping[str, Any]) -> str:
        return f"run {self._numbers[event['run']]} of {self._total}  {event['run']}"

    def _left(self) -> str:
        """Return the time left, from the runs that are done."""
        if not 0 < self._done < self._total:
            return ""
        seconds = (time.monotonic() - self._began) / self._done * (self._total - self._done)
        return f"  (about {seconds / 60:.0f} min left)" if seconds >= 60 else "  (less than a minute left)"

    def _say(self, text: str) -> None:
        self._told = time.monotonic()
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def _dsc(event: Mapping[str, Any]) -> str:
    """Return the DSC of an epoch, that of the validation cases where there are any."""
    validated = event.get("val_dsc")
    return f"DSC {event['dsc']:.3f}" if validated is None else f"validation DSC {validated:.3f}"
