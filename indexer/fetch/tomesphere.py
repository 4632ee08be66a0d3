"""tomesphere: the whole paper as Markdown, at the address that its summary pages name, `/paper/PMC1/full.md`."""

from __future__ import annotations

from indexer.fetch.client import Client, Known
from indexer.fetch.records import Answer

NAME = "tomesphere"


def ask(client: Client, base: str, pmcid: str, known: Known | None) -> Answer:
    """The Markdown of the article. Raises SourceError when the service does not answer as it should."""
    return Answer(client.get(f"{base}/paper/{pmcid}/full.md", "markdown", known=known))
