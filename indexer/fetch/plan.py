"""The plan: from what names a paper to its file, one source after the other.

PMC first, as it says a paper's licence and whether it was retracted; then Europe PMC; then tomesphere. What one of them
does not have, or sends wrong, the next is asked for. A licence that does not let the paper be kept ends it.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from indexer.errors import LoccitError, SourceError
from indexer.fetch import europepmc, pmc, tomesphere
from indexer.fetch.client import Client, Known, Reply
from indexer.fetch.content import Suffix, read_text, suffix_of
from indexer.fetch.files import Held, asked_within, fetched_from, file_name, held_at, keep, note
from indexer.fetch.identifiers import Identifier
from indexer.fetch.licences import is_open
from indexer.fetch.pace import now_utc
from indexer.fetch.places import Places
from indexer.fetch.records import Answer, Record
from indexer.fetch.report import PaperFetch
from indexer.markdown.metadata import Metadata, paper_id
from indexer.papers import Notice
from indexer.provenance import Provenance

_SOURCES: tuple[tuple[str, Suffix], ...] = ((pmc.NAME, ".xml"), (europepmc.NAME, ".xml"), (tomesphere.NAME, ".md"))
_FRESH_S = 24 * 3600
"""A search's papers that were asked for so shortly before are not asked for again: it goes on where it was stopped."""

_RETRACTED: Notice = "retracted"


