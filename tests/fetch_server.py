"""PMC's bucket, Europe PMC and tomesphere on one local https server, in their real shapes, behaving as a test says."""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import trustme

from indexer.fetch.places import Places

CC_BY = "https://creativecommons.org/licenses/by/4.0/"
SAID = "Bone stiffens as glycation end products link its collagen."


class Handler(BaseHTTPRequestHandler):
    """One request. A behaviour writes the whole reply."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        services = self.server.services
        services.requests.append(
            Received(self.path, {name.lower(): value for name, value in self.headers.items()}, time.monotonic())
        )
        path = self.path.partition("?")[0]
        behaviours = services.behaviours.get(self.path) or services.behaviours.get(path) or [answers(404)]
        behaviour = behaviours.pop(0) if len(behaviours) > 1 else behaviours[0]
        try:
            behaviour(self)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass

    def start(self, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def whole(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.start(status, content_length=str(len(body)), **headers)
        self.wfile.write(body)


Behaviour = Callable[[Handler], None]


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    """Their names in small letters."""
    at: float


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    services: Services

    def handle_error(self, *_: object) -> None:
        """A client that leaves in the middle is what some tests want."""


@dataclass
class Services:
    """Where they are, what they were asked, and what they do: each behaviour once, the last one from then on."""

    port: int
    behaviours: dict[str, list[Behaviour]] = field(default_factory=dict)
    requests: list[Received] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    """What Europe PMC knows, in the order that a search finds it."""
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def places(self) -> Places:
        return Places(f"{self.url}/s3", f"{self.url}/europepmc/webservices/rest", f"{self.url}/tomesphere")

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    def does(self, path: str, *behaviours: Behaviour) -> None:
        self.behaviours[path] = list(behaviours)

    def in_pmc(self, pmcid: str, /, *texts: Behaviour, version: int = 1, **record: object) -> None:
        """An article in PMC's bucket, its newest version that one."""
        number = pmcid.removeprefix("PMC")
        said = {
            "pmcid": pmcid,
            "version": version,
            "pmid": int(number) + 30_000_000,
            "doi": f"10.1234/{pmcid.lower()}",
            "title": f"On {pmcid}",
            "is_pmc_openaccess": True,
            "is_manuscript": False,
            "is_historical_ocr": False,
            "is_retracted": False,
            "license_code": "CC BY",
            "xml_url": f"s3://pmc-oa-opendata/{pmcid}.{version}/{pmcid}.{version}.xml?md5=d41d8cd98f00b204e9800998ecf8427e",
        } | record
        folders = "".join(
            f"<CommonPrefixes><Prefix>{pmcid}.{n}/</Prefix></CommonPrefixes>" for n in range(1, version + 1)
        )
        listing = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>pmc-oa-opendata</Name><Prefix>{pmcid}.</Prefix><KeyCount>{version}</KeyCount><MaxKeys>1000</MaxKeys>"
            f"<Delimiter>/</Delimiter><IsTruncated>false</IsTruncated>{folders}</ListBucketResult>"
        )
        self.does(f"/s3/?list-type=2&prefix={pmcid}.&delimiter=/", sends(listing.encode(), "application/xml"))
        folder = f"/s3/{pmcid}.{version}/{pmcid}.{version}"
        self.does(f"{folder}.json", sends(json.dumps(said).encode(), "binary/octet-stream"))
        self.does(f"{folder}.xml", *(texts or (sends(jats(pmcid), "application/xml", etag='"1"'),)))

    def in_europepmc(self, pmcid: str, /, *texts: Behaviour, **record: object) -> None:
        """An article in Europe PMC: a record that its search finds, and its XML, if there is to be one."""
        self.records.append(epmc_record(pmcid, **record))
        if texts:
            self.does(f"/europepmc/webservices/rest/{pmcid}/fullTextXML", *texts)

    def in_tomesphere(self, pmcid: str, *texts: Behaviour) -> None:
        """An article in tomesphere."""
        text = markdown(pmcid).encode()
        default = sends(text, "text/markdown; charset=utf-8", last_modified="Wed, 15 Jul 2026 10:00:00 GMT")
        self.does(f"/tomesphere/paper/{pmcid}/full.md", *(texts or (default,)))


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Services, Path]]:
    """The services for as long as they are used, and the certificate to trust, in the folder."""
    authority = trustme.CA()
    trusted = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "papers.example.org", "localhost").configure_cert(context)
    with _Server(("127.0.0.1", 0), Handler) as server:
        # The handshake belongs to the connection's own thread: here it would keep others from being accepted.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.services = Services(server.server_address[1])
        server.services.does("/europepmc/webservices/rest/search", searches)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.services, trusted
        finally:
            server.services.closing.set()
            server.shutdown()
            thread.join()


def searches(handler: Handler) -> None:
    """Europe PMC's search: by id, or everything for other words, `pageSize` at a time."""
    asked = {name: values[0] for name, values in parse_qs(urlsplit(handler.path).query).items()}
    assert (asked["format"], asked["resultType"]) == ("json", "core")
    records = handler.server.services.records
    if match := re.search(r'\b(PMCID|EXT_ID|DOI):"?([^"\s]+)"?', asked["query"]):
        name = {"PMCID": "pmcid", "EXT_ID": "pmid", "DOI": "doi"}[match[1]]
        records = [each for each in records if str(each.get(name, "")).lower() == match[2].lower()]
    elif "nothing" in asked["query"]:
        records = []
    start = 0 if asked["cursorMark"] == "*" else int(asked["cursorMark"].removeprefix("AoE"))
    page = records[start : start + int(asked["pageSize"])]
    reply: dict[str, Any] = {"version": "6.9", "hitCount": len(records), "request": {"queryString": asked["query"]}}
    if start + len(page) < len(records):
        reply["nextCursorMark"] = f"AoE{start + len(page)}"
    reply["resultList"] = {"result": page}
    handler.whole(json.dumps(reply).encode(), content_type="application/json;charset=UTF-8")


