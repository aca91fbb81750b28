/* AVX-512 with VNNI: vpdpbusd multiplies and adds 64 bytes at once. */
#define LANES_AVX512
#include "instruction_set.h"

#define FLOAT_ROWS 6
#define FLOAT_GROUPS 4
#include "float_kernels.h"
#include "attention.h"
#include "tile_avx512vnni.h"
#include "linear.h"
#include "scan_avx512.h"
#include "scan_kernel.h"

extern const Kernels clipshelf_kernels_avx512vnni;
DEFINE_KERNELS(clipshelf_kernels_avx512vnni, "avx512vnni", false);
