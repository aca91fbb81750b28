/* Attention, AttentionFloat: the packed linear of queries, keys and values, and the attention of each head.
 * Attend: the attention alone, of queries, keys and values that are there. */
#include <string.h>

#include "operator.h"
#include "operators_linear.h"

enum { X, PANELS, SUMS, SCALE, BIAS, COLUMNS, COLUMN_WEIGHT, KEY_MASK, POSITION };
enum { A_QUERY, A_KEYS_VALUES, A_KEY_MASK }; /* of Attend */

/* Each part has its scratch memory, so their number is bounded. */
enum { MAX_PARTS = 64 };

typedef struct {
    const Kernels *kernels;
    size_t parts, scratch_stride;
    float *scratch;
    Attention attention;
} Job;

/* One run, with the memory that it needs. */
typedef struct {
    Run run;
    const Kernel *kernel;
    Linear linear;        /* of all tokens */
    Linear query;         /* of the one query of each sequence */
    Job job;
    void *padded, *query_x, *query_columns, *packed, *query_packed, *scratch;
} Work;

static void ORT_CALL attention_part(void *data, size_t index) {
    const Job *job = data;
    Range items = part_of(attention_items(&job->attention), index, job->parts);
    job->kernels->attention(&job->attention, items, job->scratch + index * job->scratch_stride);
}

/* Read the shapes: x (B, L, K), N = 3 C, the mask (B, L), one position or one for each sequence. */
static void read_shapes(Work *work) {
    Run *run = &work->run;
    const Tensor *in = run->inputs;
    Attention *attention = &work->job.attention;
    if (!run->error && in[X].rank != 3) {
        run_fail(run, "x: expected 3 dimensions, found %zu", in[X].rank);
    }
    linear_operands(run, work->kernel, &work->linear);
    linear_columns(run, COLUMNS, COLUMN_WEIGHT, &work->linear);
    if (!run->error && work->linear.outputs % (3 * work->kernel->heads)) {
        run_fail(run, "expected outputs for queries, keys and values of %zu heads, found %zu", work->kernel->heads,
                 work->linear.outputs);
    }
    if (run->error) {
        return;
    }
    attention->batch = (size_t)in[X].shape[0];
    attention->tokens = (size_t)in[X].shape[1];
    attention->heads = work->kernel->heads;
    attention->head_size = work->linear.outputs / 3 / attention->heads;
    attention->causal = work->kernel->causal;
    attention->rounding = work->kernel->rounding;
    attention->key_mask = in[KEY_MASK].data;
    attention->position = in[POSITION].data;
    attention->position_step = in[POSITION].elements == 1 ? 0 : 1;
    attention->queries = attention->position ? 1 : attention->tokens;
    run_check_elements(run, KEY_MASK, "key_mask", attention->batch * attention->tokens);
    if (attention->position_step) {
        run_check_elements(run, POSITION, "position", attention->batch);
    }
    for (size_t i = 0; attention->position && i < in[POSITION].elements && !run->error; i++) {
        if (attention->position[i] < 0 || (uint64_t)attention->position[i] >= attention->tokens) {
            run_fail(run, "position: expected numbers below %zu, found %lld", attention->tokens,
                     (long long)attention->position[i]);
        }
    }
}

/* All tokens: queries, keys and values of a token lie side by side. */
static void project_all(Work *work) {
    Linear *linear = &work->linear;
    Attention *attention = &work->job.attention;
    size_t width = linear->outputs / 3;
    float *packed = work->packed = run_memory(&work->run, linear->rows, linear->outputs * sizeof(float));
    linear->y = packed;
    linear_run(&work->run, work->kernel, linear, (Range){0, panel_count(linear->outputs)});
    attention->q = packed;
    attention->q_stride = attention->kv_stride = linear->outputs;
    if (packed) {
        attention->k = packed + width;
        attention->v = packed + 2 * width;
    }
}

/* Copy the row of the one query of each sequence. */
static void *query_rows(Work *work, const void *from, size_t bytes) {
    const Attention *attention = &work->job.attention;
    char *to = run_memory(&work->run, attention->batch, bytes);
    for (size_t b = 0; to && b < attention->batch; b++) {
        size_t token = (size_t)attention->position[b * attention->position_step];
        memcpy(to + b * bytes, (const char *)from + (b * attention->tokens + token) * bytes, bytes);
    }
    return to;
}

