/* Plain C, for a CPU that no other instruction set fits, and as the reference of the others. */
#define LANES_PORTABLE
#include "instruction_set.h"

#define FLOAT_ROWS 6
#define FLOAT_GROUPS 1
#include "float_kernels.h"
#include "attention.h"

#define TILE_ROWS 6

static void tile(Tiles *tiles, const Linear *job, const uint8_t *x, size_t rows, const int8_t *panel, Prefetch next,
                 int32_t *sums) {
    (void)tiles, (void)next;
    size_t groups = ceil_div(job->inputs, GROUP_INPUTS);
    for (size_t r = 0; r < rows; r++) {
        int32_t *to = sums + r * PANEL_COLUMNS;
        memset(to, 0, PANEL_COLUMNS * sizeof *to);
        for (size_t k = 0; k < groups; k++) {
            const uint8_t *inputs = x + r * job->x_stride + k * GROUP_INPUTS;
            const int8_t *weights = panel + k * GROUP_BYTES;
            for (size_t n = 0; n < PANEL_COLUMNS; n++) {
                const int8_t *w = weights + n * GROUP_INPUTS;
                to[n] += inputs[0] * w[0] + inputs[1] * w[1] + inputs[2] * w[2] + inputs[3] * w[3];
            }
        }
    }
}

#include "linear.h"
#include "scan_portable.h"
#include "scan_kernel.h"

extern const Kernels clipshelf_kernels_portable;
DEFINE_KERNELS(clipshelf_kernels_portable, "portable", false);
