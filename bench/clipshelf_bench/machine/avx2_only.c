/* Preloaded into a process, hides from it what x86-64 CPUs have beyond AVX2 and fma: AVX-512, VNNI and AMX.
 *
 * The kernel of Linux lets the CPUID instruction fault (arch_prctl, ARCH_SET_CPUID), on CPUs and hypervisors that allow
 * it. The handler runs the instruction itself, clears the bits and goes on behind it. So every library that asks the
 * CPU what it has chooses its kernels for AVX2; there is no such switch in onnxruntime or OpenVINO. Threads inherit
 * the setting, and a new program loses it. */
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { ARCH_SET_CPUID = 0x1012, INSTRUCTION_BYTES = 2, FEATURES_LEAF = 7 };

/* Bits of leaf 7. Sub-leaf 0: AVX-512 F, DQ, IFMA, PF, ER, CD, BW, VL; VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ;
 * 4VNNIW, 4FMAPS, VP2INTERSECT, FP16, and the three of AMX. Sub-leaf 1: AVX-VNNI, AVX512-BF16, AMX-FP16; AVX-VNNI-INT8,
 * AVX-VNNI-INT16, AVX10. */
static const unsigned EBX_0 = 1U << 16 | 1U << 17 | 1U << 21 | 1U << 26 | 1U << 27 | 1U << 28 | 1U << 30 | 1U << 31;
static const unsigned ECX_0 = 1U << 1 | 1U << 6 | 1U << 11 | 1U << 12 | 1U << 14;
static const unsigned EDX_0 = 1U << 2 | 1U << 3 | 1U << 8 | 1U << 22 | 1U << 23 | 1U << 24 | 1U << 25;
static const unsigned EAX_1 = 1U << 4 | 1U << 5 | 1U << 21;
static const unsigned EDX_1 = 1U << 4 | 1U << 10 | 1U << 19;

static struct sigaction previous;

static void pass_on(int signal_number, siginfo_t *info, void *context) {
    if (previous.sa_flags & SA_SIGINFO && previous.sa_sigaction) {
        previous.sa_sigaction(signal_number, info, context);
    } else {
        signal(SIGSEGV, SIG_DFL); /* the instruction faults again, and ends the process */
    }
}

static void answer_cpuid(int signal_number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *instruction = (const unsigned char *)registers[REG_RIP];
    if (info->si_code != SI_KERNEL || instruction[0] != 0x0f || instruction[1] != 0xa2) {
        pass_on(signal_number, info, context);
        return;
    }
    unsigned a, b, c, d, leaf = (unsigned)registers[REG_RAX], part = (unsigned)registers[REG_RCX];
    syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1);
    __cpuid_count(leaf, part, a, b, c, d);
    syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0);
    if (leaf == FEATURES_LEAF && part == 0) {
        b &= ~EBX_0, c &= ~ECX_0, d &= ~EDX_0;
    } else if (leaf == FEATURES_LEAF && part == 1) {
        a &= ~EAX_1, d &= ~EDX_1;
    }
    registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
    registers[REG_RIP] += INSTRUCTION_BYTES;
}

__attribute__((constructor)) static void hide(void) {
    struct sigaction action = {.sa_sigaction = answer_cpuid, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    sigaction(SIGSEGV, &action, &previous);
    if (syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0) != 0) {
        fputs("avx2_only: expected a CPU and a kernel whose CPUID instruction can fault, found another\n", stderr);
        _exit(1);
    }
}
