"""A model's reply, piece by piece -> its claims, each with the passages and quotes that it names.

Models write the markers that they are asked for in many ways; all that can be told for certain are read. Knows nothing
of passages. The reply is read a character at a time, so that it does not matter how it was cut into pieces.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from indexer.plaintext import plain_text
from indexer.sentences import split_sentences
from service.generate.prompt import NOT_IN_THE_PASSAGES

MAX_UNIT_CHARACTERS = 3000
"""Of what is looked at as a whole: a sentence and its markers, or a paragraph without any."""

_NUMBER = r"(?:passages?|sources?|no\.?|p\.?|#)?\s*\d{1,3}(?:\s+[0-9a-f]{8})?"
_COLON = r"\s*[:,.=–—-]?\s*"
_QUOTE_MARK = "[\"“”„‟«»‹›「」'‘’`]"
_DOUBLE = '["“”„‟«»]'
_QUOTED = rf"{_QUOTE_MARK}(?:(?![\[(【]\s*{_NUMBER}{_COLON}{_QUOTE_MARK}).){{1,1500}}?{_QUOTE_MARK}"
"""No marker begins in a quote: else each of many that are never closed is read to the last one's end."""
_MARKER = re.compile(
    rf"\[\s*(?P<square>{_NUMBER}){_COLON}(?P<in_square>{_QUOTED})\s*[.;,]?\s*\]"
    rf"|【\s*(?P<lens>{_NUMBER}){_COLON}(?P<in_lens>{_QUOTED})\s*[.;,]?\s*】"
    rf"|\(\s*(?P<round>{_NUMBER}){_COLON}(?P<in_round>{_QUOTED})\s*[.;,]?\s*\)"
    rf"|[\[【]\s*(?P<before>{_NUMBER})\s*[\]】]\s*[:–-]?\s*(?P<after>{_DOUBLE}(?=\S)[^\"“”„«»]{{1,700}}(?<=\S){_DOUBLE})"
    rf"|\[\s*(?P<plain>{_NUMBER})\s*:\s*(?P<unquoted>[^\[\]\"“”«»]{{8,700}})\]"
    rf"|[\[【]\s*(?P<bare>{_NUMBER}(?:\s*[,;&–-]\s*{_NUMBER})*)\s*[\]】]"
    rf"|[\[【]\s*(?P<broken>{_NUMBER})\s*:[^\[\]【】]*(?P<shut>[\]】]?)",
    re.IGNORECASE | re.DOTALL,
)
_QUOTED_BEFORE = re.compile(rf"{_DOUBLE}(?=\S)([^\"“”„«»]{{8,700}})(?<=\S){_DOUBLE}[.,]?\s*$")
_NEXT_QUOTE = re.compile(
    rf"{_QUOTE_MARK}\s*[;,]?\s*(?:and\s+)?(?:(?P<number>{_NUMBER}){_COLON})?(?<=[\s;,:]){_QUOTE_MARK}(?=\S)",
    re.IGNORECASE,
)
"""Between two quotes of a marker: `"; 3: "`, `", "`."""
_SECOND_STOP = re.compile(r"^\s*[.,;]+(?=\s)")
_BARE_NUMBER = re.compile(r"(?:(?<!\w)|(?<=[pP]))\d{1,3}(?!\w)")
_DIGITS = re.compile(r"\d+")
_CLOSES = frozenset(".,;:!?)]}\"'”’»*_】")
_OPENS = frozenset("[(【")
_TAIL = frozenset(".,;:!?*_")
"""What may stand between a marker and the next sentence, beside white space."""
_NEW_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_BULLET = frozenset("-*•–#>")
_LINE_PREFIX = re.compile(
    r"^[ \t]*(?:(?:[-*•–]|\d{1,2}[.)])[ \t]+)?(?:\**(?:final )?answer\s*:\**[ \t]*)?", re.IGNORECASE | re.MULTILINE
)
_THOUGHTS = re.compile(r"<(/?)think(?:ing)?>$", re.IGNORECASE)
_LONGEST_TAG = len("</thinking>")
_DECLINED = re.compile(rf"\b{NOT_IN_THE_PASSAGES}\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Marker:
    """A passage's number, as the model gave it, and what it quotes of it; empty where it names the number alone."""

    number: int
    quote: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of the reply without its markers and Markdown."""

    text: str
    markers: tuple[Marker, ...]


class Parser:
    """Reads one reply."""

    def __init__(self) -> None:
        self.declined = False
        """Whether the model said that the passages do not answer the question."""
        self._unit = ""
        self._thinking = False

    def feed(self, piece: str) -> list[Claim]:
        """The claims that are complete with this piece."""
        claims: list[Claim] = []
        for character in piece:
            if self._ends_before(character):
                claims += self._claims()
            self._unit += character
            if character == ">" and (tag := _THOUGHTS.search(self._unit)):
                if not tag[1] and not self._thinking:
                    self._unit = self._unit[: tag.start()]
                    claims += self._claims()
                # What a lone closing tag ends was thoughts too: the opening one may stand in the prompt.
                self._unit, self._thinking = "", not tag[1]
            elif self._thinking:
                self._unit = self._unit[-_LONGEST_TAG:]
            elif len(self._unit) >= MAX_UNIT_CHARACTERS:
                claims += self._claims()
        return claims

    def finish(self) -> list[Claim]:
        """The claims left over at the reply's end."""
        return [] if self._thinking else self._claims()

    def _ends_before(self, character: str) -> bool:
        """Whether the unit is complete, now that this character follows."""
        if self._thinking or character.isspace() or character in _OPENS or character in _CLOSES - _BULLET:
            return False
        unit = self._unit
        if not unit or (unit[-1].isalnum() and character.isalnum()):
            return False
        gap = unit[len(unit.rstrip()) :]
        if _NEW_PARAGRAPH.search(gap):
            return True
        if "\n" in gap and character in _BULLET:
            return True
        if character in _CLOSES or character.islower():
            return False
        end = len(unit)
        while end and (unit[end - 1].isspace() or unit[end - 1] in _TAIL):
            end -= 1
        if not end or unit[end - 1] not in '])】"”»':
            return False
        found = list(_MARKER.finditer(unit))
        if not found or found[-1].end() != end or any(each["broken"] and not each["shut"] for each in found):
            return False
        stopped = any(stop in unit[end:] for stop in ".!?") or unit[: found[-1].start()].rstrip()[-1:] in set(".!?")
        return stopped or "\n" in gap or character.isupper()

    def _claims(self) -> list[Claim]:
        unit, self._unit = _LINE_PREFIX.sub("", self._unit), ""
        text, placed = _without_markers(unit)
        spans = split_sentences(text)
        markers: list[list[Marker]] = [[] for _ in spans]
        for at, marker in placed:
            before = [n for n, span in enumerate(spans) if span.start < at]
            if spans:
                markers[before[-1] if before else 0].append(marker)
        claims: list[Claim] = []
        for span, named in zip(spans, markers, strict=True):
            sentence = text[span.start : span.end]
            if _DECLINED.search(sentence):
                self.declined = True
            elif words := plain_text(sentence, 0, len(sentence)):
                claims.append(Claim(words, tuple(named)))
        return claims


def _without_markers(unit: str) -> tuple[str, list[tuple[int, Marker]]]:
    """The text between the markers, and each marker with where it stood in that text."""
    text = ""
    placed: list[tuple[int, Marker]] = []
    at = 0
    for match in _MARKER.finditer(unit):
        text = _joined(text, unit[at : match.start()], between=bool(placed))
        at = match.end()
        quoted = _QUOTED_BEFORE.search(text) if match["bare"] else None
        text = text.rstrip()
        placed += [(len(text), marker) for marker in _read(match, quoted[1] if quoted else "")]
    return _joined(text, unit[at:]), placed


def _joined(text: str, piece: str, *, between: bool = False) -> str:
    """The text going on behind a marker, without a second full stop, or what stood `between` two markers."""
    if (between and not piece.strip(" \t\r\n,;")) or (text[-1:] in set(".!?") and not piece.strip(" \t\r\n.,;")):
        return text
    if text[-1:] in set(".!?"):
        piece = _SECOND_STOP.sub("", piece)
    return text + piece


def _read(match: re.Match[str], quoted_before: str) -> list[Marker]:
    if match["bare"]:
        return [Marker(int(number), quoted_before) for number in _BARE_NUMBER.findall(match["bare"])]
    if match["broken"]:
        return [Marker(_number(match["broken"]), "")]
    number = next(match[name] for name in ("square", "lens", "round", "before", "plain") if match[name])
    if match["unquoted"]:
        return [Marker(_number(number), match["unquoted"].strip())]
    body = next(match[name] for name in ("in_square", "in_lens", "in_round", "after") if match[name])[1:-1]
    markers: list[Marker] = []
    at, of = 0, _number(number)
    for between in _NEXT_QUOTE.finditer(body):
        markers.append(Marker(of, body[at : between.start()].strip()))
        at, of = between.end(), _number(between["number"]) if between["number"] else of
    return [*markers, Marker(of, body[at:].strip())]


def _number(text: str) -> int:
    found = _DIGITS.search(text)
    assert found is not None
    return int(found[0])
