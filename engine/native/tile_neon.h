/* The integer tile of NEON: at most TILE_BLOCK rows x 16 columns in registers over all of K, four times for the 64
 * columns of a panel. Included after float_kernels.h and these definitions:
 *
 *   Inputs, inputs_of(x)         4 uint8 of a row, as DOT_PRODUCT takes them
 *   DOT_PRODUCT(sum, x, w)       sum + the products of 4 inputs and 4 int8 of w in each of 4 lanes
 *   INPUT_OFFSET                 what inputs_of takes away from each input, so that it fits int8
 *
 * The sums of x are those of x - INPUT_OFFSET, and INPUT_OFFSET times the sums of W's columns. */
#ifndef CLIPSHELF_TILE_NEON_H
#define CLIPSHELF_TILE_NEON_H

enum { TILE_BLOCK = 4, TILE_ROWS = 4 * TILE_BLOCK, PART_COLUMNS = 16, PART_BYTES = PART_COLUMNS * GROUP_INPUTS };

static ALWAYS_INLINE void tile_of(size_t rows, size_t groups, const uint8_t *x, size_t x_stride, const int8_t *weights,
                                  int32_t *sums) {
    int32x4_t sum[TILE_BLOCK][4];
    UNROLL for (size_t r = 0; r < rows; r++) {
        UNROLL for (size_t c = 0; c < 4; c++) { sum[r][c] = vld1q_s32(sums + r * PANEL_COLUMNS + 4 * c); }
    }
    for (size_t k = 0; k < groups; k++, weights += GROUP_BYTES, x += GROUP_INPUTS) {
        int8x16_t weight[4];
        UNROLL for (size_t c = 0; c < 4; c++) { weight[c] = vld1q_s8(weights + 16 * c); }
        UNROLL for (size_t r = 0; r < rows; r++) {
            Inputs inputs = inputs_of(x + r * x_stride);
            UNROLL for (size_t c = 0; c < 4; c++) { DOT_PRODUCT(sum[r][c], inputs, weight[c]); }
        }
    }
    UNROLL for (size_t r = 0; r < rows; r++) {
        UNROLL for (size_t c = 0; c < 4; c++) { vst1q_s32(sums + r * PANEL_COLUMNS + 4 * c, sum[r][c]); }
    }
}

#define TILE_CASE(count)                                                                                               \
    case count:                                                                                                        \
        tile_of(count, groups, x, job->x_stride, weights, sums);                                                       \
        break;

/* Not inlined, so that the caller's values take no registers from the sums. */
static NOINLINE void tile_block(const Linear *job, const uint8_t *x, size_t rows, const int8_t *weights,
                                int32_t *sums) {
    size_t groups = ceil_div(job->inputs, GROUP_INPUTS);
    switch (rows) {
        TILE_CASE(1)
        TILE_CASE(2)
        TILE_CASE(3)
        default:
            tile_of(TILE_BLOCK, groups, x, job->x_stride, weights, sums);
    }
}
#undef TILE_CASE

/* The sums begin with what inputs_of takes away. */
static void begin_sums(const Linear *job, size_t first, size_t rows, int32_t *sums) {
    for (size_t n = 0; n < PANEL_COLUMNS; n++) {
        int32_t offset = first + n < job->outputs ? INPUT_OFFSET * job->sums[first + n] : 0;
        for (size_t r = 0; r < rows; r++) {
            sums[r * PANEL_COLUMNS + n] = offset;
        }
    }
}

static void tile(Tiles *tiles, const Linear *job, const uint8_t *x, size_t rows, const int8_t *panel, Prefetch next,
                 int32_t *sums) {
    (void)tiles, (void)next; /* ARM's own prefetchers follow one stream well */
    size_t bytes = ceil_div(job->inputs, GROUP_INPUTS) * GROUP_BYTES;
    begin_sums(job, (size_t)(panel - job->panels) / bytes * PANEL_COLUMNS, rows, sums);
    for (size_t part = 0; part < PANEL_COLUMNS / PART_COLUMNS; part++) {
        for (size_t row = 0, count; row < rows; row += count) {
            count = even_rows(rows - row, TILE_BLOCK);
            tile_block(job, x + row * job->x_stride, count, panel + part * PART_BYTES,
                       sums + row * PANEL_COLUMNS + part * PART_COLUMNS);
        }
    }
}

#endif
