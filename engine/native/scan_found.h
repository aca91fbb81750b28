/* What a thread has found for a query: the rows that may be among the best, and the level that a row must reach. */
#ifndef CLIPSHELF_SCAN_FOUND_H
#define CLIPSHELF_SCAN_FOUND_H

#include <stdbool.h>
#include <stdint.h>

/* A row that may be among the best, and bounds of its product with the query in the unit of the query. */
typedef struct {
    int64_t row;
    double lower, upper;
} ScanCandidate;

enum { TOO_MANY = -1, NO_MEMORY = -2 };

typedef struct {
    double *best;  /* a heap of the highest lower bounds, k at most, the lowest of them first */
    int64_t best_count, best_capacity;
    ScanCandidate *candidates;
    int64_t count, capacity; /* count may be TOO_MANY or NO_MEMORY: then the query is given up */
} Found;

/* The level that a row must reach to be among the best, when enough rows have at least this product with a query; both
 * in the unit of the query. */
double level_of(double product, double unit);

/* The level that a row must reach to be among the k best. */
double found_level(const Found *found, int64_t k, double unit);

/* Add a candidate. */
void found_add(Found *found, int64_t k, int64_t limit, double unit, ScanCandidate candidate);

/* Move to the first of `threads` finds what all have found, those candidates only that may be among the best of all.
 * Returns their number, TOO_MANY or NO_MEMORY. */
int64_t found_join(Found *const *finds, int64_t threads, int64_t k, int64_t limit, double unit);

void found_free(Found *found);

#endif
