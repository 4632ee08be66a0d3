"""Who may ask: keys, scopes, hosts, rates, and what a browser is told; each over the routes as they are served."""

from __future__ import annotations

import json
import logging
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from indexer.embedding import Embedder
from indexer.errors import ConfigError, NotFoundError, UsageError
from indexer.store import IndexWriter
from service.access import KeyFile, Policy, is_loopback, policy_of
from service.access.guard import COOKIE
from service.access.hosts import is_answered
from service.access.keys import token_of
from service.access.rates import Rates, address_of
from service.api import create_app
from service.config import Settings, load_settings
from service.library import Library
from tests.conftest import Run
from tests.serving import ask, served

QUESTION = "why do limpets lose their grip in warm water?"
PAPER = "PMC9000001"
WRONG = "loccit_" + "A" * 43
FOREIGN = "sk-proj-1234567890"
"""As OpenAI's clients send one, because they must."""
Client = Callable[..., TestClient]


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys")


@pytest.fixture
def opened(library: Library, keys: KeyFile) -> Iterator[Client]:
    """The service under a policy; by default one that asks everyone for a key."""
    clients: list[TestClient] = []

    def made(*, base_url: str = "http://testserver", **policy: Any) -> TestClient:
        given = {"keys": keys, "anonymous": "never", "hosts": frozenset({"testserver"})} | policy
        app = create_app(library, base_url, Policy(**given))
        client = TestClient(app, raise_server_exceptions=False, follow_redirects=False)
        clients.append(client.__enter__())
        return client

    yield made
    for client in clients:
        client.__exit__(None, None, None)


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


# The file of keys


def test_a_secret_is_random_and_kept_as_its_hash(keys: KeyFile) -> None:
    secrets = [keys.add(f"key-{n}", "read") for n in range(3)]
    assert len({secret[len("loccit_") :] for secret in secrets}) == 3
    assert all(secret.startswith("loccit_") and len(secret) == len("loccit_") + 43 for secret in secrets)  # 256 bits
    text = keys.path.read_text(encoding="utf-8")
    for secret in secrets:
        assert secret not in text
        assert secret[len("loccit_") :] not in text
        assert token_of(secret) not in text
        assert secret not in repr(keys.all())


def test_the_file_is_its_owners(keys: KeyFile) -> None:
    keys.add("a", "read")
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    keys.path.chmod(0o620)
    with pytest.raises(ConfigError, match="chmod 600"):
        keys.all()


def test_a_key_is_found_by_its_secret_alone(keys: KeyFile) -> None:
    reader, admin = keys.add("reader", "read"), keys.add("admin", "admin")
    found = [keys.with_secret(each) for each in (reader, admin)]
    assert [(each.name, each.scope) for each in found if each] == [("reader", "read"), ("admin", "admin")]
    for wrong in ("", "loccit_", reader[:-1], reader + "A", reader.upper(), WRONG, "\ud800", "é", token_of(reader)):
        assert keys.with_secret(wrong) is None
    (first, _) = keys.all()
    for kept in (first.secret_sha256, first.token_sha256):  # what the file says opens nothing
        assert keys.with_secret(kept) is None
        assert keys.with_token(kept) is None
    assert keys.with_token(token_of(reader)) == first
    assert keys.with_token(reader) is None


def test_names(keys: KeyFile) -> None:
    keys.add("alice@example.org", "read")
    with pytest.raises(UsageError, match="already: choose another name"):
        keys.add("alice@example.org", "admin")
    for name in ("", " ", "a b", "../x", "a" * 65, "-x", "é", "a\n"):
        with pytest.raises(UsageError, match="no name of a key"):
            keys.add(name, "read")
    with pytest.raises(NotFoundError, match="loccit keys list"):
        keys.remove("bob")


def test_a_change_counts_at_once(keys: KeyFile) -> None:
    served = KeyFile(keys.path)
    assert served.all() == ()
    secret = keys.add("a", "read")
    assert served.with_secret(secret)
    keys.remove("a")
    assert served.with_secret(secret) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 2, "keys": []}', '{"version": 1, "keys": [{"name": "a", "scope": "owner"}]}']
)
def test_a_file_that_is_none_of_ours(keys: KeyFile, text: str) -> None:
    keys.path.write_text(text, encoding="utf-8")
    keys.path.chmod(0o600)
    with pytest.raises(ConfigError, match="no file of keys, or is damaged") as caught:
        keys.all()
    assert "owner" not in str(caught.value)