/* One query of each sequence: the panels that hold nothing but queries are computed for its rows only. */
static void project_position(Work *work) {
    Run *run = &work->run;
    Linear *linear = &work->linear, *query = &work->query;
    Attention *attention = &work->job.attention;
    size_t width = linear->outputs / 3, whole = width / PANEL_COLUMNS, panels = panel_count(linear->outputs);
    *query = *linear;
    query->rows = attention->batch;
    query->x = work->query_x = query_rows(work, linear->x, linear->x_stride);
    if (linear->column_count) {
        size_t bytes = linear->column_count * sizeof(float);
        query->columns = work->query_columns = query_rows(work, linear->columns, bytes);
    }
    query->y = work->query_packed = run_memory(run, query->rows, linear->outputs * sizeof(float));
    linear->y = work->packed = run_memory(run, linear->rows, linear->outputs * sizeof(float));
    linear_run(run, work->kernel, query, (Range){0, ceil_div(width, PANEL_COLUMNS)});
    linear_run(run, work->kernel, linear, (Range){whole, panels});
    attention->q = query->y;
    attention->q_stride = attention->kv_stride = linear->outputs;
    if (linear->y) {
        attention->k = linear->y + width;
        attention->v = linear->y + 2 * width;
    }
}

static void attend(Work *work) {
    Job *job = &work->job;
    size_t items = attention_items(&job->attention);
    if (work->run.error || items == 0) {
        return;
    }
    job->kernels = work->kernel->kernels;
    job->parts = items < MAX_PARTS ? items : MAX_PARTS;
    job->scratch_stride = round_up(attention_scratch(&job->attention), LANES);
    job->scratch = work->scratch = run_memory(&work->run, job->parts, job->scratch_stride * sizeof(float));
    run_parallel(&work->run, attention_part, job->parts, job);
}

static OrtStatus *compute(const Kernel *kernel, OrtKernelContext *context, bool quantise) {
    Work work = {.kernel = kernel};
    work.run = run_begin(kernel, context);
    read_shapes(&work);
    Attention *attention = &work.job.attention;
    int64_t shape[3] = {(int64_t)attention->batch, (int64_t)attention->queries,
                        (int64_t)(attention->heads * attention->head_size)};
    void *y = run_output(&work.run, 0, shape, 3);
    if (quantise) {
        attention->y8 = y;
    } else {
        attention->y = y;
    }
    work.padded = linear_padded_inputs(&work.run, &work.linear);
    if (attention->position) {
        project_position(&work);
    } else {
        project_all(&work);
    }
    attend(&work);
    void *memory[] = {work.padded, work.query_x, work.query_columns, work.packed, work.query_packed, work.scratch};
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++) {
        memory_free(memory[i]);
    }
    return work.run.error;
}

OrtStatus *ORT_CALL attention_compute(void *data, OrtKernelContext *context) { return compute(data, context, true); }

OrtStatus *ORT_CALL attention_float_compute(void *data, OrtKernelContext *context) {
    return compute(data, context, false);
}

/* Read the shapes of Attend: query (B, Q, C), keys and values (B, L, 2 C), the mask (B, L). */
static void read_attend_shapes(Work *work) {
    Run *run = &work->run;
    const Tensor *query = &run->inputs[A_QUERY], *keys_values = &run->inputs[A_KEYS_VALUES];
    Attention *attention = &work->job.attention;
    size_t heads = work->kernel->heads;
    if (run->error) {
        return;
    }
    if (query->rank != 3 || keys_values->rank != 3 || query->shape[0] != keys_values->shape[0] ||
        2 * query->shape[2] != keys_values->shape[2] || query->shape[2] < 1 || (uint64_t)query->shape[2] % heads) {
        run_fail(run, "expected a query (B, Q, C) and keys and values (B, L, 2 C), with C a multiple of %zu heads", heads);
        return;
    }
    if (work->kernel->causal && query->shape[1] != keys_values->shape[1]) {
        run_fail(run, "expected as many queries as keys in a causal attention, found %lld and %lld",
                 (long long)query->shape[1], (long long)keys_values->shape[1]);
        return;
    }
    size_t width = (size_t)query->shape[2];
    attention->batch = (size_t)query->shape[0];
    attention->queries = (size_t)query->shape[1];
    attention->tokens = (size_t)keys_values->shape[1];
    attention->heads = heads;
    attention->head_size = width / heads;
    attention->causal = work->kernel->causal;
    attention->key_mask = run->inputs[A_KEY_MASK].data;
    attention->q = query->data;
    attention->q_stride = width;
    attention->k = keys_values->data;
    attention->v = attention->k + width;
    attention->kv_stride = 2 * width;
    run_check_elements(run, A_KEY_MASK, "key_mask", attention->batch * attention->tokens);
}

OrtStatus *ORT_CALL attend_compute(void *data, OrtKernelContext *context) {
    const Kernel *kernel = data;
    Work work = {.kernel = kernel};
    work.run = run_begin(kernel, context);
    read_attend_shapes(&work);
    work.job.attention.y = run_output(&work.run, 0, work.run.inputs[A_QUERY].shape, 3);
    attend(&work);
    memory_free(work.scratch);
    return work.run.error;
}
