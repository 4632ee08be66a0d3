"""Where a fetched file came from: a small JSON file beside it, `PMC1.xml.fetched.json`. No network in here.

`sha256` is that of the bytes as they were fetched: a file whose hash is another was edited since.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import get_args

from indexer.durable import make_folder, write_whole
from indexer.errors import SourceError
from indexer.papers import Notice

_SUFFIX = ".fetched.json"
_TEXTS = ("url", "fetched", "sha256", "licence", "etag", "last_modified", "replaces")
_MAX_BYTES = 100_000
"""A sidecar has some 500 bytes."""
_NOTICES: dict[str, Notice] = {notice: notice for notice in get_args(Notice)}


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a file's bytes came from, and what was said of them there."""

    url: str
    """The address that sent them, after redirects."""
    fetched: str
    """When: ISO 8601, UTC, `2026-09-30T12:00:00Z`."""
    sha256: str
    """Of the bytes as they were fetched."""
    licence: str
    """As it was given: `CC BY`, an address, words; empty where none was."""
    notices: tuple[Notice, ...]
    """What is known of the paper: said there, or by its text."""
    etag: str
    """What to ask with whether there is something newer; empty where the place gave none."""
    last_modified: str
    """Likewise, an HTTP date."""
    replaces: str = ""
    """SHA-256 of the text that was fetched before. It stands there still if the fetch was ended before its place was
    taken; empty where nothing was."""


def provenance_path(path: Path) -> Path:
    """Where the provenance of a file is kept: beside it."""
    return path.with_name(path.name + _SUFFIX)


def file_of_provenance(path: Path) -> Path | None:
    """The file whose provenance is kept at that path; None where no such thing is."""
    return path.with_name(path.name.removesuffix(_SUFFIX)) if path.name.endswith(_SUFFIX) else None


def provenance_of(path: Path) -> Provenance | None:
    """Where the file came from; None where nothing is kept of that.

    Raises SourceError when what is kept cannot be read or is no provenance.
    """
    sidecar = provenance_path(path)
    try:
        with sidecar.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SourceError(f"{sidecar} cannot be read: {error.strerror or error}") from error
    try:
        if len(raw) > _MAX_BYTES:
            raise ValueError("it is too long")
        return _read(json.loads(raw))
    except (ValueError, RecursionError) as error:  # JSON and Unicode errors are ValueErrors too
        raise SourceError(
            f"{sidecar} is not what `loccit fetch` wrote ({error}): remove it, and the file counts as your own"
        ) from error


def digest_of_provenance(path: Path) -> str:
    """SHA-256 of what is kept of where the file came from: tells when that changes. Empty where nothing is kept."""
    try:
        with provenance_path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def keep_provenance(path: Path, provenance: Provenance) -> None:
    """Write the file's provenance beside it, whole or not at all. Raises SourceError when that cannot be."""
    text = json.dumps(asdict(provenance), ensure_ascii=False, indent=2) + "\n"
    write_source(provenance_path(path), text.encode(errors="replace"))


def write_source(path: Path, data: bytes) -> None:
    """Put `data` in the place of what is at `path`, whole or not at all, to last. Raises SourceError."""
    try:
        make_folder(path.parent)
        write_whole(path, data)
    except OSError as error:
        raise SourceError(f"{path} cannot be written: {error.strerror or error}") from error


def _read(value: object) -> Provenance:
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    json.dumps(value, ensure_ascii=False).encode()  # half a character (`"\ud800"`) is a ValueError too
    value = {"replaces": "", **value}
    names = {field.name for field in fields(Provenance)}
    if missing := sorted(names - value.keys()):
        raise ValueError(f"it has no {', '.join(missing)}")
    if wrong := [name for name in _TEXTS if not isinstance(value[name], str)]:
        raise ValueError(f"{', '.join(wrong)} should be text")
    said = value["notices"]
    if not isinstance(said, list) or any(not isinstance(each, str) or each not in _NOTICES for each in said):
        raise ValueError(f"notices should be a list of {', '.join(_NOTICES)}")
    return Provenance(**{name: value[name] for name in _TEXTS}, notices=tuple(_NOTICES[each] for each in said))
