"""Hostile input to both parsers: refused or read without harm, in bounded time and memory, and nothing is opened."""

from __future__ import annotations

import gc
import re
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.errors import SourceError
from indexer.jats import read_jats
from indexer.markdown import parse_markdown
from indexer.sources import SourceFile, find_sources, parse_source, read_bytes

MB = 1_000_000
SECRET = "canary words"


class Watch:
    """What Python opens, asks the network for or starts, while it is on. An audit hook cannot be taken back."""

    EVENTS = ("open", "socket.", "urllib.", "http.", "ftplib.", "subprocess.", "os.system", "os.exec", "os.posix_spawn")

    def __init__(self) -> None:
        self.seen: list[str] | None = None
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.seen is not None and event.startswith(self.EVENTS):
            self.seen.append(f"{event} {arguments[:1]}")

    @contextmanager
    def on(self) -> Iterator[list[str]]:
        """The events of the block."""
        self.seen = seen = []
        try:
            yield seen
        finally:
            self.seen = None


@pytest.fixture(scope="module")
def watch() -> Watch:
    for encoding in ("utf-8", "utf-16", "utf-7", "windows-1252"):  # their modules, which Python opens once
        with pytest.raises(SourceError):
            read_jats(f'<?xml version="1.0" encoding="{encoding}"?><x/>'.encode())
    return Watch()


def test_the_watch_sees_what_is_opened(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET, encoding="utf-8")
    with watch.on() as seen:
        assert (tmp_path / "secret").read_text(encoding="utf-8") == SECRET
    assert len(seen) == 1
    assert "secret" in seen[0]


def article(body: str = "<p>x</p>", prolog: str = "", front: str = "") -> str:
    return f"{prolog}<article>{front}<body>{body}</body></article>"


def doctype(subset: str) -> str:
    return f"<!DOCTYPE article [{subset}]>"


LAUGHS = '<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
TARGETS = [
    "file:///etc/passwd",
    "http://169.254.169.254/latest/meta-data/",
    "ftp://127.0.0.1/x",
    "\\\\host\\share",
    "SECRET",
]
REFUSED = {
    "billion laughs": (article("<p>&a11;</p>", doctype(LAUGHS)), r"declares the entity 'a0'"),
    "quadratic blow-up": (article("&a;" * 50_000, doctype(f'<!ENTITY a "{"x" * 50_000}">')), "declares the entity 'a'"),
    "entity that holds itself": (article("&a;", doctype('<!ENTITY a "&a;">')), "declares the entity 'a'"),
    "parameter entities": (
        article("", doctype("<!ENTITY % a '<!ENTITY &#37; b SYSTEM \"file:///etc/passwd\">'> %a; %b;")),
        "declares the entity 'a'",
    ),
    "unparsed entity": (
        article("", doctype('<!NOTATION n SYSTEM "x"><!ENTITY a SYSTEM "file:///etc/passwd" NDATA n>')),
        "declares the entity 'a'",
    ),
    "entity in an attribute": (article('<p id="&a;"/>', doctype('<!ENTITY a "x">')), "declares the entity 'a'"),
    "attribute of 20 KB on every paragraph": (
        article("<p/>" * 50_000, doctype(f'<!ATTLIST p x CDATA "{"a" * 20_000}">')),
        "declares attributes of <p>",
    ),
    "20,000 attributes on every paragraph": (
        article("<p/>" * 50_000, doctype("<!ATTLIST p " + " ".join(f'a{n} CDATA "v"' for n in range(20_000)) + ">")),
        "declares attributes of <p>",
    ),
    "entity that is not declared": (article("<p>&b;</p>"), "undefined entity"),
    "element that never ends": (article("<p>" * 50), "mismatched tag"),
    "nesting of 10^6": (article("<p>" * 1_000_000), "nest deeper than 120"),
    "attribute given twice": (article('<p id="a" id="b"/>'), "duplicate attribute"),
    "NUL": (article("<p>\0</p>"), "not well-formed"),
    "control character": (article("<p>\x0b</p>"), "not well-formed"),
    "reference to NUL": (article("<p>&#0;</p>"), "reference to invalid character"),
    "reference to a surrogate": (article("<p>&#xD800;</p>"), "reference to invalid character"),
    "prefix that is not bound": (article("<x:p/>"), "unbound prefix"),
    "declaration after the beginning": (" " + article(prolog='<?xml version="1.0"?>'), "not at start"),
    "UTF-7": (article("+ADw-p+AD4-x", '<?xml version="1.0" encoding="UTF-7"?>'), "unknown encoding 'UTF-7'"),
    "unicode_escape": (article("\\x41", '<?xml version="1.0" encoding="unicode_escape"?>'), "unknown encoding"),
    "an encoding that is a module": (article("", '<?xml version="1.0" encoding="hex_codec"?>'), "unknown encoding"),
    "UTF-16 said of UTF-8": (article("", '<?xml version="1.0" encoding="UTF-16"?>'), "encoding"),
    "an unfinished subset": ("<!DOCTYPE article [" + "<!-- x -->" * 50_000, "not well-formed|unclosed"),
    "two roots": (article() + article(), "junk after document element"),
    "only a prolog": ('<?xml version="1.0"?><!DOCTYPE article>', "no element found"),
}  # fmt: skip


