/* AVX-VNNI: vpdpbusd on the registers of AVX, for CPUs without AVX-512. */
#define LANES_AVX2
#include "instruction_set.h"

#define FLOAT_ROWS 6
#define FLOAT_GROUPS 1
#include "float_kernels.h"
#include "attention.h"

#define TILE_BLOCK 6
#define PAIRS_MAY_OVERFLOW false
/* An asm statement for the reason given in tile_avx512vnni.h. */
#if defined(__GNUC__) && !defined(__clang__)
#define DOT_PRODUCT(sum, x, w) __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(x), "x"(w))
#else
#define DOT_PRODUCT(sum, x, w) ((sum) = _mm256_dpbusd_avx_epi32(sum, x, w))
#endif
#include "tile_avx2.h"
#include "linear.h"
#include "scan_avx2.h"
#include "scan_kernel.h"

extern const Kernels clipshelf_kernels_avxvnni;
DEFINE_KERNELS(clipshelf_kernels_avxvnni, "avxvnni", false);
