#include "scan.h"

#include <math.h>
#include <stdlib.h>

#include "dispatch.h"
#include "scan_run.h"
#include "scan_score.h"

enum { CHUNK_BYTES = 1 << 17 }; /* of rows: long enough to be read ahead, short enough to share */

const void *clipshelf_kernels(const char *instruction_set) {
    char problem[256];
    return clipshelf_find_kernels(instruction_set, problem, sizeof problem);
}

static bool allocate(Scan *scan) {
    int64_t queries = scan->query_count;
    scan->queries = zeroed(queries, sizeof *scan->queries);
    scan->scaled = zeroed(queries * scan->inputs, sizeof *scan->scaled);
    scan->offsets = zeroed(scan->part_count * queries, sizeof *scan->offsets);
    scan->digits = zeroed(2 * queries * scan->padded, 1);
    scan->zero_sums = zeroed(2 * queries, sizeof *scan->zero_sums);
    scan->workers = zeroed(scan->threads, sizeof *scan->workers);
    return scan->queries && scan->scaled && scan->offsets && scan->digits && scan->zero_sums && scan->workers;
}

Scan *clipshelf_scan_new(const void *kernels, const ScanPart *parts, int64_t part_count, int64_t inputs,
                         const float *queries, int64_t query_count, const uint8_t *allowed,
                         const float *row_offsets, int64_t k, int64_t limit, int64_t threads, int backwards) {
    Scan *scan = zeroed(1, sizeof *scan);
    if (!scan) {
        return NULL;
    }
    int64_t chunk_rows = CHUNK_BYTES / (inputs > 0 ? inputs : 1);
    *scan = (Scan){.kernels = kernels,
                   .parts = parts,
                   .allowed = allowed,
                   .row_offsets = row_offsets,
                   .part_count = part_count,
                   .numbers = queries,
                   .inputs = inputs,
                   .padded = (int64_t)round_up((size_t)inputs, SCAN_INPUTS),
                   .query_count = query_count,
                   .k = k,
                   .limit = limit,
                   .threads = threads,
                   .chunk_rows = (int64_t)round_up((size_t)(chunk_rows > 0 ? chunk_rows : 1), SCAN_ROWS),
                   .backwards = backwards != 0};
    if (!allocate(scan)) {
        clipshelf_scan_free(scan);
        return NULL;
    }
    for (int64_t part = 0; part < part_count; part++) {
        scan->chunk_count += scan_chunks(scan, &parts[part]);
    }
    for (int64_t i = 0; i < query_count; i++) {
        double *scaled = scan->scaled + i * inputs;
        scan->queries[i] = scan_encode(queries + i * inputs, inputs, scan->padded, scaled,
                                       scan->digits + 2 * i * scan->padded, scan->zero_sums + 2 * i);
        for (int64_t part = 0; part < part_count; part++) {
            scan->offsets[part * query_count + i] = scan_offset(&parts[part], scaled, inputs);
        }
    }
    return scan;
}

void clipshelf_scan_free(Scan *scan) {
    for (int64_t i = 0; scan->workers && i < scan->threads; i++) {
        Worker *worker = &scan->workers[i];
        for (int64_t query = 0; worker->found && query < scan->query_count; query++) {
            found_free(&worker->found[query]);
        }
        free(worker->found);
        free(worker->errors);
        free(worker->levels);
        free(worker->block_levels);
        free(worker->uppers);
        free(worker->sums);
        free(worker->reached);
    }
    free(scan->queries);
    free(scan->scaled);
    free(scan->offsets);
    free(scan->digits);
    free(scan->zero_sums);
    free(scan->workers);
    free(scan);
}

/* Order candidates: the highest lower bound first, equal ones by row. */
static int by_lower(const void *a, const void *b) {
    const ScanCandidate *first = a, *second = b;
    if (first->lower != second->lower) {
        return first->lower < second->lower ? 1 : -1;
    }
    return (first->row > second->row) - (first->row < second->row);
}

/* Score those candidates that may be among the best k, and write the best. */
static int answer(const Scan *scan, const ScanRows rows[2], Found *found, int64_t query, RowScore *scored, float *scores,
                  int64_t *best) {
    int64_t k = scan->k, count = 0;
    double unit = scan->queries[query].unit, level = -INFINITY;
    qsort(found->candidates, (size_t)found->count, sizeof *found->candidates, by_lower);
    for (int64_t i = 0; i < found->count; i++) {
        const ScanCandidate *candidate = &found->candidates[i];
        if (i == k) { /* the k rows that are likely the best are scored: their lowest score leaves most others out */
            qsort(scored, (size_t)count, sizeof *scored, by_score);
            level = level_of((double)scored[k - 1].score / unit, unit);
        }
        if (candidate->upper < level) {
            continue;
        }
        const float *row = score_find(rows, candidate->row);
        scored[count].row = candidate->row;
        double offset = scan_row_offset(scan, candidate->row);
        if (!score_row(row, scan->numbers + query * scan->inputs, scan->inputs, offset, &scored[count++].score)) {
            return SCAN_DOUBTFUL;
        }
    }
    qsort(scored, (size_t)count, sizeof *scored, by_score);
    for (int64_t i = 0; i < k; i++) {
        scores[i] = scored[i].score;
        best[i] = scored[i].row;
    }
    return SCAN_ANSWERED;
}

/* Join what the threads have found for a query, and answer it. */
static int join(const Scan *scan, Found **finds, int64_t threads, const ScanRows rows[2], int64_t query, float *scores,
                int64_t *best) {
    for (int64_t i = 0; i < threads; i++) {
        finds[i] = &scan->workers[i].found[query];
    }
    int64_t count = found_join(finds, threads, scan->k, scan->limit, scan->queries[query].unit);
    if (count < 0) {
        return count == TOO_MANY ? SCAN_TOO_MANY : SCAN_NO_MEMORY;
    }
    RowScore *scored = malloc((size_t)count * sizeof *scored);
    if (!scored) {
        return SCAN_NO_MEMORY;
    }
    int result = answer(scan, rows, finds[0], query, scored, scores, best);
    free(scored);
    return result;
}

void clipshelf_scan_run(Scan *scan, Gate *gate, const ScanRows rows[2], float *scores, int64_t *best, int8_t *answers) {
    scan_share(scan);
    if (gate) {
        gate_close(gate, scan);
    }
    int64_t come = counter_read(&scan->threads_come), threads = come < scan->threads ? come : scan->threads;
    Found **finds = counter_read(&scan->failures) ? NULL : malloc((size_t)threads * sizeof *finds);
    for (int64_t query = 0; query < scan->query_count; query++) {
        int64_t at = query * scan->k;
        int result = finds ? join(scan, finds, threads, rows, query, scores + at, best + at) : SCAN_NO_MEMORY;
        answers[query] = (int8_t)result;
    }
    free(finds);
}