@pytest.mark.model
def test_the_commands(loccit: Callable[..., Run], workdir: Path) -> None:
    made = loccit("keys", "add", "alice")
    assert (made.code, made.out.count("\n")) == (0, 1)
    secret = made.out.strip()
    assert made.err == (f"this is the only time that the key is shown; its hash is in {workdir / '.loccit.keys'}\n")
    admin = json.loads(loccit("keys", "add", "root", "--scope", "admin", "--json").out)
    assert (admin["name"], admin["scope"]) == ("root", "admin")
    listed = loccit("keys", "list")
    assert [line.split()[:2] for line in listed.out.splitlines()] == [["alice", "read"], ["root", "admin"]]
    assert secret not in listed.out
    found = json.loads(loccit("keys", "list", "--json").out)
    assert [each["name"] for each in found["keys"]] == ["alice", "root"]
    file = KeyFile(workdir / ".loccit.keys")
    assert file.with_secret(secret)
    assert loccit("keys", "remove", "alice") == Run(0, "removed alice\n", "")
    assert file.with_secret(secret) is None
    assert loccit("keys", "remove", "alice").code == 4
    assert loccit("keys", "add", "root").code == 2
    elsewhere = loccit("keys", "add", "x", "--keys", workdir / "elsewhere")
    assert KeyFile(workdir / "elsewhere").with_secret(elsewhere.out.strip())


# Every route, and who asks

BODIES: dict[str, Any] = {
    "/v1/search": {"query": QUESTION},
    "/v1/ask": {"question": QUESTION},
    "/v1/verify": {"paper_id": PAPER, "start": 0, "end": 1, "exact": "#"},
    "/v1/chat/completions": {"model": "loccit", "messages": [{"role": "user", "content": QUESTION}]},
    "/mcp": {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}},
}
TABLE: list[tuple[str, str, tuple[int, int, int, int]]] = [
    # no key, a wrong one, one that reads, one of an administrator
    ("GET", "/healthz", (200, 200, 200, 200)),
    ("GET", "/readyz", (200, 200, 200, 200)),
    ("GET", "/", (401, 401, 200, 200)),
    ("GET", "/papers", (401, 401, 200, 200)),
    ("GET", "/papers/PMC9000001", (401, 401, 200, 200)),
    ("GET", "/static/style.css", (200, 200, 200, 200)),
    ("GET", "/signin", (200, 200, 200, 200)),
    ("POST", "/signin", (401, 401, 401, 401)),
    ("POST", "/signout", (303, 303, 303, 303)),
    ("POST", "/v1/search", (401, 401, 200, 200)),
    ("POST", "/v1/ask", (401, 401, 200, 200)),
    ("POST", "/v1/verify", (401, 401, 200, 200)),
    ("GET", "/v1/papers", (401, 401, 200, 200)),
    ("GET", "/v1/papers/PMC9000001", (401, 401, 200, 200)),
    ("GET", "/v1/papers/PMC9000001/source", (401, 401, 200, 200)),
    ("GET", "/v1/passages/PMC9000001:0", (401, 401, 404, 404)),
    ("GET", "/v1/models", (401, 401, 200, 200)),
    ("GET", "/v1/models/loccit", (401, 401, 200, 200)),
    ("POST", "/v1/chat/completions", (401, 401, 200, 200)),
    ("POST", "/mcp", (401, 401, 200, 200)),
    ("GET", "/metrics", (401, 401, 200, 200)),
    ("GET", "/openapi.json", (401, 401, 200, 200)),
    ("DELETE", "/v1/papers/PMC1", (401, 401, 403, 404)),
    ("GET", "/no/such/path", (401, 401, 404, 404)),
]
SEEN_BY_ANYONE = {
    (method, path): (200 if path != "/v1/passages/PMC9000001:0" else 404)
    for method, path, statuses in TABLE
    if statuses[2] in (200, 404) and path != "/no/such/path"
}


def sent(client: TestClient, method: str, path: str, headers: dict[str, str]) -> Any:
    if path == "/mcp":
        headers = headers | {"accept": "application/json, text/event-stream"}
    return client.request(method, path, json=BODIES.get(path), headers=headers)


