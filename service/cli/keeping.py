"""Commands about what is in the index: papers, remove, info, eval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from indexer.errors import UsageError
from service import terminal
from service.cli.opening import opened, settings_of
from service.cli.options import Index, Json, Rerank, utf8


def papers(index: Index = None, as_json: Json = False) -> None:
    """List the papers in the index."""
    from service.replies import PaperList

    with opened(settings_of(index=index)) as library:
        page = library.papers()
        found = list(page.papers)
        while page.next_cursor:
            page = library.papers(cursor=page.next_cursor)
            found += page.papers
    listed = PaperList(tuple(found), page.total, None, page.failed, page.missing_shards)
    terminal.note_missing(listed.missing_shards)
    if as_json:
        terminal.put_json(listed)
        return
    terminal.show_papers(listed)
    if not found:
        terminal.note("the index holds no papers yet: run `loccit index PATH...` to add some")
    if listed.failed:
        terminal.note(f"{len(listed.failed)} files gave no paper when they were last looked at: --json says why")


def remove(
    paper_ids: Annotated[
        list[str], typer.Argument(metavar="PAPER_ID...", parser=utf8, help="As `loccit papers` lists them.")
    ],
    index: Index = None,
    as_json: Json = False,
) -> None:
    """Take papers out of the index. All of those named or none; their files stay as they are."""
    settings = settings_of(index=index)
    from service.removal import remove as take_out

    done = take_out(settings.index, paper_ids)
    if as_json:
        terminal.put_json(done)
    else:
        typer.echo(f"removed {', '.join(terminal.clean(name) for name in done.removed)} (generation {done.generation})")


def info(index: Index = None, as_json: Json = False) -> None:
    """Say what the index holds, and which model it was made with."""
    with opened(settings_of(index=index)) as library:
        facts = library.info()
    terminal.note_missing(facts.missing_shards)
    if as_json:
        terminal.put_json(facts)
    else:
        terminal.show_info(facts)


def eval_command(
    sets: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER...", help="Question sets: questions.jsonl, or queries.jsonl and qrels."),
    ],
    index: Index = None,
    ablate: Annotated[bool, typer.Option("--ablate", help="Also without each part of the ranking.")] = False,
    run: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the rankings to FILE, as a TREC run.")] = None,
    rerank: Rerank = None,
    as_json: Json = False,
) -> None:
    """Score the index on question sets whose answers are known. The index must hold their papers."""
    settings = settings_of(index=index, rerank=rerank)
    from service.evaluate import Evaluations, evaluate, load_questions

    if run is not None and len(sets) > 1:
        raise UsageError(f"--run takes the rankings of one question set, and {len(sets)} are named")
    loaded = [load_questions(folder) for folder in sets]
    lines: list[str] = []
    with opened(settings, settings.rerank) as library, terminal.working("asking"):
        done = [
            each for questions in loaded for each in evaluate(library, questions, ablate=ablate, on_run=lines.append)
        ]
    if run is not None:
        run.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    if as_json:
        terminal.put_json(Evaluations(tuple(done)))
    else:
        terminal.show_evaluations(done)
