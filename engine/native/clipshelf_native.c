#include "clipshelf_native.h"

#include "dispatch.h"

int clipshelf_interface(void) { return CLIPSHELF_INTERFACE; }

const char *clipshelf_instruction_set(void) {
    char problem[256];
    const Kernels *kernels = clipshelf_choose_kernels(problem, sizeof problem);
    return kernels ? kernels->name : "";
}

const char *clipshelf_instruction_set_at(size_t index) { return clipshelf_kernels_at(index); }

int clipshelf_has_instruction_set(const char *name) {
    char problem[256];
    return name && name[0] && clipshelf_find_kernels(name, problem, sizeof problem) != NULL;
}
