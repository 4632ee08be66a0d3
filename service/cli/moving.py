"""Commands for an index that outgrows its place: into another one, and over several servers."""

from __future__ import annotations

from typing import Annotated

import typer

from indexer.errors import UsageError
from service import terminal
from service.cli.opening import settings_of
from service.cli.options import Index, Json, public

_PLACE = "A folder, or postgresql://USER@HOST:PORT/DATABASE."


def copy(
    source: Annotated[str, typer.Argument(metavar="SRC", parser=public, help=_PLACE)],
    target: Annotated[str, typer.Argument(metavar="DST", parser=public, help="The same, without other papers in it.")],
    prune: Annotated[bool, typer.Option("--prune", help="Take papers out of DST that SRC has not.")] = False,
    as_json: Json = False,
) -> None:
    """Copy an index to another place or engine, and check that all of it arrived, by every row and 100 searches.

    Broken off, the same command goes on with the rest. Later, it brings what has changed; with --prune also what went.
    """
    from indexer.store import place_of
    from indexer.upkeep import copy as copied

    with terminal.counting("copying") as heard:
        made = copied(place_of(source), place_of(target), heard, prune=prune)
    if as_json:
        terminal.put_json(made)
    else:
        typer.echo(
            f"copied {made.n_papers:,} papers, {made.n_passages:,} passages to {terminal.clean(made.target)}, "
            f"{made.n_new:,} papers new or changed there; every row is the same. {made.n_searches} searches: the same "
            f"scores for words, {made.overlap:.1%} of the 10 nearest vectors"
        )


def shards(
    index: Index = None,
    add: Annotated[
        str, typer.Option("--add", metavar="URL", parser=public, help="Have this empty database share the index.")
    ] = "",
    rebalance: Annotated[
        bool, typer.Option("--rebalance", help="Move papers to the servers where new ones of their ids would stand.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the servers that share an index on PostgreSQL, and spread it over more. Searches go on meanwhile."""
    settings = settings_of(index=index)
    from indexer.upkeep import add_shard, shards_of
    from indexer.upkeep import rebalance as spread

    if not isinstance(settings.index, str):
        raise UsageError(f"{settings.index} is a folder: `loccit copy` brings it to a server, which others may join")
    if add:
        add_shard(settings.index, add)
    if rebalance:
        with terminal.counting("moving") as heard:
            spread(settings.index, heard)
    found = shards_of(settings.index)
    if as_json:
        terminal.put_json(found)
        return
    for each in found.shards:
        what = (
            f"{each.papers:,} papers, {each.passages:,} passages"
            if each.answers
            else "away, or not at the commit of the others"
        )
        typer.echo(f"{each.number:3}  {terminal.clean(each.place)}  {what}")
