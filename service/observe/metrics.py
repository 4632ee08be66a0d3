"""What is counted and timed, for Prometheus. Knows nothing of HTTP but the names that it is told.

The processes of `serve --workers` write their figures into a common folder, and each of them tells of all. The names of
routes, stages and problems are few and ours, so that no client can make the list of figures grow.

The only module that imports prometheus_client. That settles at its import where figures are kept, by the environment
variable PROMETHEUS_MULTIPROC_DIR: `shared_folder` comes before.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.errors import LoccitError
from service.config import version
from service.stages import STAGES

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from service.replies import VitalSigns

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_OF_LIVING = re.compile(r"gauge_livesum_(\d+)\.db")
_SUMMED = ("process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds")
"""Figures of processes that make sense added up."""


@contextmanager
def shared_folder() -> Iterator[None]:
    """Let the processes that are started meanwhile share their figures, and this one."""
    with tempfile.TemporaryDirectory(prefix="loccit-metrics-", ignore_cleanup_errors=True) as folder:
        os.environ[_FOLDER] = folder
        try:
            # Now, and all of it: threads that come to import it at once may find half of it.
            import prometheus_client.multiprocess  # noqa: F401

            yield
        finally:
            del os.environ[_FOLDER]


def forget(pid: int) -> None:
    """A process that shared its figures has ended: what it counted stays, what it had in hand does not."""
    from prometheus_client.multiprocess import mark_process_dead

    if _FOLDER in os.environ:
        mark_process_dead(pid)  # type: ignore[no-untyped-call]


class Metrics:
    """The figures of one application."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

        disable_created_metrics()  # type: ignore[no-untyped-call]  # as many lines again, which nobody reads
        own = CollectorRegistry()
        self._own = own
        self._requests = Counter(
            "loccit_http_requests", "Requests answered.", ["route", "method", "status"], registry=own
        )
        self._seconds = Histogram(
            "loccit_http_request_seconds",
            "From a request's arrival to the end of its reply.",
            ["route"],
            buckets=_BUCKETS_S,
            registry=own,
        )
        stages = Histogram(
            "loccit_stage_seconds", "What requests spend their time on.", ["stage"], buckets=_BUCKETS_S, registry=own
        )
        self._stages = {name: stages.labels(name) for name in ("wait", *STAGES)}
        self._problems = Counter(
            "loccit_problems", "Requests answered with an error, by what it is.", ["problem"], registry=own
        )
        self._in_flight = Gauge(
            "loccit_requests_in_flight", "Requests not yet answered.", registry=own, multiprocess_mode="livesum"
        )
        self._waiting = Gauge(
            "loccit_requests_waiting",
            "Those of them whose work has not begun.",
            registry=own,
            multiprocess_mode="livesum",
        )

    def arrived(self) -> None:
        """A request is there, and waits."""
        self._in_flight.inc()
        self._waiting.inc()

    def begun(self, waited_s: float | None) -> None:
        """It is worked on, after so long; None where it never came to that."""
        self._waiting.dec()
        if waited_s is not None:
            self._stages["wait"].observe(waited_s)

    def stage(self, name: str, took_s: float) -> None:
        """A stage of one is done."""
        self._stages[name].observe(took_s)

    def answered(self, route: str, method: str, status: int, took_s: float, problem: str | None) -> None:
        """It is answered; with a problem, if any."""
        self._in_flight.dec()
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(took_s)
        if problem is not None:
            self._problems.labels(problem).inc()

    def text(self, vital_signs: Callable[[], VitalSigns]) -> bytes:
        """All figures in Prometheus's text format, of the index too, as this process has it open."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector
        from prometheus_client.registry import Collector

        class Now(Collector):
            def collect(self) -> Iterator[Metric]:
                yield from _of_index(vital_signs)
                yield from _of_processes()

        folder = os.environ.get(_FOLDER)
        registry = CollectorRegistry()
        if folder:
            MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
        registry.register(Now())
        figures = generate_latest(registry)
        return figures if folder else generate_latest(self._own) + figures


def _of_index(vital_signs: Callable[[], VitalSigns]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

    yield InfoMetricFamily("loccit_build", "What runs.", value={"version": version()})
    try:
        found = vital_signs()
    except LoccitError:  # /readyz says which; the others are left out, as nobody knows them
        yield GaugeMetricFamily("loccit_index_readable", "Whether the index opens.", value=0)
        return
    yield GaugeMetricFamily("loccit_index_readable", "Whether the index opens.", value=1)
    for name, said, value in (
        ("model_loaded", "Whether the embedding model is in memory.", found.is_model_loaded),
        ("index_generation", "Commits that the index has seen.", found.generation),
        ("index_papers", "Papers in the index.", found.n_papers),
        ("index_passages", "Passages in the index.", found.n_passages),
        ("index_failed_sources", "Files that gave no paper when they were last looked at.", found.n_failed_sources),
        ("index_bytes", "Size of the index's files or tables.", found.n_bytes),
        ("index_written_timestamp_seconds", "When the index was last written to.", found.written_at),
        ("index_shards_missing", "Servers with a part of the index that do not answer.", len(found.missing_shards)),
    ):
        if value is not None:
            yield GaugeMetricFamily(f"loccit_{name}", said, value=float(value))


def _of_processes() -> Iterator[Metric]:
    """Memory, open files and processor time, of all processes together. Nothing where there is no /proc."""
    from prometheus_client import ProcessCollector
    from prometheus_client.core import GaugeMetricFamily

    pids = _pids()
    yield GaugeMetricFamily("loccit_processes", "Processes that answer requests.", value=len(pids))
    total: dict[str, Metric] = {}
    for pid in pids:
        for metric in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():  # type: ignore[misc]
            if metric.name not in _SUMMED:
                continue
            if metric.name not in total:
                total[metric.name] = metric
            else:
                both = total[metric.name].samples[0], metric.samples[0]
                total[metric.name].samples = [both[0]._replace(value=both[0].value + both[1].value)]
    yield from total.values()


def _pids() -> list[int]:
    folder = os.environ.get(_FOLDER)
    if not folder:
        return [os.getpid()]
    found = (_OF_LIVING.fullmatch(path.name) for path in Path(folder).iterdir())
    return sorted(int(match[1]) for match in found if match)
