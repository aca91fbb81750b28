/* Sums of a scan on NEON: the products of 16 inputs of a row add up in 4 lanes, four rows at a time. Included after
 * DOT_PRODUCT_16(sum, x, w): sum + the products of 4 int8 of x and of w in each lane. */
#ifndef CLIPSHELF_SCAN_NEON_H
#define CLIPSHELF_SCAN_NEON_H

enum { SCAN_COLUMNS = 2, SCAN_ROW_GROUP = 4, SCAN_STEP = 16 };

static void scan_sums(const ScanBlock *block, size_t column, size_t count, int32_t *sums) {
    (void)count; /* always two */
    const int8_t *digits = block->digits + column * block->inputs;
    uint8x16_t zero = vdupq_n_u8(LARGEST_LEVEL);
    for (size_t first = 0; first < SCAN_ROWS; first += SCAN_ROW_GROUP) {
        int32x4_t sum[SCAN_COLUMNS][SCAN_ROW_GROUP];
        UNROLL for (size_t c = 0; c < SCAN_COLUMNS; c++) {
            UNROLL for (size_t r = 0; r < SCAN_ROW_GROUP; r++) { sum[c][r] = vdupq_n_s32(0); }
        }
        const uint8_t *rows = block->rows + first * block->stride;
        for (size_t k = 0; k < block->inputs; k += SCAN_STEP) {
            int8x16_t high = vld1q_s8(digits + k), low = vld1q_s8(digits + block->inputs + k);
            UNROLL for (size_t r = 0; r < SCAN_ROW_GROUP; r++) {
                int8x16_t levels = vreinterpretq_s8_u8(vsubq_u8(vld1q_u8(rows + r * block->stride + k), zero));
                DOT_PRODUCT_16(sum[0][r], levels, high);
                DOT_PRODUCT_16(sum[1][r], levels, low);
            }
        }
        UNROLL for (size_t c = 0; c < SCAN_COLUMNS; c++) {
            int32x4_t total = vpaddq_s32(vpaddq_s32(sum[c][0], sum[c][1]), vpaddq_s32(sum[c][2], sum[c][3]));
            vst1q_s32(sums + c * SCAN_ROWS + first, total);
        }
    }
}

#endif
