"""The library of native kernels: where it lies, and which of its instruction sets runs.

It is an optional part of an installation (docs/kernels.md). Without it everything gives the same results, slower.
CLIPSHELF_KERNELS names the instruction set to use in place of the best one of this CPU; "off" leaves the library out.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from clipshelf.errors import InputError

VARIABLE = "CLIPSHELF_KERNELS"
OFF = "off"
# Plain C, which onnxruntime's kernels outrun: taken only where VARIABLE names it.
PORTABLE = "portable"
# The functions of the library and their arguments; CLIPSHELF_INTERFACE of engine/native/clipshelf_native.h.
INTERFACE = 3

_RUNTIME = Path(__file__).resolve().parent
# Beside this module in an installed wheel, and where an editable install builds it in a checkout.
_FOLDERS = (_RUNTIME, _RUNTIME.parent.parent / "native")
_NAMES = ("clipshelf_native.so", "clipshelf_native.dylib", "clipshelf_native.dll")


@dataclass(frozen=True)
class Kernels:
    """The library, loaded.

    - `path`: its file, which a session registers.
    - `instruction_set`: the name of the instruction set that runs.
    """

    path: Path
    instruction_set: str
    library: ctypes.CDLL


def load_kernels() -> Kernels | None:
    """The library, loaded once in a process; None where it is off, missing, or no faster than onnxruntime.

    Raises InputError where CLIPSHELF_KERNELS names an instruction set that the library or this CPU does not have.
    """
    found = _load(os.environ.get(VARIABLE, ""))
    return found if isinstance(found, Kernels) else None


def kernel_path() -> str | None:
    """The name of the instruction set whose kernels run, None where onnxruntime's do. Raises like `load_kernels`."""
    kernels = load_kernels()
    return kernels.instruction_set if kernels else None


def describe_kernels() -> str:
    """The instruction set whose kernels run, or why none does: a line for people. Raises like `load_kernels`."""
    found = _load(os.environ.get(VARIABLE, ""))
    return found.instruction_set if isinstance(found, Kernels) else f"none, onnxruntime's run ({found})"


@cache
def _load(requested: str) -> Kernels | str:
    """The library with the requested instruction set, "" for the best one; or the reason why it does not run."""
    if requested == OFF:
        return f"{VARIABLE}={OFF}"
    path = next((path for folder in _FOLDERS for name in _NAMES if (path := folder / name).is_file()), None)
    if path is None:
        return "built without a C compiler; with one, install clipshelf again"
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        return f"{path} does not load: {error}"
    if (interface := _interface(library)) != INTERFACE:
        return f"{path}: expected interface {INTERFACE}, found {interface}; install clipshelf again"
    library.clipshelf_instruction_set.restype = ctypes.c_char_p
    instruction_set = _instruction_set(library, requested)
    if instruction_set == PORTABLE and not requested:
        return "this CPU has none of the instruction sets that the library uses"
    return Kernels(path, instruction_set, library)


def _interface(library: ctypes.CDLL) -> int:
    """The number of the library's interface, 0 for a library that has none."""
    try:
        return int(library.clipshelf_interface())
    except AttributeError:
        return 0


def _instruction_set(library: ctypes.CDLL, requested: str) -> str:
    """The name of the requested instruction set, or of the best one for "". Raises InputError where it cannot run."""
    available = [name for name in instruction_sets(library) if library.clipshelf_has_instruction_set(name.encode())]
    if requested and requested not in available:
        raise InputError(f"{VARIABLE}: expected {OFF} or one of {', '.join(available)}, found {requested!r}")
    return requested or available[0]


def instruction_sets(library: ctypes.CDLL) -> list[str]:
    """The names of all instruction sets that the library has, the best first, whatever this CPU has."""
    name_at = library.clipshelf_instruction_set_at
    name_at.argtypes, name_at.restype = (ctypes.c_size_t,), ctypes.c_char_p
    names: list[str] = []
    while name := name_at(len(names)):
        names.append(name.decode())
    return names
