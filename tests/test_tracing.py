"""Requests and their stages as spans: sent to a collector that the environment names, and nowhere else."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.api import create_app
from service.library import Library
from service.observe import Tracing

pytest.importorskip("opentelemetry.sdk")
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

pytestmark = pytest.mark.model

QUESTION = "why do limpets lose their grip in warm water?"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


class Collector:
    """What was sent to `url`, taken apart."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.sent: list[ExportTraceServiceRequest] = []
        self.paths: set[str] = set()

    @property
    def spans(self) -> dict[str, Any]:
        return {
            span.name: span
            for request in self.sent
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }

    @property
    def resource(self) -> dict[str, str]:
        (named,) = {
            each.resource.SerializeToString(): each.resource for s in self.sent for each in s.resource_spans
        }.values()
        return {each.key: each.value.string_value for each in named.attributes}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.headers["content-type"] == "application/x-protobuf"
            found.paths.add(self.path)
            found.sent.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Collector(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        yield found
        server.shutdown()
        thread.join()


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_a_search_is_a_span_and_its_stages_below_it(collector: Collector, library: Library) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "authorization": "Bearer sekrit", "x-request-id": "mine"}
    with TestClient(create_app(library)) as client:
        client.post("/v1/search?secret=sekrit", json={"query": QUESTION}, headers=headers)
    assert collector.paths == {"/v1/traces"}
    assert collector.resource["service.name"] == "loccit"
    request = collector.spans["POST /v1/search"]
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    assert attributes(request) == {
        "http.request.method": "POST",
        "http.route": "/v1/search",
        "http.response.status_code": 200,
        "loccit.request_id": "mine",
    }
    stages = [collector.spans[name] for name in ("encode", "candidates", "score", "passages")]
    for each in stages:
        assert (each.trace_id, each.parent_span_id) == (request.trace_id, request.span_id)
        assert request.start_time_unix_nano <= each.start_time_unix_nano <= each.end_time_unix_nano
        assert each.end_time_unix_nano <= request.end_time_unix_nano
    assert len(collector.spans) == 5
    for sent in collector.sent:
        assert b"sekrit" not in sent.SerializeToString()
        assert b"limpet" not in sent.SerializeToString()


def test_a_failure_is_an_error_without_its_text(
    collector: Collector, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("sekrit")

    monkeypatch.setattr(Library, "search", broken)
    with TestClient(create_app(library), raise_server_exceptions=False) as client:
        client.post("/v1/search", json={"query": QUESTION})
    span = collector.spans["POST /v1/search"]
    assert (span.status.code, attributes(span)["http.response.status_code"]) == (2, 500)
    assert not span.events


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_nothing_is_sent_unless_asked_for(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Tracing.from_environment() is None


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    assert Tracing.from_environment() is None
    assert "install loccit[otel]" in caplog.text


def test_the_sdk_is_not_imported_for_nothing() -> None:
    code = "import sys, service.api; sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