@pytest.mark.model
def test_every_route_is_in_the_table(opened: Client) -> None:
    app: Any = opened().app
    found = set()
    for method, path, _ in TABLE:
        scope = {"type": "http", "method": method, "path": path, "headers": []}
        found |= {
            (method, route.path)
            for route in routes_of(app)
            if method in (route.methods or ()) and route.matches(scope)[0].value == 2
        }
    routed = {(method, each.path) for each in routes_of(app) for method in each.methods or () if method != "HEAD"}
    assert routed == found & routed


def routes_of(app: Any) -> list[Route]:
    """Every route; FastAPI keeps those of a router behind it."""
    found: list[Route] = []

    def walk(routes: Any) -> None:
        for each in routes:
            if isinstance(each, Route):
                found.append(each)
            else:
                walk(each.routes if hasattr(each, "routes") else each.original_router.routes)

    walk(app.routes)
    return found


@pytest.mark.model
@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
def test_who_gets_what(opened: Client, keys: KeyFile, header: str) -> None:
    client = opened()
    callers = ["", WRONG, keys.add("reader", "read"), keys.add("admin", "admin")]
    for method, path, expected in TABLE:
        got = []
        for secret in callers:
            value = f"Bearer {secret}" if header == "authorization" else secret
            reply = sent(client, method, path, {header: value} if secret else {})
            got.append(reply.status_code)
            if reply.status_code == 401 and path != "/signin":
                assert reply.headers["www-authenticate"] == 'Bearer realm="loccit"'
            assert all(each not in reply.text for each in callers[1:])
        assert tuple(got) == expected, (method, path)


