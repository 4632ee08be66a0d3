"""Asks a running service questions over connections that stay open, as fast as it answers.

    python benchmarks/load.py URL QUESTIONS.json --clients N --seconds S

QUESTIONS.json has a list of questions to ask first, `warm`, and one to time, `asked`. Each client asks the latter over
and over, beginning at a place of its own. Prints one JSON object. Replies are read whole; only a single client's are
parsed, after they were timed: on a small machine the clients share its cores with the service.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from figures import Row, percentile, spread

K = 10
_TIMEOUT_S = 120


class Client:
    """One connection to the service."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_TIMEOUT_S)

    def ask(self, question: str) -> tuple[float, bytes]:
        """Seconds from before the request to the reply's last byte, and the reply.

        Raises OSError or http.client.HTTPException; also for any status but 200.
        """
        body = json.dumps({"query": question, "k": K})
        began = time.perf_counter()
        try:
            self._connection.request("POST", "/v1/search", body, {"content-type": "application/json"})
            response = self._connection.getresponse()
            reply = response.read()
        except (OSError, http.client.HTTPException):
            self.close()  # the next request opens another
            raise
        if response.status != http.client.OK:
            raise http.client.HTTPException(f"status {response.status}: {reply.decode()}")
        return time.perf_counter() - began, reply

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def latency(url: str, warm: Sequence[str], asked: Sequence[str]) -> Row:
    """One client, one question after another: p50, p95 and p99 seen from here, and the median that the service says."""
    client = Client(url)
    for question in warm:
        client.ask(question)
    replies = [client.ask(question) for question in asked]
    client.close()
    took = [json.loads(reply)["took_ms"] for _, reply in replies]
    return spread([seconds for seconds, _ in replies]) | {"took_p50_ms": percentile(took, 0.50)}


def throughput(url: str, asked: Sequence[str], n_clients: int, seconds: float) -> Row:
    """So many clients at once for so many seconds: requests, errors, requests a second, p50, p95 and p99."""
    times: list[float] = []
    errors: list[str] = []
    ends = time.perf_counter() + seconds

    def run(first: int) -> None:
        client = Client(url)
        while time.perf_counter() < ends:
            try:
                times.append(client.ask(asked[first % len(asked)])[0])
            except (OSError, http.client.HTTPException) as error:
                errors.append(repr(error))
            first += 1
        client.close()

    began = time.perf_counter()
    clients = [threading.Thread(target=run, args=(n * len(asked) // n_clients,)) for n in range(n_clients)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    took = time.perf_counter() - began
    for error in sorted(set(errors)):
        sys.stderr.write(f"{errors.count(error)} times {error}\n")
    if not times:
        raise SystemExit(f"{url} answered nothing in {seconds:g} s")
    return {"clients": n_clients, "seconds": took, "errors": len(errors), "per_s": len(times) / took, **spread(times)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("questions", type=Path)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args()
    asked = json.loads(args.questions.read_text(encoding="utf-8"))["asked"]
    sys.stdout.write(json.dumps(throughput(args.url, asked, args.clients, args.seconds)))
