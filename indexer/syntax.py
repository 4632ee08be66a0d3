"""What is mark-up and what is text: HTML tags, emphasis, backslash escapes. For all that read Markdown's words."""

from __future__ import annotations

import re

from indexer.papers import Span

_TAG_NAMES = """
a abbr acronym address article aside audio b base bdi bdo big blockquote body br button canvas caption center cite code
col colgroup data dd del details dfn div dl dt em embed fieldset figcaption figure font footer form h1 h2 h3 h4 h5 h6
head header hr html i iframe img input ins kbd label legend li link main map mark meta meter nav nobr noscript object ol
optgroup option p param picture pre q rp rt ruby s samp script section select small source span strike strong style sub
summary sup svg table tbody td template textarea tfoot th thead time title tr track tt u ul var video wbr
circle defs g line path polygon polyline rect text tspan use
math annotation maction menclose merror mfenced mfrac mi mmultiscripts mn mo mover mpadded mphantom mroot mrow ms mspace
msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder munderover semantics
""".split()

HTML_TAG = re.compile(
    rf"</?(?:{'|'.join(sorted(_TAG_NAMES, key=len, reverse=True))})"
    r"(?:\s+[A-Za-z_:@][\w:.-]*\s*=[^<>]*>|(?:\s+(?:nowrap|open|hidden|disabled|checked|async|defer|controls))*\s*/?>)",
    re.IGNORECASE,
)
"""A tag of HTML, SVG or MathML. `<Primary endpoints>`, `<p and q>` and `<LOD` are text."""

EMPHASIS = re.compile(
    r"(?<![\w\\*])(?P<open>\*{1,3})(?![\s*])(?P<opened>[^\r\n]{1,200}?)(?<![\s\\*])(?P=open)(?!\*)"
    r"|(?<![\\*])(?P<close>\*{1,3})(?![\s*])(?P<closed>[^\r\n]{1,200}?)(?<![\s\\*])(?P=close)(?![\w*])"
    r"|(?<![\w\\])(?P<line>_{1,3})(?![\s_])(?P<lined>[^\r\n]{1,200}?)(?<![\s\\_])(?P=line)(?!\w)"
    r"|(?<![\\`])(?P<tick>`{1,3})(?!`)(?P<ticked>[^\r\n`]{1,200})(?P=tick)(?!`)"
)
"""A pair of emphasis marks and the words between. One of its `*` may stand between word characters (`*p*53`), not both:
`HLA-B*27 and CYP2C19*2` has none."""

_EMPHASISED = ("opened", "closed", "lined", "ticked")
_MAX_NESTED = 3
_INNER = re.compile(
    r"(?<!\\)\*\*(?![\s*])([^*\r\n]{1,200})\*(?![\s*])([^*\r\n]{1,200})\*{3}"
    r"|(?<!\\)\*{3}(?![\s*])([^*\r\n]{1,200})\*(?!\*)([^*\r\n]{1,200})\*\*"
)
"""Marks that meet: `**Effect of *E. coli***`, `***E. coli* strains**`."""
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")


def has_marks(text: str) -> bool:
    """Whether there is anything in the text that emphasis is marked with. Much quicker than to look for pairs."""
    return "*" in text or "_" in text or "`" in text


def without_emphasis(text: str) -> str:
    """The text without its pairs of emphasis marks. A mark without a partner is text."""
    if not has_marks(text):
        return text
    text = _INNER.sub(lambda match: "".join(group for group in match.groups() if group), text)
    for _ in range(_MAX_NESTED):
        bare = EMPHASIS.sub(lambda match: next(match[name] for name in _EMPHASISED if match[name] is not None), text)
        if bare == text:
            break
        text = bare
    return text


def unescape(text: str) -> str:
    r"""The text with Markdown's backslash escapes resolved: `\&` as `&`."""
    return _ESCAPE.sub(r"\1", text)


def trim(text: str, start: int, end: int) -> Span | None:
    """The span without white space at its ends, or None where nothing is left."""
    piece = text[start:end]
    kept = piece.strip()
    if not kept:
        return None
    start += len(piece) - len(piece.lstrip())
    return Span(start, start + len(kept))
