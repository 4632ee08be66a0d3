"""Write the Markdown of JATS and every outline anew: `python -m tests.golden.update`, then review `git diff`."""

from tests.golden import cases, jats_cases, markdown_of, outline_of

for path in jats_cases():
    path.with_suffix(".md").write_text(markdown_of(path), encoding="utf-8")
for path in cases():
    path.with_suffix(".outline").write_text(outline_of(path), encoding="utf-8")
