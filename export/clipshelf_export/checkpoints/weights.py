"""The weights of a checkpoint, and what must not lie beside them."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from clipshelf.errors import ExportError
from clipshelf.files import FileRecord
from safetensors.torch import load_file

from clipshelf_export.checkpoints.messages import first_line

ADAPTER = "adapter_config.json"
WEIGHT_PATTERNS = ("*.safetensors", "*.bin")
# How torch names what a pickle calls, where it is nothing that weights need.
CODE = re.compile(r"Unsupported (?:global: GLOBAL|class) ([\w.]+)")
# The types of numbers in a safetensors file that hold a weight by themselves. Others need scales that only the library
# that wrote them knows.
PLAIN_TYPES = frozenset({"F64", "F32", "F16", "BF16", "I64", "I32", "BOOL"})


def check_plain(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise ExportError where a folder holds an adapter or quantised weights, which a loader would read as a model.

    - `config`: the content of config.json.
    """
    if (folder / ADAPTER).is_file():
        raise ExportError(
            f"{folder}: expected a whole model, found an adapter ({ADAPTER}); merge it into its base first, with "
            "merge_and_unload of peft"
        )
    quantization = config.get("quantization_config")
    if quantization:
        method = quantization.get("quant_method", "unknown") if isinstance(quantization, Mapping) else quantization
        raise ExportError(f"{folder}: expected weights in floating point, found quantization_config {method}")
    for path in sorted(folder.glob("*.safetensors")):
        types = set(_tensor_types(path)) - PLAIN_TYPES
        if types:
            found = ", ".join(sorted(types))
            raise ExportError(f"{path}: expected weights in fp32, fp16 or bf16, found {found}")


def _tensor_types(path: Path) -> Iterable[str]:
    """Return the types of the tensors of a safetensors file; none where it is damaged, which its loader tells better.

    https://huggingface.co/docs/safetensors: eight bytes with the length of a JSON header, then the header.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, path.stat().st_size)))
    except (struct.error, ValueError):
        return []
    return [str(entry.get("dtype")) for name, entry in header.items() if name != "__metadata__"]


def read_model(folder: Path, model_class: Any, *, unused: tuple[str, ...] = (), attention: str | None = None) -> Any:
    """Load a model of transformers as float32, without the network.

    - `model_class`: the class, such as `CLIPModel`.
    - `unused`: beginnings of names of weights that may be missing, since nothing reads them.
    - `attention`: the implementation of attention, such as "eager"; None for the default.

    Returns the model in evaluation mode. Raises ExportError where weights are missing, of another shape or not finite.
    """
    expected = f"{folder}: expected the weights of a {model_class.__name__}"
    try:
        model, report = model_class.from_pretrained(
            folder,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            attn_implementation=attention,
        )
    except Exception as error:  # safetensors and pickle raise errors of their own for a damaged file
        raise ExportError(f"{expected}, found: {_reason(error)}") from error
    for kind, problem in (("missing_keys", "missing"), ("mismatched_keys", "of another shape than in config.json")):
        # transformers reports names, or tuples of a name and both shapes
        names = sorted(key if isinstance(key, str) else key[0] for key in report[kind])
        names = [name for name in names if not name.startswith(unused)]
        if names:
            raise ExportError(f"{expected}, found {len(names)} {problem}: {names[0]}")
    return checked_model(model, str(folder))


def read_tensors(folder: Path, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Read the first of these files of a folder, in safetensors or in PyTorch's format, which is read without code.

    Raises ExportError where there is none, or it is damaged.
    """
    paths = [folder / name for name in names if (folder / name).is_file()]
    if not paths:
        raise ExportError(f"{folder}: expected {', '.join(names)}, found none of them")
    try:
        if paths[0].suffix == ".safetensors":
            return dict(load_file(paths[0]))
        state: dict[str, torch.Tensor] = torch.load(paths[0], map_location="cpu", weights_only=True)
        return state
    except Exception as error:  # safetensors and pickle raise errors of their own for a damaged file
        raise ExportError(f"{paths[0]}: expected weights, found: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """Return why weights cannot be read: that they name code, or the first line of the error."""
    cause: BaseException | None = error
    while cause is not None:
        if name := CODE.search(str(cause)):
            return (
                f"a file that runs code when it is read ({name[1]}); save the weights as safetensors where you trust it"
            )
        cause = cause.__cause__ or cause.__context__
    return first_line(error)


def checked_model(model: Any, source: str) -> Any:
    """Return a model as float32 in evaluation mode. Raises ExportError, naming `source`, for NaN or infinity."""
    for name, value in model.named_parameters():
        if not bool(torch.isfinite(value).all()):
            raise ExportError(f"{source}: expected finite weights, found NaN or infinity in {name}")
    return model.float().eval()


def weight_hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of weights by its name."""
    files = sorted(path for pattern in WEIGHT_PATTERNS for path in folder.glob(pattern))
    return {path.name: FileRecord.of(path).sha256 for path in files}
