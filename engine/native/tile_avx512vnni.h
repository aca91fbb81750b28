/* The integer tile of AVX512-VNNI: 6 rows x 64 columns in 24 registers over all of K. Included after float_kernels.h. */
#ifndef CLIPSHELF_TILE_AVX512VNNI_H
#define CLIPSHELF_TILE_AVX512VNNI_H

#include "dot_product_avx512vnni.h"

#include "read_ahead.h"

enum { TILE_ROWS = 6, TILE_REGISTERS = PANEL_COLUMNS / LANES };

/* The 4 bytes at x, in each lane. */
static inline __m512i broadcast_group(const uint8_t *x) {
    int32_t group;
    memcpy(&group, x, sizeof group);
    return _mm512_set1_epi32(group);
}

static ALWAYS_INLINE void tile_of(size_t rows, size_t groups, const uint8_t *x, size_t x_stride, const int8_t *panel,
                                  Prefetch next, int32_t *sums) {
    __m512i sum[TILE_ROWS][TILE_REGISTERS];
    UNROLL for (size_t r = 0; r < rows; r++) {
        UNROLL for (size_t c = 0; c < TILE_REGISTERS; c++) { sum[r][c] = _mm512_setzero_si512(); }
    }
    ReadAhead ahead = read_ahead_in(next, groups);
    for (const int8_t *end = panel + groups * GROUP_BYTES; panel < end; panel += GROUP_BYTES, x += GROUP_INPUTS) {
        __m512i weight[TILE_REGISTERS];
        UNROLL for (size_t c = 0; c < TILE_REGISTERS; c++) { weight[c] = _mm512_loadu_si512(panel + 64 * c); }
        read_ahead(&ahead);
        UNROLL for (size_t r = 0; r < rows; r++) {
            __m512i inputs = broadcast_group(x + r * x_stride);
            UNROLL for (size_t c = 0; c < TILE_REGISTERS; c++) { DOT_PRODUCT(sum[r][c], inputs, weight[c]); }
        }
    }
    UNROLL for (size_t r = 0; r < rows; r++) {
        UNROLL for (size_t c = 0; c < TILE_REGISTERS; c++) {
            _mm512_storeu_si512(sums + r * PANEL_COLUMNS + c * LANES, sum[r][c]);
        }
    }
}

#define TILE_CASE(count)                                                                                               \
    case count:                                                                                                        \
        tile_of(count, groups, x, job->x_stride, panel, next, sums);                                                   \
        break;

/* Not inlined, so that the caller's values take no registers from the sums. */
static NOINLINE void tile(Tiles *tiles, const Linear *job, const uint8_t *x, size_t rows, const int8_t *panel,
                          Prefetch next, int32_t *sums) {
    (void)tiles;
    size_t groups = ceil_div(job->inputs, GROUP_INPUTS);
    switch (rows) {
        TILE_CASE(1)
        TILE_CASE(2)
        TILE_CASE(3)
        TILE_CASE(4)
        TILE_CASE(5)
        default:
            tile_of(TILE_ROWS, groups, x, job->x_stride, panel, next, sums);
    }
}
#undef TILE_CASE

#endif
