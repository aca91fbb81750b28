"""A model on disk: ONNX graphs, a tokenizer and the manifest that vouches for them.

An artifact is a folder:

    manifest.json     what `Manifest` says, written last
    vision.onnx       pixels uint8 (B, H, W, 3) RGB -> image_embeds float32 (B, D), unit norm
    text.onnx         input_ids int64 (B, L) [, attention_mask int64 (B, L)] -> text_embeds float32 (B, D), unit norm
    tokenizer.json    the `tokenizers` file

Mean, standard deviation, projection and L2 norm are inside the graphs. An artifact may carry its towers in a second
precision, as `vision.fp16.onnx` and `text.fp16.onnx`. Weights for the native kernels, and those of a graph past 2 GB,
lie beside it in `<graph>.data`.
Every file but the manifest has a record in `files`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from clipshelf.errors import ArtifactError
from clipshelf.files import MANIFEST_BYTES, FileRecord, read_regular
from clipshelf.json_parsing import parse_json
from clipshelf.runtime.onnx_reader import external_files
from clipshelf.types import PathLike, Precision

FORMAT = 1
# Published models take pictures of up to 1,024 pixels and texts of up to 8,192 tokens. Attention costs the square of
# the tokens, and a picture is resized to `resize_to` before it is cropped.
MOST_PIXELS = 1 << 12
MOST_TOKENS = 1 << 15
LOGITS = ("scale", "bias")
MANIFEST, TOKENIZER = "manifest.json", "tokenizer.json"

TowerName = Literal["vision", "text"]
Resize = Literal["shortest", "pad", "squash"]
Resample = Literal["bicubic", "bilinear", "lanczos"]
CropRounding = Literal["down", "even"]
Record = TypeVar("Record")


@dataclass(frozen=True)
class ImageSpec:
    """How a picture becomes the square that the vision graph takes.

    - `size`: edge of the square in pixels, 1 to 4096.
    - `resize`: "shortest" scales the shorter edge to `resize_to` and crops the centre (CLIP); "pad" scales the longer
      edge to `size` and centres the picture on white; "squash" scales both edges to `size`.
    - `resize_to`: for "shortest" only, in pixels, from `size` to 4096.
    - `resample`: Pillow's filter.
    - `crop_rounding`: for "shortest" only: where the margin to crop is odd, "down" (transformers) begins at the half
      rounded down, "even" (torchvision, and so open_clip) at the half rounded to the even number.
    """

    size: int
    resize: Resize
    resize_to: int
    resample: Resample
    crop_rounding: CropRounding = "down"


@dataclass(frozen=True)
class TextSpec:
    """Limits of the tokenizer, and the inputs of the text graph.

    - `max_tokens`: the context, special tokens included, 3 to 32768.
    - `pad_id`, `bos_id`, `eos_id`: ids of the special tokens.
    - `attention_mask`: whether the text graph takes an attention mask.
    """

    max_tokens: int
    pad_id: int
    bos_id: int
    eos_id: int
    attention_mask: bool


@dataclass(frozen=True)
class Manifest:
    """All that is known of an artifact; `manifest.json` is this record.

    - `family`: the kind of model.
    - `source`: the checkpoint and its hash.
    - `dim`: D, 1 to 65536.
    - `precision`: that of `vision.onnx` and `text.onnx`.
    - `opset`: of the graphs.
    - `image`, `text`: what the towers take.
    - `files`: the record of every other file of the artifact, by name.
    - `licence`: of the weights.
    - `parity`: the measured fidelity of each tower by precision; under `kernels` that with the native kernels.
    - `calibration`: the data that set the ranges of int8, chose between graphs and measured.
    - `end_to_end`: the agreement of the engine with the original library, from pictures and texts on, by tower, and of
      their probabilities.
    - `logits`: the trained `scale` and `bias` of a model whose cosines give probabilities; empty for others.
    - `versions`: of the packages that made the artifact.
    - `format`: version of this record.
    """

    family: str
    source: Mapping[str, Any]
    dim: int
    precision: Precision
    opset: int
    image: ImageSpec
    text: TextSpec
    files: Mapping[str, FileRecord]
    licence: str = "unknown"
    parity: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    end_to_end: Mapping[str, Any] = field(default_factory=dict)
    logits: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def fingerprint(self) -> str:
        """16 hex digits of a SHA-256 over all that changes an embedding: specs, graphs and tokenizer.

        The files are hashed as bytes. Two exports whose files differ have two fingerprints, even where they compute the
        same embeddings, since only equal bytes prove that without running them.
        """
        image = asdict(self.image)
        if self.image.crop_rounding == "down":  # artifacts from before this field keep their fingerprints
            del image["crop_rounding"]
        content = {
            "dim": self.dim,
            "image": image,
            "text": asdict(self.text),
            "files": {name: record.sha256 for name, record in self.files.items()},
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Precisions that both towers are stored in, the default first."""
        second = [p for p in get_args(Precision) if {f"vision.{p}.onnx", f"text.{p}.onnx"} <= self.files.keys()]
        return (self.precision, *second)

    def graph(self, tower: TowerName, precision: Precision | None = None) -> str:
        """File name of a tower's graph in a precision, None for the default; ArtifactError where it is not stored."""
        if precision in (None, self.precision):
            return f"{tower}.onnx"
        if precision not in self.precisions:
            raise ArtifactError(f"precision: expected one of {', '.join(self.precisions)}, found {precision}")
        return f"{tower}.{precision}.onnx"

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        return json.dumps({**asdict(self), "fingerprint": self.fingerprint}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read the text of `manifest.json`.

        Raises ArtifactError naming the field, what was expected and what was found.
        """
        try:
            data = parse_json(text)
        except ValueError as error:
            raise ArtifactError(f"{MANIFEST}: expected JSON, found {error}") from error
        _expect(isinstance(data, dict), "the top level", "an object", type(data).__name__)
        if "products" in data and "family" not in data:
            raise ArtifactError(f"{MANIFEST}: expected that of an artifact (a model), found that of a catalogue")
        _expect(data.get("format") == FORMAT, "format", FORMAT, data.get("format"))
        fingerprint = data.pop("fingerprint", None)
        files = data.get("files")
        _expect(isinstance(files, dict), "files", "an object", type(files).__name__)
        data["image"] = _to_record(ImageSpec, data.get("image"), "image.")
        data["text"] = _to_record(TextSpec, data.get("text"), "text.")
        data["files"] = {name: _to_record(FileRecord, value, f"files.{name}.") for name, value in files.items()}
        manifest = _to_record(cls, data, "")
        _check_values(manifest)
        _expect(fingerprint == manifest.fingerprint, "fingerprint", manifest.fingerprint, fingerprint)
        return manifest


@dataclass(frozen=True)
class Artifact:
    """An opened artifact.

    - `path`: its folder.
    - `manifest`: its checked manifest.
    - `reference`: `org/name@commit` of an artifact that was fetched from the hub, else None.
    """

    path: Path
    manifest: Manifest
    reference: str | None = None

    @classmethod
    def open(cls, path: PathLike) -> Artifact:
        """Read the manifest of an artifact and check that every file is there with its size.

        - `path`: the folder.

        Hashes are checked when a file is used (`file`) or by `verify`. Raises ArtifactError naming the file, what was
        expected and what was found.
        """
        folder = Path(path)
        source = folder / MANIFEST
        if not source.is_file():
            found = "a file" if folder.is_file() else "none"
            raise ArtifactError(f"{folder}: expected an artifact folder with a {MANIFEST}, found {found}")
        try:
            manifest = Manifest.from_json(read_regular(source, MANIFEST_BYTES).decode())
            for name, record in manifest.files.items():
                file = folder / name
                actual = f"{file.stat().st_size} bytes" if file.is_file() else "no such file"
                if actual != f"{record.bytes} bytes":
                    raise ArtifactError(f"{name}: expected {record.bytes} bytes, found {actual}")
        except (ArtifactError, UnicodeDecodeError, OSError) as error:
            raise ArtifactError(f"{folder}: {error}") from error
        return cls(folder, manifest)

    def file(self, name: str) -> Path:
        """Path of the file `name`, after a check of its SHA-256.

        Raises ArtifactError where it differs from the manifest.
        """
        self._check_hash(name)
        return self.path / name

    def graph_file(self, name: str) -> Path:
        """Path of the graph `name`, after a check of its SHA-256, and of that of each file that holds its weights.

        Raises ArtifactError where one differs from the manifest, or is not in the manifest.
        """
        path = self.file(name)
        for weights in sorted(external_files(path)):
            if weights not in self.manifest.files:
                raise ArtifactError(f"{path}: expected weights in files that the manifest lists, found {weights!r}")
            self._check_hash(weights)
        return path

    def verify(self) -> None:
        """Check the SHA-256 of every file; raises ArtifactError where one differs from the manifest."""
        for name in self.manifest.files:
            self._check_hash(name)

    def _check_hash(self, name: str) -> None:
        expected, actual = self.manifest.files[name], FileRecord.of(self.path / name)
        if actual != expected:
            raise ArtifactError(f"{self.path / name}: expected sha256 {expected.sha256}, found {actual.sha256}")


def _expect(holds: bool, where: str, expected: object, actual: object) -> None:
    if not holds:
        raise ArtifactError(f"{MANIFEST}: {where}: expected {expected}, found {actual}")


def _to_record(cls: type[Record], data: object, prefix: str) -> Record:
    """Build the dataclass `cls` from a JSON object with exactly its fields, and check fields of plain types."""
    if not isinstance(data, dict):
        raise ArtifactError(f"{MANIFEST}: {prefix.rstrip('.')}: expected an object, found {type(data).__name__}")
    fields_by_name = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    for name in data.keys() - fields_by_name.keys():
        raise ArtifactError(f"{MANIFEST}: {prefix}{name}: expected no such field in format {FORMAT}, found one")
    plain_types = {"int": int, "str": str, "bool": bool}
    for name, f in fields_by_name.items():
        if name not in data:
            required = f.default is MISSING and f.default_factory is MISSING
            _expect(not required, prefix + name, "a value", "nothing")
        elif f.type in plain_types:
            value = data[name]
            is_of_type = isinstance(value, plain_types[str(f.type)]) and (
                f.type == "bool" or not isinstance(value, bool)
            )
            _expect(is_of_type, prefix + name, f.type, repr(value))
    return cls(**data)


def _are_logits(logits: object) -> bool:
    """Whether `logits` are the trained numbers of a model that gives probabilities, or none."""
    if not isinstance(logits, dict) or set(logits) not in (set(), set(LOGITS)):
        return False
    return all(type(value) in (int, float) and math.isfinite(value) for value in logits.values())


def _check_values(manifest: Manifest) -> None:
    """Compare values with what this version of the engine can run."""
    image, text = manifest.image, manifest.text
    _expect(1 <= manifest.dim <= 1 << 16, "dim", "1 to 65536", manifest.dim)
    for where, value, allowed in (
        ("precision", manifest.precision, Precision),
        ("image.resize", image.resize, Resize),
        ("image.resample", image.resample, Resample),
        ("image.crop_rounding", image.crop_rounding, CropRounding),
    ):
        _expect(value in get_args(allowed), where, f"one of {', '.join(get_args(allowed))}", repr(value))
    for where, number, least, most in (
        ("image.size", image.size, 1, MOST_PIXELS),
        ("image.resize_to", image.resize_to, image.size, MOST_PIXELS),
        ("text.max_tokens", text.max_tokens, 3, MOST_TOKENS),
    ):
        _expect(least <= number <= most, where, f"{least} to {most}", f"{number!s:.40}")
    _expect(_are_logits(manifest.logits), "logits", f"none, or finite numbers {' and '.join(LOGITS)}", manifest.logits)
    for name in ("vision.onnx", "text.onnx", TOKENIZER):
        _expect(name in manifest.files, "files", f"a record of {name}", "none")
    for name in manifest.files:
        _expect(Path(name).name == name and name not in ("", ".", ".."), "files", "plain file names", repr(name))
