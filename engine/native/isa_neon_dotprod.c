/* NEON with the dot products of ARMv8.2: sdot multiplies int8 by int8, so the inputs are taken less 128. */
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
#define DOT_PRODUCT(sum, x, w) ((sum) = vdotq_s32(sum, w, x))
#include "tile_neon.h"
#include "linear.h"
#define DOT_PRODUCT_16(sum, x, w) ((sum) = vdotq_s32(sum, x, w))
#include "scan_neon.h"
#include "scan_kernel.h"

extern const Kernels clipshelf_kernels_neon_dotprod;
DEFINE_KERNELS(clipshelf_kernels_neon_dotprod, "neon-dotprod", false);