@contextmanager
def bounded(*, seconds: float, n_bytes: int) -> Iterator[None]:
    """What the block takes of this thread's time and of Python's memory, expat's included."""
    gc.collect()
    tracemalloc.start()
    began = time.thread_time()
    try:
        yield
        taken, (_, peak) = time.thread_time() - began, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < seconds
    assert peak < n_bytes


@pytest.mark.parametrize(("source", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_with_the_next_step(watch: Watch, source: str, message: str) -> None:
    data = source.encode()
    with watch.on() as seen, bounded(seconds=3, n_bytes=20 * MB), pytest.raises(SourceError, match=message) as refused:
        read_jats(data)
    assert re.search(r": (?:fetch|write|remove)", str(refused.value))
    assert len(str(refused.value)) < 300
    assert not seen


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "prolog",
    [
        '<!DOCTYPE article [<!ENTITY a SYSTEM "{target}">]>',
        '<!DOCTYPE article [<!ENTITY a PUBLIC "-//x" "{target}">]>',
        '<!DOCTYPE article [<!ENTITY % a SYSTEM "{target}"> %a;]>',
        '<!DOCTYPE article SYSTEM "{target}" [<!ENTITY % a SYSTEM "{target}"> %a;]>',
    ],
)
def test_external_entities_are_refused_and_not_opened(watch: Watch, prolog: str, target: str, tmp_path: Path) -> None:
    data = article("<p>&a;</p>", prolog.format(target=_placed(target, tmp_path))).encode()
    with watch.on() as seen, pytest.raises(SourceError, match="declares the entity 'a', which is refused") as refused:
        read_jats(data)
    assert not seen
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "source",
    [
        '<!DOCTYPE article SYSTEM "{target}"><article><body><p>x&nbsp;y</p></body></article>',
        '<!DOCTYPE article PUBLIC "-//NLM//DTD JATS//EN" "{target}"><article><body><p>x&nbsp;y</p></body></article>',
        '<!DOCTYPE article SYSTEM "{target}" []><article><body><p>x&nbsp;y</p></body></article>',
        '<?xml-stylesheet type="text/xsl" href="{target}"?><article><body><p>x\xa0y</p></body></article>',
        '<article xmlns:xi="http://www.w3.org/2001/XInclude"><body><p>x\xa0y<xi:include href="{target}" parse="text"/>'
        "</p></body></article>",
        '<article xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="{target}"><body>'
        "<p>x\xa0y</p></body></article>",
        '<article xml:base="{target}"><body><p>x\xa0y</p></body></article>',
        '<?xml version="1.0" standalone="no"?><!DOCTYPE article SYSTEM "{target}"><article><body><p>x\xa0y</p></body>'
        "</article>",
    ],
)
def test_what_only_names_another_file_is_read_without_it(
    watch: Watch, source: str, target: str, tmp_path: Path
) -> None:
    data = source.format(target=_placed(target, tmp_path)).encode()
    with watch.on() as seen:
        read = read_jats(data)
    assert read.markdown == "x\xa0y\n"
    assert not seen


def _placed(target: str, folder: Path) -> str:
    """The target; for SECRET, a file that is there."""
    if target != "SECRET":
        return target
    (folder / "secret.txt").write_text(SECRET, encoding="utf-8")
    return (folder / "secret.txt").as_uri()


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16"])
def test_a_declaration_in_another_encoding_is_still_one(encoding: str) -> None:
    bom = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff", "utf-16": b""}[encoding]
    data = bom + article("<p>&a;</p>", doctype('<!ENTITY a SYSTEM "file:///etc/passwd">')).encode(encoding)
    with pytest.raises(SourceError, match="declares the entity 'a'"):
        read_jats(data)


