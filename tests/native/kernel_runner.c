/* kernel_runner INSTRUCTION_SET THREADS CASES RESULTS: compute the cases of a file with an instruction set.
 *
 * A case is: int64 operator, counts of integers, floats and arrays; the int64 integers; the double floats; and for each
 * array its int64 bytes, -1 for none, and its data, padded to 8 bytes. The result of a case is its arrays in the same
 * form. kernel_cases.py writes and reads both. Every array has memory of its own and of its exact size, so that a
 * sanitizer sees an access beyond it. Exit status 3: this CPU lacks the instruction set. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dispatch.h"
#include "scan.h"
#include "weights.h"

enum { MAX_ARRAYS = 16, MAX_NUMBERS = 16, MAX_THREADS = 8 };

typedef struct {
    int64_t operation, integer_count, float_count, array_count;
} Header;

typedef struct {
    int64_t integers[MAX_NUMBERS];
    double floats[MAX_NUMBERS];
    void *arrays[MAX_ARRAYS];
    int64_t bytes[MAX_ARRAYS];
} Case;

static void stop(const char *why) {
    fprintf(stderr, "kernel_runner: %s\n", why);
    exit(1);
}

static void *allocate(size_t bytes) {
    void *memory = malloc(bytes ? bytes : 1);
    if (!memory) {
        stop("expected memory, found too little");
    }
    return memory;
}

static void read_exactly(FILE *file, void *to, size_t bytes) {
    if (bytes && fread(to, bytes, 1, file) != 1) {
        stop("expected more of the case, found the end");
    }
}

static void write_array(FILE *file, const void *data, size_t bytes) {
    static const char padding[8] = {0};
    int64_t size = (int64_t)bytes;
    if (fwrite(&size, sizeof size, 1, file) != 1 || (bytes && fwrite(data, bytes, 1, file) != 1) ||
        (bytes % 8 && fwrite(padding, 8 - bytes % 8, 1, file) != 1)) {
        stop("expected room for the result, found none");
    }
}

static bool read_case(FILE *file, Header *header, Case *to) {
    if (fread(header, sizeof *header, 1, file) != 1) {
        return false;
    }
    if (header->integer_count > MAX_NUMBERS || header->float_count > MAX_NUMBERS || header->array_count > MAX_ARRAYS) {
        stop("expected a smaller case");
    }
    memset(to, 0, sizeof *to);
    read_exactly(file, to->integers, (size_t)header->integer_count * sizeof *to->integers);
    read_exactly(file, to->floats, (size_t)header->float_count * sizeof *to->floats);
    for (int64_t i = 0; i < header->array_count; i++) {
        char padding[8];
        read_exactly(file, &to->bytes[i], sizeof to->bytes[i]);
        if (to->bytes[i] >= 0) {
            to->arrays[i] = allocate((size_t)to->bytes[i]);
            read_exactly(file, to->arrays[i], (size_t)to->bytes[i]);
            read_exactly(file, padding, (size_t)(-to->bytes[i] & 7));
        }
    }
    return true;
}

static void free_case(Case *from) {
    for (size_t i = 0; i < MAX_ARRAYS; i++) {
        free(from->arrays[i]);
    }
}

/* A job, and how its parts are computed: `count` is what is split. */
typedef struct Work {
    const Kernels *kernels;
    const void *job;
    size_t count, threads;
    void (*part)(const struct Work *work, Range range);
} Work;

typedef struct {
    const Work *work;
    size_t index;
} Thread;

static void *run_thread(void *data) {
    const Thread *thread = data;
    const Work *work = thread->work;
    work->part(work, (Range){work->count * thread->index / work->threads,
                             work->count * (thread->index + 1) / work->threads});
    return NULL;
}

static void run_work(const Work *work) {
    pthread_t ids[MAX_THREADS];
    Thread threads[MAX_THREADS];
    for (size_t i = 0; i < work->threads; i++) {
        threads[i] = (Thread){work, i};
        if (pthread_create(&ids[i], NULL, run_thread, &threads[i]) != 0) {
            stop("expected a thread, found none");
        }
    }
    for (size_t i = 0; i < work->threads; i++) {
        pthread_join(ids[i], NULL);
    }
}

/* Panels are split among the threads, and each part once more by rows where there are several threads. */
static void linear_part(const Work *work, Range panels) {
    const Linear *job = work->job;
    size_t middle = work->threads > 1 ? job->rows / 3 : 0;
    work->kernels->linear(job, panels, (Range){0, middle});
    work->kernels->linear(job, panels, (Range){middle, job->rows});
}

static void float_linear_part(const Work *work, Range panels) {
    const FloatLinear *job = work->job;
    size_t middle = work->threads > 1 ? job->rows / 3 : 0;
    work->kernels->float_linear(job, panels, (Range){0, middle});
    work->kernels->float_linear(job, panels, (Range){middle, job->rows});
}

static void norm_part(const Work *work, Range rows) { work->kernels->norm(work->job, rows); }

static void normalize_part(const Work *work, Range rows) { work->kernels->normalize(work->job, rows); }

