from __future__ import annotations

from pathlib import Path

import numpy as np
from clipshelf import Engine
from clipshelf.catalogue.content_keys import stack_keys, text_key
from clipshelf.catalogue.disk.journal import Journal


def test_a_journal_that_was_changed_is_embedded_again(engine: Engine, tmp_path: Path) -> None:
    embeds = np.eye(3, 4, dtype=np.float32)
    keys = stack_keys(text_key(word) for word in ("a", "b", "c"))
    with Journal(tmp_path, "0f", 4) as journal:
        journal.append(keys, embeds)
    content = bytearray((tmp_path / "journal.0f").read_bytes())
    for place in (0, 20, 31, 35):  # of the key, the embedding's first and last bytes, the checksum
        changed = content.copy()
        changed[36 + place] ^= 1
        (tmp_path / "journal.0f").write_bytes(changed + b"x" * 35)
        with Journal(tmp_path, "0f", 4) as journal:
            rows = np.zeros((3, 4), np.float32)
            assert journal.table.fill(keys, rows).tolist() == [True, False, True]
            np.testing.assert_array_equal(rows, embeds * [[1], [0], [1]])
