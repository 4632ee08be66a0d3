"""Measured figures -> docs/benchmarks.md and the lines of its plot. Measures nothing.

A figure is shown with three digits: the page says no more than was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from figures import exponent
from plot import Line, Panel

Result = Mapping[str, Any]

_HEAD = """\
# How fast, and how large

Written by `make bench`: every figure beside its baseline, measured in the same run. A ratio says more than a time,
which is one machine's. Times are wall time; a MB is 10^6 bytes.
"""

_COLD = """\
## Cold start

A fresh process from its start to its end, n = {n} each, in turn; one round before fills the file cache. The baseline
is what a script pays before its first line, if it embeds its question with sentence-transformers.

{table}"""

_THROUGHPUT = """\
## Indexing

{papers} papers, full texts. Passage tokens are the wordpieces of the body's passages, each counted once. loccit's time
is the whole process, once: loading the model, parsing, cutting, encoding every passage, storing; and, where that was
not done before, exporting the model, once a machine and some 12 s. The baseline is `SentenceTransformer.encode(texts)`
with its defaults over every 8th of these passages, without their sentences; the model was loaded before, and one text
encoded to warm it.

{table}
The most memory held while indexing: {peak} MB. The index: {folder} MB. Indexing again with nothing changed: {again} s
(median of {n}; {least} to {most}), {share} of the first time.
"""

_LATENCY = """\
## A search

`loccit serve`, POST /v1/search with k = 10, timed by the client over one connection that stays open: {n} questions of
COVID-QA, each asked once, after {n_warm} others. *took* is what the replies say themselves. The baseline encodes the
same questions by `SentenceTransformer.encode` on one thread and finds the nearest 200 of the same vectors by FAISS's
`IndexFlatIP`, in one process without HTTP, and gives numbers: no words are searched, no sentences compared, no texts
and citations read.

{table}
*Recall@10* is the dense half's alone: how many of the exact 10 nearest are among the best 10 of the 200 that
`Snapshot.nearest` gives, for the {n} questions and for {n_perturbed} passages' vectors with noise of length 0.15.
*Memory* is the server's after the questions: all that is resident, and what of it is anonymous (not a file's).
*Opening* is `IndexReader` and its first snapshot in a fresh interpreter, without the model; median of {n_opened}, files
cached.

{rest}"""

_NEIGHBOUR = """\
## A busy neighbour

The server of the {papers} papers, while a Python loop takes all that one core gives: {n} questions a row, after
{n_warm} others, in this order. The baseline is the first row.

{table}"""

_LOAD = """\
## Many clients

The synthetic index of {passages} passages, `loccit serve --workers {workers}`.
Clients are threads of one other process on the same machine; each has a
connection that stays open and asks again as soon as it is answered, for {seconds} s. The baseline is one client.

{table}"""

_GROWTH = """\
## Growth

Synthetic passages: sentences of a real one and of one of its 50 nearest neighbours put together anew, their vectors
between the two with a little noise; one in ten has a word of its own (`benchmarks/synthetic.py`). The index is filled
through `IndexWriter.put`, with a commit about every 1,000 passages as a build does, and closed, which makes the dense
index. **Nothing is encoded**: that takes as long for every passage, and is measured under *Indexing*. Making the
passages is not the store's work and is not counted in its time. An exponent is the b of `time = a * passages^b` between
the row above and this one: 1 where ten times the passages take ten times as long.

{table}{picture}"""

_PICTURE = "\n![Time to fill the index, and of a search, over the number of passages](benchmarks.svg)\n"

_AGAIN = """\
## Again

```
make bench                                      # all of it; papers and questions: LOCCIT_SHARED, else ../shared
make bench PARTS="cold latency" SIZES=10000     # some parts; the figures of the others are kept in .bench/results
.venv/bin/python benchmarks/bench.py latency --sizes 10000   # to the terminal; docs/ stays as it is
```