static void attention_part(const Work *work, Range items) {
    size_t bytes = attention_scratch(work->job) * sizeof(float);
    float *scratch = allocate(bytes);
    memset(scratch, 0xff, bytes); /* no number: what is read before it is written shows */
    work->kernels->attention(work->job, items, scratch);
    free(scratch);
}

static Rounding rounding_of(const Case *from, size_t integer, size_t number) {
    return (Rounding){.inverse_scale = 1.0F / (float)from->floats[number], .zero = (int32_t)from->integers[integer]};
}

/* Outputs of a job: floats or bytes, and the values of outlier channels. */
typedef struct {
    size_t count, outliers;
    bool rounded;
    float *y, *values;
    uint8_t *y8;
} Outputs;

static Outputs outputs_of(size_t count, bool rounded, size_t outliers) {
    Outputs to = {.count = count, .outliers = outliers, .rounded = rounded};
    to.values = allocate(outliers * sizeof(float));
    if (rounded) {
        to.y8 = allocate(count);
    } else {
        to.y = allocate(count * sizeof(float));
    }
    return to;
}

static void write_outputs(FILE *file, Outputs *from) {
    write_array(file, from->rounded ? (const void *)from->y8 : from->y,
                from->count * (from->rounded ? 1 : sizeof(float)));
    write_array(file, from->values, from->outliers * sizeof(float));
    free(from->y);
    free(from->y8);
    free(from->values);
}

/* integers: rows, inputs, outputs, zero, columns, activation, rounded, out_zero, outlier count; floats: out_scale;
 * arrays: x (rows padded to a multiple of 4), panels, sums, scale, bias, columns, column_weight, residual, shift, unspread, channels */
static void run_linear(const Kernels *kernels, size_t threads, const Case *from, FILE *file) {
    const int64_t *n = from->integers;
    void *const *a = from->arrays;
    Linear job = {.rows = (size_t)n[0], .inputs = (size_t)n[1], .outputs = (size_t)n[2], .zero = (int32_t)n[3]};
    Outputs to = outputs_of(job.rows * job.outputs, n[6], job.rows * (size_t)n[8]);
    job.x = a[0];
    job.x_stride = round_up(job.inputs, GROUP_INPUTS);
    job.panels = a[1];
    job.sums = a[2];
    job.scale = a[3];
    job.bias = a[4];
    job.column_count = (size_t)n[4];
    job.columns = a[5];
    job.column_weight = a[6];
    job.residual = a[7];
    job.activation = (Activation)n[5];
    job.exact_pairs = panels_have_exact_pairs(job.panels, (size_t)from->bytes[1]);
    job.y_stride = job.outputs;
    job.y = to.y;
    job.y8 = to.y8;
    job.shift = a[8];
    job.unspread = a[9];
    job.rounding = rounding_of(from, 7, 0);
    job.outliers = (OutlierOutput){(size_t)n[8], a[10], to.values};
    run_work(&(Work){kernels, &job, panel_count(job.outputs), threads, linear_part});
    write_outputs(file, &to);
}

/* integers: rows, inputs, outputs, activation, half; arrays: x, panels, bias, residual */
static void run_float_linear(const Kernels *kernels, size_t threads, const Case *from, FILE *file) {
    const int64_t *n = from->integers;
    FloatLinear job = {.rows = (size_t)n[0], .inputs = (size_t)n[1], .outputs = (size_t)n[2]};
    Outputs to = outputs_of(job.rows * job.outputs, false, 0);
    job.activation = (Activation)n[3];
    job.half = n[4];
    job.x = from->arrays[0];
    job.panels = from->arrays[1];
    job.bias = from->arrays[2];
    job.residual = from->arrays[3];
    job.y = to.y;
    run_work(&(Work){kernels, &job, panel_count(job.outputs), threads, float_linear_part});
    write_outputs(file, &to);
}

/* integers: rows, width, rounded, out_zero, outlier count; floats: epsilon, out_scale; arrays: x, gain, bias, channels */
static void run_norm(const Kernels *kernels, size_t threads, const Case *from, FILE *file) {
    const int64_t *n = from->integers;
    Norm job = {.rows = (size_t)n[0], .width = (size_t)n[1], .epsilon = (float)from->floats[0]};
    Outputs to = outputs_of(job.rows * job.width, n[2], job.rows * (size_t)n[4]);
    job.x = from->arrays[0];
    job.gain = from->arrays[1];
    job.bias = from->arrays[2];
    job.y = to.y;
    job.y8 = to.y8;
    job.rounding = rounding_of(from, 3, 1);
    job.outliers = (OutlierOutput){(size_t)n[4], from->arrays[3], to.values};
    run_work(&(Work){kernels, &job, job.rows, threads, norm_part});
    write_outputs(file, &to);
}

/* integers: batch, tokens, heads, head size, causal, positions, rounded, out_zero; floats: out_scale;
 * arrays: packed queries, keys and values (B, L, 3C), key mask, positions. The queries of positions are taken out. */
