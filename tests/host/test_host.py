"""The C interface and the C++ header, built for real, called from C++ and from this very process."""

import ctypes
import os
import shutil
import sys
import sysconfig
import time
from pathlib import Path

import numpy as np
import pytest
from building import COMPILER, PRODUCTS, compiled, needs_compiler, run, succeed
from clipshelf import Catalogue, Engine
from clipshelf.bundled import host_path, queries_path, shelf_path
from clipshelf.errors import ClipshelfError
from clipshelf.host.build import build
from support import fuzzing
from support.build_cache import cached, toolchain
from support.tiny import picture

pytestmark = needs_compiler
OK, INVALID, CLOSED, BAD_IMAGE, BAD_ARTIFACT, NO_RUNTIME = 0, 1, 2, 3, 5, 9


@pytest.fixture(scope="module")
def library(prefix: Path) -> ctypes.CDLL:
    """The library in this process, which runs Python already; ctypes opens it with RTLD_LOCAL."""
    loaded = ctypes.CDLL(str(prefix / "lib/libclipshelf.so"))
    loaded.clipshelf_last_error.restype = ctypes.c_char_p
    loaded.clipshelf_version.restype = ctypes.c_char_p
    return loaded


class Options(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("venv", ctypes.c_char_p),
        ("artifact", ctypes.c_char_p),
        ("provider", ctypes.c_char_p),
        ("decode", ctypes.c_char_p),
        ("threads", ctypes.c_size_t),
        ("warm", ctypes.c_size_t),
        ("limits", ctypes.c_char_p),
    )


def open_engine(library: ctypes.CDLL, artifact: Path | str) -> tuple[int, ctypes.c_void_p]:
    engine = ctypes.c_void_p()
    options = Options(ctypes.sizeof(Options), None, os.fsencode(artifact), None, None, 1, 0)
    return library.clipshelf_engine_open(ctypes.byref(options), ctypes.byref(engine)), engine


@pytest.fixture(scope="session")
def measure(prefix: Path) -> Path:
    return compiled(prefix, "measure", host_path() / "bench/measure.cpp")