Indexes are kept in `.bench/`: some 10 GB for the million. `make clean` removes them.
"""


def render(results: Mapping[str, Result]) -> str:
    """The page, of the parts that have figures."""
    parts = {
        "cold": _cold,
        "throughput": _throughput,
        "latency": _latency,
        "neighbour": _neighbour,
        "load": _load,
        "growth": lambda result: _growth(result, results.get("latency")),
    }
    shown = [show(results[name]) for name, show in parts.items() if name in results]
    absent = ", ".join(name for name in parts if name not in results)
    note = [f"Not measured: {absent}.\n"] if absent else []
    return "\n".join([_HEAD, *note, *shown, _circumstances(results), _AGAIN])


def panels(results: Mapping[str, Result]) -> list[Panel]:
    """The plot's: time to fill the index and to search it over its passages; none before both were measured."""
    if not {"growth", "latency"} <= results.keys():
        return []
    searched = _synthetic(results["latency"])
    store = [(row["passages"], _store_s(row)) for row in results["growth"]["sizes"]]
    loccit, baseline = (
        [(row["passages"], row[whose]["p50_ms"]) for row in searched] for whose in ("loccit", "baseline")
    )
    return [
        Panel("Filling the index, without encoding", "passages", "seconds", [Line("put, commit, close", store)]),
        Panel(
            "A search, p50",
            "passages",
            "milliseconds",
            [Line("loccit, over HTTP", loccit), Line("baseline: encode, exact FAISS", baseline)],
        ),
    ]


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; all columns but the first to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def number(value: float) -> str:
    """Three significant digits, without an exponent: 0.0123, 4.57, 1,230."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.{max(0, 2 - math.floor(math.log10(abs(rounded))))}f}"


def _numbers(row: Mapping[Any, float], *names: object) -> list[str]:
    """The row's figures of these names, empty for one that it has not."""
    return [number(row[name]) if name in row else "" for name in names]


def _cold(result: Result) -> str:
    names = {
        "help": "`loccit --help`",
        "ask": '`loccit ask "how do AGEs affect bone quality?"` of {papers} papers',
        "baseline": 'baseline: `python -c "import sentence_transformers"`',
    }
    base = result["baseline"]["median_s"]
    rows = [
        (text.format(**result), *_numbers(row, "median_s", "min_s", "max_s", "peak_mb"), number(row["median_s"] / base))
        for row, text in ((result[name], text) for name, text in names.items())
    ]
    head = ("", "median, s", "least", "most", "peak memory, MB", "time / baseline")
    return _COLD.format(n=result["help"]["n"], table=table(head, rows))


def _throughput(result: Result) -> str:
    base, again = result["baseline"], result["again"]
    rows = [
        (
            text,
            f"{row['passages']:,}",
            f"{row['tokens']:,}",
            *_numbers(row, "seconds", "tokens_per_s"),
            number(row["tokens_per_s"] / base["tokens_per_s"]),
        )
        for text, row in {"`loccit index` from nothing": result, "baseline": base}.items()
    ]
    return _THROUGHPUT.format(
        papers=result["papers"],
        table=table(("", "passages", "tokens", "seconds", "tokens/s", "rate / baseline"), rows),
        peak=number(result["peak_mb"]),
        folder=number(result["folder_mb"]),
        again=number(again["median_s"]),
        n=again["n"],
        least=number(again["min_s"]),
        most=number(again["max_s"]),
        share=number(again["median_s"] / result["seconds"]),
    )


def _latency(result: Result) -> str:
    indexes = result["indexes"]
    times = [
        (
            row["index"],
            f"{row['passages']:,}",
            *_numbers(row["loccit"], "p50_ms", "p95_ms", "p99_ms", "took_p50_ms"),
            *_numbers(row["baseline"], "p50_ms", "p95_ms"),
            number(row["loccit"]["p50_ms"] / row["baseline"]["p50_ms"]),
        )
        for row in indexes
    ]
    rest = [
        (
            row["index"],
            f"{row['vectors']:,}",
            f"{row['recall_questions']:.4f}",
            f"{row['recall_perturbed']:.4f}",
            *_numbers(row, "rss_mb", "anonymous_mb"),
            *_numbers(row["open"], "median_s"),
        )
        for row in indexes
    ]
    head = ("", "passages", "p50, ms", "p95", "p99", "took p50", "baseline p50", "baseline p95", "p50 / baseline")
    return _LATENCY.format(
        n=indexes[0]["loccit"]["n"],
        n_warm=result["n_warm"],
        n_perturbed=indexes[0]["n_perturbed"],
        n_opened=indexes[0]["open"]["n"],
        table=table(head, times),
        rest=table(
            ("", "vectors", "recall@10, questions", "recall@10, passages", "memory, MB", "anonymous, MB", "opening, s"),
            rest,
        ),
    )


