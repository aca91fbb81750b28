/* Which instruction set runs. */
#ifndef CLIPSHELF_DISPATCH_H
#define CLIPSHELF_DISPATCH_H

#include "kernels.h"

/* The environment variable that names an instruction set to be used instead of the best one. */
#define KERNELS_VARIABLE "CLIPSHELF_KERNELS"

/* Return the kernels of the named instruction set; NULL or "" names none, and the best one is taken.
 *
 * Returns NULL where this library or this CPU does not have it. `problem` (size bytes) then says what was expected. */
const Kernels *clipshelf_find_kernels(const char *name, char *problem, size_t size);

/* The same with the name in CLIPSHELF_KERNELS. */
const Kernels *clipshelf_choose_kernels(char *problem, size_t size);

/* Visit the instruction sets that this library has, the best first; `index` counts from 0, NULL ends them. */
const char *clipshelf_kernels_at(size_t index);

#endif
