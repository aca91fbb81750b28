#include "dispatch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"

/* The build says which of them it has: those of CLIPSHELF_X86 or CLIPSHELF_ARM64, and those that the compiler knows. */
extern const Kernels clipshelf_kernels_portable;
#if defined(CLIPSHELF_X86)
extern const Kernels clipshelf_kernels_amx, clipshelf_kernels_avx512vnni, clipshelf_kernels_avxvnni;
extern const Kernels clipshelf_kernels_avx2;
#elif defined(CLIPSHELF_ARM64)
extern const Kernels clipshelf_kernels_neon_dotprod, clipshelf_kernels_neon;
#endif

static bool always(void) { return true; }

typedef struct {
    const Kernels *kernels;
    bool (*available)(void); /* on this CPU */
} InstructionSet;

/* The best first. */
static const InstructionSet INSTRUCTION_SETS[] = {
#if defined(CLIPSHELF_X86)
#if defined(CLIPSHELF_AMX)
    {&clipshelf_kernels_amx, cpu_has_amx},
#endif
    {&clipshelf_kernels_avx512vnni, cpu_has_avx512vnni},
#if defined(CLIPSHELF_AVXVNNI)
    {&clipshelf_kernels_avxvnni, cpu_has_avxvnni},
#endif
    {&clipshelf_kernels_avx2, cpu_has_avx2},
#elif defined(CLIPSHELF_ARM64)
    {&clipshelf_kernels_neon_dotprod, cpu_has_dotprod},
    {&clipshelf_kernels_neon, always},
#endif
    {&clipshelf_kernels_portable, always},
};
enum { SET_COUNT = sizeof INSTRUCTION_SETS / sizeof *INSTRUCTION_SETS };

const char *clipshelf_kernels_at(size_t index) {
    return index < SET_COUNT ? INSTRUCTION_SETS[index].kernels->name : NULL;
}

static void list_available(char *to, size_t size) {
    size_t length = 0;
    to[0] = 0;
    for (size_t i = 0; i < SET_COUNT; i++) {
        if (INSTRUCTION_SETS[i].available()) {
            int added = snprintf(to + length, size - length, "%s%s", length ? ", " : "", INSTRUCTION_SETS[i].kernels->name);
            length += added > 0 ? (size_t)added : 0;
            if (length >= size) {
                return;
            }
        }
    }
}

const Kernels *clipshelf_find_kernels(const char *name, char *problem, size_t size) {
    bool best = !name || !name[0];
    for (size_t i = 0; i < SET_COUNT; i++) {
        const InstructionSet *set = &INSTRUCTION_SETS[i];
        if ((best || strcmp(name, set->kernels->name) == 0) && set->available()) {
            return set->kernels;
        }
    }
    char available[128];
    list_available(available, sizeof available);
    snprintf(problem, size, KERNELS_VARIABLE ": expected an instruction set that this CPU has (%s), found '%.40s'",
             available, name ? name : "");
    return NULL;
}

const Kernels *clipshelf_choose_kernels(char *problem, size_t size) {
    return clipshelf_find_kernels(getenv(KERNELS_VARIABLE), problem, size);
}
