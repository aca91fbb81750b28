#include "operator.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clipshelf_native.h"
#include "counter.h"

void run_fail(Run *run, const char *format, ...) {
    if (run->error) {
        return;
    }
    char text[256];
    int prefix = snprintf(text, sizeof text, "%s: ", run->name);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + prefix, sizeof text - (size_t)prefix, format, arguments);
    va_end(arguments);
    run->error = ORT(run->api, CreateStatus)(ORT_INVALID_ARGUMENT, text);
}

/* Keep the status of a call as the error; whether it was none. */
static bool succeeds(Run *run, OrtStatus *status) {
    if (status && run->error) {
        ORT(run->api, ReleaseStatus)(status);
    } else if (status) {
        run->error = status;
    }
    return !run->error;
}

static OrtStatus *too_many_dimensions(OrtApi *api, size_t rank) {
    char text[96];
    snprintf(text, sizeof text, "expected at most %d dimensions, found %zu", MAX_DIMENSIONS, rank);
    return ORT(api, CreateStatus)(ORT_INVALID_ARGUMENT, text);
}

static OrtStatus *read_shape(OrtApi *api, const OrtValue *value, Tensor *to) {
    OrtTensorTypeAndShapeInfo *info = NULL;
    OrtStatus *status = ORT(api, GetTensorTypeAndShape)(value, &info);
    if (status) {
        return status;
    }
    status = ORT(api, GetDimensionsCount)(info, &to->rank);
    if (!status && to->rank > MAX_DIMENSIONS) {
        status = too_many_dimensions(api, to->rank);
    }
    if (!status) {
        status = ORT(api, GetDimensions)(info, to->shape, to->rank);
    }
    ORT(api, ReleaseTensorTypeAndShapeInfo)(info);
    return status;
}

OrtStatus *tensor_read(OrtApi *api, const OrtValue *value, Tensor *to) {
    void *data = NULL;
    OrtStatus *status = ORT(api, GetTensorMutableData)(value, &data);
    if (!status) {
        status = read_shape(api, value, to);
    }
    if (status) {
        *to = (Tensor){0}; /* no rank that its shape has no room for */
        return status;
    }
    to->elements = 1;
    for (size_t i = 0; i < to->rank; i++) {
        to->elements *= (size_t)to->shape[i];
    }
    static const char empty[1] = {0};
    to->data = data ? data : empty; /* a tensor without elements may have no memory, but is present */
    return NULL;
}

static void read_input(Run *run, size_t index) {
    const OrtValue *value = NULL;
    if (succeeds(run, ORT(run->api, KernelContext_GetInput)(run->context, index, &value)) && value) {
        succeeds(run, tensor_read(run->api, value, &run->inputs[index]));
    }
}

Run run_begin(const Kernel *kernel, OrtKernelContext *context) {
    Run run = {.api = kernel->api, .context = context, .name = kernel->name};
    if (!succeeds(&run, ORT(run.api, KernelContext_GetInputCount)(context, &run.input_count))) {
        return run;
    }
    for (size_t i = 0; i < run.input_count && i < MAX_INPUT_COUNT && !run.error; i++) {
        if (kernel->constants[i].data) {
            run.inputs[i] = kernel->constants[i];
        } else {
            read_input(&run, i);
        }
    }
    for (size_t i = 0; i < kernel->required; i++) {
        if (!run.inputs[i].data) {
            run_fail(&run, "expected %zu inputs at least, found none at %zu", kernel->required, i);
        }
    }
    return run;
}

void run_check_elements(Run *run, size_t index, const char *what, size_t elements) {
    const Tensor *tensor = &run->inputs[index];
    if (!run->error && tensor->data && tensor->elements != elements) {
        run_fail(run, "%s: expected %zu elements, found %zu", what, elements, tensor->elements);
    }
}

void run_matrix(Run *run, size_t *rows, size_t *width) {
    const Tensor *x = &run->inputs[0];
    if (run->error) {
        return;
    }
    if (!x->data || x->rank < 1 || x->shape[x->rank - 1] < 1) {
        run_fail(run, "x: expected at least one dimension, the last one at least 1, found none");
        return;
    }
    *width = (size_t)x->shape[x->rank - 1];
    *rows = x->elements / *width;
}

void *run_output(Run *run, size_t index, const int64_t *shape, size_t rank) {
    OrtValue *value = NULL;
    void *data = NULL;
    if (run->error || !succeeds(run, ORT(run->api, KernelContext_GetOutput)(run->context, index, shape, rank, &value))) {
        return NULL;
    }
    if (!value) {
        if (index == 0) {
            run_fail(run, "expected a name of the first output, found none");
        }
        return NULL;
    }
    succeeds(run, ORT(run->api, GetTensorMutableData)(value, &data));
    return data;
}

void run_outliers(Run *run, size_t index, size_t width, OutlierOutput *outliers) {
    const Tensor *x = &run->inputs[0], *channels = &run->inputs[index];
    if (run->error || !channels->data || channels->elements == 0) {
        return;
    }
    outliers->channels = channels->data;
    for (size_t i = 0; i < channels->elements; i++) {
        if (outliers->channels[i] < 0 || (uint64_t)outliers->channels[i] >= width) {
            run_fail(run, "channels: expected numbers from 0 to %zu, found %lld", width - 1,
                     (long long)outliers->channels[i]);
            return;
        }
    }
    int64_t shape[MAX_DIMENSIONS];
    memcpy(shape, x->shape, sizeof shape);
    shape[x->rank - 1] = (int64_t)channels->elements;
    outliers->values = run_output(run, 1, shape, x->rank);
    outliers->count = outliers->values ? channels->elements : 0;
}

enum { ALIGNMENT = 64 };

void *run_memory(Run *run, size_t count, size_t size) {
    if (run->error) {
        return NULL;
    }
    size_t spare = ALIGNMENT + sizeof(void *);
    char *block = size && count > (SIZE_MAX - spare) / size ? NULL : malloc(count * size + spare);
    if (!block) {
        run_fail(run, "expected memory for %zu elements of %zu bytes, found too little", count, size);
        return NULL;
    }
    char *memory = block + spare - (uintptr_t)(block + spare) % ALIGNMENT;
    memcpy(memory - sizeof(void *), &block, sizeof block);
    return memory;
}

void memory_free(void *memory) {
    if (memory) {
        void *block;
        memcpy(&block, (char *)memory - sizeof(void *), sizeof block);
        free(block);
    }
}

#if defined(_MSC_VER) && !defined(__clang__)
#define THREAD_LOCAL __declspec(thread)
#else
#define THREAD_LOCAL _Thread_local
#endif

/* Of the thread that runs a session, which is the one that calls its kernels. */
static THREAD_LOCAL Counter *thread_limit;

void clipshelf_limit_threads(int64_t *limit) { thread_limit = (Counter *)limit; }

void run_parallel(Run *run, void(ORT_CALL *part)(void *job, size_t index), size_t parts, void *job) {
    if (run->error || parts == 0) {
        return;
    }
    if (parts == 1) {
        part(job, 0);
        return;
    }
    int64_t limit = thread_limit ? counter_read(thread_limit) : 0;
    size_t threads = limit > 0 ? (size_t)limit : 0; /* 0 is all of them, 1 this one */
    succeeds(run, ORT(run->api, KernelContext_ParallelFor)(run->context, part, parts, threads, job));
}