@pytest.mark.model
def test_who_gets_what_where_anyone_may_read(opened: Client, keys: KeyFile) -> None:
    """Keys count as before; a key of someone else's service is as good as none."""
    client = opened(anonymous="always")
    reader, admin = keys.add("reader", "read"), keys.add("admin", "admin")
    for (method, path), status in SEEN_BY_ANYONE.items():
        for secret in ("", FOREIGN):
            assert sent(client, method, path, bearer(secret) if secret else {}).status_code == status, path
    assert sent(client, "POST", "/v1/search", bearer(WRONG)).status_code == 401
    for secret, status in (("", 401), (FOREIGN, 401), (WRONG, 401), (reader, 403), (admin, 404)):
        reply = sent(client, "DELETE", "/v1/papers/PMC1", bearer(secret) if secret else {})
        assert (reply.status_code, reply.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.model
def test_no_one_is_asked_until_there_is_a_key(opened: Client, keys: KeyFile, caplog: pytest.LogCaptureFixture) -> None:
    client = opened(anonymous="until keys")
    assert client.get("/v1/papers").status_code == 200
    assert client.delete(f"/v1/papers/{PAPER}").status_code == 401  # also where there is no key at all
    secret = keys.add("first", "read")
    assert client.get("/v1/papers").status_code == 401
    assert client.get("/v1/papers", headers=bearer(secret)).status_code == 200
    keys.path.unlink()
    for _ in range(2):
        assert client.get("/v1/papers").status_code == 401  # what went away opens nothing
        assert client.get("/v1/papers", headers=bearer(secret)).status_code == 401
    assert [each.getMessage() for each in caplog.records if "is gone" in each.getMessage()] == [
        f"{keys.path}, the file of keys, is gone: no key is known until it is back"
    ]


@pytest.mark.model
def test_without_keys_nothing_is_removed(library: Library) -> None:
    with TestClient(create_app(library)) as client:
        assert client.get("/v1/papers").status_code == 200
        assert client.delete(f"/v1/papers/{PAPER}").status_code == 401
    assert library.paper(PAPER)


@pytest.mark.model
def test_an_administrator_takes_a_paper_out(
    built: Path, embedder: Embedder, keys: KeyFile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(built, tmp_path / "index"))
    secret = keys.add("root", "admin")
    library = Library.open(folder, load=lambda _: embedder)
    caplog.set_level(logging.DEBUG)
    with TestClient(create_app(library, policy=Policy(keys=keys))) as client:
        with IndexWriter(folder, None):
            busy = client.delete(f"/v1/papers/{PAPER}", headers=bearer(secret))
        assert (busy.status_code, busy.json()["type"]) == (503, "urn:loccit:problem:index-busy")
        reply = client.delete("/v1/papers/10.5555/lichen.2019.3", headers=bearer(secret))
        assert (reply.status_code, reply.json()) == (200, {"removed": ["10.5555_lichen.2019.3"], "generation": 2})
        assert client.get("/v1/papers").json()["total"] == 3
        assert client.delete("/v1/papers/10.5555/lichen.2019.3", headers=bearer(secret)).status_code == 404
    library.close()
    assert "DELETE /v1/papers/10.5555/lichen.2019.3 with the key root" in caplog.text
    assert secret not in caplog.text


# The form of a refusal


@pytest.mark.model
def test_each_client_is_refused_in_its_own_form(opened: Client) -> None:
    client = opened()
    api = client.get("/v1/papers")
    assert api.headers["content-type"] == "application/problem+json"
    assert api.json()["type"] == "urn:loccit:problem:key-needed"
    assert "`loccit keys add NAME`" in api.json()["detail"]
    chat = client.post("/v1/chat/completions", json=BODIES["/v1/chat/completions"], headers=bearer(FOREIGN))
    assert chat.json()["error"]["code"] == "key_needed"
    assert chat.json()["error"]["type"] == "invalid_request_error"
    mcp = client.post("/mcp", json=BODIES["/mcp"])
    assert (mcp.json()["jsonrpc"], mcp.json()["id"], mcp.json()["error"]["code"]) == ("2.0", None, -32600)
    page = client.get("/papers?sort=title", headers={"accept": "text/html"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert 'name="then" value="/papers?sort=title"' in page.text
    assert 'type="password"' in page.text


@pytest.mark.model
def test_damaged_keys_let_no_one_in_and_tell_no_one_where_they_are(
    opened: Client, keys: KeyFile, caplog: pytest.LogCaptureFixture
) -> None:
    secret = keys.add("a", "read")
    client = opened(anonymous="until keys")
    keys.path.write_text("{", encoding="utf-8")
    for headers in ({}, bearer(secret)):
        reply = client.get("/v1/papers", headers=headers)
        assert reply.status_code == 500
        assert str(keys.path) not in reply.text
    assert str(keys.path) in caplog.text
    assert client.get("/healthz").status_code == 200


# A browser


@pytest.mark.model
def test_signing_in(opened: Client, keys: KeyFile) -> None:
    client = opened()
    secret = keys.add("reader", "admin")
    wrong = client.post("/signin", data={"key": WRONG, "then": "/papers"})
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    assert "not known here" in wrong.text
    right = client.post("/signin", data={"key": f" {secret} ", "then": "/papers?sort=title"})
    assert (right.status_code, right.headers["location"]) == (303, "/papers?sort=title")
    cookie = right.headers["set-cookie"]
    assert secret not in cookie
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert client.get("/papers").status_code == 200
    # The cookie opens pages, and nothing else: no other site's page could have it sent to what changes anything.
    assert client.get("/v1/papers").status_code == 401
    assert client.delete(f"/v1/papers/{PAPER}").status_code == 401
    assert client.post("/mcp", json=BODIES["/mcp"]).status_code == 401
    token = client.cookies[COOKIE]
    assert client.get("/v1/papers", headers=bearer(token)).status_code == 401
    assert client.post("/signout").headers["location"] == "/signin"
    assert COOKIE not in client.cookies
    assert client.get("/papers").status_code == 401
    assert client.get("/papers", headers={"cookie": f"{COOKIE}={token}"}).status_code == 200
    keys.remove("reader")
    assert client.get("/papers", headers={"cookie": f"{COOKIE}={token}"}).status_code == 401


@pytest.mark.model
def test_a_form_of_many_fields_is_refused(opened: Client) -> None:
    reply = opened().post("/signin", data={f"field{n}": "x" for n in range(20)})
    assert (reply.status_code, "send no others" in reply.text) == (422, True)


def test_signing_in_below_a_path_over_https(opened: Client, keys: KeyFile) -> None:
    client = opened(base_url="https://testserver/loccit")
    reply = client.post("/signin", data={"key": keys.add("b", "read"), "then": "/"})
    assert reply.headers["location"] == "/loccit/"
    assert {"HttpOnly", "Path=/loccit", "SameSite=strict", "Secure"} <= set(reply.headers["set-cookie"].split("; "))
    assert reply.headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.model
@pytest.mark.parametrize(
    "then", ["//evil.example", "/\\evil.example", "https://evil.example", "/a b", "/\r\nx: y", "javascript:1", ""]
)
def test_signing_in_leads_nowhere_else(opened: Client, keys: KeyFile, then: str) -> None:
    reply = opened().post("/signin", data={"key": keys.add("a", "read"), "then": then})
    assert reply.headers["location"] == "/"


@pytest.mark.model
def test_a_form_of_another_site_signs_no_one_in(opened: Client, keys: KeyFile) -> None:
    data = {"key": keys.add("a", "read")}
    reply = opened().post("/signin", data=data, headers={"sec-fetch-site": "cross-site"})
    assert (reply.status_code, "set-cookie" in reply.headers) == (403, False)


@pytest.mark.model
@pytest.mark.parametrize("cookie", ["", ";;;", f"{COOKIE}=", f'{COOKIE}="', f"{COOKIE}={'x' * 5000}", "\xff=\xfe"])
def test_a_cookie_that_is_none(opened: Client, keys: KeyFile, cookie: str) -> None:
    keys.add("a", "read")
    assert opened().get("/papers", headers={"cookie": cookie.encode("latin-1")}).status_code == 401  # type: ignore[dict-item]


# Hosts


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        ("papers.example.org", True),
        ("Papers.Example.ORG:8000", True),
        ("papers.example.org.", True),
        ("localhost:1", True),
        ("127.0.0.1:8000", True),
        ("192.168.1.7", True),
        ("[::1]:8000", True),
        ("evil.example", False),
        ("papers.example.org.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("evil.example:papers.example.org", False),
        ("evil.example@papers.example.org", False),
        ("papers.example.org, evil.example", False),
        ("", False),
    ],
)
def test_hosts(host: str, answered: bool) -> None:
    assert is_answered(host, {"localhost", "papers.example.org"}) == answered


@pytest.mark.model
def test_a_page_that_was_told_we_are_its_host_gets_nothing(opened: Client) -> None:
    client = opened(anonymous="always")
    for method, path, _ in TABLE:
        reply = sent(client, method, path, {"host": "evil.example"})
        assert reply.status_code == (200 if path in ("/healthz", "/readyz") else 421), path
    assert client.get("/v1/papers", headers={"host": "10.1.2.3:8000"}).status_code == 200
    assert "evil" not in client.get("/v1/papers", headers={"host": "evil.example"}).text


# Rates


def test_a_bucket_empties_and_fills() -> None:
    now = 0.0
    rates = Rates(60, now=lambda: now)
    first = [rates.take("a") for _ in range(61)]
    assert [each.allowed for each in first] == [True] * 60 + [False]
    assert (first[0].left, first[59].left, first[60].retry_in_s) == (59, 0, 1)
    assert (first[0].full_in_s, first[59].full_in_s) == (1, 60)
    assert rates.take("b").allowed
    now = 2.0
    assert [rates.take("a").allowed for _ in range(3)] == [True, True, False]
    now = 1000.0
    assert [rates.take("a").allowed for _ in range(61)].count(True) == 60


def test_the_table_of_clients_is_bounded() -> None:
    rates = Rates(1, max_clients=100)
    assert rates.take("regular").allowed
    for n in range(10_000):
        rates.take(f"10.0.{n // 256}.{n % 256}")
        rates.take("regular")
    assert len(rates) == 100
    assert not rates.take("regular").allowed  # who keeps asking is not forgotten


def test_what_counts_as_one_address() -> None:
    assert address_of("::ffff:192.0.2.7") == address_of("192.0.2.7") == "192.0.2.7"
    assert address_of("2001:db8:1:2:aaaa::1") == address_of("2001:db8:1:2:bbbb::9%eth0") == "2001:db8:1:2::/64"
    assert address_of("2001:db8:1:3::1") != address_of("2001:db8:1:2::1")
    assert address_of("testclient") == "testclient"


@pytest.mark.model
def test_each_key_has_its_rate_and_each_address(opened: Client, keys: KeyFile) -> None:
    alice, bob = keys.add("alice", "read"), keys.add("bob", "read")
    client = opened(rate_per_minute=3, anonymous="always")
    for who in (bearer(alice), bearer(bob), {}):
        replies = [client.get("/v1/models", headers=who) for _ in range(4)]
        assert [each.status_code for each in replies] == [200, 200, 200, 429]
        kind = "key" if who else "address"
        assert [each.headers["ratelimit-policy"] for each in replies] == [f'"{kind}";q=3;w=60'] * 4
        assert [each.headers["ratelimit"].partition(";t=")[0] for each in replies] == [
            f'"{kind}";r={left}' for left in (2, 1, 0, 0)
        ]
        assert 0 < int(replies[3].headers["retry-after"]) <= 20
        assert replies[3].json()["error"]["code"] == "too_many_requests"
    assert client.get("/v1/papers", headers=bearer(alice)).json()["type"] == "urn:loccit:problem:too-many-requests"
    assert "alice" not in str(client.get("/v1/papers", headers=bearer(alice)).headers)
    for path in ("/healthz", "/readyz", "/static/style.css"):
        assert client.get(path).status_code == 200


@pytest.mark.model
def test_guesses_are_counted_against_the_address(opened: Client, keys: KeyFile) -> None:
    secret = keys.add("a", "read")
    client = opened(rate_per_minute=5)
    guesses = [client.get("/v1/papers", headers=bearer(f"{WRONG[:-1]}{n}")).status_code for n in range(8)]
    assert guesses == [401] * 5 + [429] * 3
    assert client.post("/signin", data={"key": "x"}).status_code == 429
    assert client.get("/v1/papers", headers=bearer(secret)).status_code == 200


@pytest.mark.model
@pytest.mark.parametrize(
    ("proxies", "expected"),
    [((), [200, 429, 429]), (("127.0.0.0/8",), [200, 200, 429]), (("10.0.0.1",), [200, 429, 429])],
)
def test_only_a_trusted_proxy_says_who_asks(library: Library, proxies: tuple[str, ...], expected: list[int]) -> None:
    with served(library, Policy(rate_per_minute=1), proxies) as (host, port, _):
        sent = [{"x-forwarded-for": address} for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1")]
        assert [ask((host, port), "GET", "/v1/models", headers=each)[0] for each in sent] == expected


@pytest.mark.model
def test_a_key_of_ours_beside_one_of_others(opened: Client, keys: KeyFile) -> None:
    secret = keys.add("a", "read")
    client = opened()
    assert client.get("/v1/papers", headers={**bearer(FOREIGN), "x-api-key": secret}).status_code == 200
    assert client.get("/v1/papers", headers={**bearer(secret), "x-api-key": FOREIGN}).status_code == 200
    assert client.get("/v1/papers", headers={"authorization": f"bEARER   {secret}"}).status_code == 200
    for value in (secret, f"Basic {secret}", f"Bearer{secret}", f"Bearer {secret} x", "Bearer", "Bearer "):
        assert client.get("/v1/papers", headers={"authorization": value}).status_code == 401, value
    assert client.get(f"/v1/papers?key={secret}&access_token={secret}").status_code == 401  # addresses are logged


@pytest.mark.model
def test_no_rate_says_nothing(opened: Client) -> None:
    assert "ratelimit" not in opened(anonymous="always").get("/v1/papers").headers


# What browsers are told


@pytest.mark.model
def test_every_reply_has_the_headers(opened: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    client = opened(anonymous="always")
    monkeypatch.setattr(Library, "papers", bug)
    replies = [sent(client, method, path, {}) for method, path, _ in TABLE]
    assert 500 in {each.status_code for each in replies}
    assert client.get("/v1/papers").status_code == 500
    for each in replies:
        assert each.headers["x-content-type-options"] == "nosniff"
        assert each.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in each.headers["content-security-policy"]
        assert each.headers["cache-control"]
        assert "strict-transport-security" not in each.headers
    assert client.get("/v1/models").headers["cache-control"] == "no-store"


@pytest.mark.model
def test_other_sites_read_nothing_unless_they_may(opened: Client, keys: KeyFile) -> None:
    secret = keys.add("a", "read")
    asked = {"origin": "https://notes.example.org", "access-control-request-method": "POST"}
    asked["access-control-request-headers"] = "authorization,content-type"
    closed, open_ = opened(), opened(origins=("https://notes.example.org",))
    assert "access-control-allow-origin" not in closed.options("/v1/search", headers=asked).headers
    preflight = open_.options("/v1/search", headers=asked)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, asked["origin"])
    other = open_.options("/v1/search", headers=asked | {"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
    # Also what is refused may be read, and cookies have no part in it.
    denied = open_.get("/v1/papers", headers={"origin": asked["origin"]})
    assert (denied.status_code, denied.headers["access-control-allow-origin"]) == (401, asked["origin"])
    given = open_.get("/v1/papers", headers=bearer(secret) | {"origin": asked["origin"]})
    assert given.headers["access-control-allow-origin"] == asked["origin"]
    assert "access-control-allow-credentials" not in given.headers
    mcp = sent(open_, "POST", "/mcp", bearer(secret) | {"origin": asked["origin"]})
    assert mcp.status_code == 200


# Settings


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True)]
    + [(each, False) for each in ("0.0.0.0", "::", "192.168.0.1", "example.org", "localhost.example.org", "")],
)
def test_what_is_loopback(host: str, local: bool) -> None:
    assert is_loopback(host) == local


def test_beyond_loopback_there_is_a_key_or_no_service(workdir: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        policy_of(Settings(host="0.0.0.0"))
    assert str(caught.value) == (
        f"0.0.0.0 is reached from other machines, and there is no key in {workdir / '.loccit.keys'}: make one with "
        "`loccit keys add NAME`, listen on 127.0.0.1, or let everyone read with --allow-anonymous"
    )
    anyone = policy_of(Settings(host="0.0.0.0", allow_anonymous=True))
    assert (anyone.anonymous, anyone.rate_per_minute) == ("always", 600)
    KeyFile(workdir / ".loccit.keys").add("a", "read")
    with_keys = policy_of(Settings(host="0.0.0.0", public_base_url="https://papers.example.org/x"))
    assert (with_keys.anonymous, with_keys.rate_per_minute) == ("never", 600)
    assert with_keys.hosts == {"localhost", "papers.example.org"}


def test_on_loopback_no_one_is_asked_until_there_are_keys(workdir: Path) -> None:
    policy = policy_of(Settings())
    assert (policy.anonymous, policy.rate_per_minute, policy.asks_no_one()) == ("until keys", 0, True)
    KeyFile(workdir / ".loccit.keys").add("a", "read")
    assert not policy.asks_no_one()
    assert policy_of(Settings(allow_anonymous=True)).asks_no_one()


@pytest.mark.model
def test_serve_refuses_to_start_without_keys(loccit: Callable[..., Run], built: Path) -> None:
    run = loccit("serve", "--index", built, "--host", "0.0.0.0", "--port", "0")
    assert (run.code, run.out) == (2, "")
    assert "`loccit keys add NAME`" in run.err
    assert "--allow-anonymous" in run.err


def test_lists_in_the_environment_and_in_the_file(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCCIT_ALLOWED_HOSTS", "a.example.org, b.example.org")
    monkeypatch.setenv("LOCCIT_TRUSTED_PROXIES", "10.0.0.0/8 ::1")
    (workdir / "loccit.toml").write_text('cors_origins = ["https://notes.example.org"]\n', encoding="utf-8")
    settings = load_settings()
    assert settings.allowed_hosts == ("a.example.org", "b.example.org")
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1")
    assert settings.cors_origins == ("https://notes.example.org",)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LOCCIT_ALLOWED_HOSTS", "https://a.example.org", "without https:// and port"),
        ("LOCCIT_ALLOWED_HOSTS", "*", "without https:// and port"),
        ("LOCCIT_TRUSTED_PROXIES", "*", "addresses or networks"),
        ("LOCCIT_TRUSTED_PROXIES", "proxy.example.org", "addresses or networks"),
        ("LOCCIT_CORS_ORIGINS", "notes.example.org", "sites such as"),
        ("LOCCIT_CORS_ORIGINS", "https://notes.example.org/path", "sites such as"),
    ],
)
def test_lists_that_do_not_fit(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=said):
        load_settings()


@pytest.mark.model
def test_a_cookie_is_read_in_no_time(opened: Client) -> None:
    client = opened()
    began = time.perf_counter()
    cookie = 'loccit_signin="' + '\\"' * 30_000 + '"'
    assert client.get("/papers", headers={"cookie": cookie}, follow_redirects=False).status_code in (303, 401)
    assert time.perf_counter() - began < 1
