/* DOT_PRODUCT(sum, x, w): sum + the products of 4 uint8 of x and 4 int8 of w in each lane.
 *
 * GCC 12 spills the sums of a tile to memory with the intrinsic, at half the speed, and does not with an asm statement. */
#ifndef CLIPSHELF_DOT_PRODUCT_AVX512VNNI_H
#define CLIPSHELF_DOT_PRODUCT_AVX512VNNI_H

#if defined(__GNUC__) && !defined(__clang__)
#define DOT_PRODUCT(sum, x, w) __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w))
#else
#define DOT_PRODUCT(sum, x, w) ((sum) = _mm512_dpbusd_epi32(sum, x, w))
#endif

#endif
