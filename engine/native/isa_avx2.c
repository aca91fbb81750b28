/* AVX2 without VNNI: products are added in pairs in 16 bits, then in fours. */
#define LANES_AVX2
#include "instruction_set.h"

#define FLOAT_ROWS 6
#define FLOAT_GROUPS 1
#include "float_kernels.h"
#include "attention.h"

#define TILE_BLOCK 4
#define PAIRS_MAY_OVERFLOW true
#define DOT_PRODUCT(sum, x, w)                                                                                         \
    ((sum) = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(x, w), _mm256_set1_epi16(1))))
#include "tile_avx2.h"
#include "linear.h"
#include "scan_avx2.h"
#include "scan_kernel.h"

extern const Kernels clipshelf_kernels_avx2;
DEFINE_KERNELS(clipshelf_kernels_avx2, "avx2", true);
