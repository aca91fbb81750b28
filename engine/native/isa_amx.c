/* AMX: tile registers of 16 x 64 bytes, beside AVX-512 with VNNI. */
#define LANES_AVX512
#define TILES_HAVE_STATE
#include "instruction_set.h"

#define FLOAT_ROWS 6
#define FLOAT_GROUPS 4
#include "float_kernels.h"
#include "attention.h"
#include "read_ahead.h"
#include "tile_amx.h"
#include "linear.h"
#include "scan_avx512.h"
#include "scan_kernel.h"

extern const Kernels clipshelf_kernels_amx, clipshelf_kernels_avx512vnni;

/* Up to this many rows VNNI takes less time: its tiles have the rows that are there, and both wait for the weights.
 * Measured in docs/kernels.md. */
enum { VNNI_ROWS = 10 };

static void linear_by_rows(const Linear *job, Range panels, Range rows) {
    if (rows.last - rows.first <= VNNI_ROWS) {
        clipshelf_kernels_avx512vnni.linear(job, panels, rows);
    } else {
        linear(job, panels, rows);
    }
}

DEFINE_KERNELS_OF(linear_by_rows, clipshelf_kernels_amx, "amx", false);
