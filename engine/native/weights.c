#include "weights.h"

enum { LARGEST_PAIR = INT16_MAX / UINT8_MAX };

bool panels_have_exact_pairs(const int8_t *panels, size_t count) {
    int most = 0, least = 0;
    for (size_t i = 0; i + 1 < count; i += 2) {
        int positive = (panels[i] > 0 ? panels[i] : 0) + (panels[i + 1] > 0 ? panels[i + 1] : 0);
        int negative = (panels[i] < 0 ? panels[i] : 0) + (panels[i + 1] < 0 ? panels[i + 1] : 0);
        most = positive > most ? positive : most;
        least = negative < least ? negative : least;
    }
    return most <= LARGEST_PAIR && least >= -LARGEST_PAIR;
}

bool weight_has_exact_pairs(OrtApi *api, const OrtKernelInfo *info, size_t input) {
    const OrtValue *value = NULL;
    OrtTensorTypeAndShapeInfo *shape = NULL;
    void *data = NULL;
    int64_t dimensions[4] = {0, 0, 0, 0};
    size_t rank = 0;
    int constant = 0;
    OrtStatus *status = ORT(api, KernelInfoGetConstantInput_tensor)(info, input, &constant, &value);
    if (!status && constant && value) {
        status = ORT(api, GetTensorMutableData)((OrtValue *)(uintptr_t)value, &data);
    }
    if (!status && data) {
        status = ORT(api, GetTensorTypeAndShape)(value, &shape);
    }
    if (!status && shape) {
        status = ORT(api, GetDimensionsCount)(shape, &rank);
    }
    if (!status && rank == 4) {
        status = ORT(api, GetDimensions)(shape, dimensions, rank);
    }
    if (shape) {
        ORT(api, ReleaseTensorTypeAndShapeInfo)(shape);
    }
    if (status) {
        ORT(api, ReleaseStatus)(status);
        return false;
    }
    size_t count = (size_t)dimensions[0] * (size_t)dimensions[1] * (size_t)dimensions[2] * (size_t)dimensions[3];
    return count > 0 && panels_have_exact_pairs(data, count);
}
