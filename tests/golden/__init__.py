"""Small Markdown papers and what the parser makes of them, in a form that a person can check."""

from __future__ import annotations

from pathlib import Path

from indexer.jats import read_jats
from indexer.markdown import parse_markdown
from indexer.papers import Paper

FOLDER = Path(__file__).parent


def cases() -> list[Path]:
    """The Markdown files."""
    return sorted(FOLDER.glob("*.md"))


def jats_cases() -> list[Path]:
    """The JATS files; what is made of each stands beside it as Markdown."""
    return sorted(FOLDER.glob("*.xml"))


def markdown_of(path: Path) -> str:
    """The Markdown of the article in a JATS file."""
    return read_jats(path.read_bytes()).markdown


def outline_of(path: Path) -> str:
    """The outline of the paper in a file."""
    text = path.read_bytes().decode()
    return outline(parse_markdown(text, source=path.name, sha256=""))


def outline(paper: Paper) -> str:
    """Metadata, the tree with its blocks, references and markers, one a line."""
    lines = [f"{name}: {getattr(paper, name)}" for name in _FIELDS if getattr(paper, name)]
    lines += [f"author: {author}" for author in paper.authors]
    section = -1
    for block in paper.blocks:
        if block.section != section:
            section = block.section
            node = paper.sections[section]
            lines.append(
                f"\n{'#' * (node.level + 1)} {node.title or '(root)'} | number {node.number or '-'} | {node.role}"
            )
        extra = "".join(
            f" | {name} {_words(paper.text[span.start : span.end])}"
            for name, span in (("caption", block.caption), ("header", block.header))
            if span is not None
        )
        number = f" ¶{block.paragraph}" if block.paragraph else ""
        lines.append(f"  {block.kind}{number}: {_words(paper.text[block.start : block.end])}{extra}")
    lines.append("")
    lines += [
        f"reference {r.key or '-'}: {_words(r.text)} | doi {r.doi or '-'} | pmid {r.pmid or '-'}"
        for r in paper.references
    ]
    for marker in paper.markers:
        named = ", ".join(paper.references[n].key for n in marker.references)
        lines.append(f"marker {paper.text[marker.start : marker.end]} -> {named}")
    lines += [
        f"entity {e.kind}: {e.name} | {e.description or '-'} | {e.identifier or '-'} | {', '.join(e.aliases) or '-'}"
        for e in paper.entities
    ]
    return "\n".join(lines).strip() + "\n"


_FIELDS = (
    "paper_id",
    "title",
    "pmcid",
    "doi",
    "pmid",
    "journal",
    "date",
    "year",
    "licence",
    "url",
    "body_omitted",
    "notices",
)


def _words(text: str) -> str:
    folded = " ".join(text.split())
    return folded if len(folded) <= 60 else f"{folded[:40]} … {folded[-18:]}"
