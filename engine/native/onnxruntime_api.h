/* The part of onnxruntime's C interface that is used, declared without its header.
 *
 * OrtApi is a table of functions that only grows: an entry keeps its index for ever. So an index and a type say all about
 * an entry. tests/native/test_onnxruntime_api.py compares both with onnxruntime's header. */
#ifndef CLIPSHELF_ONNXRUNTIME_API_H
#define CLIPSHELF_ONNXRUNTIME_API_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define ORT_CALL __stdcall
#else
#define ORT_CALL
#endif

typedef struct OrtStatus OrtStatus;
typedef struct OrtValue OrtValue;
typedef struct OrtTensorTypeAndShapeInfo OrtTensorTypeAndShapeInfo;
typedef struct OrtKernelInfo OrtKernelInfo;
typedef struct OrtKernelContext OrtKernelContext;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtCustomOpDomain OrtCustomOpDomain;
typedef struct OrtCustomOp OrtCustomOp;

/* The table, whose entries have the types below. */
typedef void(ORT_CALL *OrtFunction)(void);
typedef const OrtFunction OrtApi;

typedef struct {
    OrtApi *(ORT_CALL *GetApi)(uint32_t version);
    const char *(ORT_CALL *GetVersionString)(void);
} OrtApiBase;

/* The version of the table that is asked for, and of OrtCustomOp below. onnxruntime 1.17 and later have it. */
enum { ORT_VERSION = 17 };

enum { ORT_FAIL = 1, ORT_INVALID_ARGUMENT = 2 };

typedef enum { ORT_FLOAT = 1, ORT_UINT8 = 2, ORT_INT8 = 3, ORT_INT32 = 6, ORT_INT64 = 7, ORT_FLOAT16 = 10 } OrtType;

typedef enum { ORT_REQUIRED = 0, ORT_OPTIONAL = 1 } OrtCharacteristic;

/* name, index, arguments; all but the first two return an OrtStatus */
#define ORT_ENTRIES(ENTRY)                                                                                             \
    ENTRY(CreateCustomOpDomain, 26, (const char *domain, OrtCustomOpDomain **result))                                  \
    ENTRY(CustomOpDomain_Add, 27, (OrtCustomOpDomain * domain, const OrtCustomOp *op))                                 \
    ENTRY(AddCustomOpDomain, 28, (OrtSessionOptions * options, OrtCustomOpDomain *domain))                             \
    /* declared for a constant value, since version 17 has no other way to the data of an input */                      \
    ENTRY(GetTensorMutableData, 51, (const OrtValue *value, void **result))                                            \
    ENTRY(GetDimensionsCount, 61, (const OrtTensorTypeAndShapeInfo *info, size_t *result))                             \
    ENTRY(GetDimensions, 62, (const OrtTensorTypeAndShapeInfo *info, int64_t *result, size_t count))                   \
    ENTRY(GetTensorTypeAndShape, 65, (const OrtValue *value, OrtTensorTypeAndShapeInfo **result))                      \
    ENTRY(KernelInfoGetAttribute_float, 85, (const OrtKernelInfo *info, const char *name, float *result))              \
    ENTRY(KernelInfoGetAttribute_int64, 86, (const OrtKernelInfo *info, const char *name, int64_t *result))            \
    ENTRY(KernelContext_GetInputCount, 88, (const OrtKernelContext *context, size_t *result))                          \
    ENTRY(KernelContext_GetOutputCount, 89, (const OrtKernelContext *context, size_t *result))                         \
    ENTRY(KernelContext_GetInput, 90, (const OrtKernelContext *context, size_t index, const OrtValue **result))        \
    ENTRY(KernelContext_GetOutput, 91,                                                                                 \
          (OrtKernelContext * context, size_t index, const int64_t *dimensions, size_t count, OrtValue **result))      \
    ENTRY(KernelInfoGetConstantInput_tensor, 249,                                                                      \
          (const OrtKernelInfo *info, size_t index, int *is_constant, const OrtValue **result))                        \
    ENTRY(KernelContext_ParallelFor, 274,                                                                              \
          (const OrtKernelContext *context, void(ORT_CALL *function)(void *data, size_t part), size_t parts,           \
           size_t batches, void *data))

#define ORT_DECLARE(name, index, arguments)                                                                            \
    enum { name##_INDEX = (index) };                                                                                   \
    typedef OrtStatus *(ORT_CALL * name##_Function) arguments;
ORT_ENTRIES(ORT_DECLARE)
#undef ORT_DECLARE

enum {
    CreateStatus_INDEX = 0,
    GetErrorMessage_INDEX = 2,
    ReleaseStatus_INDEX = 93,
    ReleaseTensorTypeAndShapeInfo_INDEX = 99
};
typedef OrtStatus *(ORT_CALL *CreateStatus_Function)(int code, const char *message);
typedef const char *(ORT_CALL *GetErrorMessage_Function)(const OrtStatus *status);
typedef void(ORT_CALL *ReleaseStatus_Function)(OrtStatus *status);
typedef void(ORT_CALL *ReleaseTensorTypeAndShapeInfo_Function)(OrtTensorTypeAndShapeInfo *info);

/* The entry `name` of a table, as a function. */
#define ORT(api, name) ((name##_Function)(api)[name##_INDEX])

/* A custom operator, as of version 17. Entries that are NULL here are not used. */
struct OrtCustomOp {
    uint32_t version;
    void *CreateKernel;
    const char *(ORT_CALL *GetName)(const OrtCustomOp *op);
    const char *(ORT_CALL *GetExecutionProviderType)(const OrtCustomOp *op);
    OrtType(ORT_CALL *GetInputType)(const OrtCustomOp *op, size_t index);
    size_t(ORT_CALL *GetInputTypeCount)(const OrtCustomOp *op);
    OrtType(ORT_CALL *GetOutputType)(const OrtCustomOp *op, size_t index);
    size_t(ORT_CALL *GetOutputTypeCount)(const OrtCustomOp *op);
    void *KernelCompute;
    void(ORT_CALL *KernelDestroy)(void *kernel);
    OrtCharacteristic(ORT_CALL *GetInputCharacteristic)(const OrtCustomOp *op, size_t index);
    OrtCharacteristic(ORT_CALL *GetOutputCharacteristic)(const OrtCustomOp *op, size_t index);
    int(ORT_CALL *GetInputMemoryType)(const OrtCustomOp *op, size_t index);
    int(ORT_CALL *GetVariadicInputMinArity)(const OrtCustomOp *op);
    int(ORT_CALL *GetVariadicInputHomogeneity)(const OrtCustomOp *op);
    int(ORT_CALL *GetVariadicOutputMinArity)(const OrtCustomOp *op);
    int(ORT_CALL *GetVariadicOutputHomogeneity)(const OrtCustomOp *op);
    OrtStatus *(ORT_CALL *CreateKernelV2)(const OrtCustomOp *op, OrtApi *api, const OrtKernelInfo *info, void **kernel);
    OrtStatus *(ORT_CALL *KernelComputeV2)(void *kernel, OrtKernelContext *context);
    void *InferOutputShapeFn;
    int(ORT_CALL *GetStartVersion)(const OrtCustomOp *op);
    int(ORT_CALL *GetEndVersion)(const OrtCustomOp *op);
};

#endif
