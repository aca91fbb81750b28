/* Plain NEON, which every 64-bit ARM has: products of int8 in 16 bits, added in pairs to 32 bits. */
#define LANES_NEON
#include "instruction_set.h"

#define FLOAT_ROWS 6
#define FLOAT_GROUPS 1
#include "float_kernels.h"
#include "attention.h"

typedef int8x16_t Inputs;
enum { INPUT_OFFSET = 128 };

static inline Inputs inputs_of(const uint8_t *x) {
    uint32_t group;
    memcpy(&group, x, sizeof group);
    return vreinterpretq_s8_u32(vdupq_n_u32(group ^ 0x80808080U)); /* as int8, x with its top bit changed is x - 128 */
}

/* Four lanes of w are 16 bytes. A product fits 16 bits, two neighbours together may not: they are widened first. */
static inline int32x4_t add_products(int32x4_t sum, Inputs x, int8x16_t w) {
    int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(x)));
    int32x4_t high = vpaddlq_s16(vmull_high_s8(w, x));
    return vaddq_s32(sum, vpaddq_s32(low, high));
}
#define DOT_PRODUCT(sum, x, w) ((sum) = add_products(sum, x, w))
#include "tile_neon.h"
#include "linear.h"
#define DOT_PRODUCT_16(sum, x, w) ((sum) = add_products(sum, x, w))
#include "scan_neon.h"
#include "scan_kernel.h"

extern const Kernels clipshelf_kernels_neon;
DEFINE_KERNELS(clipshelf_kernels_neon, "neon", false);
