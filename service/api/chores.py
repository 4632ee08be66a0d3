"""What chat front ends ask of a model for themselves, beside the user's questions: titles, tags, suggestions.

None of it is a question to the papers. Open WebUI wants JSON and falls back on words of its own where that is empty;
LibreChat takes the reply as the title.
"""

from __future__ import annotations

import json
import re
from textwrap import shorten

from service.printable import clean

_MAX_TITLE_CHARACTERS = 60
_TASK = re.compile(r"\s*### Task:")
"""How the prompts of Open WebUI begin (its `config.py`)."""
_WANTED = re.compile(r'\{\s*"(title|tags|follow_ups|queries|text|prompt)"\s*:')
"""What those want that are not about a question: the key of the JSON object to reply with."""
_NOTHING: dict[str, str | list[str]] = {"tags": [], "follow_ups": [], "queries": [], "text": "", "prompt": ""}
_HISTORY = "<chat_history>"
_TITLE = re.compile(
    r"\s*(?:Provide a concise, 5-word-or-less title for the conversation"
    r"|Analyze this conversation and provide:\s+1\. The detected language"
    r"|Please generate a concise title \(max 40 characters\))"
)
"""How LibreChat's prompts for a title begin."""
_TURN = re.compile(r"^[^\w\n]*(user|ai|assistant):|</chat_history>", re.MULTILINE | re.IGNORECASE)
"""Where someone's words begin, and all of them end."""
_LOOKED_AT = 4_000
"""Characters of a conversation in which a title is looked for."""
_CONTEXT_END = "</context>"


def chore_reply(message: str) -> str | None:
    """The reply to a front end's own request, None to a user's question: a title is the first question's words, and
    there is nothing to suggest."""
    if _TASK.match(message):
        task, _, history = message.partition(_HISTORY)
        wanted = _WANTED.search(task)
        if wanted is None:
            return None
        return json.dumps({wanted[1]: _title(history) if wanted[1] == "title" else _NOTHING[wanted[1]]})
    return _title(message) if _TITLE.match(message) else None


def question_in(message: str) -> str:
    """The user's question, without the documents that Open WebUI puts in front of it where some are attached."""
    if not _TASK.match(message) or _CONTEXT_END not in message:
        return message
    after = message.rpartition(_CONTEXT_END)[2]
    query, closed, _ = after.partition("<user_query>")[2].partition("</user_query>")
    return (query if closed else after).strip()


def _title(conversation: str) -> str:
    beginning = conversation[:_LOOKED_AT]
    turns = _TURN.finditer(beginning)
    for turn in turns:
        if (turn[1] or "").lower() == "user":
            following = next(turns, None)
            asked = beginning[turn.end() : following.start() if following else None]
            return shorten(clean(asked), _MAX_TITLE_CHARACTERS, placeholder="…")
    return ""