static void run_attention(const Kernels *kernels, size_t threads, const Case *from, FILE *file) {
    const int64_t *n = from->integers;
    Attention job = {.batch = (size_t)n[0], .tokens = (size_t)n[1], .heads = (size_t)n[2], .head_size = (size_t)n[3]};
    size_t width = job.heads * job.head_size, row = 3 * width;
    float *packed = from->arrays[0], *chosen = NULL;
    job.causal = n[4];
    job.queries = n[5] ? 1 : job.tokens;
    job.q = packed;
    job.k = packed + width;
    job.v = packed + 2 * width;
    job.q_stride = job.kv_stride = row;
    job.key_mask = from->arrays[1];
    job.position = from->arrays[2];
    job.position_step = n[5] > 1 ? 1 : 0;
    if (job.position) {
        job.q_stride = width;
        job.q = chosen = allocate(job.batch * width * sizeof(float));
        for (size_t b = 0; b < job.batch; b++) {
            size_t token = (size_t)job.position[b * job.position_step];
            memcpy(chosen + b * width, packed + (b * job.tokens + token) * row, width * sizeof(float));
        }
    }
    Outputs to = outputs_of(job.batch * job.queries * width, n[6], 0);
    job.y = to.y;
    job.y8 = to.y8;
    job.rounding = rounding_of(from, 7, 0);
    run_work(&(Work){kernels, &job, attention_items(&job), threads, attention_part});
    write_outputs(file, &to);
    free(chosen);
}

/* integers: rows, width; arrays: x */
static void run_normalize(const Kernels *kernels, size_t threads, const Case *from, FILE *file) {
    Normalize job = {.rows = (size_t)from->integers[0], .width = (size_t)from->integers[1], .x = from->arrays[0]};
    Outputs to = outputs_of(job.rows * job.width, false, 0);
    job.y = to.y;
    run_work(&(Work){kernels, &job, job.rows, threads, normalize_part});
    write_outputs(file, &to);
}

/* integers: 0 for exp, else an activation; arrays: x */
static void run_function(const Kernels *kernels, size_t threads, const Case *from, FILE *file) {
    (void)threads;
    Outputs to = outputs_of((size_t)from->bytes[0] / sizeof(float), false, 0);
    kernels->function((int)from->integers[0], to.count, from->arrays[0], to.y);
    write_outputs(file, &to);
}

/* One block of a scan. integers: queries, numbers of a row, the same padded; arrays: rows, steps, digits, zero_sums,
 * errors, levels. The second output: whether each query is reached, whether any is, and the sums, which fit a float. */
static void run_scan(const Kernels *kernels, size_t threads, const Case *from, FILE *file) {
    (void)threads;
    size_t queries = (size_t)from->integers[0], sums = 2 * queries * SCAN_ROWS;
    Outputs to = outputs_of(queries * SCAN_ROWS, false, queries + 1 + sums);
    ScanBlock block = {.rows = from->arrays[0], .stride = (size_t)from->integers[1], .steps = from->arrays[1],
                       .queries = queries, .inputs = (size_t)from->integers[2], .digits = from->arrays[2],
                       .zero_sums = from->arrays[3], .errors = from->arrays[4], .levels = from->arrays[5],
                       .uppers = to.y, .sums = allocate(sums * sizeof(int32_t)), .reached = allocate(queries)};
    memset(to.y, 0, to.count * sizeof(float)); /* what is not reached stays as it is */
    to.values[queries] = (float)kernels->scan(&block);
    for (size_t q = 0; q < queries; q++) {
        to.values[q] = (float)block.reached[q];
    }
    for (size_t i = 0; i < sums; i++) {
        to.values[queries + 1 + i] = (float)block.sums[i];
    }
    free(block.sums);
    free(block.reached);
    write_outputs(file, &to);
}

typedef void (*Runner)(const Kernels *kernels, size_t threads, const Case *from, FILE *file);
static const Runner RUNNERS[] = {run_linear,    run_float_linear, run_norm, run_attention,
                                 run_normalize, run_function,     run_scan};

int main(int count, char **arguments) {
    if (count != 5) {
        stop("expected INSTRUCTION_SET THREADS CASES RESULTS");
    }
    char problem[256];
    const Kernels *kernels = clipshelf_find_kernels(arguments[1], problem, sizeof problem);
    if (!kernels) {
        fprintf(stderr, "%s\n", problem);
        return 3;
    }
    long threads = strtol(arguments[2], NULL, 10);
    FILE *cases = fopen(arguments[3], "rb"), *results = fopen(arguments[4], "wb");
    if (!cases || !results || threads < 1 || threads > MAX_THREADS) {
        stop("expected two files and 1 to 8 threads");
    }
    Header header;
    Case next;
    while (read_case(cases, &header, &next)) {
        if (header.operation < 0 || (size_t)header.operation >= sizeof RUNNERS / sizeof *RUNNERS) {
            stop("expected a known operator");
        }
        RUNNERS[header.operation](kernels, (size_t)threads, &next, results);
        free_case(&next);
    }
    fclose(cases);
    return fclose(results) == 0 ? 0 : 1;
}
