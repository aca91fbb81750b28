/* Reading memory ahead on x86, evenly over the steps of a loop, so that the memory bus never rests. */
#ifndef CLIPSHELF_READ_AHEAD_H
#define CLIPSHELF_READ_AHEAD_H

#include <immintrin.h>

#include "instruction_set.h"

/* `lines` lines of 64 bytes in `steps` steps. */
typedef struct {
    const int8_t *from;
    size_t lines, steps, due;
} ReadAhead;

static inline ReadAhead read_ahead_in(Prefetch next, size_t steps) {
    return (ReadAhead){next.from, next.lines, steps, 0};
}

/* One step. The second cache is the place: the first one is full of what is computed now. */
static ALWAYS_INLINE void read_ahead(ReadAhead *next) {
    for (next->due += next->lines; next->due >= next->steps; next->due -= next->steps, next->from += 64) {
        _mm_prefetch((const char *)next->from, _MM_HINT_T1);
    }
}

#endif