class Plan:
    """Fetches papers into a folder, one after the other."""

    def __init__(self, client: Client, places: Places, to: Path, *, any_licence: bool) -> None:
        self._client = client
        self._places = places
        self._to = to
        self._any_licence = any_licence
        self._done: dict[str, PaperFetch] = {}

    def named(self, identifier: Identifier) -> PaperFetch:
        """What becomes of a paper that the user names: there is always asked whether there is something newer."""
        asked = identifier.asked
        try:
            if identifier.kind == "url":
                return self._from_address(asked, identifier.value)
            if identifier.kind == "pmcid":
                return self._from_sources(asked, Record(identifier.value), looked_up=False)
            record = europepmc.record_of(self._client, self._places.europepmc_url, identifier)
        except LoccitError as error:
            return PaperFetch(asked, "failed", reason=str(error))
        if record is None or not record.pmcid:
            return PaperFetch(asked, "failed", reason=_no_full_text(identifier, record))
        return self._from_sources(asked, record, looked_up=True)

    def found(self, record: Record) -> PaperFetch:
        """What becomes of a paper that a search found."""
        for suffix in (".xml", ".md"):
            path = self._path(record.pmcid, suffix)
            try:
                held = held_at(path)
            except SourceError:
                continue  # said when its source is asked
            if held.state == "fetched" and held.provenance and asked_within(path, _FRESH_S):
                return self._unchanged(record.pmcid, record.pmcid, path, held.provenance, "asked less than a day ago")
        return self._from_sources(record.pmcid, record, looked_up=True)

    def _from_sources(self, asked: str, record: Record, *, looked_up: bool) -> PaperFetch:
        """Ask one source after the other, until one has the text."""
        pmcid = record.pmcid
        if pmcid in self._done:
            done = self._done[pmcid]
            outcome = "unchanged" if done.is_there else done.outcome
            return replace(done, asked=asked, outcome=outcome, reason=f"the same paper as {done.asked}")
        tried: list[str] = []
        for name, suffix in _SOURCES:
            path = self._path(pmcid, suffix)
            try:
                held = held_at(path)
                if held.state in ("edited", "own"):
                    return self._left(asked, pmcid, path, held)
                if name != pmc.NAME and not looked_up:
                    record, looked_up = self._looked_up(record), True
                answer = self._ask(name, pmcid, _known(held))
                record = self._agreed(record, answer)
                if answer.reply is not None and answer.reply.status == 410:
                    record = record.filled(Record(notices=(_RETRACTED,)))
                    tried.append(f"{name}: {self._withdrawn(path, held)}")
                elif answer.reply is not None and answer.reply.status == 404:
                    tried.append(f"{name}: does not have it")
                else:
                    done = self._taken(asked, name, path, held, answer, record)
                    self._done[pmcid] = replace(done, reason=done.reason or "; ".join(tried))
                    return self._done[pmcid]
            except LoccitError as error:
                tried.append(f"{name}: {error}")
        self._done[pmcid] = PaperFetch(asked, "failed", pmcid, notices=record.notices, reason="; ".join(tried))
        return self._done[pmcid]

    def _ask(self, name: str, pmcid: str, known: Known | None) -> Answer:
        places = self._places
        if name == pmc.NAME:
            return pmc.ask(self._client, places.pmc_url, pmcid, known, any_licence=self._any_licence)
        if name == europepmc.NAME:
            return europepmc.ask(self._client, places.europepmc_url, pmcid, known)
        return tomesphere.ask(self._client, places.tomesphere_url, pmcid, known)

    def _looked_up(self, record: Record) -> Record:
        """With what Europe PMC's search knows: the licence, the other ids, a retraction."""
        identifier = Identifier("pmcid", record.pmcid, record.pmcid)
        try:
            known = europepmc.record_of(self._client, self._places.europepmc_url, identifier)
        except SourceError:
            return record  # what the text itself says has to do
        return record if known is None else record.filled(known)

    def _agreed(self, record: Record, answer: Answer) -> Record:
        """What was known before, and what the source says. Raises SourceError where they are two papers."""
        if wrong := record.disagreement(answer.record):
            raise SourceError(f"it has another paper there: {wrong}")
        return answer.record.filled(record)

    def _taken(self, asked: str, source: str, path: Path, held: Held, answer: Answer, record: Record) -> PaperFetch:
        """Check what was sent, and keep it."""
        reply = answer.reply
        if reply is not None and reply.status == 304 and held.provenance is not None:
            return self._as_it_was(asked, source, path, held.provenance, reply, record)
        text = Record() if reply is None else self._read(reply, path, record)
        licence = record.licence or text.licence
        if not licence and source == pmc.NAME:
            licence = self._looked_up(record).licence
        if refusal := self._refusal(licence):
            return PaperFetch(asked, "refused", record.pmcid, source=source, licence=licence, reason=refusal)
        if reply is None:
            raise SourceError(f"its licence {licence!r} is open, and its text was not asked for")
        known = replace(record.filled(text), licence=licence)
        return self._kept(asked, source, path, held, reply, known)

    def _read(self, reply: Reply, path: Path, record: Record) -> Record:
        """What the text says of itself. Raises SourceError where it is none, or another paper's."""
        suffix: Suffix = ".xml" if path.suffix == ".xml" else ".md"
        if suffix == ".md" and not reply.whole:
            raise SourceError("its reply did not say how long it is, so that it may have broken off")
        text = read_text(reply.body, suffix, path.name)
        if wrong := record.disagreement(text):
            raise SourceError(f"it sent another paper's text: {wrong}")
        return text

    def _refusal(self, licence: str) -> str:
        """Why the paper is not fetched, and what does it all the same; empty where the licence lets it."""
        if self._any_licence or is_open(licence):
            return ""
        what = f"its licence ({licence}) is not a Creative Commons one" if licence else "no licence is stated for it"
        return f"{what}: if you may keep a copy, fetch it with --any-licence"

    def _kept(self, asked: str, source: str, path: Path, held: Held, reply: Reply, record: Record) -> PaperFetch:
        sha256 = hashlib.sha256(reply.body).hexdigest()
        if held.provenance is not None and held.provenance.sha256 == sha256:
            return self._as_it_was(asked, source, path, held.provenance, reply, record)
        when = now_utc().isoformat().replace("+00:00", "Z")
        etag, last_modified = reply.etag, reply.last_modified
        keep(
            path,
            reply.body,
            Provenance(reply.url, when, sha256, record.licence, record.notices, etag, last_modified),
        )
        name = record.pmcid or path.stem
        return PaperFetch(
            asked, "fetched", name, path.as_posix(), source, record.licence, len(reply.body), record.notices
        )

    def _as_it_was(
        self, asked: str, source: str, path: Path, before: Provenance, reply: Reply, record: Record
    ) -> PaperFetch:
        """The file stays. What is known of the paper may be new all the same: that it was retracted since."""
        known = replace(
            before,
            url=reply.url,
            licence=record.licence or before.licence,
            notices=tuple(dict.fromkeys((*before.notices, *record.notices))),
            etag=reply.etag or before.etag,
            last_modified=reply.last_modified or before.last_modified,
        )
        note(path, known)
        return self._unchanged(asked, record.pmcid, path, known, "", source)

    def _from_address(self, asked: str, url: str) -> PaperFetch:
        """The text at an address of the user's own: its file is named by what it says it is."""
        before = fetched_from(self._to, url)
        held = held_at(before) if before else Held("nothing")
        if before and held.state == "edited":
            return self._left(asked, before.stem, before, held)
        reply = self._client.get(url, "xml", "markdown", known=_known(held))
        host = urlsplit(reply.url).hostname or ""
        if reply.status in (404, 410):
            what = "has nothing there" if reply.status == 404 else self._withdrawn(before, held)
            return PaperFetch(asked, "failed", source=host, reason=f"{host}: {what}")
        if before and reply.status == 304:
            return self._taken(asked, host, before, held, Answer(reply), Record())
        suffix = _suffix(reply)
        text = read_text(reply.body, suffix, reply.url)
        stem = unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]
        name = paper_id(Metadata(pmcid=text.pmcid, doi=text.doi), stem or host)
        path = self._to / file_name(name, suffix)
        held = held_at(path)
        if held.provenance is not None and held.provenance.url not in (url, reply.url):  # sent by another place
            path = self._to / file_name(f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:8]}", suffix)
            held = held_at(path)
        if held.state in ("edited", "own"):
            return self._left(asked, name, path, held)
        return self._taken(asked, host, path, held, Answer(reply), Record())

    def _path(self, pmcid: str, suffix: str) -> Path:
        return self._to / file_name(pmcid, suffix)

    def _withdrawn(self, path: Path | None, held: Held) -> str:
        """What is said of a paper that was withdrawn; a copy from before is marked."""
        if path is None or held.provenance is None:
            return "it was withdrawn there (410 Gone)"
        notices = tuple(dict.fromkeys((*held.provenance.notices, _RETRACTED)))
        note(path, replace(held.provenance, notices=notices))
        return f"it was withdrawn there (410 Gone); {path} stays, marked as retracted"

    def _left(self, asked: str, name: str, path: Path, held: Held) -> PaperFetch:
        """A file of the user's is never written over."""
        why = "was edited since it was fetched" if held.state == "edited" else "was not fetched by loccit"
        return PaperFetch(
            asked,
            "kept",
            name,
            path.as_posix(),
            licence=held.provenance.licence if held.provenance else "",
            n_bytes=path.stat().st_size,
            notices=held.provenance.notices if held.provenance else (),
            reason=f"{path} {why} and is left as it is: move it away to fetch the paper anew",
        )

    def _unchanged(
        self, asked: str, name: str, path: Path, provenance: Provenance, reason: str, source: str = ""
    ) -> PaperFetch:
        return PaperFetch(
            asked,
            "unchanged",
            name or path.stem,
            path.as_posix(),
            source or urlsplit(provenance.url).hostname or "",
            provenance.licence,
            path.stat().st_size,
            provenance.notices,
            reason,
        )


def _known(held: Held) -> Known | None:
    kept = held.provenance if held.state == "fetched" else None
    return Known(kept.url, kept.etag, kept.last_modified) if kept else None


def _suffix(reply: Reply) -> Suffix:
    """By the type that the reply names, else by its address, else by how it begins."""
    if "xml" in reply.content_type:
        return ".xml"
    if "markdown" in reply.content_type:
        return ".md"
    ending = Path(urlsplit(reply.url).path).suffix.lower()
    if ending in (".xml", ".nxml"):
        return ".xml"
    return ".md" if ending in (".md", ".markdown") else suffix_of(reply.body)


def _no_full_text(identifier: Identifier, record: Record | None) -> str:
    """Why there is nothing to fetch, and the next step."""
    if identifier.kind == "arxiv":
        return (
            "arXiv papers are in none of these sources as full text, and Europe PMC knows no copy of this one in PMC: "
            "name the published paper by its DOI, or index its Markdown"
        )
    if record is None:
        return f"Europe PMC knows no paper with the {identifier.kind.upper()} {identifier.value}: check it"
    return "Europe PMC has its record, and PMC no full text: get it from its publisher, and index that"
