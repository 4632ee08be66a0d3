"""Papers taken out of an index: what `loccit remove` and the service's administrators do."""

from __future__ import annotations

from collections.abc import Sequence

from indexer.store import IndexPlace, open_writer
from service.replies import Removal


def remove(place: IndexPlace, paper_ids: Sequence[str]) -> Removal:
    """Take out all of these papers or none; their files stay as they are. Readers see it at once.

    Raises NotFoundError, and IndexBusyError where another process writes.
    """
    named = tuple(dict.fromkeys(paper_ids))
    with open_writer(place, None) as writer:
        for paper_id in named:
            writer.remove(paper_id)
        return Removal(named, writer.commit())
