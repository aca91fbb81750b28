/* Sums of a scan on AVX512-VNNI: the products of 64 inputs of a row add up in 16 lanes, four rows at a time. */
#ifndef CLIPSHELF_SCAN_AVX512_H
#define CLIPSHELF_SCAN_AVX512_H

#include "dot_product_avx512vnni.h"

enum { SCAN_COLUMNS = 4, SCAN_ROW_GROUP = 4 };

/* In each group of 4 lanes: the sums over that group of a, b, c and d. */
static inline __m512i sum_of_groups(__m512i a, __m512i b, __m512i c, __m512i d) {
    __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

/* The sums of the 4 groups of a, then those of b, c and d. */
static inline __m512i sum_over_groups(__m512i a, __m512i b, __m512i c, __m512i d) {
    __m512i ab = _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
    __m512i cd = _mm512_add_epi32(_mm512_shuffle_i32x4(c, d, 0x88), _mm512_shuffle_i32x4(c, d, 0xdd));
    return _mm512_add_epi32(_mm512_shuffle_i32x4(ab, cd, 0x88), _mm512_shuffle_i32x4(ab, cd, 0xdd));
}

static ALWAYS_INLINE void scan_columns(const ScanBlock *block, size_t column, size_t count, int32_t *sums) {
    const int8_t *digits = block->digits + column * block->inputs;
    __m512i partial[SCAN_COLUMNS][SCAN_ROWS / SCAN_ROW_GROUP];
    UNROLL for (size_t group = 0; group < SCAN_ROWS / SCAN_ROW_GROUP; group++) {
        const uint8_t *rows = block->rows + group * SCAN_ROW_GROUP * block->stride;
        __m512i sum[SCAN_COLUMNS][SCAN_ROW_GROUP];
        UNROLL for (size_t c = 0; c < count; c++) {
            UNROLL for (size_t r = 0; r < SCAN_ROW_GROUP; r++) { sum[c][r] = _mm512_setzero_si512(); }
        }
        for (size_t k = 0; k < block->inputs; k += SCAN_INPUTS) {
            __m512i digit[SCAN_COLUMNS];
            UNROLL for (size_t c = 0; c < count; c++) { digit[c] = _mm512_loadu_si512(digits + c * block->inputs + k); }
            UNROLL for (size_t r = 0; r < SCAN_ROW_GROUP; r++) {
                const uint8_t *from = rows + r * block->stride + k;
                if (column == 0) {
                    _mm_prefetch((const char *)from + block->ahead, _MM_HINT_T0);
                }
                __m512i levels = _mm512_loadu_si512(from);
                UNROLL for (size_t c = 0; c < count; c++) { DOT_PRODUCT(sum[c][r], levels, digit[c]); }
            }
        }
        UNROLL for (size_t c = 0; c < count; c++) {
            partial[c][group] = sum_of_groups(sum[c][0], sum[c][1], sum[c][2], sum[c][3]);
        }
    }
    UNROLL for (size_t c = 0; c < count; c++) {
        __m512i total = sum_over_groups(partial[c][0], partial[c][1], partial[c][2], partial[c][3]);
        total = _mm512_sub_epi32(total, _mm512_set1_epi32(block->zero_sums[column + c]));
        _mm512_storeu_si512(sums + c * SCAN_ROWS, total);
    }
}

static NOINLINE void scan_sums(const ScanBlock *block, size_t column, size_t count, int32_t *sums) {
    if (count == SCAN_COLUMNS) {
        scan_columns(block, column, SCAN_COLUMNS, sums);
    } else {
        scan_columns(block, column, 2, sums);
    }
}

#endif
