/* Whether an int8 weight suits AVX2 without VNNI. */
#ifndef CLIPSHELF_WEIGHTS_H
#define CLIPSHELF_WEIGHTS_H

#include "kernels.h"

/* Whether 255 times two neighbouring weights of one sign never leaves int16, for `count` bytes of panels.
 *
 * AVX2 multiplies uint8 by int8 and adds two neighbouring products in 16 bits, where a larger sum would be cut off. The
 * exporter rounds weights so that it cannot happen (quantise_weight in export/clipshelf_export/graphs/weights.py). A
 * weight that is not rounded so, or that is not known when the kernel is made, is multiplied in a slower, exact way. */
bool panels_have_exact_pairs(const int8_t *panels, size_t count);

#endif
