/* Linear, LinearQuantize, FloatLinear. */
#include <string.h>

#include "operator.h"
#include "operators_linear.h"

enum { X, PANELS, SUMS, SCALE, BIAS };
enum { RESIDUAL = BIAS + 1, COLUMNS, COLUMN_WEIGHT };                                  /* of Linear */
enum { Q_COLUMNS = BIAS + 1, Q_COLUMN_WEIGHT, Q_SHIFT, Q_UNSPREAD, Q_CHANNELS };       /* of LinearQuantize */
enum { F_X, F_PANELS, F_BIAS, F_RESIDUAL };                                            /* of FloatLinear */

/* Parts of a job are a grid: runs of panels, and runs of rows where the panels alone are too few. */
typedef struct {
    const Kernels *kernels;
    Range panels;
    size_t rows;
    size_t panel_parts, row_parts;
    const Linear *linear;
    const FloatLinear *float_linear;
} Job;

/* More parts than threads, so that a thread that was late does less. A part keeps a run of panels, the next of which
 * is read ahead; rows are split only where each part still has several tiles. Measured in docs/kernels.md. */
enum { PANEL_PARTS = 16, TILES_PER_PART = 16, ROW_PARTS = 8 };

static void split(Job *job) {
    size_t most = ceil_div(job->rows, TILES_PER_PART * job->kernels->tile_rows);
    size_t panels = job->panels.last - job->panels.first;
    job->panel_parts = panels < PANEL_PARTS ? panels : PANEL_PARTS;
    job->row_parts = most < 1 ? 1 : most < ROW_PARTS ? most : ROW_PARTS;
}

static Range panels_of(const Job *job, size_t index) {
    Range panels = part_of(job->panels.last - job->panels.first, index / job->row_parts, job->panel_parts);
    return (Range){job->panels.first + panels.first, job->panels.first + panels.last};
}

static Range rows_of(const Job *job, size_t index) {
    return part_of(job->rows, index % job->row_parts, job->row_parts);
}

static void ORT_CALL linear_part(void *data, size_t index) {
    const Job *job = data;
    job->kernels->linear(job->linear, panels_of(job, index), rows_of(job, index));
}

static void ORT_CALL float_linear_part(void *data, size_t index) {
    const Job *job = data;
    job->kernels->float_linear(job->float_linear, panels_of(job, index), rows_of(job, index));
}

void linear_run(Run *run, const Kernel *kernel, const Linear *linear, Range panels) {
    if (run->error || linear->rows == 0 || panels.first == panels.last) {
        return;
    }
    Job job = {.kernels = kernel->kernels, .linear = linear, .rows = linear->rows, .panels = panels};
    split(&job);
    run_parallel(run, linear_part, job.panel_parts * job.row_parts, &job);
}

void linear_operands(Run *run, const Kernel *kernel, Linear *linear) {
    const Tensor *in = run->inputs;
    run_matrix(run, &linear->rows, &linear->inputs);
    linear->outputs = in[SCALE].elements;
    if (!run->error && (linear->inputs > MAX_INPUTS || linear->outputs < 1)) {
        run_fail(run, "expected at most %d inputs and some outputs, found %zu and %zu", MAX_INPUTS, linear->inputs,
                 linear->outputs);
    }
    size_t groups = ceil_div(linear->inputs, GROUP_INPUTS);
    run_check_elements(run, PANELS, "panels", panel_count(linear->outputs) * groups * GROUP_BYTES);
    run_check_elements(run, SUMS, "sums", linear->outputs);
    run_check_elements(run, BIAS, "bias", linear->outputs);
    linear->x = in[X].data;
    linear->x_stride = linear->inputs;
    linear->panels = in[PANELS].data;
    linear->sums = in[SUMS].data;
    linear->scale = in[SCALE].data;
    linear->bias = in[BIAS].data;
    linear->zero = kernel->zero;
    linear->activation = kernel->activation;
    linear->exact_pairs = kernel->exact_pairs;
    linear->rounding = kernel->rounding;
    linear->y_stride = linear->outputs;
}

void linear_columns(Run *run, size_t columns, size_t column_weight, Linear *linear) {
    const Tensor *in = run->inputs;
    if (run->error || !in[columns].data || linear->rows == 0) {
        return;
    }
    linear->column_count = in[columns].elements / linear->rows;
    run_check_elements(run, columns, "columns", linear->rows * linear->column_count);
    if (!run->error && !in[column_weight].data) {
        run_fail(run, "column_weight: expected (%zu, %zu), found none", linear->column_count, linear->outputs);
    }
    run_check_elements(run, column_weight, "column_weight", linear->column_count * linear->outputs);
    linear->columns = in[columns].data;
    linear->column_weight = in[column_weight].data;
}

