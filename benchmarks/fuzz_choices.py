"""Inputs are made of single choices: whoever makes these, hypothesis or libFuzzer, makes the same papers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

T = TypeVar("T")


class Choose(Protocol):
    """Makes the choices that an input is made of."""

    def __call__(self, n: int) -> int:
        """A number from 0 to n - 1."""
        ...


class Bytes:
    """Makes choices of bytes, as libFuzzer and hypothesis hand them out; the first of all when they are used up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __call__(self, n: int) -> int:
        """A number from 0 to n - 1."""
        width = (max(n - 1, 1).bit_length() + 7) // 8
        at, self._at = self._at, self._at + width
        return int.from_bytes(self._data[at : self._at], "little") % n


@dataclass(frozen=True, slots=True)
class Case:
    """An input, and the words that must be found again in what is made of it."""

    data: bytes
    words: tuple[str, ...] = ()


def pick(choose: Choose, options: Sequence[T]) -> T:
    """One of them."""
    return options[choose(len(options))]


def files(suffix: str, folder: str) -> list[bytes]:
    """The golden files of that suffix, and those of the shared folder where there is one."""
    golden = Path(__file__).parents[1] / "tests/golden"
    shared = Path(os.environ.get("LOCCIT_SHARED") or Path(__file__).parents[2] / "shared") / folder
    return [path.read_bytes() for each in (golden, shared) for path in sorted(each.glob(f"*{suffix}"))]
