/* What an instruction set does for a scan: one block of rows against all queries. */
#ifndef CLIPSHELF_SCAN_BLOCK_H
#define CLIPSHELF_SCAN_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A block of SCAN_ROWS rows, and Q queries with two digits each. */
typedef struct {
    const uint8_t *rows; /* (SCAN_ROWS, D), rows `stride` bytes apart; read up to the next multiple of SCAN_INPUTS */
    size_t stride;
    const float *steps;  /* (SCAN_ROWS) */
    size_t ahead;        /* bytes from a row to what is read ahead meanwhile */
    size_t queries, inputs; /* inputs: D padded to a multiple of SCAN_INPUTS */
    const int8_t *digits;       /* (Q, 2, inputs): the high digits, then the low ones */
    const int32_t *zero_sums;   /* (Q, 2): LARGEST_LEVEL times the sum of the digits, what counting levels from 0 adds */
    const float *errors;        /* (Q): what is added to a sum to make it an upper bound */
    const float *levels;        /* (Q): the upper bounds that count */
    int32_t *sums;              /* (Q, 2, SCAN_ROWS) of levels times digits, scratch */
    float *uppers;              /* (Q, SCAN_ROWS): the upper bounds of those queries of which one reaches its level */
    bool *reached;              /* (Q): whether one does */
} ScanBlock;

/* Returns whether any upper bound reaches its level.
 *
 * An upper bound is (181 * high sum + low sum + error) * step, where the sums are exact, 181 * high + low is one fma of
 * the sums rounded to float32, and the rest is rounded after each operation. */
typedef bool ScanBlockFunction(const ScanBlock *block);

#endif
