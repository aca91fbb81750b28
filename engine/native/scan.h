/* The scan of a ranker: int8 rows in one stream, against one query or several, to the rows that may be among the best.
 *
 * Letters: D numbers of a row, Q queries. A row x of a part is stored as x = mean + step (levels + rest), its levels
 * from -91 to 91 in bytes that count from 0. A query y, in a unit of its own, is y = 181 high + low + rest, its digits
 * from -90 to 90. clipshelf/rank/stream.py has the bound on what the rests add, and its proof. */
#ifndef CLIPSHELF_SCAN_H
#define CLIPSHELF_SCAN_H

#include <stdint.h>

#include "clipshelf_native.h"

enum {
    SCAN_ROWS = 16,     /* rows of a block */
    SCAN_INPUTS = 64,   /* digits are padded with zeros to a multiple of this, and rows are read as far */
    LARGEST_LEVEL = 91, /* also the byte of level 0; two products (2 * 91) * 90 of bytes and digits fit 16 bits */
    LARGEST_DIGIT = 90,
    DIGIT_BASE = 2 * LARGEST_DIGIT + 1,
};

/* A run of rows. Rows are padded to a multiple of SCAN_ROWS with any bytes and any finite steps, and SCAN_INPUTS bytes
 * that may be read follow the last. */
typedef struct {
    const uint8_t *rows; /* (count, D) levels from -91, in bytes from 0 */
    const float *steps;  /* (count) */
    const double *mean;  /* (D) */
    int64_t count;
    double rest_norm;  /* the largest norm of a row's rest, infinity where the levels say nothing */
    double level_norm; /* the largest norm of a row's levels */
} ScanPart;

typedef struct Scan Scan;
typedef struct Gate Gate;

/* The kernels of an instruction set, for clipshelf_scan_new; NULL where this CPU or this library lacks it. To ask takes
 * long: virtual machines emulate the instruction that tells what a CPU has. */
CLIPSHELF_EXPORT const void *clipshelf_kernels(const char *instruction_set);

/* Prepare the search for the `k` best rows of each query, among rows of D numbers in parts that follow each other.
 *
 * kernels: what clipshelf_kernels returned.
 * queries: (Q, D), finite.
 * allowed: one byte for each row of all parts, 0 for a row that is hidden; NULL for none.
 * row_offsets: added to the product of each row of all parts; NULL for none.
 * limit: the most candidates that a query may have; at least k.
 * threads: the most threads that will share the scan.
 * backwards: whether the last rows come first, which the cache still has from a scan forwards.
 *
 * The parts, their rows, `queries`, `allowed` and `row_offsets` are read until clipshelf_scan_free. Returns NULL without memory. */
CLIPSHELF_EXPORT Scan *clipshelf_scan_new(const void *kernels, const ScanPart *parts, int64_t part_count,
                                          int64_t inputs, const float *queries, int64_t query_count,
                                          const uint8_t *allowed, const float *row_offsets, int64_t k, int64_t limit,
                                          int64_t threads, int backwards);

/* The rows (count, D) of float32 numbers themselves, rows `stride` bytes apart. */
typedef struct {
    const char *rows;
    int64_t count, stride;
} ScanRows;

/* The answer to each query. */
enum { SCAN_ANSWERED, SCAN_TOO_MANY, SCAN_DOUBTFUL, SCAN_NO_MEMORY };

/* Scan all rows, and score those that may be among the best.
 *
 * gate: where threads that help may come in; NULL for none.
 * rows: all rows, in two matrices that follow each other.
 * scores, best: (Q, k) take the best scores and the numbers of their rows, best first and equal ones by row.
 * answers: (Q) takes SCAN_ANSWERED, or why a query has no answer: more candidates than the limit, a score that double
 * arithmetic does not prove, or no memory.
 *
 * Returns after the last helper has left. */
CLIPSHELF_EXPORT void clipshelf_scan_run(Scan *scan, Gate *gate, const ScanRows rows[2], float *scores, int64_t *best,
                                         int8_t *answers);

CLIPSHELF_EXPORT void clipshelf_scan_free(Scan *scan);

/* A gate through which threads come to help with scans, one scan at a time. Returns NULL without memory. */
CLIPSHELF_EXPORT Gate *clipshelf_gate_new(void);
CLIPSHELF_EXPORT void clipshelf_gate_free(Gate *gate);

/* Let helpers into a scan until its clipshelf_scan_run returns, which must follow.
 *
 * Returns how many threads are to call clipshelf_gate_help, so that with those that wait or are announced there are
 * `helpers`; 0 where another scan has the gate, and this one gets no help. */
CLIPSHELF_EXPORT int64_t clipshelf_gate_open(Gate *gate, Scan *scan, int64_t helpers);

/* Help with scans, and wait awake for the next one for as long as `microseconds` since the last. */
CLIPSHELF_EXPORT void clipshelf_gate_help(Gate *gate, double microseconds);

#endif
