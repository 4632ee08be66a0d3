"""The client that fetches: what it asks, what it refuses, and when it asks again."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path

import pytest

from indexer.errors import SourceError, UsageError
from indexer.fetch.addresses import Hosts, why_not
from indexer.fetch.client import Client, Known, Limits, Reply
from indexer.fetch.network import Resolver, resolve
from indexer.fetch.pace import back_off, retry_after
from tests.fetch_server import (
    Behaviour,
    Services,
    answers,
    breaks_off,
    claims,
    drips,
    goes_until_it_closes,
    hangs_up,
    in_chunks,
    redirects,
    sends,
    serving,
)

XML = b"<article/>"
QUICK = Limits(
    max_bytes=100_000,
    connect_s=0.5,
    read_s=0.4,
    total_s=0.8,
    tries=3,
    first_wait_s=0.01,
    max_wait_s=1.5,
    interval_s=0,
)
fine = sends(XML, "application/xml")


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    with serving(tmp_path) as (running, trusted):
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        yield running


Get = Callable[..., Reply]


@pytest.fixture
def get(services: Services) -> Get:
    """Asks the server for `/x`, which behaves so."""

    def ask(
        *behaviours: Behaviour,
        known: Known | None = None,
        limits: Limits = QUICK,
        hosts: tuple[str, ...] = (),
        resolver: Resolver = resolve,
        url: str = "",
        kinds: tuple[str, ...] = ("xml",),
    ) -> Reply:
        if behaviours:
            services.does("/x", *behaviours)
        known_hosts = Hosts.of([], [services.url], hosts)
        with Client(known_hosts, "loccit/1 (mailto:me@example.org)", limits, resolver) as client:
            return client.get(url or f"{services.url}/x", *kinds, known=known)  # type: ignore[arg-type]

    return ask


def refused(get: Get, *behaviours: Behaviour, **options: object) -> str:
    with pytest.raises(SourceError) as raised:
        get(*behaviours, **options)
    return str(raised.value)


# What it asks


def test_it_says_who_asks_and_gives_what_it_gets(services: Services, get: Get) -> None:
    reply = get(sends(XML, "text/xml; charset=utf-8", etag='"a"', last_modified="Wed, 15 Jul 2026 10:00:00 GMT"))

    assert reply == Reply(200, f"{services.url}/x", XML, "text/xml", '"a"', "Wed, 15 Jul 2026 10:00:00 GMT", True)
    asked = services.requests[0].headers
    assert asked["user-agent"] == "loccit/1 (mailto:me@example.org)"
    assert asked["host"] == f"127.0.0.1:{services.port}"
    assert not {"if-none-match", "if-modified-since"} & asked.keys()


def test_what_it_has_it_asks_for_only_if_newer(services: Services, get: Get) -> None:
    date = "Wed, 15 Jul 2026 10:00:00 GMT"
    serve = sends(XML, "text/xml", etag='"a"', last_modified=date)

    same = get(serve, known=Known(f"{services.url}/x", '"a"', date))
    newer = get(serve, known=Known(f"{services.url}/x", '"b"', date))
    of_another_address = get(serve, known=Known(f"{services.url}/y", '"a"', date))

    assert (same.status, same.body, same.etag) == (304, b"", '"a"')
    assert (newer.status, newer.body) == (200, XML)
    assert (of_another_address.status, of_another_address.body) == (200, XML)
    assert services.requests[0].headers["if-none-match"] == '"a"'
    assert services.requests[0].headers["if-modified-since"] == date
    assert "if-none-match" not in services.requests[2].headers


def test_nothing_changed_is_no_answer_to_who_has_nothing(get: Get) -> None:
    assert refused(get, answers(304)) == "127.0.0.1 answers 304 Not Modified"


@pytest.mark.parametrize("status", [404, 410])
def test_not_there_and_withdrawn_are_answers(services: Services, get: Get, status: int) -> None:
    assert get(answers(status, b"<html>", content_type="text/html")) == Reply(status, f"{services.url}/x")  # type: ignore[arg-type]
    assert len(services.requests) == 1


# What it refuses


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://127.0.0.1/x", "http://127.0.0.1 is not asked: only https addresses are fetched"),
        ("file:///etc/passwd", "file:// is not asked: only https addresses are fetched"),
        ("http://169.254.169.254/latest/meta-data", "http://169.254.169.254 is not asked: only https"),
        (
            "https://169.254.169.254/latest",
            "169.254.169.254 is a link-local address, where machines keep their credentials: it is not asked",
        ),
        ("https://elsewhere.example.org/x", "elsewhere.example.org is no host that loccit knows"),
        ("//elsewhere.example.org/x", "elsewhere.example.org is no host that loccit knows"),
        (
            "https://127.0.0.1:1/x",
            "127.0.0.1:1 is no host that loccit knows: if you trust it, name it with --allow-host",
        ),
        ("https://exa mple/x", "exa%20mple is no host that loccit knows"),
        ("https://[::1/x", "is no address"),
    ],
)
def test_a_redirect_off_the_list_is_not_followed(services: Services, get: Get, location: str, why: str) -> None:
    message = refused(get, redirects(location))

    assert why in message
    assert len(services.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_on_the_list_is_followed(services: Services, get: Get, status: int) -> None:
    services.does("/y", fine)

    assert get(redirects("/y", status)) == Reply(200, f"{services.url}/y", XML, "application/xml", "", "", True)
    assert services.paths == ["/x", "/y"]


def test_redirects_end(services: Services, get: Get) -> None:
    assert refused(get, redirects("/x")) == "127.0.0.1 redirects more than 5 times"
    assert len(services.requests) == 6


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/x", "file:///etc/passwd", "ftp://127.0.0.1/x", "https://other/x", "x"]
)
def test_other_schemes_and_hosts_are_not_asked(services: Services, get: Get, url: str) -> None:
    assert refused(get, url=url)
    assert services.requests == []


def test_a_user_in_the_address_is_refused(services: Services, get: Get) -> None:
    assert "is not asked with a user's name" in refused(get, url=f"https://me:secret@127.0.0.1:{services.port}/x")
    assert services.requests == []


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [
        ("93.184.215.14", True, True),
        ("2606:2800:21f:cb07::1", True, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("10.1.2.3", False, True),
        ("192.168.0.1", False, True),
        ("172.16.0.1", False, True),
        ("100.64.0.1", False, True),
        ("fd00::1", False, True),
        ("::ffff:10.0.0.1", False, True),
        ("64:ff9b::a00:1", False, True),
        ("169.254.169.254", False, False),
        ("fe80::1", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("64:ff9b::a9fe:a9fe", False, False),
        ("2002:a9fe:a9fe::1", False, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("224.0.0.1", False, False),
        ("ff02::1", False, False),
        ("240.0.0.1", False, False),
    ],
)
def test_which_addresses_are_reached(address: str, public: bool, private: bool) -> None:
    found = ip_address(address)

    assert (why_not(found, private_ok=False) == "", why_not(found, private_ok=True) == "") == (public, private)


def test_a_known_name_may_not_stand_for_a_private_address(services: Services) -> None:
    hosts = Hosts.of(["https://papers.example.org"], [services.url])

    for addresses in (["127.0.0.1"], ["93.184.215.14", "10.0.0.1"], ["169.254.169.254"]):
        with (
            Client(hosts, "loccit", QUICK, lambda host, port, found=addresses: found) as client,
            pytest.raises(SourceError, match=r"^papers\.example\.org stands for .* address.*: it is not asked$"),
        ):
            client.get("https://papers.example.org/x", "xml")
    assert services.requests == []


def test_a_host_that_the_user_named_may_be_private_and_never_link_local(services: Services, get: Get) -> None:
    named = (f"papers.example.org:{services.port}",)
    url = f"https://papers.example.org:{services.port}/x"

    assert get(fine, hosts=named, url=url, resolver=lambda host, port: ["127.0.0.1"]).body == XML
    assert "a link-local address" in refused(get, hosts=named, url=url, resolver=lambda host, port: ["169.254.0.1"])


def test_the_address_that_was_checked_is_the_one_that_is_reached(services: Services, get: Get) -> None:
    """A name that stands for something else the second time gains nothing: it is asked for once."""
    asked: list[tuple[str, int]] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    url = f"https://papers.example.org:{services.port}/x"
    assert get(fine, hosts=(f"papers.example.org:{services.port}",), url=url, resolver=rebinding).body == XML
    assert asked == [("papers.example.org", services.port)]
    assert services.requests[0].headers["host"] == f"papers.example.org:{services.port}"


def test_a_certificate_is_of_the_name(services: Services, get: Get) -> None:
    url = f"https://other.example.org:{services.port}/x"
    message = refused(
        get, fine, hosts=(f"other.example.org:{services.port}",), url=url, resolver=lambda host, port: ["127.0.0.1"]
    )

    assert message.startswith("other.example.org has no certificate for its name that is trusted here")
    assert services.requests == []


def test_the_next_address_is_tried(services: Services, get: Get) -> None:
    url = f"https://localhost:{services.port}/x"

    def two(host: str, port: int) -> list[str]:
        return ["::1", "127.0.0.1"]  # nothing listens at the first

    assert get(fine, hosts=(f"localhost:{services.port}",), url=url, resolver=two).body == XML


def test_a_name_that_is_not_known(get: Get) -> None:
    def none(host: str, port: int) -> list[str]:
        raise OSError(1, "Name or service not known")

    message = refused(get, hosts=("papers.example.org",), url="https://papers.example.org/x", resolver=none)
    assert message == (
        "papers.example.org cannot be reached: its name is not known (Name or service not known), 3 times in a row: "
        "try again later"
    )


@pytest.mark.parametrize("host", ["", "a b", "https://x", "me@x", "x:y", "ü.example", "x:99999"])
def test_a_host_that_is_none(host: str) -> None:
    with pytest.raises(UsageError, match="names no host"):
        Hosts.of([], [], [host])


# Sizes


def test_a_length_of_five_gigabytes_is_not_waited_for(services: Services, get: Get) -> None:
    start = time.monotonic()

    assert refused(get, claims(5_000_000_000)) == (
        "127.0.0.1 says that it is 5,000,000,000 bytes long, and 100,000 are the limit"
    )
    assert time.monotonic() - start < 4
    assert len(services.requests) == 1


def test_more_than_the_limit_is_not_read(services: Services, get: Get) -> None:
    message = refused(get, in_chunks(b"<a>" * 40_000, "text/xml"))

    assert message == "127.0.0.1 sends more than 100,000 bytes, which are the limit"
    assert len(services.requests) == 1


def test_a_body_of_just_the_limit_is_read(get: Get) -> None:
    assert len(get(in_chunks(b"x" * 100_000, "text/xml")).body) == 100_000


def test_what_is_packed_is_unpacked_up_to_the_limit(services: Services, get: Get) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)

    assert len(bomb) < 100_000
    assert get(sends(gzip.compress(XML), "text/xml", content_encoding="gzip")).body == XML
    tracemalloc.start()
    message = refused(get, sends(bomb, "text/xml", content_encoding="gzip"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert message == "127.0.0.1 sends more than 100,000 bytes, which are the limit"
    assert peak < 10_000_000
    assert services.requests[0].headers["accept-encoding"] == "gzip"


def test_what_is_packed_otherwise_is_refused(get: Get) -> None:
    assert refused(get, sends(XML, "text/xml", content_encoding="br")) == (
        "127.0.0.1 packed it as 'br', which was not asked for"
    )


@pytest.mark.parametrize("spoilt", [gzip.compress(XML)[:-6], b"no gzip"])
def test_a_packed_body_that_breaks_off_is_asked_for_again(services: Services, get: Get, spoilt: bytes) -> None:
    assert get(sends(spoilt, "text/xml", content_encoding="gzip"), fine).body == XML
    assert len(services.requests) == 2


# Kinds


@pytest.mark.parametrize(
    ("kind", "asked", "taken"),
    [
        ("application/xml", "xml", True),
        ("Text/XML;charset=utf-8", "xml", True),
        ("binary/octet-stream", "xml", True),
        ("", "xml", True),
        ("text/html", "xml", False),
        ("application/pdf", "xml", False),
        ("text/markdown", "xml", False),
        ("text/markdown; charset=utf-8", "markdown", True),
        ("text/plain", "markdown", True),
        ("text/html; charset=utf-8", "markdown", False),
        ("application/json;charset=UTF-8", "json", True),
        ("text/html", "json", False),
    ],
)
def test_a_reply_is_of_the_kind_that_was_asked_for(get: Get, kind: str, asked: str, taken: bool) -> None:
    if taken:
        assert get(sends(XML, kind), kinds=(asked,)).body == XML
    else:
        what = "a web page" if "html" in kind else repr(kind)
        assert refused(get, sends(XML, kind), kinds=(asked,)) == (f"127.0.0.1 sent {what} where {asked} was asked for")


# Times and tries


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_host_is_asked_again(services: Services, get: Get, status: int) -> None:
    assert get(answers(status), fine).body == XML
    assert len(services.requests) == 2


def test_it_waits_longer_each_time_and_gives_up(services: Services, get: Get) -> None:
    message = refused(get, answers(503), limits=Limits(tries=3, first_wait_s=0.1, interval_s=0))

    assert message == "127.0.0.1 answers 503 Service Unavailable, 3 times in a row: try again later"
    first, second, third = (request.at for request in services.requests)
    assert 0.1 <= second - first < 1
    assert 0.2 <= third - second < 1.5


def test_it_waits_as_long_as_it_is_told(services: Services, get: Get) -> None:
    assert get(answers(429, retry_after="1"), fine).body == XML
    first, second = (request.at for request in services.requests)
    assert 1.0 <= second - first < 3


def test_it_waits_until_it_is_told(services: Services, get: Get) -> None:
    """A date has whole seconds, so that the wait may be a second shorter than said."""
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)

    assert get(answers(503, retry_after=when), fine, limits=Limits(tries=2, max_wait_s=3, interval_s=0)).body == XML
    first, second = (request.at for request in services.requests)
    assert 0.9 <= second - first < 4


def test_a_host_that_wants_a_long_wait_is_left_alone(services: Services) -> None:
    services.does("/x", answers(429, retry_after="3600"))
    with Client(Hosts.of([], [services.url]), "loccit", QUICK) as client:
        for path in ("/x", "/y"):  # nor is it asked for anything else meanwhile
            with pytest.raises(SourceError, match=r"^127\.0\.0\.1 asks to wait for 3600 s: run the same again after"):
                client.get(f"{services.url}{path}", "xml")

    assert services.paths == ["/x"]


def test_requests_to_a_host_keep_their_distance(services: Services) -> None:
    services.does("/x", fine)
    with Client(Hosts.of([], [services.url]), "loccit", Limits(interval_s=0.2)) as client:
        start = time.monotonic()
        for _ in range(3):
            client.get(f"{services.url}/x", "xml")

    assert 0.4 <= time.monotonic() - start < 3


@pytest.mark.parametrize("behaviour", [breaks_off(b"<article></article>"), hangs_up])
def test_a_reply_that_breaks_off_is_asked_for_again(services: Services, get: Get, behaviour: Behaviour) -> None:
    assert get(behaviour, fine).body == XML
    assert len(services.requests) == 2


def test_a_reply_that_always_breaks_off_is_none(services: Services, get: Get) -> None:
    message = refused(get, breaks_off(b"<article></article>"))

    assert message.startswith("127.0.0.1 sent a reply that breaks off")
    assert message.endswith("3 times in a row: try again later")
    assert len(services.requests) == 3


def test_a_reply_that_does_not_say_how_long_it_is(get: Get) -> None:
    assert get(goes_until_it_closes(XML, "text/xml")).whole is False
    assert get(in_chunks(XML, "text/xml")).whole is True


@pytest.mark.parametrize("headers", [False, True])
def test_a_slow_drip_is_broken_off(services: Services, get: Get, headers: bool) -> None:
    start = time.monotonic()

    assert refused(get, drips(headers=headers)) == "it took longer than 0.8 s and was broken off: try again later"
    assert 0.7 < time.monotonic() - start < 4
    assert len(services.requests) == 1


def test_silence_is_not_waited_for(services: Services, get: Get) -> None:
    start = time.monotonic()

    message = refused(get, claims(10), limits=Limits(read_s=0.2, tries=2, first_wait_s=0.01, interval_s=0))

    assert message == "127.0.0.1 says nothing for 0.2 s, 2 times in a row: try again later"
    assert time.monotonic() - start < 4
    assert len(services.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 418, 501])
def test_other_answers_are_said_and_not_asked_for_again(services: Services, get: Get, status: int) -> None:
    assert refused(get, answers(status)).startswith(f"127.0.0.1 answers {status} ")
    assert len(services.requests) == 1


def test_retry_after() -> None:
    now = datetime(2026, 9, 30, 12, 0, 0, tzinfo=UTC)

    assert retry_after("7", now) == 7
    assert retry_after(" 120 ", now) == 120
    assert retry_after("Wed, 30 Sep 2026 12:01:30 GMT", now) == 90
    assert retry_after("Wed, 30 Sep 2026 12:01:30 -0000", now) == 90
    assert retry_after("Wed, 30 Sep 2026 11:00:00 GMT", now) == 0
    assert [retry_after(value, now) for value in ("", "soon", "-1", "1.5", "²")] == [None] * 5


def test_back_off_doubles_and_spreads() -> None:
    waits = {attempt: [back_off(attempt, 0.5) for _ in range(200)] for attempt in range(3)}

    assert all(0.5 * 2**n <= wait <= 0.75 * 2**n for n, all_waits in waits.items() for wait in all_waits)
    assert len(set(waits[0])) > 100


def test_a_server_that_nobody_vouches_for_is_not_asked(
    services: Services, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")

    assert refused(get, fine).startswith("127.0.0.1 has no certificate for its name that is trusted here")
    assert services.requests == []


def test_a_body_packed_in_several_members_is_whole(get: Get) -> None:
    body = gzip.compress(XML[:4]) + gzip.compress(XML[4:])
    assert get(sends(body, "text/xml", content_encoding="gzip")).body == XML


@pytest.mark.parametrize("etag", ['"café"', '"a"\r\nX-Other: b', " "])
def test_a_validator_that_no_header_may_hold_is_not_sent(services: Services, get: Get, etag: str) -> None:
    assert get(fine, known=Known(f"{services.url}/x", etag, "")).body == XML
    assert "if-none-match" not in services.requests[0].headers


@pytest.mark.parametrize("host", ["xn--a.org", f"{'a' * 70}.org", "a..b.org"])
def test_a_host_that_can_have_no_address_is_refused(get: Get, host: str) -> None:
    assert refused(get, redirects(f"https://{host}/x"))
    with pytest.raises((SourceError, UsageError)):
        get(url=f"https://{host}/x", hosts=(host,))
