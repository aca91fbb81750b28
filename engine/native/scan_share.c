#include <math.h>

#include "scan_run.h"

enum { READ_AHEAD = 1 << 13 }; /* bytes */

int64_t scan_chunks(const Scan *scan, const ScanPart *part) {
    return (part->count + scan->chunk_rows - 1) / scan->chunk_rows;
}

/* A run of rows of a part. */
typedef struct {
    int64_t number; /* of the part */
    int64_t before; /* rows of the parts before */
    int64_t first, last;
} Run;

static bool allocate_worker(const Scan *scan, Worker *worker) {
    int64_t queries = scan->query_count;
    worker->found = zeroed(queries, sizeof *worker->found);
    worker->errors = zeroed(queries, sizeof *worker->errors);
    worker->levels = zeroed(queries, sizeof *worker->levels);
    worker->block_levels = zeroed(queries, sizeof *worker->block_levels);
    worker->uppers = zeroed(queries * SCAN_ROWS, sizeof *worker->uppers);
    worker->sums = zeroed(2 * queries * SCAN_ROWS, sizeof *worker->sums);
    worker->reached = zeroed(queries, sizeof *worker->reached);
    return worker->found && worker->errors && worker->levels && worker->block_levels && worker->uppers &&
           worker->sums && worker->reached;
}

/* Set what the products of a query with the levels of a block must reach, whose rows have at most this offset. */
static void set_block_level(const Scan *scan, Worker *worker, int64_t part, int64_t query, double largest_offset) {
    double level = worker->levels[query] - scan->offsets[part * scan->query_count + query];
    level -= largest_offset / scan->queries[query].unit;
    worker->block_levels[query] = nextafterf((float)level, -INFINITY);
}

/* Add to what was found the rows of a block that reach the level of a query. */
static void collect(const Scan *scan, Worker *worker, const Run *run, int64_t row, int64_t rows, int64_t query) {
    Found *found = &worker->found[query];
    const float *uppers = worker->uppers + query * SCAN_ROWS, *steps = scan->parts[run->number].steps + row;
    const uint8_t *allowed = scan->allowed ? scan->allowed + run->before + row : NULL;
    double error = (double)worker->errors[query], unit = scan->queries[query].unit;
    double offset = scan->offsets[run->number * scan->query_count + query];
    for (int64_t i = 0; i < rows; i++) {
        double upper = offset + (double)uppers[i] + scan_row_offset(scan, run->before + row + i) / unit;
        if (!(upper >= worker->levels[query]) || (allowed && !allowed[i])) {
            continue;
        }
        double lower = isinf(error) ? -INFINITY : upper - 2 * error * (double)steps[i];
        found_add(found, scan->k, scan->limit, unit, (ScanCandidate){run->before + row + i, lower, upper});
        worker->levels[query] = found->count < 0 ? INFINITY : found_level(found, scan->k, unit);
    }
}

/* The largest offset of rows; 0 without offsets. */
static double largest_offset(const Scan *scan, int64_t row, int64_t rows) {
    if (!scan->row_offsets) {
        return 0;
    }
    float largest = scan->row_offsets[row];
    for (int64_t i = 1; i < rows; i++) {
        float offset = scan->row_offsets[row + i];
        largest = offset > largest ? offset : largest;
    }
    return (double)largest;
}

static bool hides_all(const uint8_t *allowed, int64_t rows) {
    for (int64_t i = 0; i < rows; i++) {
        if (allowed[i]) {
            return false;
        }
    }
    return true;
}

static void scan_rows(const Scan *scan, Worker *worker, const Run *run) {
    const ScanPart *part = &scan->parts[run->number];
    size_t stride = (size_t)scan->inputs, end = round_up((size_t)part->count, SCAN_ROWS) * stride;
    ScanBlock block = {.stride = stride,
                       .queries = (size_t)scan->query_count,
                       .inputs = (size_t)scan->padded,
                       .digits = scan->digits,
                       .zero_sums = scan->zero_sums,
                       .errors = worker->errors,
                       .levels = worker->block_levels,
                       .sums = worker->sums,
                       .uppers = worker->uppers,
                       .reached = worker->reached};
    for (int64_t row = run->first; row < run->last; row += SCAN_ROWS) {
        int64_t rows = part->count - row < SCAN_ROWS ? part->count - row : SCAN_ROWS;
        if (scan->allowed && hides_all(scan->allowed + run->before + row, rows)) {
            continue;
        }
        size_t at = (size_t)row * stride;
        block.rows = part->rows + at;
        block.steps = part->steps + row;
        block.ahead = at + SCAN_ROWS * stride + READ_AHEAD < end ? READ_AHEAD : 0;
        double offset = largest_offset(scan, run->before + row, rows);
        for (int64_t query = 0; scan->row_offsets && query < scan->query_count; query++) {
            set_block_level(scan, worker, run->number, query, offset);
        }
        if (!scan->kernels->scan(&block)) {
            continue;
        }
        for (int64_t query = 0; query < scan->query_count; query++) {
            if (worker->reached[query]) {
                collect(scan, worker, run, row, rows, query);
                set_block_level(scan, worker, run->number, query, offset);
            }
        }
    }
}

static Run run_of_chunk(const Scan *scan, int64_t chunk) {
    Run run = {0, 0, 0, 0};
    const ScanPart *part = scan->parts;
    for (int64_t chunks; chunk >= (chunks = scan_chunks(scan, part)); part++) {
        chunk -= chunks;
        run.before += part->count;
        run.number++;
    }
    run.first = chunk * scan->chunk_rows;
    run.last = run.first + scan->chunk_rows < part->count ? run.first + scan->chunk_rows : part->count;
    return run;
}

bool scan_has_rows(Scan *scan) {
    return counter_read(&scan->chunks_taken) < scan->chunk_count && counter_read(&scan->threads_come) < scan->threads;
}

void scan_share(Scan *scan) {
    int64_t number = counter_next(&scan->threads_come);
    if (number >= scan->threads) {
        return;
    }
    Worker *worker = &scan->workers[number];
    if (!allocate_worker(scan, worker)) {
        counter_next(&scan->failures);
        return;
    }
    for (int64_t query = 0; query < scan->query_count; query++) {
        worker->levels[query] = -INFINITY;
    }
    int64_t part = -1;
    for (int64_t chunk; (chunk = counter_next(&scan->chunks_taken)) < scan->chunk_count;) {
        Run run = run_of_chunk(scan, scan->backwards ? scan->chunk_count - 1 - chunk : chunk);
        for (int64_t query = 0; run.number != part && query < scan->query_count; query++) {
            worker->errors[query] = scan_error(&scan->parts[run.number], &scan->queries[query]);
            set_block_level(scan, worker, run.number, query, 0);
        }
        part = run.number;
        scan_rows(scan, worker, &run);
    }
}
