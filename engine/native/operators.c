/* The operators of the domain `clipshelf`, and their registration. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clipshelf_native.h"
#include "dispatch.h"
#include "operator.h"
#include "weights.h"

enum { MAX_OUTPUT_COUNT = 2, PANELS_INPUT = 1 };

/* What an operator takes and gives. Inputs from `required` on are optional, and so are outputs but the first. */
typedef struct {
    OrtCustomOp op; /* first, so that onnxruntime's pointer to it is a pointer to this */
    const char *name;
    size_t input_count, required, output_count;
    OrtType inputs[MAX_INPUT_COUNT];
    OrtType outputs[MAX_OUTPUT_COUNT];
    bool rounds;     /* has out_scale and out_zero */
    bool normalises; /* has epsilon */
    bool attends;    /* has heads and causal */
    bool multiplies; /* has an int8 weight */
} Operator;

static const Operator *operator_of(const OrtCustomOp *op) { return (const Operator *)op; }

static const char *ORT_CALL name_of(const OrtCustomOp *op) { return operator_of(op)->name; }
static const char *ORT_CALL provider(const OrtCustomOp *op) {
    (void)op;
    return "CPUExecutionProvider";
}
static OrtType ORT_CALL input_type(const OrtCustomOp *op, size_t index) { return operator_of(op)->inputs[index]; }
static size_t ORT_CALL input_count(const OrtCustomOp *op) { return operator_of(op)->input_count; }
static OrtType ORT_CALL output_type(const OrtCustomOp *op, size_t index) { return operator_of(op)->outputs[index]; }
static size_t ORT_CALL output_count(const OrtCustomOp *op) { return operator_of(op)->output_count; }
static OrtCharacteristic ORT_CALL input_characteristic(const OrtCustomOp *op, size_t index) {
    return index < operator_of(op)->required ? ORT_REQUIRED : ORT_OPTIONAL;
}
static OrtCharacteristic ORT_CALL output_characteristic(const OrtCustomOp *op, size_t index) {
    (void)op;
    return index == 0 ? ORT_REQUIRED : ORT_OPTIONAL;
}
static int ORT_CALL memory_type(const OrtCustomOp *op, size_t index) {
    (void)op, (void)index;
    return 0; /* OrtMemTypeDefault */
}
static int ORT_CALL no_variadic(const OrtCustomOp *op) {
    (void)op;
    return 0;
}
static int ORT_CALL first_version(const OrtCustomOp *op) {
    (void)op;
    return 1;
}
static int ORT_CALL last_version(const OrtCustomOp *op) {
    (void)op;
    return 1;
}

/* Reads attributes, and keeps the first error. */
typedef struct {
    OrtApi *api;
    const OrtKernelInfo *info;
    const char *name;
    OrtStatus *error;
} Attributes;

static OrtStatus *invalid(OrtApi *api, const char *name, const char *what) {
    char text[320];
    snprintf(text, sizeof text, "%s: %s", name, what);
    return ORT(api, CreateStatus)(ORT_INVALID_ARGUMENT, text);
}

/* Release the status of reading an attribute, and say whether the attribute has another type. The status code is the same
 * as for an absent one. This part of the message is the same in all releases; older ones begin it with "Attibute name". */
static bool release_is_another_type(OrtApi *api, OrtStatus *status) {
    bool another = status && strstr(ORT(api, GetErrorMessage)(status), "type don't match");
    if (status) {
        ORT(api, ReleaseStatus)(status);
    }
    return another;
}

static void refuse(Attributes *from, const char *text) {
    if (!from->error) {
        from->error = invalid(from->api, from->name, text);
    }
}

/* An int attribute from `least` to `most`; where it is absent, `least`. */
static int64_t read_int(Attributes *from, const char *attribute, int64_t least, int64_t most) {
    int64_t value = least;
    char text[128];
    OrtStatus *status = ORT(from->api, KernelInfoGetAttribute_int64)(from->info, attribute, &value);
    if (status) {
        if (release_is_another_type(from->api, status)) {
            snprintf(text, sizeof text, "%s: expected an int, found another type", attribute);
            refuse(from, text);
        }
        return least;
    }
    if (value < least || value > most) {
        snprintf(text, sizeof text, "%s: expected %lld to %lld, found %lld", attribute, (long long)least,
                 (long long)most, (long long)value);
        refuse(from, text);
    }
    return value;
}

/* A float attribute that must be there, and above 0. */
static float read_positive(Attributes *from, const char *attribute) {
    float value = 0;
    OrtStatus *status = ORT(from->api, KernelInfoGetAttribute_float)(from->info, attribute, &value);
    bool failed = status != NULL;
    bool another_type = release_is_another_type(from->api, status);
    if (failed || !(value > 0) || value > 3e38F) {
        char text[128];
        snprintf(text, sizeof text, "%s: expected a float above 0, found %s", attribute,
                 another_type ? "another type" : failed ? "none" : "another value");
        refuse(from, text);
    }
    return value;
}

