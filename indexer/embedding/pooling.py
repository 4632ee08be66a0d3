"""Passages -> vectors, a sentence's from what the model makes of its tokens within the passage (late pooling).

Günther et al. 2024, "Late Chunking": a sentence is read in its context, and a passage is read once. What both embedders
do alike stands here; this knows nothing of how a model is run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from indexer.embedding.base import (
    Encoder,
    ModelIdentity,
    PassageText,
    PassageVectors,
    Vectors,
    mean_vector,
    split_to_fit,
    unit,
)
from indexer.errors import ModelError

_COUNT_BATCH = 2048
_PROGRESS_STEP = 2048
"""Wordpieces: a tenth of a second."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Traits:
    """How a model wants to be read."""

    document_prompt: str
    """What it wants in front of a passage; empty for most."""
    query_prompt: str
    pools_late: bool
    """Whether a text's vector is the mean of its tokens' outputs, so that a part of them means a part of the text."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text as the model's tokenizer gives it, special tokens and prompt included."""

    ids: Sequence[int]
    offsets: npt.NDArray[np.int64]
    """Where each token stands in the text, (n_tokens, 2); (0, 0) for a special one."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A text to be read by the model, and the parts of it whose vectors are wanted too."""

    text: str
    """Without the prompt."""
    tokens: Tokens
    parts: dict[tuple[int, int], Mask] = field(default_factory=dict)
    """By span in prompt and text, which tokens are the part's: (n_tokens,)."""


def find_sentences(text: str, sentences: Sequence[str]) -> list[tuple[int, int] | None]:
    """Where the sentences, one after the other, stand in the text; None for one that does not.

    From the last to the first: what a text has of its own, a prompt or a caption, stands in front.
    """
    spans: list[tuple[int, int] | None] = []
    end = len(text)
    for sentence in reversed(sentences):
        start = text.rfind(sentence, 0, end)
        spans.append((start, start + len(sentence)) if start >= 0 else None)
        end = start if start >= 0 else end
    return spans[::-1]


def tokens_within(offsets: npt.NDArray[np.int64], span: tuple[int, int]) -> Mask:
    """Which tokens have a character in the span: (n_tokens,)."""
    starts, ends = offsets.T
    return np.asarray((starts < span[1]) & (ends > span[0]) & (starts < ends))


def pool(outputs: npt.NDArray[np.float32], masks: Sequence[Mask]) -> Vectors:
    """The mean of the tokens' outputs, (n_tokens, dim), under each mask: (n_masks, dim), of unit length."""
    # The sum's direction is the mean's.
    return unit(np.array(masks, dtype=np.float32).reshape(len(masks), len(outputs)) @ outputs)


class PoolingEmbedder(ABC):
    """An embedder but for the model: what counts tokens, and what makes vectors of them."""

    def __init__(self, identity: ModelIdentity, encoder: Encoder, traits: Traits) -> None:
        self.identity = identity
        self.encoder = encoder
        self.traits = traits

    @abstractmethod
    def _lengths(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, special tokens included."""

    @abstractmethod
    def _tokens(self, texts: Sequence[str]) -> list[Tokens]:
        """The texts' tokens, special ones included."""

    @abstractmethod
    def _run(self, readings: Sequence[Reading], prompt: str) -> Generator[Vectors, None, None]:
        """For each text in turn its vector, and below it those of its parts: (1 + n_parts, dim)."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens that each text takes up in the model, special tokens and prompt included."""
        prompt = self.traits.document_prompt
        return [
            length
            for at in range(0, len(texts), _COUNT_BATCH)
            for length in self._lengths([prompt + text for text in texts[at : at + _COUNT_BATCH]])
        ]

    def encode(
        self, passages: Sequence[PassageText], on_progress: Callable[[int], None] = lambda n: None
    ) -> list[PassageVectors]:
        """Passages and their sentences, in order. A text that is there more than once is read once.

        A sentence's vector is the mean of its own tokens' outputs in the passage. One that does not stand in the
        passage's text is encoded on its own, and so are all if the model's vectors are no means. `on_progress` hears
        how many more wordpieces have been read. Raises ModelError for a text longer than the model reads.
        """
        readings = self._read(dict.fromkeys(passage.text for passage in passages))
        places = [self._placed(passage, readings[passage.text]) for passage in passages]
        alone = dict.fromkeys(text for each in places for text, _ in each if text not in readings)
        readings |= self._read(alone)
        vectors = self._vectors(list(readings.values()), on_progress)
        return [
            PassageVectors(
                vectors[passage.text][0],
                np.array([vectors[text][row] for text, row in each], np.float32).reshape(len(each), self.identity.dim),
            )
            for passage, each in zip(passages, places, strict=True)
        ]

    def encode_query(self, text: str) -> Vectors:
        """A query -> (dim,). A text longer than the model reads is encoded in pieces, and their mean taken."""
        prompt, limit = self.traits.query_prompt, self.identity.max_wordpieces
        pieces = split_to_fit(text, lambda piece: self._lengths([prompt + piece])[0] <= limit)
        tokens = self._tokens([prompt + piece for piece in pieces])
        readings = [Reading(piece, each) for piece, each in zip(pieces, tokens, strict=True)]
        return mean_vector([rows[0] for rows in self._run(readings, prompt)])

    def _read(self, texts: dict[str, None]) -> dict[str, Reading]:
        """The texts' readings, by text. Raises ModelError for one that is too long."""
        tokens = self._tokens([self.traits.document_prompt + text for text in texts])
        longest = max((len(each.ids) for each in tokens), default=0)
        if longest > self.identity.max_wordpieces:
            raise ModelError(
                f"a text of {longest} wordpieces was to be embedded, and {self.identity.name} reads "
                f"{self.identity.max_wordpieces}: it would be cut silently, so it is refused"
            )
        return {text: Reading(text, each) for text, each in zip(texts, tokens, strict=True)}

    def _placed(self, passage: PassageText, reading: Reading) -> list[tuple[str, int]]:
        """For each sentence the text that gives its vector, and in which row: of the passage, or its own in the first.

        Notes in `reading` which parts of the passage are wanted.
        """
        if not self.traits.pools_late:
            return [(sentence, 0) for sentence in passage.sentences]
        places: list[tuple[str, int]] = []
        found = find_sentences(self.traits.document_prompt + passage.text, passage.sentences)
        for sentence, span in zip(passage.sentences, found, strict=True):
            if span is not None and span not in reading.parts:
                mask = tokens_within(reading.tokens.offsets, span)
                if mask.any():
                    reading.parts[span] = mask
            if span in reading.parts:
                places.append((passage.text, 1 + list(reading.parts).index(span)))
            else:
                places.append((sentence, 0))
        return places

    def _vectors(self, readings: list[Reading], on_progress: Callable[[int], None]) -> dict[str, Vectors]:
        """What `_run` gives, by text; the longest texts first, so that no thread is left with one at the end."""
        readings.sort(key=lambda reading: -len(reading.tokens.ids))
        vectors: dict[str, Vectors] = {}
        n_read = 0
        with closing(self._run(readings, self.traits.document_prompt)) as rows:
            for reading, of_reading in zip(readings, rows, strict=True):
                vectors[reading.text] = of_reading
                n_read += len(reading.tokens.ids)
                if n_read >= _PROGRESS_STEP:
                    on_progress(n_read)
                    n_read = 0
        if n_read:
            on_progress(n_read)
        return vectors