def _neighbour(result: Result) -> str:
    names = {
        "quiet": "quiet",
        "busy": "beside a busy process",
        "pinned": "... that is held to one core",
        "quiet again": "quiet again",
    }
    base = result["quiet"]
    rows = [
        (
            text,
            *_numbers(result[name], "p50_ms", "p95_ms", "p99_ms"),
            *(number(result[name][what] / base[what]) for what in ("p50_ms", "p95_ms")),
        )
        for name, text in names.items()
        if name in result
    ]
    head = ("", "p50, ms", "p95", "p99", "p50 / quiet", "p95 / quiet")
    return _NEIGHBOUR.format(papers=result["papers"], n=base["n"], n_warm=result["n_warm"], table=table(head, rows))


def _load(result: Result) -> str:
    one, many = result["one"], result["many"]
    rows = [
        (
            row["clients"],
            f"{row['n']:,}",
            row["errors"],
            *_numbers(row, "per_s", "p50_ms", "p95_ms", "p99_ms"),
            number(row["per_s"] / one["per_s"]),
        )
        for row in (one, many)
    ]
    head = ("clients", "replies", "errors", "replies/s", "p50, ms", "p95", "p99", "rate / one client")
    facts = {"passages": f"{result['passages']:,}", "workers": result.get("workers", 1)}
    return _LOAD.format(**facts, seconds=f"{many['seconds']:.0f}", table=table(head, rows))


def _growth(result: Result, latency: Result | None) -> str:
    built = result["sizes"]
    store = {row["passages"]: _store_s(row) for row in built}
    search = {row["passages"]: row["loccit"]["p50_ms"] for row in _synthetic(latency)} if latency else {}
    store_exponents, search_exponents = _exponents(store), _exponents(search)
    rows = [
        (
            f"{row['passages']:,}",
            *_numbers(row, "make_s", "put_s", "commit_s", "close_s"),
            number(store[row["passages"]]),
            store_exponents.get(row["passages"], ""),
            *_numbers(row, "folder_mb"),
            *_numbers(search, row["passages"]),
            search_exponents.get(row["passages"], ""),
        )
        for row in built
    ]
    head = ("passages", "making, s", "put, s", "commit, s", "close, s", "**store, s**", "exponent", "index, MB")
    return _GROWTH.format(
        table=table((*head, "**search p50, ms**", "exponent"), rows), picture=_PICTURE if search else ""
    )


def _exponents(costs: Mapping[int, float]) -> dict[int, str]:
    """By size, the growth from the next smaller one."""
    return {other[0]: f"{exponent(one, other):.2f}" for one, other in pairwise(sorted(costs.items()))}


def _store_s(row: Result) -> float:
    """Seconds of the store's own work."""
    return float(row["put_s"] + row["commit_s"] + row["close_s"])


def _synthetic(latency: Result) -> list[Result]:
    return [row for row in latency["indexes"] if row["index"].startswith("synthetic")]


def _circumstances(results: Mapping[str, Result]) -> str:
    """When, where and with what each part was measured."""
    machines: dict[str, list[str]] = {}
    for name, result in results.items():
        machines.setdefault(_machine(result["machine"]), []).append(name)
    texts = [text if len(machines) == 1 else f"{', '.join(names)}: {text}" for text, names in machines.items()]
    rows = [(name, result["at"], number(result["load"])) for name, result in results.items()]
    head = ("part", "measured", "load average before")
    return "\n".join(["## Where and with what\n", *(f"{text}\n" for text in texts), table(head, rows)])


def _machine(it: Result) -> str:
    versions = ", ".join(f"{package} {found}" for package, found in it["versions"].items())
    return f"{it['processor']}, {it['cores']} cores, {it['memory_gb']:g} GB of memory, {it['system']}.\n{versions}."
