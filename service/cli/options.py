"""What commands have in common on the command line: options, and what they say together."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from indexer.errors import UsageError
from indexer.places import has_password, place_of

if TYPE_CHECKING:
    from service.query import Filters


def utf8(given: str) -> str:
    """An argument that is text; bytes of another encoding come from the system as lone surrogates."""
    try:
        given.encode()
    except UnicodeEncodeError as error:
        raise typer.BadParameter("this is not UTF-8 text") from error
    return given


def public(given: str) -> str:
    """An index's place without a password: the list of processes shows every argument."""
    try:
        place = place_of(given)
    except UsageError as error:
        raise typer.BadParameter(str(error)) from error
    if isinstance(place, str) and has_password(place):
        raise typer.BadParameter(
            "a password here shows in the list of processes: leave it to ~/.pgpass or PGPASSWORD, or set LOCCIT_INDEX"
        )
    return given


def folder(given: str) -> Path:
    """An argument that is a folder."""
    if "://" in given:
        raise typer.BadParameter("this is a URL, and a folder is wanted")
    return Path(given)


class Extra(StrEnum):
    """What may be searched beside the papers' bodies."""

    BACK_MATTER = "back_matter"
    REFERENCES = "references"


class Format(StrEnum):
    """How an answer is printed: for people, for programs, or as the papers that it cites."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"
    BIBTEX = "bibtex"
    RIS = "ris"
    CSL_JSON = "csl-json"


class Generate(StrEnum):
    """Whether a model writes the answer."""

    AUTO = "auto"
    NEVER = "never"
    ALWAYS = "always"


Index = Annotated[
    str | None,
    typer.Option(
        "--index",
        metavar="DIR|URL",
        parser=public,
        help="The index: a folder, or postgresql://USER@HOST:PORT/DATABASE (LOCCIT_INDEX; else .loccit).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, the same as over HTTP: --format json.")]
Printed = Annotated[
    Format | None,
    typer.Option(
        "--format",
        metavar="|".join(Format),
        help="What to print (default: text). bibtex, ris and csl-json list the papers that are cited.",
    ),
]
K = Annotated[int | None, typer.Option("-k", metavar="N", help="How many passages to show.")]
Papers = Annotated[
    list[str] | None,
    typer.Option("--paper", metavar="PAPER_ID", parser=utf8, help="Only this paper; may be repeated."),
]
Section = Annotated[
    str,
    typer.Option(metavar="WORDS", parser=utf8, help='Only sections titled so ("methods") or numbered so ("3.2").'),
]
YearFrom = Annotated[int, typer.Option(metavar="YEAR", help="Only papers of this year or later.", show_default=False)]
YearTo = Annotated[int, typer.Option(metavar="YEAR", help="Only papers of this year or earlier.", show_default=False)]
Include = Annotated[
    list[Extra] | None,
    typer.Option(metavar="|".join(Extra), help="Search these too, by their words; may be repeated."),
]
Phrase = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", parser=utf8, help="Only passages with these words side by side; may be repeated."),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(metavar="WORDS", parser=utf8, help="No passages with these words side by side; may be repeated."),
]
SYNTAX_HELP = (
    'In it: "required phrase", -excluded, section:methods, year:2018..2020, paper:PAPER_ID. '
    "Put -- before one that begins with a dash."
)
Rerank = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        parser=utf8,
        help="Rank the best passages again with this cross-encoder: a folder or hub name (default: none).",
    ),
]
Keys = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="FILE",
        help="The file of API keys (LOCCIT_KEYS; else beside the index, or for a URL in your configuration folder).",
    ),
]
LlmUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        parser=utf8,
        help="An OpenAI-compatible endpoint whose model writes answers (default: none; its key: LOCCIT_LLM_KEY).",
    ),
]
LlmModel = Annotated[
    str | None, typer.Option(metavar="NAME", parser=utf8, help="The name of the model at that endpoint.")
]


def format_of(printed: Format | None, as_json: bool) -> Format:
    """The one that both options name. Raises UsageError where they name two."""
    if as_json and printed not in (None, Format.JSON):
        raise UsageError(f"--json and --format {printed} are two formats: leave one of them out")
    return Format.JSON if as_json else printed or Format.TEXT


def filters_of(
    paper_ids: Sequence[str] | None,
    section: str,
    year_from: int,
    year_to: int,
    include: Sequence[Extra] | None,
    phrases: Sequence[str] | None,
    exclude: Sequence[str] | None,
) -> Filters:
    """What the options say of the passages that may answer."""
    from service.query import Filters

    return Filters(
        tuple(paper_ids or ()),
        section,
        year_from,
        year_to,
        tuple(each.value for each in include or ()),
        tuple(phrases or ()),
        tuple(exclude or ()),
    )
