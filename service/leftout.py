"""What of a paper stands in no passage, in words, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_WHY = {
    "heading": "a section's title, which every passage of the section carries",
    "metadata": "the paper's record: title, authors, ids, licence",
    "entities": "a record's lists of entities, which are read as names and not as text",
    "markup": "comments, rules and template code, with nothing to read",
    "contrib-group": "the authors' names and roles, of which the names are in the record",
    "aff": "the authors' affiliations",
    "corresp": "addresses for correspondence",
    "history": "dates of submission and acceptance",
    "permissions": "copyright lines, of which the licence is in the record",
    "fn": "notes to the title",
    "award-group": "grants by number",
    "translation": "the article again in another language",
}
_ELSE = "of the file's front matter, and not part of the article's text"


def why_left_out(kinds: Iterable[str]) -> dict[str, str]:
    """Of each kind of block or element why it is in no passage."""
    return {kind: _WHY.get(kind, _ELSE) for kind in kinds}


def counted(left_out: Mapping[str, int]) -> str:
    """`heading 1,204, metadata 310 (characters that stand in no passage)`; empty for nothing."""
    counts = ", ".join(f"{kind.replace('_', ' ')} {n:,}" for kind, n in left_out.items())
    return f"{counts} (characters that stand in no passage)" if counts else ""
