#include "scan_score.h"

#include <math.h>

enum { SUMS = 8 }; /* that do not wait for each other */

/* Whether no addition rounds: then the sum is the exact product. */
static bool sum_is_exact(const float *row, const float *query, int64_t inputs, double offset, double *sum) {
    double total = offset;
    for (int64_t i = 0; i < inputs; i++) {
        double product = (double)row[i] * (double)query[i], next = total + product;
        double part = next - total; /* Knuth's TwoSum: the error of an addition by six more */
        if ((total - (next - part)) + (product - part) != 0) {
            return false;
        }
        total = next;
    }
    *sum = total;
    return true;
}

bool score_row(const float *row, const float *query, int64_t inputs, double offset, float *score) {
    double sums[SUMS] = {0}, sizes[SUMS] = {0};
    int64_t whole = inputs / SUMS * SUMS;
    for (int64_t i = 0; i < whole; i += SUMS) {
        for (int64_t j = 0; j < SUMS; j++) {
            double product = (double)row[i + j] * (double)query[i + j]; /* exact: 48 bits */
            sums[j] += product;
            sizes[j] += fabs(product);
        }
    }
    for (int64_t i = whole; i < inputs; i++) {
        double product = (double)row[i] * (double)query[i];
        sums[0] += product;
        sizes[0] += fabs(product);
    }
    double sum = offset, size = fabs(offset);
    for (int64_t j = 0; j < SUMS; j++) {
        sum += sums[j];
        size += sizes[j];
    }
    double error = size * (double)(inputs + 16) * 0x1p-53; /* a sum of n numbers errs by at most n u of their sizes */
    *score = (float)sum;
    if ((float)(sum - error) == (float)(sum + error)) {
        return true;
    }
    bool exact = sum_is_exact(row, query, inputs, offset, &sum);
    *score = (float)sum;
    return exact;
}

const float *score_find(const ScanRows rows[2], int64_t row) {
    const ScanRows *where = row < rows[0].count ? &rows[0] : &rows[1];
    return (const float *)(const void *)(where->rows + (row - (where == rows ? 0 : rows[0].count)) * where->stride);
}

int by_score(const void *a, const void *b) {
    const RowScore *first = a, *second = b;
    if (first->score != second->score) {
        return first->score < second->score ? 1 : -1;
    }
    return (first->row > second->row) - (first->row < second->row);
}
