"""Write every outline anew: `python -m tests.golden.update`, then review `git diff`."""

from tests.golden import cases, outline_of

for path in cases():
    path.with_suffix(".outline").write_text(outline_of(path), encoding="utf-8")
