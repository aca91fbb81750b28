/* The parts of an int8 linear that attention uses too. */
#ifndef CLIPSHELF_OPERATORS_LINEAR_H
#define CLIPSHELF_OPERATORS_LINEAR_H

#include "operator.h"

/* Fill in what the first five inputs, x, panels, sums, scale and bias, and the attributes say. */
void linear_operands(Run *run, const Kernel *kernel, Linear *linear);

/* Fill in the outlier columns and their weight, from these inputs where they are present. */
void linear_columns(Run *run, size_t columns, size_t column_weight, Linear *linear);

/* Copy the rows of x to a stride that a tile may read, where K is no multiple of 4. The result is memory of the run. */
void *linear_padded_inputs(Run *run, Linear *linear);

/* Compute a run of panels on the threads of the session. */
void linear_run(Run *run, const Kernel *kernel, const Linear *linear, Range panels);

#endif
