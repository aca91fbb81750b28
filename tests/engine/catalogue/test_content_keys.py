from __future__ import annotations

import numpy as np
from clipshelf.catalogue.content_keys import KeyIndex


def test_keys_that_share_their_first_half_are_distinguished() -> None:
    keys = np.zeros((4, 16), np.uint8)
    keys[:, 0], keys[:, 15] = 1, [3, 1, 2, 1]
    keys = np.concatenate((np.zeros((2, 16), np.uint8), keys))
    keys_sought = keys[[4, 2, 3, 0]].copy()
    assert KeyIndex(keys).find(keys_sought).tolist() == [4, 2, 3, -1]
    keys_sought[:, 15] = 9
    assert KeyIndex(keys).find(keys_sought).tolist() == [-1] * 4
