/* One block of a scan, for any instruction set. Included after its lanes and after scan_sums(), which it provides:
 *
 *   scan_sums(block, column, count, sums)  sums (count, SCAN_ROWS) of levels times the digits of `count` columns
 *   SCAN_COLUMNS                           columns of one call, 2 or a multiple: fewer only of the last queries
 */
#ifndef CLIPSHELF_SCAN_KERNEL_H
#define CLIPSHELF_SCAN_KERNEL_H

static bool scan(const ScanBlock *block) {
    size_t columns = 2 * block->queries;
    for (size_t column = 0; column < columns; column += SCAN_COLUMNS) {
        size_t count = columns - column < SCAN_COLUMNS ? columns - column : SCAN_COLUMNS;
        scan_sums(block, column, count, block->sums + column * SCAN_ROWS);
    }
    bool any = false;
    Lanes steps = lanes_load(block->steps);
    static const int32_t nothing[SCAN_ROWS] = {0};
    for (size_t query = 0; query < block->queries; query++) {
        const int32_t *sums = block->sums + 2 * query * SCAN_ROWS;
        Lanes high = lanes_load_sum(sums, nothing), low = lanes_load_sum(sums + SCAN_ROWS, nothing);
        Lanes value = lanes_fma(high, lanes_of((float)DIGIT_BASE), low);
        Lanes upper = lanes_mul(lanes_add(value, lanes_of(block->errors[query])), steps);
        block->reached[query] = lanes_largest(upper) >= block->levels[query];
        if (block->reached[query]) {
            lanes_store(block->uppers + query * SCAN_ROWS, upper);
            any = true;
        }
    }
    return any;
}

#endif
