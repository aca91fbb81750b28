/* Sums of a scan on AVX2 and AVX-VNNI: the products of 32 inputs of a row add up in 8 lanes, four rows at a time. Included
 * after DOT_PRODUCT(sum, x, w). Without VNNI it adds two products of a level and a digit in 16 bits, which they fit. */
#ifndef CLIPSHELF_SCAN_AVX2_H
#define CLIPSHELF_SCAN_AVX2_H

enum { SCAN_COLUMNS = 2, SCAN_ROW_GROUP = 4, SCAN_STEP = 32 };

static inline __m256i load_bytes(const void *from) { return _mm256_loadu_si256((const __m256i *)from); }

static void scan_sums(const ScanBlock *block, size_t column, size_t count, int32_t *sums) {
    (void)count; /* always two */
    const int8_t *digits = block->digits + column * block->inputs;
    for (size_t first = 0; first < SCAN_ROWS; first += SCAN_ROW_GROUP) {
        __m256i sum[SCAN_COLUMNS][SCAN_ROW_GROUP];
        UNROLL for (size_t c = 0; c < SCAN_COLUMNS; c++) {
            UNROLL for (size_t r = 0; r < SCAN_ROW_GROUP; r++) { sum[c][r] = _mm256_setzero_si256(); }
        }
        const uint8_t *rows = block->rows + first * block->stride;
        for (size_t k = 0; k < block->inputs; k += SCAN_STEP) {
            __m256i high = load_bytes(digits + k), low = load_bytes(digits + block->inputs + k);
            UNROLL for (size_t r = 0; r < SCAN_ROW_GROUP; r++) {
                const uint8_t *from = rows + r * block->stride + k;
                if (column == 0) {
                    _mm_prefetch((const char *)from + block->ahead, _MM_HINT_T0);
                }
                __m256i levels = load_bytes(from);
                DOT_PRODUCT(sum[0][r], levels, high);
                DOT_PRODUCT(sum[1][r], levels, low);
            }
        }
        UNROLL for (size_t c = 0; c < SCAN_COLUMNS; c++) {
            __m256i pairs = _mm256_hadd_epi32(sum[c][0], sum[c][1]);
            __m256i halves = _mm256_hadd_epi32(pairs, _mm256_hadd_epi32(sum[c][2], sum[c][3]));
            __m128i total = _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
            total = _mm_sub_epi32(total, _mm_set1_epi32(block->zero_sums[column + c]));
            _mm_storeu_si128((__m128i *)(void *)(sums + c * SCAN_ROWS + first), total);
        }
    }
}

#endif
