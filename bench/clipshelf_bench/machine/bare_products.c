/* The most multiply-adds of bytes that a CPU does: loops of nothing but the product instruction, on registers.
 *
 * No kernel exceeds it. bare_rate runs for about a quarter of a second on the calling thread. */
#define _GNU_SOURCE
#include <immintrin.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SECONDS 0.25
enum { PASSES = 20000, ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* An asm statement keeps each sum in its own register and lets the compiler leave none out. */
#define SUM(i, instruction, constraint)                                                                                \
    __asm__ volatile(instruction " %2, %1, %0" : "+" constraint(s##i) : constraint(x), constraint(w));
#define SUMS_12(STEP)                                                                                                  \
    STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7) STEP(8) STEP(9) STEP(10) STEP(11)
#define DECLARE_12(type, zero)                                                                                         \
    type s0 = zero, s1 = zero, s2 = zero, s3 = zero, s4 = zero, s5 = zero, s6 = zero, s7 = zero, s8 = zero, s9 = zero, \
         s10 = zero, s11 = zero, x = zero, w = zero

__attribute__((target("avx512f,avx512vnni"))) static void avx512vnni(void) {
    DECLARE_12(__m512i, _mm512_setzero_si512());
#define STEP(i) SUM(i, "vpdpbusd", "v")
    for (int pass = 0; pass < PASSES; pass++) {
        SUMS_12(STEP)
    }
#undef STEP
}

__attribute__((target("avx2,avxvnni"))) static void avxvnni(void) {
    DECLARE_12(__m256i, _mm256_setzero_si256());
#define STEP(i) SUM(i, "%{vex%} vpdpbusd", "x")
    for (int pass = 0; pass < PASSES; pass++) {
        SUMS_12(STEP)
    }
#undef STEP
}

/* Pairs of bytes, pairs of those, and their sum: three instructions for 32 multiply-adds. */
__attribute__((target("avx2"))) static void avx2(void) {
    DECLARE_12(__m256i, _mm256_setzero_si256());
    __m256i one = _mm256_set1_epi16(1), pairs;
#define STEP(i)                                                                                                        \
    __asm__ volatile("vpmaddubsw %3, %2, %1\n\tvpmaddwd %4, %1, %1\n\tvpaddd %1, %0, %0"                               \
                     : "+x"(s##i), "=&x"(pairs)                                                                        \
                     : "x"(x), "x"(w), "x"(one));
    for (int pass = 0; pass < PASSES; pass++) {
        SUMS_12(STEP)
    }
#undef STEP
}

/* Four sums of 16 x 16, from two tiles of rows and two of columns, 64 bytes deep. */
__attribute__((target("amx-tile,amx-int8"))) static void amx(void) {
    /* palette 1, 14 bytes of nothing, bytes in a row of each tile, 16 bytes of nothing, rows of each tile */
    static const _Alignas(64) uint8_t shapes[64] = {
        1, [16] = 64, [18] = 64, [20] = 64, [22] = 64, [24] = 64, [26] = 64, [28] = 64, [30] = 64,
        [48] = 16, [49] = 16, [50] = 16, [51] = 16, [52] = 16, [53] = 16, [54] = 16, [55] = 16};
    _tile_loadconfig(shapes);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
    for (int pass = 0; pass < PASSES / 100; pass++) {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    _tile_release();
}

/* Multiply-adds per second of one thread by `instructions`, a name of CLIPSHELF_KERNELS which this CPU must have. 0 for
 * a name that is not known here. */
double bare_rate(const char *instructions) {
    void (*passes)(void) = NULL;
    double products = 0;
    if (strcmp(instructions, "avx512vnni") == 0) {
        passes = avx512vnni, products = 12.0 * 64 * PASSES;
    } else if (strcmp(instructions, "avxvnni") == 0) {
        passes = avxvnni, products = 12.0 * 32 * PASSES;
    } else if (strcmp(instructions, "avx2") == 0) {
        passes = avx2, products = 12.0 * 32 * PASSES;
    } else if (strcmp(instructions, "amx") == 0 && syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0) {
        passes = amx, products = 4.0 * 16 * 16 * 64 * (PASSES / 100);
    } else {
        return 0;
    }
    double shortest = 1e9, end = now() + SECONDS;
    for (double start = now(); start < end;) {
        passes();
        double stop = now();
        shortest = stop - start < shortest ? stop - start : shortest;
        start = stop;
    }
    return products / shortest;
}
