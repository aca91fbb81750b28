/* A scan, and how its threads share it. */
#ifndef CLIPSHELF_SCAN_RUN_H
#define CLIPSHELF_SCAN_RUN_H

#include <stdbool.h>
#include <stdlib.h>

#include "counter.h"
#include "kernels.h"
#include "scan.h"
#include "scan_found.h"
#include "scan_query.h"

/* What one thread works with. */
typedef struct {
    Found *found; /* (Q) */
    double *levels; /* (Q) what a row of any part must reach */
    float *errors, *block_levels, *uppers; /* (Q), (Q), (Q, SCAN_ROWS) */
    int32_t *sums;
    bool *reached;
} Worker;

struct Scan {
    const Kernels *kernels;
    const ScanPart *parts;
    const uint8_t *allowed;
    const float *row_offsets;
    int64_t part_count, inputs, padded, query_count, k, limit, threads, chunk_rows, chunk_count;
    bool backwards;
    const float *numbers; /* (Q, D) the queries */
    ScanQuery *queries; /* (Q) */
    double *scaled;     /* (Q, D) y */
    double *offsets;    /* (parts, Q) that all rows of a part share */
    int8_t *digits;     /* (Q, 2, padded) */
    int32_t *zero_sums; /* (Q, 2) */
    Counter chunks_taken, threads_come, failures;
    Worker *workers; /* (threads) */
};

/* Memory for elements of a size, set to 0; NULL where there is none. */
static inline void *zeroed(int64_t count, size_t size) { return calloc(count > 0 ? (size_t)count : 1, size); }

/* Chunks of rows of a part, each of which one thread scans. */
int64_t scan_chunks(const Scan *scan, const ScanPart *part);

/* What is added to the product of a row. */
static inline double scan_row_offset(const Scan *scan, int64_t row) {
    return scan->row_offsets ? (double)scan->row_offsets[row] : 0;
}

/* Scan rows that no other thread has taken, until there are none. */
void scan_share(Scan *scan);

/* Whether there are rows that no thread has taken, and room for one more thread. */
bool scan_has_rows(Scan *scan);

/* Let no more helpers into the scan, and wait until those in it have left. */
void gate_close(Gate *gate, const Scan *scan);

#endif
