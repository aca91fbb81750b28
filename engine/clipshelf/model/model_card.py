"""The card of a model on the hub: what an artifact is, how faithful it is, and how it is opened."""

from __future__ import annotations

import re

from clipshelf.model.artifact import Manifest

CARD = "README.md"
# A licence as the hub names them; anything else is given as a name.
_LICENCE = re.compile(r"[a-z][a-z0-9.-]*")
_HEAD = """---
{licence}
library_name: clipshelf
pipeline_tag: feature-extraction
tags: [clip, onnx, image-text]
---

# {repository}

Pictures and texts to unit-norm embeddings of {dim} dimensions, on onnxruntime, for
[clipshelf](https://github.com/clipshelf/clipshelf). Made from `{source}` ({family}); its quality, its languages and the
licence of its weights, {licence_name}, are those of the original.

```python
from clipshelf import Engine

engine = Engine.load("{repository}@REVISION")  # a commit of this repository
```

How closely it agrees with the original, on pictures and texts that chose nothing:

| tower | precision | centred cosine | top-10 overlap | n |
|---|---|---|---|---|
"""


def model_card(manifest: Manifest, repository: str) -> str:
    """The text of a model card.

    - `manifest`: of the artifact.
    - `repository`: its name on the hub.
    """
    licence = manifest.licence
    known = _LICENCE.fullmatch(licence)
    head = _HEAD.format(
        licence=f"license: {licence}" if known else f'license: other\nlicense_name: "{licence}"',
        repository=repository,
        dim=manifest.dim,
        source=manifest.source.get("name", "unknown"),
        family=manifest.family,
        licence_name=licence,
    )
    rows = [
        f"| {tower} | {precision} | {record['centred_mean']:.5f} | {record['top10_overlap']:.4f} | {record['count']} |"
        for tower, precisions in manifest.parity.items()
        for precision, record in precisions.items()
    ]
    return head + "\n".join([*rows, "", f"Fingerprint: `{manifest.fingerprint}`", ""])
