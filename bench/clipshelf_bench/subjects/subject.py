"""What the contenders run: a checkpoint on disk, and the files that each of them made from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Subject:
    """A model to measure.

    `checkpoint` is a local folder with a `CLIPModel`, its tokenizer and its image processor; None for the embedded
    default, which only clipshelf can run. `artifact` is ours; None where it is still to be exported. `folder` keeps
    what contenders prepare, `size` is the edge S of a picture, `tokens` the longest sentence.
    """

    name: str
    folder: Path
    checkpoint: Path | None
    artifact: Path | None
    size: int
    tokens: int

    @property
    def record(self) -> Path:
        """The file that `save` writes."""
        return self.folder / "subject.json"

    def save(self) -> None:
        """Write the record beside the prepared files, for the workers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.record.write_text(json.dumps(asdict(self), default=str, indent=2))

    @classmethod
    def load(cls, path: Path) -> Subject:
        """Read what `save` wrote."""
        data = json.loads(path.read_text())
        for key in ("folder", "checkpoint", "artifact"):
            data[key] = None if data[key] is None else Path(data[key])
        return cls(**data)

    @property
    def source(self) -> Path:
        """The checkpoint's folder; FileNotFoundError where there is none."""
        if self.checkpoint is None:
            raise FileNotFoundError(f"{self.name}: expected a CLIPModel checkpoint, found none")
        return self.checkpoint

    def prepared(self, name: str) -> Path:
        """Folder of the files that contender `name` made."""
        return self.folder / name


@contextmanager
def whole(folder: Path) -> Iterator[Path | None]:
    """A temporary folder that becomes `folder` when the block ends well; None where `folder` is there already."""
    if folder.is_dir():
        yield None
        return
    temporary = folder.with_name(folder.name + ".part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    yield temporary
    temporary.rename(folder)


def size_on_disk(folder: Path) -> int:
    """Bytes of all files under `folder`."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
