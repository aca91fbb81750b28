/* 16 floats at once: the one vector type that the float algorithms are written in.
 *
 * An instruction set implements it as one register of AVX-512, two of AVX, four of NEON, or an array. As all have the
 * same 16 lanes, and each operation below is rounded as IEEE 754 says, an algorithm gives the same bits on all of them.
 *
 *   lanes_load, _load_first         from memory; the first `count` lanes, the others 0
 *   lanes_load_half                 from IEEE half precision, exact
 *   lanes_load_sum(a, b)            float of a + b, int32 that wraps around
 *   lanes_of                        one value in all lanes
 *   lanes_add, _sub, _mul, _div     a op b
 *   lanes_fma(a, b, c)              a * b + c with one rounding
 *   lanes_max(a, b)                 a > b ? a : b
 *   lanes_min(a, b)                 a < b ? a : b
 *   lanes_round                     to an integer, halves to even
 *   lanes_greater(a, b, yes, no)    a > b ? yes : no
 *   lanes_keep_first(a, count, b)   the first `count` lanes of a, the others of b
 *   lanes_power_of_two(n)           2^n for an integer n in [-126, 127]
 *   lanes_sum, _largest             of all lanes, by the tree of lanes 8, 4, 2 and 1 apart
 *   lanes_store, _store_first       to memory; the first `count` lanes only
 *   lanes_store_bytes, _bytes_first integers `rounded` + zero, which lie in 0 to 255, as uint8
 *   lanes_transpose                 of 16 rows of 16 floats, fewer rows count as 0
 *
 * `count` is at most 16. */
#ifndef CLIPSHELF_LANES_H
#define CLIPSHELF_LANES_H

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels.h"

#if defined(LANES_PORTABLE)
#include "lanes_portable.h"
#elif defined(LANES_AVX2)
#include "lanes_avx2.h"
#elif defined(LANES_AVX512)
#include "lanes_avx512.h"
#elif defined(LANES_NEON)
#include "lanes_neon.h"
#else
#error "an instruction set says which lanes it has"
#endif

#include "functions.h"

#endif
