"""A BEIR corpus -> Markdown papers, so that it can be indexed; `loccit eval` reads the queries and qrels beside it.

python benchmarks/beir.py CORPUS.jsonl[.gz] FOLDER
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path


def write_papers(corpus: Path, folder: Path) -> None:
    """Each text of the corpus as a paper named by its id, the text as its abstract."""
    folder.mkdir(parents=True, exist_ok=True)
    with (gzip.open if corpus.suffix == ".gz" else open)(corpus, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if "/" in row["_id"]:
                raise SystemExit(f"{corpus}: the id {row['_id']} cannot be a file's name")
            title = " ".join(row.get("title", "").split())
            text = f"# {title}\n\n" if title else ""
            text += f"## Abstract\n\n{' '.join(row['text'].split())}\n"
            (folder / f"{row['_id']}.md").write_text(text, encoding="utf-8", newline="")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("folder", type=Path)
    write_papers(**vars(parser.parse_args()))
