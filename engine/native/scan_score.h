/* The exact scores of the candidates of a scan. */
#ifndef CLIPSHELF_SCAN_SCORE_H
#define CLIPSHELF_SCAN_SCORE_H

#include <stdbool.h>

#include "scan.h"

/* A score: the exact product of a row and a query, plus the offset of the row, rounded to double, then to float. */
typedef struct {
    int64_t row;
    float score;
} RowScore;

/* Score a row (D) for a query (D). Returns false where double arithmetic does not prove the rounding. */
bool score_row(const float *row, const float *query, int64_t inputs, double offset, float *score);

/* Where the float32 row of a number is. */
const float *score_find(const ScanRows rows[2], int64_t row);

/* Order scores: the highest first, equal ones by row. */
int by_score(const void *a, const void *b);

#endif
