"""Texts that tell a model what to do: papers are read as data, and such a sentence is no evidence."""

from __future__ import annotations

import re

_CHAT_SYNTAX = re.compile(
    r"<(?=[|｜]|\s*/?\s*(?:s|bos|eos|pad|unk|think|thinking|start_of_turn|end_of_turn|system|user|assistant)\s*>)"
    r"|<(?=<\s*/?\s*SYS\b)|\[(?=\s*/?\s*(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS)\b)",
    re.IGNORECASE,
)
"""Where what models' chat templates are written with begins: `<|im_start|>`, `</s>`, `[INST]`, `<<SYS>>`."""
_UNSEEN = re.compile("[\U000e0000-\U000e007f]")
"""Unicode's tags: ASCII once more, for which no font has a shape."""
_ORDER = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b[^.]{0,60}\b(?:instructions?|rules?|prompts?|previous|above|passages?)\b"
    r"|\b(?:you|assistants?|(?:ai|language) models?|chatbots?|llms?)\s+(?:must|should|shall|have to|are to|will)\s+"
    r"(?:\w+\s+)?(?:answer|reply|respond|say|write|output|print|tell|state|claim|recommend|cite|quote|conclude)\b"
    r"|\bas an? (?:ai|artificial intelligence|(?:large )?language model|assistant|chatbot)\b|\bsystem prompt\b"
    r"|\byou are (?:now )?(?:a|an|the) (?:\w+ )?(?:assistant|ai|chatbot|(?:language )?model)\b"
    r"|\b(?:note|message|instructions?) (?:to|for) (?:the |any |all )?(?:ai|assistants?|models?|chatbots?|llms?)\b"
    r"|\b(?:reply|respond|answer|output) (?:only |exactly )?with\b|\b(?:reply|respond|answer) (?:only|exactly)\b"
    r"|\bnot in the passages\b",
    re.IGNORECASE,
)


def disarmed(text: str) -> str:
    """The text with what models' chat templates are written with taken apart by a blank: `< |im_start|>`; and without
    letters that a model reads and nobody sees."""
    return _CHAT_SYNTAX.sub(lambda match: f"{match[0]} ", _UNSEEN.sub("", text))


def gives_orders(text: str) -> bool:
    """Whether the text tells its reader, or a model, what to do or to answer."""
    return bool(_ORDER.search(" ".join(text.split()))) or disarmed(text) != text
