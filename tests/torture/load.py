"""Clients that ask a running service at a rate of their own, whatever it answers: `python load.py HOST PORT ...`.

The rate is shared out evenly among the clients, each with one connection that stays open. A request whose time has come
while the last one is still under way is not sent, and counted as such; a latency is from the first byte sent to the
last one read. A rate of 0 is as fast as each client is answered. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

_TIMEOUT_S = 60


@dataclass
class Seen:
    """What the clients saw."""

    statuses: Counter[str] = field(default_factory=Counter)
    """By status; `503 bare` for a refusal without Retry-After or problem."""
    accepted_s: list[float] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    unsent: int = 0


async def _reply(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:]) if name}
    body = await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split()[1]), headers, body


async def _client(
    host: str, port: int, requests: list[bytes], first: int, every_s: float, ends: float, seen: Seen
) -> None:
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    n = first
    due = time.perf_counter() + every_s * (first % 97) / 97
    while time.perf_counter() < ends:
        if every_s:
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            due += every_s
            while due < time.perf_counter():
                due += every_s
                seen.unsent += 1
        try:
            if connection is None:
                connection = await asyncio.open_connection(host, port)
            reader, writer = connection
            began = time.perf_counter()
            writer.write(requests[n % len(requests)])
            status, headers, _ = await asyncio.wait_for(_reply(reader), _TIMEOUT_S)
        except (TimeoutError, OSError, EOFError) as error:
            seen.failures[type(error).__name__] += 1
            if connection is not None:
                connection[1].close()
            connection = None
            continue
        took = time.perf_counter() - began
        is_clean = headers.get("retry-after", "").isdecimal() and headers["content-type"] == "application/problem+json"
        seen.statuses[str(status) if status == 200 or is_clean else f"{status} bare"] += 1
        (seen.accepted_s if status == 200 else seen.refused_s).append(took)
        if headers.get("connection") == "close":
            writer.close()
            connection = None
        n += 1
    if connection is not None:
        connection[1].close()


def _percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {f"p{p}_ms": round(1e3 * ordered[min(len(ordered) * p // 100, len(ordered) - 1)], 1) for p in (50, 95, 99)}


async def _load(
    host: str, port: int, questions: list[str], clients: int, rate: float, seconds: float
) -> dict[str, object]:
    bodies = [json.dumps({"query": question, "k": 10}).encode() for question in questions]
    requests = [
        b"POST /v1/search HTTP/1.1\r\nhost: %s:%d\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
        % (host.encode(), port, len(body), body)
        for body in bodies
    ]
    seen = Seen()
    began = time.perf_counter()
    every_s = clients / rate if rate else 0.0
    await asyncio.gather(*(_client(host, port, requests, n, every_s, began + seconds, seen) for n in range(clients)))
    took = time.perf_counter() - began
    return {
        "clients": clients,
        "seconds": round(took, 1),
        "sent_per_s": round((len(seen.accepted_s) + len(seen.refused_s)) / took, 1),
        "accepted_per_s": round(len(seen.accepted_s) / took, 1),
        "statuses": dict(seen.statuses),
        "failures": dict(seen.failures),
        "unsent": seen.unsent,
        "accepted": _percentiles(seen.accepted_s) if seen.accepted_s else {},
        "refused": _percentiles(seen.refused_s) if seen.refused_s else {},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--questions", required=True, help="a JSON list")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rate", type=float, default=0, help="requests a second, all clients together")
    parser.add_argument("--seconds", type=float, default=120)
    args = parser.parse_args()
    found = asyncio.run(_load(args.host, args.port, json.loads(args.questions), args.clients, args.rate, args.seconds))
    sys.stdout.write(json.dumps(found))
