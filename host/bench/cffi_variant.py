"""What cffi's embedding mode would cost in place of pybind11: the text embedding through both in turn, medians.

usage: cffi_variant.py PREFIX FOLDER

PREFIX is where `clipshelf host build` installed the library, FOLDER is where the variant is built. Needs cffi and
setuptools in the environment, and a C compiler.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import sysconfig
from pathlib import Path

from cffi import FFI

ROUNDS = 7
PYTHON = """
import sys
sys.path.append({folder!r})
import site
site.addsitedir({packages!r})
from clipshelf.host import bridge
from clipshelf_cffi import ffi

@ffi.def_extern(error=12)
def variant_open():
    global engine
    engine, _ = bridge.open_engine(None, "cpu", "fast", 1, True)
    return 0

@ffi.def_extern(error=12)
def variant_embed(texts, count, out, capacity):
    if capacity < count * engine.dim:
        return 1
    decoded = [ffi.string(texts[i]).decode() for i in range(count)]
    bridge.embed_texts(engine, decoded, memoryview(ffi.buffer(out, 4 * count * engine.dim)))
    return 0
"""
SIGNATURES = """
int variant_open(void);
int variant_embed(const char *const *texts, size_t count, float *out, size_t capacity);
"""
# The program prints median microseconds of CPU time. Usage: bridge pybind11|cffi COUNT CALLS, with COUNT texts a call.
BRIDGE = """
#include <clipshelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
%s
static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
int main(int argc, char **argv) {
    const char *texts[] = {"I love running shoes, especially those with great support and comfort."};
    const int cffi = argc == 4 && argv[1][0] == 'c', count = atoi(argv[2]), calls = atoi(argv[3]);
    static float out[4096];
    double *times = malloc(calls * sizeof *times);
    clipshelf_engine_options options = CLIPSHELF_ENGINE_OPTIONS_INIT;
    clipshelf_engine *engine = NULL;
    options.threads = options.warm = 1;
    int failed = cffi ? variant_open() : clipshelf_engine_open(&options, &engine);
    for (int i = -calls / 10; i < calls && !failed; ++i) {
        struct timespec from, to;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
        failed = cffi ? variant_embed(texts, count, out, 4096)
                      : clipshelf_embed_texts(engine, texts, NULL, count, out, 4096);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
        if (i >= 0) times[i] = 1e6 * (to.tv_sec - from.tv_sec) + 1e-3 * (to.tv_nsec - from.tv_nsec);
    }
    qsort(times, calls, sizeof *times, compare);
    printf("%%.1f\\n", times[calls / 2]);
    return failed;
}
"""


def build(prefix: Path, folder: Path) -> Path:
    """Build the variant, and a program that calls it or the library.

    - `prefix`: where `clipshelf host build` installed the library.
    - `folder`: where to build.

    Returns the path of the program.
    """
    ffi = FFI()
    ffi.embedding_api(SIGNATURES)
    ffi.set_source("clipshelf_cffi", "")
    ffi.embedding_init_code(PYTHON.format(folder=str(folder), packages=sysconfig.get_path("purelib")))
    ffi.compile(tmpdir=str(folder), target="libclipshelf_cffi.*")
    (folder / "bridge.c").write_text(BRIDGE % SIGNATURES)
    paths = [f"-I{prefix / 'include'}", *(f"-L{path} -Wl,-rpath,{path}" for path in (prefix / "lib", folder))]
    flags = " ".join(["-O2", *paths, "-lclipshelf", "-lclipshelf_cffi"])
    subprocess.run(["cc", folder / "bridge.c", "-o", folder / "bridge", *flags.split()], check=True)
    return folder / "bridge"


def main() -> None:
    """Print the cost of an empty call and of one text through pybind11 and through cffi."""
    folder = Path(sys.argv[2]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    program = build(Path(sys.argv[1]).resolve(), folder)
    for call, count, calls in (("empty call", "0", "5000"), ("one text", "1", "500")):
        microseconds: dict[str, list[float]] = {"pybind11": [], "cffi": []}
        for _ in range(ROUNDS):
            for binding, times in microseconds.items():
                done = subprocess.run([program, binding, count, calls], stdout=subprocess.PIPE, check=True)
                times.append(float(done.stdout))
        pairs = zip(microseconds["cffi"], microseconds["pybind11"], strict=True)
        differences = [cffi - pybind11 for cffi, pybind11 in pairs]
        medians = ", ".join(f"{name} {statistics.median(times):.1f} us" for name, times in microseconds.items())
        spread = f"{statistics.median(differences):+.1f} ({min(differences):+.1f} to {max(differences):+.1f})"
        print(f"{call}: {medians}; cffi over pybind11 {spread}")


if __name__ == "__main__":
    main()
