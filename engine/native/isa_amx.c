/* AMX: tile registers of 16 x 64 bytes, beside AVX-512 with VNNI. */
#define LANES_AVX512
#define TILES_HAVE_STATE
#include "instruction_set.h"

#define FLOAT_ROWS 6
#define FLOAT_GROUPS 4
#include "float_kernels.h"
#include "attention.h"
#include "read_ahead.h"
#include "tile_amx.h"
#include "linear.h"
#include "scan_avx512.h"
#include "scan_kernel.h"

extern const Kernels clipshelf_kernels_amx;
DEFINE_KERNELS(clipshelf_kernels_amx, "amx", false);
