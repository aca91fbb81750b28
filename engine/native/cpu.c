#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* syscall */
#endif
#include "cpu.h"

#include <stdint.h>

#if defined(CLIPSHELF_X86)

#if defined(_MSC_VER)
#include <immintrin.h>
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

typedef struct {
    uint32_t eax, ebx, ecx, edx;
} Cpuid;

static Cpuid cpuid(uint32_t leaf, uint32_t subleaf) {
    Cpuid result = {0, 0, 0, 0};
#if defined(_MSC_VER)
    int registers[4];
    __cpuid(registers, 0);
    if ((uint32_t)registers[0] >= leaf) {
        __cpuidex(registers, (int)leaf, (int)subleaf);
        result = (Cpuid){(uint32_t)registers[0], (uint32_t)registers[1], (uint32_t)registers[2], (uint32_t)registers[3]};
    }
#else
    if (!__get_cpuid_count(leaf, subleaf, &result.eax, &result.ebx, &result.ecx, &result.edx)) {
        return (Cpuid){0, 0, 0, 0};
    }
#endif
    return result;
}

static bool bit(uint32_t word, int index) { return word >> index & 1U; }

/* The register files that the operating system saves, XCR0; 0 where it saves none. */
static uint64_t saved_registers(void) {
    if (!bit(cpuid(1, 0).ecx, 27)) { /* OSXSAVE */
        return 0;
    }
#if defined(_MSC_VER)
    return _xgetbv(0);
#else
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
#endif
}

enum { XCR0_AVX = 0x6, XCR0_AVX512 = 0xe6, XCR0_TILES = 0x60000 };

static bool saves(uint64_t registers) { return (saved_registers() & registers) == registers; }

bool cpu_has_avx2(void) {
    uint32_t features = cpuid(1, 0).ecx;
    return saves(XCR0_AVX) && bit(features, 12) && bit(features, 29) && bit(cpuid(7, 0).ebx, 5); /* FMA, F16C, AVX2 */
}

bool cpu_has_avxvnni(void) { return cpu_has_avx2() && bit(cpuid(7, 1).eax, 4); }

bool cpu_has_avx512vnni(void) {
    Cpuid features = cpuid(7, 0);
    bool base = bit(features.ebx, 16) && bit(features.ebx, 17) && bit(features.ebx, 30) && bit(features.ebx, 31);
    return cpu_has_avx2() && saves(XCR0_AVX512) && base && bit(features.ecx, 11); /* F, DQ, BW, VL; VNNI */
}

bool cpu_has_amx(void) {
    uint32_t features = cpuid(7, 0).edx;
    if (!cpu_has_avx512vnni() || !saves(XCR0_TILES) || !bit(features, 24) || !bit(features, 25)) { /* TILE, INT8 */
        return false;
    }
#if defined(__linux__)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false; /* other systems ask for the permission in ways that were not tried */
#endif
}

#elif defined(CLIPSHELF_ARM64)

#if defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <stddef.h>
#include <sys/sysctl.h>
#elif defined(_WIN32)
#include <windows.h>
#endif

bool cpu_has_dotprod(void) {
#if defined(__linux__)
    enum { HWCAP_DOT_PRODUCT = 1 << 20 };
    return (getauxval(AT_HWCAP) & HWCAP_DOT_PRODUCT) != 0;
#elif defined(__APPLE__)
    int present = 0;
    size_t size = sizeof present;
    return sysctlbyname("hw.optional.arm.FEAT_DotProd", &present, &size, NULL, 0) == 0 && present;
#elif defined(_WIN32)
    enum { ARM_V82_DOT_PRODUCT = 43 }; /* PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE, which older headers lack */
    return IsProcessorFeaturePresent(ARM_V82_DOT_PRODUCT) != 0;
#else
    return false;
#endif
}

#endif