void *linear_padded_inputs(Run *run, Linear *linear) {
    if (run->error || linear->inputs % GROUP_INPUTS == 0) {
        return NULL;
    }
    size_t stride = round_up(linear->inputs, GROUP_INPUTS);
    uint8_t *padded = run_memory(run, linear->rows, stride);
    for (size_t row = 0; padded && row < linear->rows; row++) {
        memset(padded + row * stride + linear->inputs, 0, stride - linear->inputs);
        memcpy(padded + row * stride, linear->x + row * linear->x_stride, linear->inputs);
    }
    linear->x = padded;
    linear->x_stride = stride;
    return padded;
}

static void *output_like_x(Run *run, size_t width) {
    Tensor x = run->inputs[X];
    if (run->error) {
        return NULL;
    }
    x.shape[x.rank - 1] = (int64_t)width; /* linear_operands fails for a scalar */
    return run_output(run, 0, x.shape, x.rank);
}

OrtStatus *ORT_CALL linear_compute(void *data, OrtKernelContext *context) {
    const Kernel *kernel = data;
    Run run = run_begin(kernel, context);
    Linear linear = {0};
    linear_operands(&run, kernel, &linear);
    linear_columns(&run, COLUMNS, COLUMN_WEIGHT, &linear);
    run_check_elements(&run, RESIDUAL, "residual", linear.rows * linear.outputs);
    linear.residual = run.inputs[RESIDUAL].data;
    linear.y = output_like_x(&run, linear.outputs);
    void *padded = linear_padded_inputs(&run, &linear);
    linear_run(&run, kernel, &linear, (Range){0, panel_count(linear.outputs)});
    memory_free(padded);
    return run.error;
}

OrtStatus *ORT_CALL linear_quantize_compute(void *data, OrtKernelContext *context) {
    const Kernel *kernel = data;
    Run run = run_begin(kernel, context);
    Linear linear = {0};
    linear_operands(&run, kernel, &linear);
    linear_columns(&run, Q_COLUMNS, Q_COLUMN_WEIGHT, &linear);
    run_check_elements(&run, Q_SHIFT, "shift", linear.outputs);
    run_check_elements(&run, Q_UNSPREAD, "unspread", linear.outputs);
    linear.shift = run.inputs[Q_SHIFT].data;
    linear.unspread = run.inputs[Q_UNSPREAD].data;
    linear.y8 = output_like_x(&run, linear.outputs);
    run_outliers(&run, Q_CHANNELS, linear.outputs, &linear.outliers);
    void *padded = linear_padded_inputs(&run, &linear);
    linear_run(&run, kernel, &linear, (Range){0, panel_count(linear.outputs)});
    memory_free(padded);
    return run.error;
}

static OrtStatus *float_compute(const Kernel *kernel, OrtKernelContext *context, bool half) {
    Run run = run_begin(kernel, context);
    const Tensor *in = run.inputs;
    FloatLinear linear = {.half = half, .activation = kernel->activation};
    run_matrix(&run, &linear.rows, &linear.inputs);
    linear.outputs = in[F_BIAS].elements;
    if (!run.error && linear.outputs < 1) {
        run_fail(&run, "bias: expected at least 1 element, found none");
    }
    run_check_elements(&run, F_PANELS, "panels", panel_count(linear.outputs) * linear.inputs * PANEL_COLUMNS);
    run_check_elements(&run, F_RESIDUAL, "residual", linear.rows * linear.outputs);
    linear.x = in[F_X].data;
    linear.panels = in[F_PANELS].data;
    linear.bias = in[F_BIAS].data;
    linear.residual = in[F_RESIDUAL].data;
    linear.y = output_like_x(&run, linear.outputs);
    if (!run.error && linear.rows > 0) {
        Job job = {.kernels = kernel->kernels, .float_linear = &linear, .rows = linear.rows};
        job.panels.last = panel_count(linear.outputs);
        split(&job);
        run_parallel(&run, float_linear_part, job.panel_parts * job.row_parts, &job);
    }
    return run.error;
}

OrtStatus *ORT_CALL float_linear_compute(void *data, OrtKernelContext *context) {
    return float_compute(data, context, false);
}

OrtStatus *ORT_CALL half_linear_compute(void *data, OrtKernelContext *context) {
    return float_compute(data, context, true);
}
