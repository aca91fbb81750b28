"""Embeds on two hosts whose link is cut in the middle, and compares the files with those of one process.

    python tests/faults/embed_on_two_hosts.py

The hosts are network namespaces, which need root. Ray notices after some 15 seconds that the second host is lost. What
it was at is embedded on the first one then.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from clipshelf import Engine
from clipshelf.scale.chunks import CHUNK
from clipshelf.scale.indexing import OneProcess, index_shards

sys.path.insert(0, str(Path(__file__).parents[1]))
from support import tiny
from support.interrupted_embedding import InterruptedExecutor, files_of_catalogue
from support.two_hosts import TwoHosts, reason_to_skip

CPUS, SHARDS, PRODUCTS = 4, 2, 32 * CHUNK


def write_source(folder: Path) -> Path:
    """Products in files that are read apart."""
    folder.mkdir()
    for part in range(4):
        rows = range(part * PRODUCTS // 4, (part + 1) * PRODUCTS // 4)
        lines = [json.dumps({"id": f"p{row}", "text": f"red shoe {row}", "price": row % 50}) for row in rows]
        (folder / f"part-{part}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def main(folder: Path) -> int:
    if reason := reason_to_skip():
        print(reason)
        return 1
    engine = Engine.load(tiny.write_artifact(folder / "model"), threads=1)
    source = write_source(folder / "source")
    # Both catalogues are built at the same place, since a catalogue records paths as seen from itself.
    expected, _ = index_shards(engine, source, folder / "many", SHARDS, OneProcess(engine))
    content = files_of_catalogue(expected.folder)
    expected.folder.rename(folder / "expected")
    hosts = TwoHosts(folder)
    with hosts.entered():
        for host in range(2):
            hosts.start_node(host, CPUS)
        with hosts.connected() as ray:
            while sum(node["Alive"] for node in ray.nodes()) < 2:
                time.sleep(0.1)

            def cut(done: int) -> None:
                print(f"the link is cut after {done} of {PRODUCTS // CHUNK} chunks", flush=True)
                hosts.cut()

            begin = time.monotonic()
            executor = InterruptedExecutor(2, CPUS - 1, interrupt=cut)  # each host has room for one worker
            sharded, failures = index_shards(engine, source, folder / "many", SHARDS, executor)
            is_same = not failures and files_of_catalogue(sharded.folder) == content
            print(f"{'the same' if is_same else 'other'} bytes after {time.monotonic() - begin:.0f} s")
    return 0 if is_same else 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        sys.exit(main(Path(name)))
