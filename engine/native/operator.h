/* What the operators of onnxruntime have in common: attributes, tensors, errors, memory, threads. */
#ifndef CLIPSHELF_OPERATOR_H
#define CLIPSHELF_OPERATOR_H

#include <stdbool.h>

#include "kernels.h"
#include "onnxruntime_api.h"

enum { MAX_DIMENSIONS = 8, MAX_INPUT_COUNT = 12 };

/* An input of a run. `data` is NULL for an optional input that is absent. */
typedef struct {
    const void *data;
    size_t rank;
    int64_t shape[MAX_DIMENSIONS];
    size_t elements;
} Tensor;

/* One run of an operator: its inputs, and the first error, after which nothing more is done. */
typedef struct {
    OrtApi *api;
    OrtKernelContext *context;
    const char *name; /* of the operator, for messages */
    OrtStatus *error;
    size_t input_count;
    Tensor inputs[MAX_INPUT_COUNT];
} Run;

/* What an operator keeps between runs; it does not change after it was made, so that runs may overlap. */
typedef struct {
    OrtApi *api;
    const char *name;
    size_t required;         /* inputs that must be there, the first ones */
    const Kernels *kernels;
    float epsilon;
    Rounding rounding;       /* of the output */
    int32_t zero;            /* of the uint8 input */
    Activation activation;
    size_t heads;
    bool causal;
    bool exact_pairs;        /* of the weight, see Linear */
    Tensor constants[MAX_INPUT_COUNT]; /* the inputs that are constants of the graph; asking for them again costs time */
} Kernel;

/* Read what a value of onnxruntime holds. */
OrtStatus *tensor_read(OrtApi *api, const OrtValue *value, Tensor *to);

/* Begin a run, and fail where a required input is absent; at its end return run.error. */
Run run_begin(const Kernel *kernel, OrtKernelContext *context);

/* Set run->error to a formatted message, where there is none yet. */
void run_fail(Run *run, const char *format, ...)
#if defined(__GNUC__) || defined(__clang__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

/* Fail unless input `index`, called `what`, has that many elements; an absent one passes. */
void run_check_elements(Run *run, size_t index, const char *what, size_t elements);

/* Split the shape of the first input into rows (M) and its last dimension; fail for a scalar. */
void run_matrix(Run *run, size_t *rows, size_t *width);

/* Make output `index` and return its data; NULL after a failure, or where the output is not used. The first must be. */
void *run_output(Run *run, size_t index, const int64_t *shape, size_t rank);

/* Make the second output, the outlier channels named by input `index`, where that input is present; check that each is
 * below `width`. */
void run_outliers(Run *run, size_t index, size_t width, OutlierOutput *outliers);

/* Memory of this run for `count` elements of `size` bytes, 64-byte aligned; NULL with run->error set where there is none. Given back by memory_free. */
void *run_memory(Run *run, size_t count, size_t size);
void memory_free(void *memory);

/* Call `part` for each of `parts` on the threads of the session. */
void run_parallel(Run *run, void(ORT_CALL *part)(void *job, size_t index), size_t parts, void *job);

/* The part `index` of `parts` of 0 to `count`: contiguous, and no part is more than one larger than another. */
static inline Range part_of(size_t count, size_t index, size_t parts) {
    return (Range){count * index / parts, count * (index + 1) / parts};
}

/* A run of each operator: KernelComputeV2. */
OrtStatus *ORT_CALL norm_compute(void *data, OrtKernelContext *context);
OrtStatus *ORT_CALL norm_quantize_compute(void *data, OrtKernelContext *context);
OrtStatus *ORT_CALL linear_compute(void *data, OrtKernelContext *context);
OrtStatus *ORT_CALL linear_quantize_compute(void *data, OrtKernelContext *context);
OrtStatus *ORT_CALL float_linear_compute(void *data, OrtKernelContext *context);
OrtStatus *ORT_CALL half_linear_compute(void *data, OrtKernelContext *context);
OrtStatus *ORT_CALL attention_compute(void *data, OrtKernelContext *context);
OrtStatus *ORT_CALL attention_float_compute(void *data, OrtKernelContext *context);
OrtStatus *ORT_CALL attend_compute(void *data, OrtKernelContext *context);
OrtStatus *ORT_CALL normalize_compute(void *data, OrtKernelContext *context);

#endif