def epmc_record(pmcid: str, /, **record: object) -> dict[str, Any]:
    """A paper as Europe PMC's search gives it, with `resultType=core`. What is None is left out."""
    number = int(pmcid.removeprefix("PMC"))
    said = {
        "id": str(number + 30_000_000),
        "source": "MED",
        "pmid": str(number + 30_000_000),
        "pmcid": pmcid,
        "doi": f"10.1234/{pmcid.lower()}",
        "title": f"On {pmcid}",
        "isOpenAccess": "Y",
        "inEPMC": "Y",
        "license": "cc by",
        "pubTypeList": {"pubType": ["research-article", "Journal Article"]},
    } | record
    return {name: value for name, value in said.items() if value is not None}


def sends(body: bytes, kind: str, *, etag: str = "", last_modified: str = "", **headers: str) -> Behaviour:
    """A whole reply; 304 to who has it already."""

    def reply(handler: Handler) -> None:
        given = {"etag": etag, "last_modified": last_modified, "content_type": kind} | headers
        given = {name: value for name, value in given.items() if value}
        has = handler.headers.get("if-none-match"), handler.headers.get("if-modified-since")
        if any(has) and has in ((etag or None, last_modified or None), (etag or None, None)):
            handler.start(304, **given)
        else:
            handler.whole(body, **given)

    return reply


def answers(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    """A status, and what goes with it."""
    return lambda handler: handler.whole(body, status, **headers)


def redirects(location: str, status: int = 301) -> Behaviour:
    """Somewhere else."""
    return answers(status, location=location)


def claims(n_bytes: int, kind: str = "application/xml") -> Behaviour:
    """A length, and then nothing for as long as the client waits."""

    def reply(handler: Handler) -> None:
        handler.start(content_length=str(n_bytes), content_type=kind)
        handler.wfile.flush()
        handler.server.services.closing.wait(5)
        handler.close_connection = True

    return reply


def breaks_off(body: bytes, kind: str = "application/xml") -> Behaviour:
    """Half a reply, though it said how long it is."""

    def reply(handler: Handler) -> None:
        handler.start(content_length=str(len(body)), content_type=kind, connection="close")
        handler.wfile.write(body[: len(body) // 2])
        handler.close_connection = True

    return reply


def goes_until_it_closes(body: bytes, kind: str) -> Behaviour:
    """A reply that does not say how long it is."""

    def reply(handler: Handler) -> None:
        handler.start(content_type=kind, connection="close")
        handler.wfile.write(body)
        handler.close_connection = True

    return reply


def in_chunks(body: bytes, kind: str, **headers: str) -> Behaviour:
    """A reply in chunks."""

    def reply(handler: Handler) -> None:
        handler.start(transfer_encoding="chunked", content_type=kind, **headers)
        for at in range(0, len(body), 1000):
            piece = body[at : at + 1000]
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        handler.wfile.write(b"0\r\n\r\n")

    return reply


def drips(kind: str = "application/xml", *, headers: bool = False) -> Behaviour:
    """A byte every hundredth of a second, of the body or of the headers, for ten seconds."""

    def reply(handler: Handler) -> None:
        if headers:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
        else:
            handler.start(content_length="100000", content_type=kind)
        for _ in range(1000):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            if handler.server.services.closing.wait(0.01):
                break
        handler.close_connection = True

    return reply


def hangs_up(handler: Handler) -> None:
    """No reply at all."""
    handler.close_connection = True


def jats(
    pmcid: str,
    *,
    doi: str | None = None,
    pmid: str | None = None,
    licence: str = CC_BY,
    body: str = f"<sec><title>Results</title><p>{SAID}</p></sec>",
    head: str = "",
    relation: str = "",
) -> bytes:
    """An article's XML, as PMC has it. An id that is empty is not stated."""
    ids: Mapping[str, str] = {
        "pmcid": pmcid,
        "pmid": str(int(pmcid.removeprefix("PMC") or 0) + 30_000_000) if pmid is None else pmid,
        "doi": f"10.1234/{pmcid.lower()}" if doi is None else doi,
    }
    stated = "".join(f'<article-id pub-id-type="{kind}">{value}</article-id>' for kind, value in ids.items() if value)
    permissions = f'<permissions><license xlink:href="{licence}"><license-p>x</license-p></license></permissions>'
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{head}'
        '<article xmlns:xlink="http://www.w3.org/1999/xlink" article-type="research-article"><front><journal-meta>'
        "<journal-title-group><journal-title>Bone</journal-title></journal-title-group></journal-meta><article-meta>"
        f"{stated}<title-group><article-title>On {escape(pmcid)}</article-title></title-group>"
        f'<pub-date pub-type="epub"><year>2024</year></pub-date>{permissions if licence else ""}{relation}'
        f"</article-meta></front>{f'<body>{body}</body>' if body else ''}</article>\n"
    ).encode()


def markdown(pmcid: str, *, licence: str = "", doi: str | None = None) -> str:
    """A paper's Markdown, as tomesphere has it."""
    named = f"10.1234/{pmcid.lower()}" if doi is None else doi
    return (
        f"# On {pmcid}\n\n**Authors:** Ada Limpet, Bo Kettle\n\n"
        f"{pmcid} · DOI: {named} · Bone · 2024-01-31\n\n"
        + (f"**License:** {licence}\n\n" if licence else "")
        + f"## Abstract\n\nOn bones.\n\n## Results\n\n{SAID}\n\n---\nSource: https://tomesphere.com/paper/{pmcid}\n"
    )
