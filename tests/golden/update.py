"""Write every golden file anew: `python -m tests.golden.update`, then review `git diff`."""

import json

from indexer.config import DEFAULT_MODEL
from indexer.embedding import load_embedder
from service.api.documented import EXAMPLES_FILE
from tests.golden import cases, jats_cases, markdown_of, outline_of
from tests.golden.replies import replies

for path in jats_cases():
    path.with_suffix(".md").write_text(markdown_of(path), encoding="utf-8")
for path in cases():
    path.with_suffix(".outline").write_text(outline_of(path), encoding="utf-8")

examples = replies(load_embedder(DEFAULT_MODEL, threads=1))
EXAMPLES_FILE.write_text(json.dumps(examples, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
