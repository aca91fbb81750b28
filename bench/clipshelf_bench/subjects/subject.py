"""A model that is measured, as the record that every contender's process reads."""

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

    - `name`: in titles of tables and in file names.
    - `folder`: keeps the record and what contenders prepare.
    - `checkpoint`: a folder with a `CLIPModel`, its tokenizer and its image processor; None for the embedded default,
      which only clipshelf runs.
    - `artifact`: the clipshelf artifact of it; None where it is still to be exported.
    - `size`: edge S of a picture in pixels.
    - `tokens`: the longest sentence that the text tower takes.
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
        """Write the record for the workers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.record.write_text(json.dumps(asdict(self), default=str, indent=2))

    @classmethod
    def load(cls, record: Path) -> Subject:
        """Read what `save` wrote."""
        values = json.loads(record.read_text())
        for key in ("folder", "checkpoint", "artifact"):
            values[key] = None if values[key] is None else Path(values[key])
        return cls(**values)

    def require_checkpoint(self) -> Path:
        """The checkpoint's folder; FileNotFoundError for a subject without one."""
        if self.checkpoint is None:
            raise FileNotFoundError(f"{self.name}: expected a CLIPModel checkpoint, found none")
        return self.checkpoint

    def prepared_folder(self, name: str) -> Path:
        """The folder of files that a contender prepares; `name` is the contender's, or what several of them share."""
        return self.folder / name


@contextmanager
def build_once(folder: Path) -> Iterator[Path | None]:
    """Make a folder completely or not at all.

    Gives None where `folder` exists. Otherwise gives an empty temporary folder to fill, which is renamed to `folder`
    when the block ends without an error.
    """
    if folder.is_dir():
        yield None
        return
    temporary = folder.with_name(folder.name + ".part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    yield temporary
    temporary.rename(folder)


def size_on_disk(folder: Path) -> int:
    """Bytes of all files under a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
