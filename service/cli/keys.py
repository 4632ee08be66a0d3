"""The commands about API keys: `loccit keys add`, `list`, `remove`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from service import terminal
from service.cli.opening import settings_of
from service.cli.options import Index, Json, Keys, utf8

if TYPE_CHECKING:
    from pathlib import Path

    from service.access.keys import KeyFile

app = typer.Typer(
    help="Make, list and take back API keys, which `loccit serve` asks for. Running services see changes at once.",
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME", parser=utf8, help="What the key is called: who or what has it.")]


class KeyScope(StrEnum):
    """What a key is good for."""

    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was made, with its secret."""

    name: str
    scope: str
    key: str


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key that there is."""

    name: str
    scope: str
    created: str
    """The day, in UTC."""


@dataclass(frozen=True, slots=True)
class KeyList:
    """The keys, in the order in which they were made."""

    file: str
    keys: tuple[ListedKey, ...]


@app.command()
def add(
    name: Name,
    scope: Annotated[
        KeyScope, typer.Option(help="read: search, ask, read papers. admin: also take papers out of the index.")
    ] = KeyScope.READ,
    index: Index = None,
    keys: Keys = None,
    as_json: Json = False,
) -> None:
    """Make a key, and print it: this once, as only its hash is kept."""
    file = _file(index, keys)
    secret = file.add(name, scope.value)
    if as_json:
        terminal.put_json(NewKey(name, scope.value, secret))
    else:
        typer.echo(secret)
    terminal.note(f"this is the only time that the key is shown; its hash is in {file.path}")


@app.command("list")
def list_keys(index: Index = None, keys: Keys = None, as_json: Json = False) -> None:
    """List the keys by name, and what each is good for."""
    file = _file(index, keys)
    found = tuple(ListedKey(each.name, each.scope, each.created) for each in file.all())
    if as_json:
        terminal.put_json(KeyList(str(file.path), found))
        return
    width = max((len(each.name) for each in found), default=0)
    for each in found:
        typer.echo(f"{each.name:<{width}}  {each.scope:<5}  {each.created}")
    if not found:
        terminal.note(f"there is no key in {file.path}: `loccit keys add NAME` makes one")


@app.command()
def remove(name: Name, index: Index = None, keys: Keys = None) -> None:
    """Take a key back: it opens nothing from now on, nor does a browser that was signed in with it."""
    _file(index, keys).remove(name)
    typer.echo(f"removed {name}")


def _file(index: str | None, keys: Path | None) -> KeyFile:
    from service.access.keys import KeyFile

    return KeyFile(settings_of(index=index, keys=keys).keys_file)
