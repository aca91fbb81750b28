"""`clipshelf info`: what an artifact or a catalogue holds, or what this installation runs on."""

from __future__ import annotations

import argparse
import json
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipshelf import __version__
from clipshelf.cli.options import Commands
from clipshelf.cli.output import print_json
from clipshelf.display import printable
from clipshelf.errors import ClipshelfError
from clipshelf.files import MANIFEST_BYTES, read_regular
from clipshelf.json_parsing import parse_json

if TYPE_CHECKING:
    from clipshelf.model.artifact import Artifact

_MANIFEST = "manifest.json"
_SHA256 = re.compile("[0-9a-f]{64}")


def add_commands(commands: Commands) -> None:
    """Add the command to the parser."""
    info = commands.add_parser("info", help="what an artifact or a catalogue holds, or this installation runs on")
    info.add_argument(
        "dir",
        metavar="DIR",
        nargs="?",
        help="folder of an artifact or a catalogue, or an artifact ORG/NAME@REVISION on the Hugging Face hub; "
        "without it, this installation",
    )
    info.add_argument("--json", action="store_true", help="print the manifest, or the installation, as JSON")
    info.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    if args.dir is None:
        facts = installation()
        text = "\n".join(_lines(facts, ""))
    else:
        facts = checked_manifest(_folder(args.dir))
        text = description(args.dir, facts)
    if args.json:
        print_json(facts, indent=2)
    else:
        print("\n".join(map(printable, text.splitlines())))
    return 0


def _folder(source: str) -> Path:
    """The folder that `source` is; that of the cache for a model on the hub, which is fetched first."""
    if "@" not in source:
        return Path(source)
    from clipshelf.model.hub import HubReference, fetch

    reference = HubReference.parse(source)
    return Path(source) if reference is None else fetch(reference).path


def installation() -> dict[str, Any]:
    """What this installation runs on. Raises InputError where CLIPSHELF_KERNELS names kernels that cannot run."""
    from clipshelf.runtime.cpus import available_cpus
    from clipshelf.runtime.native import describe_kernels
    from clipshelf.runtime.providers import ONNXRUNTIME_VERSION

    return {
        "clipshelf": __version__,
        "kernels": describe_kernels(),
        "onnxruntime": ONNXRUNTIME_VERSION,
        "python": platform.python_version(),
        "machine": f"{platform.machine()} {platform.system()}",
        "cpus": available_cpus(),
    }


def checked_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an artifact or a catalogue, after the folder was checked against it. Raises ClipshelfError."""
    if _is_catalogue(folder):
        from clipshelf.catalogue.catalogue import Catalogue
        from clipshelf.catalogue.disk.manifest import read_manifest

        Catalogue.load(folder)
        text: str | bytes = read_manifest(folder).to_bytes()
    else:
        from clipshelf.model.artifact import Artifact

        artifact = Artifact.open(folder)
        artifact.verify()
        manifest: dict[str, Any] = json.loads(artifact.manifest.to_json())
        return manifest | {"runs_on": _running(artifact)}
    facts: dict[str, Any] = json.loads(text)
    return facts


def _running(artifact: Artifact) -> dict[str, str]:
    """What computes each tower of an artifact on this CPU."""
    from clipshelf.model.towers import running_kernels
    from clipshelf.runtime.providers import CPU, resolve_precision

    precision = resolve_precision(artifact.manifest.precisions, CPU)
    return {str(tower): name for tower, name in running_kernels(artifact, precision, CPU).items()}


def description(folder: str, facts: dict[str, Any]) -> str:
    """A manifest as text for a terminal, one fact a line."""
    kind = "catalogue" if "products" in facts else "artifact"
    if kind == "catalogue":
        facts = {**facts, "model": facts["model"] or "the embedded default"}
    size = sum(record["bytes"] for record in facts["files"].values())
    head = f"{folder}: {kind}, {len(facts['files'])} files, {size / 1e6:.1f} MB, as the manifest says"
    return "\n".join([head, *_lines(facts, "  ")])


def _is_catalogue(folder: Path) -> bool:
    """Whether the manifest in `folder` is that of a catalogue, which alone counts products."""
    try:
        manifest = parse_json(read_regular(folder / _MANIFEST, MANIFEST_BYTES))
    except FileNotFoundError:
        from clipshelf.catalogue.disk.manifest import is_sharded

        other = "a catalogue in shards, each of which is one" if is_sharded(folder) else f"no {_MANIFEST}"
        raise ClipshelfError(f"{folder}: expected the folder of an artifact or a catalogue, found {other}") from None
    except NotADirectoryError:
        raise ClipshelfError(f"{folder}: expected the folder of an artifact or a catalogue, found a file") from None
    except (OSError, ValueError) as error:
        raise ClipshelfError(f"{folder / _MANIFEST}: expected JSON, found: {error}") from error
    return isinstance(manifest, dict) and "products" in manifest


def _lines(facts: dict[str, Any], indent: str) -> list[str]:
    """Nested facts as aligned lines: one line for a record without further records, and one for each item of a list."""
    width = max((len(name) for name in facts), default=0)
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict) and any(isinstance(inner, dict) for inner in value.values()):
            lines += [f"{indent}{name}", *_lines(value, indent + "  ")]
        elif isinstance(value, dict):
            lists = {k: v for k, v in value.items() if isinstance(v, list)}
            flat = ", ".join(f"{k} {_plain(v)}" for k, v in value.items() if k not in lists)
            lines.append(f"{indent}{name:{width}}  {flat}".rstrip())
            lines += [f"{indent}  {k}: {_plain(item)}" for k, items in lists.items() for item in items]
        else:
            lines.append(f"{indent}{name:{width}}  {_plain(value)}")
    return lines


def _plain(value: object) -> str:
    """A value for reading: six digits of a number, the head of a hash."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if isinstance(value, str) and _SHA256.fullmatch(value):
        return value[:12]
    return str(value)
