"""Attributes that are computed once."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class cached_property(Generic[Value]):  # noqa: N801
    """`functools.cached_property` without the lock that it has before Python 3.12, which breaks graphs of PyTorch."""

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        self.compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Value:
        value = instance.__dict__[self.name] = self.compute(instance)  # found there before this is asked again
        return value
