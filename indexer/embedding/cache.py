"""Exported models on disk: each is made once, checked when it is used, and made anew when it is damaged."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_dir

from indexer.embedding.export import EXPORT_VERSION, Record, int8_scheme, versions
from indexer.embedding.models import ModelFiles, file_sha256, text_sha256
from indexer.errors import ModelError

_log = logging.getLogger(__name__)

Export = Callable[[Path], Record]
"""Writes an exported model's files to a folder, and gives their record."""


def cache_folder() -> Path:
    """Where exported models are kept, each in a folder of its own. It may not be there yet, or take no files."""
    return Path(user_cache_dir("loccit")) / "models"


def export_key(files: ModelFiles, precision: str) -> str:
    """The name of the folder for a model so exported. Another model, exporter or kind of CPU has another one."""
    wanted = precision if precision == "fp32" else f"{precision} {int8_scheme()}"
    return text_sha256("\n".join((files.weights_sha256, files.settings_sha256, str(EXPORT_VERSION), wanted)))[:32]


def ready(folder: Path) -> Record | None:
    """The record of the export in `folder`, whose files are as they were made; None where there is none such."""
    try:
        record = Record.load(folder)
        whole = all(file_sha256(folder / name) == sha256 for name, sha256 in record.sha256.items())
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    # A model that could not be exported is tried again with other packages.
    return record if whole and (record.sha256 or record.versions == versions()) else None


@contextmanager
def exported(folder: Path, export: Export) -> Iterator[tuple[Path, Record]]:
    """The export in `folder`, made if it is not ready, and the folder.

    Where the cache takes no files it is another folder, gone after the context.
    """
    try:
        record = _made(folder, export)
    except (OSError, NotImplementedError) as error:
        _log.warning("%s takes no files (%s): the model is exported anew each time", folder.parent, error)
        with tempfile.TemporaryDirectory(prefix="loccit-", ignore_cleanup_errors=True) as elsewhere:
            try:
                record = export(Path(elsewhere))
            except OSError as second:
                raise ModelError(
                    f"neither {folder.parent} nor {elsewhere} takes an exported model ({second}): free some space, "
                    "or set LOCCIT_PRECISION=reference to do without"
                ) from second
            yield Path(elsewhere), record
    else:
        yield folder, record


def _made(folder: Path, export: Export) -> Record:
    """The record of the export in `folder`, made there unless another process has done so meanwhile."""
    cache = folder.parent
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{folder.name}.lock"):
        record = ready(folder)
        if record is not None:
            return record
        if folder.exists():
            _log.warning("the exported model in %s is damaged or out of date: it is made anew", folder)
        for left in cache.glob(f".{folder.name}-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=cache))
        try:
            record = export(beside)
            shutil.rmtree(folder, ignore_errors=True)
            beside.chmod(0o755)  # others may share the cache
            beside.rename(folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return record
