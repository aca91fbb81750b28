/* What the file of an instruction set includes first, and how it makes its table. */
#ifndef CLIPSHELF_INSTRUCTION_SET_H
#define CLIPSHELF_INSTRUCTION_SET_H

#include "kernels.h"
#include "scan.h"

#if defined(__GNUC__) || defined(__clang__)
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#elif defined(_MSC_VER)
#define ALWAYS_INLINE __forceinline
#define NOINLINE __declspec(noinline)
#else
#define ALWAYS_INLINE inline
#define NOINLINE
#endif

/* Before a loop of a constant number of steps whose arrays are to become registers. */
#if defined(LANES_PORTABLE)
#define UNROLL
#elif defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define UNROLL _Pragma("GCC unroll 16")
#else
#define UNROLL
#endif

/* Memory that is to be read ahead while a tile is computed. */
typedef struct {
    const int8_t *from;
    size_t lines; /* of 64 bytes */
} Prefetch;

/* What an instruction set remembers from one integer tile of a thread to the next: nothing, but for AMX. */
#if !defined(TILES_HAVE_STATE)
typedef struct {
    char none;
} Tiles;
static inline void tiles_end(const Tiles *tiles) { (void)tiles; }
#endif

/* Define the table `symbol` of the functions that were included. */
#define DEFINE_KERNELS(symbol, name, needs_exact_pairs) DEFINE_KERNELS_OF(linear, symbol, name, needs_exact_pairs)

/* The same with another integer linear than that of linear.h. */
#define DEFINE_KERNELS_OF(linear, symbol, name, needs_exact_pairs)                                                     \
    const Kernels symbol = {name, needs_exact_pairs, TILE_ROWS, linear, float_linear, norm, attention, normalize,      \
                            function, scan}

#endif
