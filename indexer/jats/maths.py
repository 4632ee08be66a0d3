"""MathML -> TeX that reads as text too: letters and signs stay the characters that they are, `$0≤k<j$`, `$σ^{2}$`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element

_SPECIAL = re.compile(r"[{}#%&_$\\^~]")
_ESCAPED = {"\\": r"\backslash ", "^": r"\wedge ", "~": r"\sim "}
_INVISIBLE = dict.fromkeys(map(ord, "\u2061\u2062\u2063\u2064\u200b\u200c\u200d\ufeff"))
"""Function application, invisible times and the like: signs for machines."""
_LETTERS = re.compile(r"[^\W\d_]{2,}")
_VARIANTS = {"bold": "mathbf", "bold-italic": "mathbf", "script": "mathcal", "double-struck": "mathbb"}
_ACCENTS = {
    **dict.fromkeys("¯‾―ˉ_̅", "overline"),
    **dict.fromkeys("^ˆ̂", "hat"),
    **dict.fromkeys("~˜̃", "tilde"),
    **dict.fromkeys("→⃗⟶", "vec"),
    **dict.fromkeys(".˙̇", "dot"),
    **dict.fromkeys("¨̈", "ddot"),
    "⏞": "overbrace",
}


def tex(element: Element) -> str:
    """The formula in a `<math>` or any part of one; every character of its own is in it, save the invisible signs."""
    children = list(element)
    match element.tag:
        case "mi" | "mo" | "mn" | "ms" | "ci" | "cn":
            return _token(element)
        case "mtext":
            words = _escaped(_text(element))
            return rf"\text{{{words}}}" if words.strip() else " "
        case "mspace" | "none" | "mprescripts" | "maligngroup" | "malignmark":
            return " "
        case "mglyph":
            return _escaped(element.get("alt", ""))
        case "mfrac" if len(children) == 2:
            return rf"\frac{{{tex(children[0])}}}{{{tex(children[1])}}}"
        case "msqrt":
            return rf"\sqrt{{{_all(children)}}}"
        case "mroot" if len(children) == 2:
            return rf"\sqrt[{tex(children[1])}]{{{tex(children[0])}}}"
        case "msub" | "munder" if len(children) == 2:
            return _pairs(children[1:], _base(children[0]))
        case "mover" if len(children) == 2 and (accent := _ACCENTS.get(_text(children[1]).strip())):
            return rf"\{accent}{{{tex(children[0])}}}"
        case "msup" | "mover" if len(children) == 2:
            return f"{_base(children[0])}^{{{tex(children[1])}}}"
        case "msubsup" | "munderover" if len(children) == 3:
            return _pairs(children[1:], _base(children[0]))
        case "mmultiscripts" if children:
            return _scripts(children)
        case "mfenced":
            return _fenced(element, children)
        case "mtable":
            rows = r" \\ ".join(map(_row, children))
            return rf"\begin{{matrix}}{rows}\end{{matrix}}"
        case "annotation" | "annotation-xml":
            return ""
        case _ if children:
            own = _escaped(element.text or "").strip()
            return own + "".join(tex(child) + _escaped(child.tail or "").strip() for child in children)
        case _:
            return _escaped(_text(element))


def _all(children: Sequence[Element]) -> str:
    return "".join(map(tex, children))


def _text(element: Element) -> str:
    words = re.sub(r"\s+", " ", "".join(element.itertext())).translate(_INVISIBLE)
    return words + "".join(glyph.get("alt", "") for glyph in element.iter("mglyph"))


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda match: _ESCAPED.get(match[0], f"\\{match[0]}"), text)


def _token(element: Element) -> str:
    words = _text(element).strip()
    variant = _VARIANTS.get(element.get("mathvariant", "")) or ("mathrm" if _LETTERS.fullmatch(words) else "")
    escaped = _escaped(words)
    return rf"\{variant}{{{escaped}}}" if variant and escaped else escaped


def _base(element: Element) -> str:
    """What a script stands on, as one group."""
    base = tex(element).strip()
    return base if len(base) == 1 else f"{{{base}}}"


def _scripts(children: Sequence[Element]) -> str:
    """`{}_{6}^{14}C`: pairs of scripts behind the base, and before it those after `<mprescripts>`."""
    tags = [child.tag for child in children]
    cut = tags.index("mprescripts") if "mprescripts" in tags else len(children)
    return f"{_pairs(children[cut + 1 :], '{}')}{_pairs(children[1:cut], _base(children[0]))}"


def _pairs(scripts: Sequence[Element], base: str) -> str:
    """Scripts below and above in turn, the first pair on `base`; without any, `base` unless it is empty."""
    written = [tex(script).strip() for script in scripts]
    pairs = [
        "".join(f"{sign}{{{script}}}" for sign, script in zip("_^", written[n : n + 2], strict=False) if script)
        for n in range(0, len(written), 2)
    ]
    return base + "{}".join(filter(None, pairs)) if any(pairs) else base.removeprefix("{}")


def _fenced(element: Element, children: Sequence[Element]) -> str:
    separator = element.get("separators", ",").strip()[:1]
    opening, closing = element.get("open", "("), element.get("close", ")")
    return f"{_escaped(opening)}{_escaped(separator).join(map(tex, children))}{_escaped(closing)}"


def _row(row: Element) -> str:
    return " & ".join(tex(cell) for cell in row) if row.tag in ("mtr", "mlabeledtr") else tex(row)
