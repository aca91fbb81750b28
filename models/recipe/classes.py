"""An embedding in the text space for each ImageNet class, from its name and its WordNet definition.

C = 1000 classes, D = 384. The embeddings are the matrix of ConSE (Norouzi et al., 2014), which maps a picture to the
average of its likely classes. The names are those that OpenAI curated for the zero-shot tests of CLIP, from the package
open_clip. They are "rooster" and "construction crane" where WordNet has "cock" and "crane".
"""

from __future__ import annotations

import importlib.util

import numpy as np
import numpy.typing as npt

from .sources import sentence
from .text import TextEncoder
from .wordnet import WordNet, imagenet_offsets, package_folder

# Weight of the definition, relative to the name.
GLOSS_WEIGHT = 0.3


def class_names() -> list[str]:
    """Return the C names, in the order of the logits."""
    path = package_folder("open_clip") / "zero_shot_metadata.py"
    spec = importlib.util.spec_from_file_location("zero_shot_metadata", path)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"expected the names of ImageNet's classes in {path}, found none")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.IMAGENET_CLASSNAMES)


def class_embeddings(wordnet: WordNet, encode: TextEncoder) -> npt.NDArray[np.float32]:
    """Return (C, D) rows of unit norm, from the name alone, the name in two sentences, and the definition."""
    names = class_names()
    sentences = [sentence(name) for name in names]
    photo_sentences = [f"A photo of {text[0].lower()}{text[1:]}" for text in sentences]
    glosses = [wordnet.nouns[offset].gloss for offset in imagenet_offsets()]
    name_embeds = _unit(encode(sentences) + encode(names) + encode(photo_sentences))
    return _unit(name_embeds + GLOSS_WEIGHT * _unit(encode(glosses)))


def _unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