@pytest.mark.parametrize(
    "source",
    [
        article(f'<p id="{"x" * 2 * MB}">y</p>'),
        article("<!--" + "x" * 2 * MB + "-->"),
        article("<p>" + "<?x y?>" * 100_000 + "</p>"),
        article("<p " + " ".join(f"a{n}='x'" for n in range(20_000)) + "/>"),
        article("<p>" + "<![CDATA[]]>" * 100_000 + "</p>"),
        article("".join(f'<p xmlns:a{n}="u:{n}"/>' for n in range(5_000))),
        article("x", doctype("<!ELEMENT p " + "(" * 100_000 + "a" + ")" * 100_000 + ">")),
        article("x", doctype('<!NOTATION n SYSTEM "file:///etc/passwd">')),
    ],
    ids=["attribute", "comment", "instructions", "attributes", "CDATA", "namespaces", "content model", "notation"],
)  # fmt: skip
def test_what_is_large_is_read_in_bounded_time(watch: Watch, source: str) -> None:
    data = source.encode()
    with watch.on() as seen, bounded(seconds=10, n_bytes=8 * len(data) + 30 * MB):
        read_jats(data)
    assert not seen


ROW = '<tr><td colspan="99999999" rowspan="99999999">{words}</td></tr>'


SPREAD = f"<table>{ROW.format(words='x')}{'<tr/>' * 99}</table>"
REPLY = f"<sub-article><body>{SPREAD}</body></sub-article>"


@pytest.mark.parametrize(
    "source",
    [
        article(SPREAD * 100),
        article("<table>" + ROW.format(words="x") * 3_000 + "</table>"),
        article(f"<table><tr><td rowspan='100'>{'y' * 20_000}</td></tr>{'<tr/>' * 99}</table>" * 5),
        article(f"<table><thead>{ROW.format(words='z' * 100_000)}</thead></table>" * 5),
        article().replace("</article>", f"{REPLY * 100}</article>"),
    ],
    ids=["tables", "rows", "long cell", "long header", "replies"],
)
def test_spans_of_cells_fill_no_memory(source: str) -> None:
    data = source.encode()
    with bounded(seconds=10, n_bytes=60 * MB):
        markdown = read_jats(data).markdown
    assert len(markdown) < 5 * len(data) + MB  # some 100 times as long, were every span written out


def test_a_file_that_claims_5_gb_is_refused_unread(watch: Watch, tmp_path: Path) -> None:
    path = tmp_path / "huge.md"
    with path.open("wb") as file:
        file.truncate(5_000_000_000)
    with watch.on() as seen, pytest.raises(SourceError, match="the file has 5000 MB, and one paper may have 50: split"):
        read_bytes(path)
    assert not seen


@pytest.mark.parametrize("target", ["file:///etc/passwd", "http://169.254.169.254/latest/meta-data/"])
def test_addresses_are_no_paths(watch: Watch, target: str) -> None:
    with watch.on() as seen, pytest.raises(SourceError, match="is no file: `loccit fetch` gets papers from addresses"):
        find_sources([Path(target)])
    assert not seen


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"# T\n\n\0\n", "the file is binary"),
        (b"\xff\xfe#\x00 \x00T\x00", "the file is UTF-16, not UTF-8"),
        (b"# T\n\n\xff\n", r"not UTF-8: byte 0xff in line 3 \(offset 5\); convert it"),
        (b"# T\n\n\xed\xa0\x80\n", "not UTF-8: byte 0xed"),
        (b"# T\n\n\xc0\xaf\n", "not UTF-8: byte 0xc0"),
        (b"\xef\xbb\xbf \r\n", "the file is empty"),
    ],
    ids=["NUL", "UTF-16", "invalid byte", "surrogate", "overlong", "only a byte order mark"],
)
def test_markdown_that_is_no_text_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        parse_source(SourceFile(Path("/x/paper.md"), "paper.md"), raw)


@pytest.mark.parametrize(
    "text",
    [
        "![](file:///etc/passwd) [x](http://169.254.169.254/) <img src='file:///etc/passwd'>",
        "---\ntitle: !!python/object/apply:os.system ['true']\n---\n\nx",
        "---\ntitle: !include file:///etc/passwd\n---\n\nx",
        "{% include '/etc/passwd' %}\n\n{{ config }}",
        "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>\n\n&a;",
    ],
)
def test_markdown_opens_nothing(watch: Watch, text: str) -> None:
    with watch.on() as seen:
        paper = parse_markdown(text, source="paper.md", sha256="")
    assert paper.text == text
    assert not seen


@pytest.mark.parametrize("parser", ["markdown", "jats"])
def test_papers_that_the_fuzzer_makes(parser: str, benchmarks: Callable[[str], ModuleType]) -> None:
    target, choices = benchmarks("fuzz").target_of(parser), benchmarks("fuzz_choices").Bytes

    @settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.binary(min_size=400, max_size=1600))
    def hold(data: bytes) -> None:
        target.check(target.make(choices(data)))

    hold()