static void read_attributes(Attributes *from, const Operator *op, Kernel *kernel) {
    kernel->zero = (int32_t)read_int(from, "zero", 0, 255);
    kernel->activation = (Activation)read_int(from, "activation", 0, ACTIVATION_COUNT - 1);
    kernel->heads = 1;
    if (op->normalises) {
        kernel->epsilon = read_positive(from, "epsilon");
    }
    if (op->attends) {
        kernel->heads = (size_t)read_int(from, "heads", 1, 65536);
        kernel->causal = read_int(from, "causal", 0, 1) == 1;
    }
    if (op->rounds) {
        kernel->rounding.inverse_scale = 1.0F / read_positive(from, "out_scale");
        kernel->rounding.zero = (int32_t)read_int(from, "out_zero", 0, 255);
    }
}

/* The constants of the graph live as long as the session. Others, and what cannot be read, are left to each run. */
static void read_constants(OrtApi *api, const OrtKernelInfo *info, size_t count, Tensor *to) {
    for (size_t i = 0; i < count; i++) {
        const OrtValue *value = NULL;
        int constant = 0;
        OrtStatus *status = ORT(api, KernelInfoGetConstantInput_tensor)(info, i, &constant, &value);
        if (!status && constant && value) {
            status = tensor_read(api, value, &to[i]);
        }
        if (status) {
            to[i] = (Tensor){0};
            ORT(api, ReleaseStatus)(status);
        }
    }
}

static OrtStatus *ORT_CALL create(const OrtCustomOp *custom, OrtApi *api, const OrtKernelInfo *info, void **result) {
    const Operator *op = operator_of(custom);
    Attributes attributes = {.api = api, .info = info, .name = op->name};
    char problem[256];
    Kernel settings = {.api = api, .name = op->name, .required = op->required};
    settings.kernels = clipshelf_choose_kernels(problem, sizeof problem);
    if (!settings.kernels) {
        return invalid(api, op->name, problem);
    }
    read_attributes(&attributes, op, &settings);
    if (attributes.error) {
        return attributes.error;
    }
    read_constants(api, info, op->input_count, settings.constants);
    if (op->multiplies && settings.kernels->needs_exact_pairs) {
        const Tensor *panels = &settings.constants[PANELS_INPUT];
        settings.exact_pairs = panels->data && panels_have_exact_pairs(panels->data, panels->elements);
    }
    Kernel *kernel = malloc(sizeof *kernel);
    if (!kernel) {
        return invalid(api, op->name, "expected memory, found too little");
    }
    *kernel = settings;
    *result = kernel;
    return NULL;
}

static void ORT_CALL destroy(void *kernel) { free(kernel); }

#define OPERATOR(title, compute, ...)                                                                                  \
    {                                                                                                                  \
        .op = {.version = ORT_VERSION,                                                                                 \
               .GetName = name_of,                                                                                     \
               .GetExecutionProviderType = provider,                                                                   \
               .GetInputType = input_type,                                                                             \
               .GetInputTypeCount = input_count,                                                                       \
               .GetOutputType = output_type,                                                                           \
               .GetOutputTypeCount = output_count,                                                                     \
               .KernelDestroy = destroy,                                                                               \
               .GetInputCharacteristic = input_characteristic,                                                         \
               .GetOutputCharacteristic = output_characteristic,                                                       \
               .GetInputMemoryType = memory_type,                                                                      \
               .GetVariadicInputMinArity = no_variadic,                                                                \
               .GetVariadicInputHomogeneity = no_variadic,                                                             \
               .GetVariadicOutputMinArity = no_variadic,                                                               \
               .GetVariadicOutputHomogeneity = no_variadic,                                                            \
               .CreateKernelV2 = create,                                                                               \
               .KernelComputeV2 = (compute),                                                                           \
               .GetStartVersion = first_version,                                                                       \
               .GetEndVersion = last_version},                                                                         \
        .name = (title), __VA_ARGS__                                                                                   \
    }

#define LINEAR_INPUTS ORT_UINT8, ORT_INT8, ORT_INT32, ORT_FLOAT, ORT_FLOAT

/* An operator has several names: the optional inputs and outputs that a node has are part of its name, because each
 * name has one function in the model (docs/kernels.md). The kernel sees by itself which inputs are there. */
#define NORM_QUANTIZE(title)                                                                                           \
    OPERATOR(title, norm_quantize_compute, .input_count = 4, .required = 3, .output_count = 2, .normalises = true,     \
             .rounds = true, .inputs = {ORT_FLOAT, ORT_FLOAT, ORT_FLOAT, ORT_INT64}, .outputs = {ORT_UINT8, ORT_FLOAT})
#define LINEAR(title)                                                                                                  \
    OPERATOR(title, linear_compute, .input_count = 8, .required = 5, .output_count = 1, .multiplies = true,            \
             .inputs = {LINEAR_INPUTS, ORT_FLOAT, ORT_FLOAT, ORT_FLOAT}, .outputs = {ORT_FLOAT})
#define LINEAR_QUANTIZE(title)                                                                                         \
    OPERATOR(title, linear_quantize_compute, .input_count = 10, .required = 5, .output_count = 2, .multiplies = true,  \
             .rounds = true, .inputs = {LINEAR_INPUTS, ORT_FLOAT, ORT_FLOAT, ORT_FLOAT, ORT_FLOAT, ORT_INT64},         \
             .outputs = {ORT_UINT8, ORT_FLOAT})
