"""What is written, indexed and crashed: invented papers, of which every version ever written is known."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

_SUBJECTS = "limpet lichen kettle glacier heron bracken cockle marram plover samphire".split()
_THINGS = "shell rock tide frost winter granite colour weight hour spring".split()


def text_of(number: int, version: int) -> str:
    """A paper of a few passages; each version reads otherwise in one of its sections."""
    subject, thing = _SUBJECTS[number % 10], _THINGS[(number * 3 + version) % 10]
    return (
        f"# On the {subject} of shore {number}\n\n"
        f"PMC{7000 + number} · DOI: 10.5555/shore.{number} · Journal of Shore Life · {2000 + number % 20}\n\n"
        f"## Methods\n\nEvery {subject} of shore {number} was counted twice a day, at both tides, for forty days. "
        f"The counting was done by hand [1].\n\n"
        f"## Results\n\nThe {thing} mattered most in year {version}, when the {subject} count (SC) fell by a third. "
        f"It rose again {version + 2} weeks later, and by more.\n\n"
        f"## Funding\n\nThe harbour office paid for ladder number {number}.\n\n"
        f"## References\n\n1. Quill A. Counting, by hand. J Shore Life. 1999;4:{number}. doi:10.5555/quill.{number}\n"
    )


def queries() -> list[str]:
    """Questions that every paper has something to say to."""
    return [f"how many {subject} were counted" for subject in _SUBJECTS] + [f"{thing} mattered" for thing in _THINGS]


@dataclass(frozen=True, slots=True)
class World:
    """A folder with papers and their index, which faults happen in."""

    root: Path

    @property
    def papers(self) -> Path:
        return self.root / "papers"

    @property
    def index(self) -> Path:
        return self.root / "deep" / "index"

    @property
    def known(self) -> Path:
        """Every text that any file ever had, by its SHA-256; out of the faults' reach."""
        return self.root.with_name(f"{self.root.name}-known")

    @property
    def grave(self) -> Path:
        """What a power cut brings back; out of the faults' reach."""
        return self.root.with_name(f"{self.root.name}-grave")

    def write(self, number: int, version: int, name: str = "") -> Path:
        """Put that version of a paper into its file, in one step."""
        text = text_of(number, version)
        self.know(text.encode())
        path = self.papers / (name or f"paper{number:02}.md")
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.new")
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
        return path

    def know(self, body: bytes, text: str | None = None) -> None:
        """Keep a file's text, to compare with what is cited; `text` where that is not what the file has."""
        self.known.mkdir(exist_ok=True)
        kept = body if text is None else text.encode()
        (self.known / hashlib.sha256(body).hexdigest()).write_bytes(kept)

    def text_with(self, sha256: str) -> str:
        """The text of a file with these bytes."""
        return (self.known / sha256).read_text(encoding="utf-8")
