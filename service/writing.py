"""An answer in the papers' own sentences, and a chat model -> an answer that the model wrote, sentence by sentence.

What of the reply does not hold is left out; where nothing holds, the answer stays as it was and says why.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Literal

from indexer.errors import GenerationError
from service.generate import CitedPassage, Draft, make_prompt
from service.llm import ChatModel
from service.replies import Answer, Statement, Waiting

Generate = Literal["auto", "never", "always"]
"""Whether a model writes the answer: where one is configured, and with the papers' own sentences where it fails; not at
all; or an error where it fails."""

MAX_REPLY_TOKENS = 2000
"""Of a reply. The answer has a tenth of it; models that think take the rest."""


def write(
    llm: ChatModel, answer: Answer, sources: Sequence[CitedPassage], max_tokens: int, *, strict: bool
) -> Generator[Statement | Waiting | Answer, None, None]:
    """Each statement as soon as it holds, the whole answer last.

    With `strict` a model that fails raises GenerationError; else the answer is what holds of its reply, or `answer`
    where nothing does.
    """
    prompt = make_prompt(answer.question, sources, max_tokens)
    known = " ".join((answer.question, *(each.expansion for each in answer.expansions)))
    draft = Draft(prompt.sources, known)
    statements: list[Statement] = []
    failure: GenerationError | None = None
    try:
        if not prompt.sources:
            raise GenerationError(
                f"no passage fits the model's budget of {max_tokens:,} tokens: raise LOCCIT_LLM_PROMPT_TOKENS"
            )
        with closing(llm.stream(prompt.messages, MAX_REPLY_TOKENS)) as pieces:
            for piece in pieces:
                new = draft.read(piece)
                statements += new
                yield from new or (Waiting(),)
                if draft.is_full:  # what comes after is not waited for
                    break
            else:
                new = draft.finish()
                statements += new
                yield from new
        if not statements and not draft.declined:
            why = _dropped(draft) or "it wrote none"
            raise GenerationError(f"no sentence that {llm} wrote holds ({why}): ask again, or another model")
    except GenerationError as error:
        if strict:
            raise
        failure = error
    yield _answer(llm, answer, statements, draft, failure, strict=strict)


def _answer(
    llm: ChatModel,
    answer: Answer,
    statements: Sequence[Statement],
    draft: Draft,
    failure: GenerationError | None,
    *,
    strict: bool,
) -> Answer:
    if statements:
        notes = [f"sentences that {llm.name} wrote and that are left out: {_dropped(draft)}"] if draft.dropped else []
        notes += [f"its reply is not whole: {failure}"] if failure else []
        return replace(
            answer,
            kind="generated",
            text=" ".join(each.text for each in statements),
            model=llm.name,
            note="; ".join(notes),
            quotes=draft.quotes,
        )
    if failure:
        return replace(answer, note=f"these are the papers' own sentences: {failure}")
    said = f"{llm.name} found no answer in these passages"
    if strict:
        return replace(answer, status="not_found", kind="none", text="", note=said, quotes=())
    status = "partial" if answer.status == "answered" else answer.status
    return replace(answer, status=status, note=f"these are the papers' own sentences: {said}")


_WHY = {
    "unquoted": "without a quote",
    "form": "written as a table",
    "passage": "citing a passage that it was not given",
    "short": "with too short a quote",
    "quote": "with a quote that is not in the passages",
    "order": "quoting an order as if it were a finding",
    "numbers": "with a number, unit or link that its quotes have not",
    "words": "of which its quotes do not speak",
    "contradiction": "that its quotes seem to deny",
    "certainty": "surer of it than its quotes",
}


def _dropped(draft: Draft) -> str:
    """`2 without a quote, 1 with a quote that is not in the passages`; empty where none was."""
    return ", ".join(f"{n} {_WHY[reason]}" for reason, n in draft.dropped.most_common())