#define LINEAR_QUANTIZE_VARIANTS(title)                                                                                \
    LINEAR_QUANTIZE(title), LINEAR_QUANTIZE(title "Shift"), LINEAR_QUANTIZE(title "Spread"),                           \
        LINEAR_QUANTIZE(title "ShiftSpread"), LINEAR_QUANTIZE(title "Outliers"),                                       \
        LINEAR_QUANTIZE(title "ShiftOutliers"), LINEAR_QUANTIZE(title "SpreadOutliers"),                               \
        LINEAR_QUANTIZE(title "ShiftSpreadOutliers")
#define ATTENTION_INPUTS LINEAR_INPUTS, ORT_FLOAT, ORT_FLOAT, ORT_INT32, ORT_INT64
#define ATTENTION(title)                                                                                               \
    OPERATOR(title, attention_compute, .input_count = 9, .required = 5, .output_count = 1, .multiplies = true,         \
             .attends = true, .rounds = true, .inputs = {ATTENTION_INPUTS}, .outputs = {ORT_UINT8})
#define ATTENTION_FLOAT(title)                                                                                         \
    OPERATOR(title, attention_float_compute, .input_count = 9, .required = 5, .output_count = 1, .multiplies = true,   \
             .attends = true, .inputs = {ATTENTION_INPUTS}, .outputs = {ORT_FLOAT})
#define FLOAT_LINEAR(title)                                                                                            \
    OPERATOR(title, float_linear_compute, .input_count = 4, .required = 3, .output_count = 1,                          \
             .inputs = {ORT_FLOAT, ORT_FLOAT, ORT_FLOAT, ORT_FLOAT}, .outputs = {ORT_FLOAT}),                          \
        OPERATOR(title, half_linear_compute, .input_count = 4, .required = 3, .output_count = 1,                       \
                 .inputs = {ORT_FLOAT, ORT_FLOAT16, ORT_FLOAT, ORT_FLOAT}, .outputs = {ORT_FLOAT})

static const Operator OPERATORS[] = {
    OPERATOR("Norm", norm_compute, .input_count = 3, .required = 3, .output_count = 1, .normalises = true,
             .inputs = {ORT_FLOAT, ORT_FLOAT, ORT_FLOAT}, .outputs = {ORT_FLOAT}),
    NORM_QUANTIZE("NormQuantize"),
    NORM_QUANTIZE("NormQuantizeOutliers"),
    LINEAR("Linear"),
    LINEAR("LinearColumns"),
    LINEAR("LinearResidual"),
    LINEAR("LinearResidualColumns"),
    LINEAR("LinearActivation"),
    LINEAR("LinearActivationColumns"),
    LINEAR_QUANTIZE_VARIANTS("LinearQuantize"),
    LINEAR_QUANTIZE_VARIANTS("LinearQuantizeColumns"),
    ATTENTION("Attention"),
    ATTENTION("AttentionColumns"),
    ATTENTION("AttentionPosition"),
    ATTENTION("AttentionColumnsPosition"),
    ATTENTION_FLOAT("AttentionFloat"),
    ATTENTION_FLOAT("AttentionFloatColumns"),
    ATTENTION_FLOAT("AttentionFloatPosition"),
    ATTENTION_FLOAT("AttentionFloatColumnsPosition"),
    OPERATOR("Attend", attend_compute, .input_count = 3, .required = 2, .output_count = 1, .attends = true,
             .inputs = {ORT_FLOAT, ORT_FLOAT, ORT_INT32}, .outputs = {ORT_FLOAT}),
    FLOAT_LINEAR("FloatLinear"),
    FLOAT_LINEAR("FloatLinearResidual"),
    FLOAT_LINEAR("FloatLinearActivation"),
    FLOAT_LINEAR("FloatLinearGelu"),
    OPERATOR("Normalize", normalize_compute, .input_count = 1, .required = 1, .output_count = 1, .inputs = {ORT_FLOAT},
             .outputs = {ORT_FLOAT}),
};

OrtStatus *ORT_CALL RegisterCustomOps(OrtSessionOptions *options, const OrtApiBase *base) {
    OrtApi *api = base->GetApi(ORT_VERSION);
    if (!api) {
        return NULL; /* an onnxruntime before 1.17: there is no way to report it; the graph's functions run instead */
    }
    char problem[256];
    if (!clipshelf_choose_kernels(problem, sizeof problem)) {
        return ORT(api, CreateStatus)(ORT_INVALID_ARGUMENT, problem);
    }
    OrtCustomOpDomain *domain = NULL;
    OrtStatus *status = ORT(api, CreateCustomOpDomain)("clipshelf", &domain);
    for (size_t i = 0; !status && i < sizeof OPERATORS / sizeof *OPERATORS; i++) {
        status = ORT(api, CustomOpDomain_Add)(domain, &OPERATORS[i].op);
    }
    return status ? status : ORT(api, AddCustomOpDomain)(options, domain);
}
