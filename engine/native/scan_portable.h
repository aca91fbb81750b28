/* Sums of a scan in plain C. */
#ifndef CLIPSHELF_SCAN_PORTABLE_H
#define CLIPSHELF_SCAN_PORTABLE_H

enum { SCAN_COLUMNS = 2 };

static void scan_sums(const ScanBlock *block, size_t column, size_t count, int32_t *sums) {
    for (size_t c = 0; c < count; c++) {
        const int8_t *digits = block->digits + (column + c) * block->inputs;
        for (size_t r = 0; r < SCAN_ROWS; r++) {
            const uint8_t *levels = block->rows + r * block->stride;
            int32_t sum = 0;
            for (size_t k = 0; k < block->inputs; k++) {
                sum += levels[k] * digits[k];
            }
            sums[c * SCAN_ROWS + r] = sum - block->zero_sums[column + c];
        }
    }
}

#endif
