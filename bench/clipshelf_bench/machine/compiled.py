"""C sources of this folder, compiled on first use with the compiler that is there."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sysconfig
from pathlib import Path


def compiled_library(name: str, folder: Path) -> Path:
    """The shared library of `name`.c, kept in `folder`.

    Raises RuntimeError where no compiler is found or it fails, as on other CPUs than x86-64.
    """
    source = Path(__file__).with_name(f"{name}.c")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    library = folder / f"{name}-{digest}{sysconfig.get_config_var('SHLIB_SUFFIX') or '.so'}"
    if library.is_file():
        return library
    draft = library.with_suffix(f".{os.getpid()}")
    command = [os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", "-o", str(draft), str(source)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise RuntimeError(f"expected a C compiler for {source.name}, found: {error}") from error
    if done.returncode != 0:
        raise RuntimeError(f"expected to compile {source.name}, found: {done.stderr.strip()[-300:]}")
    draft.replace(library)
    return library
