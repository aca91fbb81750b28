/* The integer tile of AVX2 and AVX-VNNI: at most TILE_BLOCK rows x 16 columns in registers over all of K. Included after
 * float_kernels.h and these definitions:
 *
 *   TILE_BLOCK             rows whose sums fit the registers
 *   DOT_PRODUCT(sum, x, w) sum + the products of 4 uint8 of x and 4 int8 of w in each of 8 lanes
 *   PAIRS_MAY_OVERFLOW     whether DOT_PRODUCT adds two products in 16 bits, and cuts off what does not fit
 *
 * The 16 columns are one of four parts of a panel. It stays in the first cache while the rows of a tile pass. */
#ifndef CLIPSHELF_TILE_AVX2_H
#define CLIPSHELF_TILE_AVX2_H

#include "read_ahead.h"

enum { TILE_ROWS = 4 * TILE_BLOCK, PART_COLUMNS = 16, PART_BYTES = PART_COLUMNS * GROUP_INPUTS };

static ALWAYS_INLINE void tile_of(size_t rows, bool exact, size_t groups, const uint8_t *x, size_t x_stride,
                                  const int8_t *weights, ReadAhead *next, int32_t *sums) {
    __m256i sum[TILE_BLOCK][2];
    UNROLL for (size_t r = 0; r < rows; r++) { sum[r][0] = sum[r][1] = _mm256_setzero_si256(); }
    for (size_t k = 0; k < groups; k++, weights += GROUP_BYTES, x += GROUP_INPUTS) {
        __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)weights);
        __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(weights + 32));
        read_ahead(next);
        UNROLL for (size_t r = 0; r < rows; r++) {
            int32_t group;
            memcpy(&group, x + r * x_stride, sizeof group);
            __m256i inputs = _mm256_set1_epi32(group);
            if (exact) {
                DOT_PRODUCT(sum[r][0], inputs, low);
                DOT_PRODUCT(sum[r][1], inputs, high);
            } else {
                /* one input of each pair at a time: a product alone fits 16 bits */
                __m256i first = _mm256_and_si256(inputs, _mm256_set1_epi16(0xff));
                __m256i second = _mm256_andnot_si256(_mm256_set1_epi16(0xff), inputs);
                DOT_PRODUCT(sum[r][0], first, low);
                DOT_PRODUCT(sum[r][0], second, low);
                DOT_PRODUCT(sum[r][1], first, high);
                DOT_PRODUCT(sum[r][1], second, high);
            }
        }
    }
    UNROLL for (size_t r = 0; r < rows; r++) {
        _mm256_storeu_si256((__m256i *)(void *)(sums + r * PANEL_COLUMNS), sum[r][0]);
        _mm256_storeu_si256((__m256i *)(void *)(sums + r * PANEL_COLUMNS + 8), sum[r][1]);
    }
}

#define TILE_CASE(count)                                                                                               \
    case count:                                                                                                        \
        if (!PAIRS_MAY_OVERFLOW || job->exact_pairs) {                                                                 \
            tile_of(count, true, groups, x, job->x_stride, weights, next, sums);                                       \
        } else {                                                                                                       \
            tile_of(count, false, groups, x, job->x_stride, weights, next, sums);                                      \
        }                                                                                                              \
        break;

/* Not inlined, so that the caller's values take no registers from the sums. */
static NOINLINE void tile_block(const Linear *job, const uint8_t *x, size_t rows, const int8_t *weights,
                                ReadAhead *next, int32_t *sums) {
    size_t groups = ceil_div(job->inputs, GROUP_INPUTS);
    switch (rows) {
        TILE_CASE(1)
        TILE_CASE(2)
        TILE_CASE(3)
#if TILE_BLOCK > 4
        TILE_CASE(4)
        TILE_CASE(5)
#endif
        TILE_CASE(TILE_BLOCK)
        default:
            break;
    }
}
#undef TILE_CASE

static void tile(Tiles *tiles, const Linear *job, const uint8_t *x, size_t rows, const int8_t *panel, Prefetch next,
                 int32_t *sums) {
    (void)tiles;
    size_t groups = ceil_div(job->inputs, GROUP_INPUTS), parts = PANEL_COLUMNS / PART_COLUMNS;
    ReadAhead ahead = read_ahead_in(next, parts * ceil_div(rows, TILE_BLOCK) * groups);
    for (size_t part = 0; part < parts; part++) {
        for (size_t row = 0, count; row < rows; row += count) {
            count = even_rows(rows - row, TILE_BLOCK);
            tile_block(job, x + row * job->x_stride, count, panel + part * PART_BYTES, &ahead,
                       sums + row * PANEL_COLUMNS + part * PART_COLUMNS);
        }
    }
}

#endif
