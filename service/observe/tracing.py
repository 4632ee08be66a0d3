"""Requests and their stages as OpenTelemetry spans, for who sets its standard variables (`OTEL_...`).

The only module that imports OpenTelemetry, and only then: its SDK comes with `loccit[otel]`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.types import Scope

from service.config import version

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_NAME = "loccit"

_log = logging.getLogger(__name__)


class Tracing:
    """Where spans go. To be closed: those of the last seconds are sent then."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(_NAME, version())

    @classmethod
    def from_environment(cls) -> Tracing | None:
        """To the collector that the environment names, over HTTP; None where it names none."""
        if not any(os.environ.get(name) for name in _ENDPOINTS) or _is_disabled():
            return None
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            _log.warning("no spans are sent, though OTEL_EXPORTER_OTLP_ENDPOINT is set: install loccit[otel]")
            return None
        named = {"service.name": os.environ.get("OTEL_SERVICE_NAME") or _NAME, "service.version": version()}
        provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider)

    @contextmanager
    def request(self, scope: Scope) -> Iterator[Span]:
        """A request as a span, which goes on the trace that its client began, if any."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        with self._tracer.start_as_current_span(
            scope["method"],
            context=TraceContextTextMapPropagator().extract(sent),
            kind=SpanKind.SERVER,
            end_on_exit=False,
            record_exception=False,  # its text may say what was asked
            set_status_on_exception=False,
        ) as span:
            yield span

    def begin_stage(self, name: str) -> Span:
        """A stage of the request that this context is in. It may end in another."""
        return self._tracer.start_span(name)

    def answered(self, span: Span, route: str, method: str, status: int, identity: str) -> None:
        """The request is answered."""
        from opentelemetry.trace import StatusCode

        span.update_name(f"{method} {route}")
        span.set_attributes(
            {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
                "loccit.request_id": identity,
            }
        )
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            span.set_status(StatusCode.ERROR)
        span.end()

    def close(self) -> None:
        """Send what was not sent yet."""
        self._provider.shutdown()


def _is_disabled() -> bool:
    return os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none"
