from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import crash
import pytest
from clipshelf import Catalogue, Engine
from clipshelf.catalogue.disk import folder
from clipshelf.catalogue.disk.verify import find_problems
from clipshelf.errors import CatalogueError

_PROGRAM = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from clipshelf import Catalogue, Engine, index
artifact, folder, columns = sys.argv[1], sys.argv[2], int(sys.argv[3])
engine = Engine.load(artifact, threads=1)
wide = {f"c{i}": i for i in range(columns)}
index(engine, [{"id": f"p{i}", "text": "red shoe", **wide} for i in range(3)], folder)
one, other = Catalogue.load(folder), Catalogue.load(folder, verify=True)
assert all(catalogue.mask(f"c{i}={i}").all() for catalogue in (one, other) for i in range(columns))
print(len(one.remove(["p0"]).ids))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
@pytest.mark.parametrize("columns", [700, 2000])
def test_a_wide_table_needs_no_more_descriptors(columns: int, tiny_artifact: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _PROGRAM, str(tiny_artifact), str(tmp_path / "shop"), str(columns)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "Too many open files"), CatalogueError("no"), MemoryError()])
def test_a_generation_that_cannot_be_opened_replaces_none(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    shop = tmp_path / "shop"
    crash.build(engine, shop)
    before, files = crash.State.of(shop), sorted(path.name for path in shop.iterdir())
    changed = Catalogue.load(shop).remove(["p1"])

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(folder, "Generation", fail)
        with pytest.raises(CatalogueError if isinstance(error, OSError) else type(error)):
            changed.save(shop)
    assert sorted(path.name for path in shop.iterdir()) == files
    assert crash.State.of(shop) == before and not find_problems(shop)
    changed.save(shop)
    assert len(Catalogue.load(shop)) == 199
