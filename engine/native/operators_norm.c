/* Norm, NormQuantize, Normalize. */
#include "operator.h"

enum { X, GAIN, BIAS, CHANNELS };

/* Rows of one part: enough work to be worth a wake-up of a thread. */
enum { ELEMENTS_PER_PART = 16384 };

static size_t parts_of(size_t rows, size_t width) {
    size_t rows_per_part = ceil_div(ELEMENTS_PER_PART, width);
    return ceil_div(rows, rows_per_part);
}

typedef struct {
    const Kernels *kernels;
    size_t parts;
    Norm norm;
    Normalize normalize;
} Job;

static void ORT_CALL norm_part(void *data, size_t index) {
    const Job *job = data;
    job->kernels->norm(&job->norm, part_of(job->norm.rows, index, job->parts));
}

static void ORT_CALL normalize_part(void *data, size_t index) {
    const Job *job = data;
    job->kernels->normalize(&job->normalize, part_of(job->normalize.rows, index, job->parts));
}

static OrtStatus *compute(const Kernel *kernel, OrtKernelContext *context, bool quantise) {
    Run run = run_begin(kernel, context);
    const Tensor *in = run.inputs;
    size_t rows = 0, width = 0;
    run_matrix(&run, &rows, &width);
    run_check_elements(&run, GAIN, "gain", width);
    run_check_elements(&run, BIAS, "bias", width);
    Job job = {.kernels = kernel->kernels, .norm = {.rows = rows, .width = width, .x = in[X].data}};
    job.norm.gain = in[GAIN].data;
    job.norm.bias = in[BIAS].data;
    job.norm.epsilon = kernel->epsilon;
    job.norm.rounding = kernel->rounding;
    void *y = run_output(&run, 0, in[X].shape, in[X].rank);
    if (quantise) {
        job.norm.y8 = y;
        run_outliers(&run, CHANNELS, width, &job.norm.outliers);
    } else {
        job.norm.y = y;
    }
    job.parts = run.error ? 0 : parts_of(rows, width);
    run_parallel(&run, norm_part, job.parts, &job);
    return run.error;
}

OrtStatus *ORT_CALL norm_compute(void *data, OrtKernelContext *context) { return compute(data, context, false); }

OrtStatus *ORT_CALL norm_quantize_compute(void *data, OrtKernelContext *context) {
    return compute(data, context, true);
}

OrtStatus *ORT_CALL normalize_compute(void *data, OrtKernelContext *context) {
    const Kernel *kernel = data;
    Run run = run_begin(kernel, context);
    const Tensor *in = run.inputs;
    Job job = {.kernels = kernel->kernels};
    run_matrix(&run, &job.normalize.rows, &job.normalize.width);
    job.normalize.x = in[X].data;
    job.normalize.y = run_output(&run, 0, in[X].shape, in[X].rank);
    job.parts = run.error ? 0 : parts_of(job.normalize.rows, job.normalize.width);
    run_parallel(&run, normalize_part, job.parts, &job);
    return run.error;
}