def test_the_example_answers_the_first_query(prefix: Path, tmp_path: Path, default_engine: Engine) -> None:
    Catalogue.build(default_engine, shelf_path() / "four.csv").save(tmp_path / "four")
    cmake = shutil.which("cmake", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert cmake

    def make(folder: Path) -> None:
        succeed([cmake, "-S", host_path() / "example", "-B", folder, f"-DCMAKE_PREFIX_PATH={prefix}"])
        succeed([cmake, "--build", folder])

    program = cached("example", [host_path() / "example", str(prefix), cmake], make) / "recommend"
    done = run([program, tmp_path / "four", queries_path() / "sneaker.jpg"])
    assert done.returncode == 0, done.stderr
    assert "running-shoes" in done.stdout.splitlines()[1]
    assert run([program, tmp_path / "four", tmp_path / "none.jpg"]).returncode == 1


def test_a_missing_environment_is_named(measure: Path, tmp_path: Path, tiny_artifact: Path) -> None:
    done = run([measure, "text", tiny_artifact, "1"], CLIPSHELF_VENV=str(tmp_path))
    assert done.returncode == 1
    assert "venv: expected the folder of a Python" in done.stderr
    assert str(tmp_path) in done.stderr


def test_warnings_of_python_stay_off_standard_error(measure: Path, tmp_path: Path, tiny_artifact: Path) -> None:
    packages = tmp_path / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    packages.mkdir(parents=True)
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").symlink_to(Path(sys.executable).resolve())
    lines = ["import warnings; warnings.warn('noise')", *sys.path]
    (packages / "noise.pth").write_text("\n".join(lines))
    noisy = run([tmp_path / "bin/python3", "-c", ""])
    assert "UserWarning: noise" in noisy.stderr
    done = run([measure, "text", tiny_artifact, "1"], CLIPSHELF_VENV=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/maps")
def test_it_stays_loaded_after_dlclose(prefix: Path) -> None:
    code = (
        "import _ctypes, sys; _ctypes.dlclose(_ctypes.dlopen(sys.argv[1]));"
        "sys.exit('libclipshelf' not in open('/proc/self/maps').read())"
    )
    done = run([sys.executable, "-c", code, prefix / "lib/libclipshelf.so"])
    assert done.returncode == 0, done.stderr


def test_cycles_do_not_grow(measure: Path, tiny_artifact: Path, catalogue: Path) -> None:
    done = run([measure, "cycles", tiny_artifact, catalogue, "200"])
    assert done.returncode == 0, done.stderr
    # KiB, 6.4 a cycle. Lost each time, an engine takes 280, a catalogue 61, an answer 8.6; the allocator's own
    # steps after the first 500 cycles took up to 630 in 200 of them.
    assert int(done.stdout) < 1280


@pytest.fixture(scope="session")
def fuzz() -> Path:
    """The fuzz program with the library's own sources, under sanitizers."""
    import pybind11

    libdir = sysconfig.get_config_var("LIBDIR")
    python = f"python{sysconfig.get_config_var('LDVERSION')}"
    sources = [Path(__file__).parent / "fuzz.cpp", *sorted((host_path() / "src").glob("*.cpp"))]
    flags = [
        "-std=c++17",
        "-g",
        "-O0",
        "-fvisibility=hidden",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=undefined",
    ]
    include, src = host_path() / "include", host_path() / "src"
    include_folders = [include, src, sysconfig.get_path("include"), pybind11.get_include()]
    names = ["-DCLIPSHELF_BUILDING", f'-DCLIPSHELF_BUILT_WITH="{sys.prefix}"']
    libraries = [f"-L{libdir}", f"-Wl,-rpath,{libdir}", f"-l{python}", "-ldl", "-pthread"]
    options = [*flags, *(f"-I{folder}" for folder in include_folders), *names]

    def make(folder: Path) -> None:
        unity = folder / "all.cpp"  # one compiler run: most of its time goes to headers
        unity.write_text("".join(f'#include "{source}"\n' for source in sources))
        done = run([str(COMPILER), *options, unity, *libraries, "-o", folder / "fuzz"])
        if done.returncode and "asan" in done.stderr:
            pytest.skip("the compiler has no AddressSanitizer")
        assert done.returncode == 0, done.stderr

    inputs: list[Path | str] = [*sources, include, src, *options, *libraries, *toolchain(str(COMPILER))]
    return cached("fuzz", inputs, make) / "fuzz"


def test_fuzz_under_sanitizers(fuzz: Path, tiny_artifact: Path, catalogue: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(catalogue, tmp_path / "catalogue")
    end, seed = time.monotonic() + fuzzing.SECONDS, 0
    while seed == 0 or time.monotonic() < end:
        seed += 1
        done = run([fuzz, tiny_artifact, changed, str(seed), "400"], ASAN_OPTIONS="detect_leaks=1")
        assert done.returncode == 0, f"seed {seed}: {done.stderr[-3000:]}"


def test_in_a_process_that_runs_python(library: ctypes.CDLL, tiny_artifact: Path, engine: Engine) -> None:
    status, handle = open_engine(library, tiny_artifact)
    assert status == OK, library.clipshelf_last_error()
    out = np.empty((2, engine.dim), np.float32)
    texts = (ctypes.c_char_p * 2)(b"red shoe", b"blue shirt")
    pointer = out.ctypes.data_as(ctypes.c_void_p)
    assert library.clipshelf_embed_texts(handle, texts, None, 2, pointer, ctypes.c_size_t(out.size)) == OK
    np.testing.assert_array_equal(out, engine.embed_texts(["red shoe", "blue shirt"]))
    assert library.clipshelf_embed_texts(handle, texts, None, 2, pointer, ctypes.c_size_t(out.size - 1)) == INVALID
    assert b"capacity: expected at least 2 rows" in library.clipshelf_last_error()
    assert library.clipshelf_engine_close(handle) == OK
    assert library.clipshelf_engine_close(handle) == CLOSED
    assert library.clipshelf_engine_close(None) == OK


def test_opening_after_a_shutdown(library: ctypes.CDLL, tiny_artifact: Path, catalogue: Path) -> None:
    for _ in range(2):
        status, handle = open_engine(library, tiny_artifact)
        assert status == OK, library.clipshelf_last_error()
        shelf, size = ctypes.c_void_p(), ctypes.c_size_t()
        assert library.clipshelf_catalogue_open(handle, os.fsencode(catalogue), ctypes.byref(shelf)) == OK
        assert library.clipshelf_catalogue_size(shelf, ctypes.byref(size)) == OK
        assert size.value == len(PRODUCTS)
        assert library.clipshelf_shutdown() == OK
        assert library.clipshelf_engine_close(handle) == CLOSED
        assert library.clipshelf_catalogue_close(shelf) == CLOSED


class Image(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("data", ctypes.c_char_p),
        ("bytes", ctypes.c_size_t),
        ("format", ctypes.c_int),
        ("width", ctypes.c_size_t),
        ("height", ctypes.c_size_t),
        ("stride", ctypes.c_size_t),
    )


@pytest.mark.parametrize(
    ("layout", "pixel", "colour"),
    [(1, (255, 0, 0), "red"), (2, (0, 0, 255), "red"), (3, (0, 0, 255, 255), "blue"), (4, (0, 255, 0, 255), "green")],
)
def test_raw_pixels(
    library: ctypes.CDLL, tiny_artifact: Path, layout: int, pixel: tuple[int, ...], colour: str
) -> None:
    engine = Engine.load(tiny_artifact)
    status, handle = open_engine(library, tiny_artifact)
    assert status == OK
    wide, high, stride = 20, 12, 20 * len(pixel) + 7
    rows = b"".join(bytes(pixel) * wide + b"\x80" * 7 for _ in range(high))
    image = Image(ctypes.sizeof(Image), rows, len(rows), layout, wide, high, stride)
    out = np.empty((1, engine.dim), np.float32)
    pointer = out.ctypes.data_as(ctypes.c_void_p)
    assert library.clipshelf_embed_images(handle, ctypes.byref(image), 1, pointer, ctypes.c_size_t(out.size)) == OK
    np.testing.assert_array_equal(out, engine.embed_images([picture(colour)]))
    image.bytes = stride * (high - 1)
    assert library.clipshelf_embed_images(handle, ctypes.byref(image), 1, pointer, ctypes.c_size_t(out.size)) == INVALID
    broken = Image(ctypes.sizeof(Image), b"no picture", 10, 0, 0, 0, 0)
    assert (
        library.clipshelf_embed_images(handle, ctypes.byref(broken), 1, pointer, ctypes.c_size_t(out.size)) == BAD_IMAGE
    )
    assert b"images[0]" in library.clipshelf_last_error()
    assert library.clipshelf_engine_close(handle) == OK


def test_bad_artifacts_are_named(library: ctypes.CDLL, tmp_path: Path) -> None:
    status, handle = open_engine(library, tmp_path / "none")
    assert status == BAD_ARTIFACT
    assert not handle
    assert b"none" in library.clipshelf_last_error()


def test_a_failed_build_says_why(tmp_path: Path) -> None:
    with pytest.raises(ClipshelfError, match="expected"):
        build(tmp_path / "out", options=["-DCMAKE_CXX_COMPILER=/no/such/compiler"])
