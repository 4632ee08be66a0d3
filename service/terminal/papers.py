"""Papers, passages, what an index holds, and how well it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from service.leftout import counted
from service.printable import clean, flat, marked
from service.terminal.answers import passage_text, show_references
from service.terminal.building import without_body
from service.terminal.lines import INDENT, console_of, print_line, print_rows, print_wrapped, styled

if TYPE_CHECKING:
    from rich.console import OverflowMethod

    from service.evaluate import Evaluation
    from service.replies import Info, PaperList, PaperReply, PaperSummary, PassageReply, PassageView, VersionView


def show_passage(reply: PassageReply) -> None:
    """A passage among its neighbours."""
    console = console_of()
    citation = reply.passage.citation
    print_line(console, citation.label, "bold")
    print_line(console, citation.title)
    for view in (*reply.before, reply.passage, *reply.after):
        console.print()
        own = view is reply.passage
        print_wrapped(console, passage_text(console, view.text, ()), lead="  > " if own else "")
        print_line(console, " " * INDENT + _where(view), "dim")
    if citation.references:
        console.print()
        print_line(console, "It cites", "bold")
        show_references(console, citation.references)
    if citation.url:
        console.print()
        print_line(console, citation.url, "dim")


def _where(view: PassageView) -> str:
    return f"{view.citation.label}  {view.citation.span}  {view.passage_id}"


def show_paper(reply: PaperReply) -> None:
    """A paper's record and outline."""
    console = console_of()
    paper = reply.paper
    print_wrapped(console, styled(clean(paper.title), style="bold"), indent=0)
    ids = (("DOI", paper.doi), ("PMID", paper.pmid), ("PMCID", paper.pmcid))
    rows = [
        ("id", paper.paper_id),
        ("notices", ", ".join(paper.notices)),
        ("authors", ", ".join(paper.authors)),
        ("journal", paper.journal),
        ("date", paper.date or str(paper.year or "")),
        ("ids", ", ".join(f"{name} {value}" for name, value in ids if value)),
        ("licence", paper.licence),
        ("url", paper.url),
        ("file", paper.source if paper.format == "markdown" else f"{paper.source} ({paper.format})"),
        *(("version", _version(each)) for each in paper.versions),
        ("passages", f"{paper.n_passages:,}"),
        ("references", f"{len(reply.references):,}"),
        ("left out", counted(paper.left_out)),
        ("no body", without_body(paper.paper_id, paper.body_omitted) if paper.body_omitted else ""),
    ]
    print_rows(console, [(name, value) for name, value in rows if value])
    if reply.sections:
        console.print()
    for section in reply.sections:
        print_line(console, "  " * (section.level - 1) + section.title, "" if section.role == "body" else "dim")


def _version(version: VersionView) -> str:
    return f"{version.source}, not searched: {version.why}"


def show_papers(papers: PaperList) -> None:
    """A line a paper: id, year, passages, authors, title; cut at a terminal's edge only."""
    console = console_of()
    width = max((len(paper.paper_id) for paper in papers.papers), default=0)
    for paper in papers.papers:
        titled = marked(_titled(paper), paper.notices)
        line = f"{paper.paper_id:<{width}}  {paper.year or '':>4}  {paper.n_passages:>5}  {titled}"
        overflow: OverflowMethod = "ellipsis" if console.is_terminal else "ignore"
        console.print(styled(flat(line)), no_wrap=True, overflow=overflow, crop=console.is_terminal)


def _titled(paper: PaperSummary) -> str:
    authors = f"{paper.authors[0]} et al." if len(paper.authors) > 2 else " & ".join(paper.authors)
    return ": ".join(filter(None, (authors, paper.title)))


def show_info(info: Info) -> None:
    """What an index is and holds."""
    rows = {
        "index": info.folder,
        "generation": f"{info.generation}",
        "papers": f"{info.n_papers:,}",
        "passages": f"{info.n_passages:,}, {info.n_vectors:,} of them embedded",
        "model": f"{info.model} ({info.dim} dimensions, {info.pooling} pooling)",
        "weights": f"SHA-256 {info.model_weights_sha256}",
        "computed in": f"{info.precision} (cosine to sentence-transformers {info.cosine:.4f})",
        "vectors": "searched along a graph (HNSW)"
        if info.dense_graph
        else f"in {info.dense_lists:,} lists, {info.dense_lists_searched:,} of them searched (recall@10 "
        f"{info.dense_recall:.3f})"
        if info.dense_lists
        else "all compared",
        "passage size": f"up to {info.passage_wordpieces} wordpieces, where the model reads {info.max_wordpieces}",
    }
    print_rows(console_of(), rows.items())


def show_evaluations(evaluations: Sequence[Evaluation]) -> None:
    """A table a question set: a row a ranking, each metric with its 95 % interval."""
    console = console_of()
    for name in dict.fromkeys(each.set for each in evaluations):
        rows = [each for each in evaluations if each.set == name]
        print_line(console, f"{clean(name)}, {rows[0].metrics[0].n if rows[0].metrics else 0} questions", "bold")
        for each in rows:
            print_line(console, f"  {each.ranking}")
            for metric in each.metrics:
                interval = f"{metric.low:.3f} to {metric.high:.3f}"
                print_line(console, f"    {metric.name:<17} {metric.mean:.3f}  ({interval}, n {metric.n:,})")
