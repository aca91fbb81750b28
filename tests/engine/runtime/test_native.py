from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from clipshelf.errors import InputError
from clipshelf.runtime import native
from support.native_library import native_library


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only folder where the library is looked for, empty."""
    monkeypatch.setattr(native, "_FOLDERS", (tmp_path,))
    monkeypatch.delenv(native.VARIABLE, raising=False)
    native._load.cache_clear()
    yield tmp_path
    native._load.cache_clear()


def test_without_the_library_onnxruntimes_kernels_run(folder: Path) -> None:
    assert native.load_kernels() is None
    assert native.kernel_path() is None
    assert native.describe_kernels() == (
        "none, onnxruntime's run (built without a C compiler; with one, install clipshelf again)"
    )


def test_every_instruction_set_of_this_cpu_can_be_forced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(native_library(), folder)
    best = native.load_kernels()
    assert best is not None and best.path.parent == folder
    available = [name for name in native.instruction_sets(best.library) if _runs(best, name)]
    assert best.instruction_set == available[0] == native.kernel_path() == native.describe_kernels()
    assert available[-1] == native.PORTABLE
    for name in available:
        monkeypatch.setenv(native.VARIABLE, name)
        assert native.kernel_path() == name
        assert best.library.clipshelf_instruction_set() == name.encode()
    monkeypatch.setenv(native.VARIABLE, native.OFF)
    assert native.load_kernels() is None
    assert native.describe_kernels() == "none, onnxruntime's run (CLIPSHELF_KERNELS=off)"
    monkeypatch.setenv(native.VARIABLE, "mmx")
    expected = f"CLIPSHELF_KERNELS: expected off or one of {', '.join(available)}, found 'mmx'"
    with pytest.raises(InputError, match=expected):
        native.kernel_path()


def test_plain_c_runs_only_where_it_is_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(native_library(), folder)
    monkeypatch.setattr(native, "instruction_sets", lambda library: [native.PORTABLE])
    assert native.kernel_path() is None
    assert "this CPU has none of the instruction sets" in native.describe_kernels()
    monkeypatch.setenv(native.VARIABLE, native.PORTABLE)
    assert native.kernel_path() == native.PORTABLE


def test_a_library_that_does_not_fit_is_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(native_library(), folder)
    monkeypatch.setattr(native, "INTERFACE", native.INTERFACE + 1)
    assert native.load_kernels() is None
    assert f"expected interface {native.INTERFACE}, found {native.INTERFACE - 1}" in native.describe_kernels()


def test_a_file_that_is_no_library_is_left_out(folder: Path) -> None:
    (folder / "clipshelf_native.so").write_bytes(b"no library")
    assert native.load_kernels() is None
    assert "does not load" in native.describe_kernels()


def _runs(kernels: native.Kernels, name: str) -> bool:
    return bool(kernels.library.clipshelf_has_instruction_set(name.encode()))
