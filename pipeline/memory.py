"""Threads that share an amount of memory: many small cases at once, or a large one alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """Bytes that the threads of a process may hold together.

    Args:
        size: How many; who wants more gets all of them, alone.
    """

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._changed = threading.Condition()

    @contextmanager
    def held(self, wanted: int) -> Iterator[None]:
        """Wait until so many bytes are free, and hold them."""
        share = min(wanted, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= share)
            self._free -= share
        try:
            yield
        finally:
            with self._changed:
                self._free += share
                self._changed.notify_all()
