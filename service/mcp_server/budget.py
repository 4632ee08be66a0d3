"""Replies as JSON, and how much of them fits a number of tokens. Knows nothing of what they say."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter

from indexer.errors import UsageError
from indexer.tokens import count_tokens

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MIN_TOKENS = 500
DEFAULT_TOKENS = 6_000
"""Some ten passages with all that is to be said of where they stand."""
MAX_TOKENS = 25_000
"""Assistants cut off, or set aside in a file, what is longer: Claude Code does so from 25,000 tokens on."""

_TIMES = {"took_ms"}
"""What differs from one reply to the same question to the next."""

_Reply = TypeVar("_Reply", bound="DataclassInstance")


def json_of(reply: DataclassInstance) -> str:
    """The reply as everywhere, but for the time that it took: the same bytes for the same question and generation."""
    return _adapter(type(reply)).dump_json(reply, exclude=_TIMES).decode()


def schema_of(kind: type[DataclassInstance]) -> dict[str, Any]:
    """The JSON Schema of what `json_of` gives for replies of that kind."""
    schema = _adapter(kind).json_schema(mode="serialization")
    for name in _TIMES & schema["properties"].keys():
        del schema["properties"][name]
        schema["required"].remove(name)
    return schema


def n_tokens(text: str) -> int:
    """Its length in cl100k_base tokens."""
    return count_tokens([text])[0]


def largest(size: Callable[[int], int], most: int, budget: int) -> int:
    """The largest of 1 to `most` whose size, which grows with it, is within the budget; 0 where none is.

    Sizes are taken of no more than twice that many.
    """
    reach = 1
    while reach < most and size(reach) <= budget:
        reach *= 2
    return bisect_right(range(1, most + 1), budget, reach // 2, min(reach, most), key=size)


def fit(make: Callable[[int], _Reply], most: int, max_tokens: int, *, least: int = 1, otherwise: str = "") -> _Reply:
    """The reply that `make` gives for the largest of `least` to `most` whose JSON has no more tokens.

    Raises UsageError, which says how many it takes and what to do `otherwise`, where the least has more.
    """
    least = min(least, most)

    def size(n: int) -> int:
        return n_tokens(json_of(make(least + n - 1)))

    if n := largest(size, most - least + 1, max_tokens):
        return make(least + n - 1)
    needed = size(1)
    step = f"call again with max_tokens {needed} or more" if needed <= MAX_TOKENS else "ask for less"
    raise UsageError(
        f"the reply takes {needed:,} tokens at the least, and {max_tokens:,} are the most: {otherwise or step}"
    )


def whole(reply: _Reply, less: str) -> _Reply:
    """The reply, if it fits where no other budget is given; else UsageError, which advises to do `less`."""
    needed = n_tokens(json_of(reply))
    if needed > DEFAULT_TOKENS:
        raise UsageError(f"the reply takes {needed:,} tokens, and {DEFAULT_TOKENS:,} are the most: {less}")
    return reply


@cache
def _adapter(kind: type[DataclassInstance]) -> TypeAdapter[DataclassInstance]:
    return TypeAdapter(kind)
