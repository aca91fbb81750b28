#include "scan_found.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 256 };

/* Not above the number next below a score of float32, nor above the score itself when rounded to float32. */
static double below(double product, double unit) { return product - fabs(product) * 0x1p-22 - 0x1p-148 / unit; }

/* Scores that overflow float32 are all the same, so the level leaves none of them out. */
double level_of(double product, double unit) {
    double largest = FLT_MAX / unit;
    if (product < -largest) {
        return -INFINITY;
    }
    return below(product < largest ? product : largest, unit);
}

double found_level(const Found *found, int64_t k, double unit) {
    return level_of(found->best_count < k ? -INFINITY : found->best[0], unit);
}

/* Make room in an array of elements of a size; returns false, and leaves the array, without memory. */
static bool grow(void **array, int64_t *capacity, int64_t needed, size_t size) {
    int64_t larger = *capacity ? *capacity : FIRST_CAPACITY;
    while (larger < needed) {
        larger *= 2;
    }
    void *moved = larger == *capacity ? *array : realloc(*array, (size_t)larger * size);
    if (moved) {
        *array = moved;
        *capacity = larger;
    }
    return moved != NULL;
}

/* Keep a lower bound if it is among the k highest; returns false without memory. */
static bool keep_best(Found *found, int64_t k, double lower) {
    int64_t at = 0;
    if (found->best_count < k) {
        void *heap = found->best;
        bool grown = grow(&heap, &found->best_capacity, found->best_count + 1, sizeof *found->best);
        found->best = heap;
        if (!grown) {
            return false;
        }
        at = found->best_count++;
        for (int64_t parent; at > 0 && found->best[parent = (at - 1) / 2] > lower; at = parent) {
            found->best[at] = found->best[parent];
        }
    } else if (lower > found->best[0]) {
        for (int64_t child; (child = 2 * at + 1) < k; at = child) {
            child += child + 1 < k && found->best[child + 1] < found->best[child];
            if (found->best[child] >= lower) {
                break;
            }
            found->best[at] = found->best[child];
        }
    } else {
        return true;
    }
    found->best[at] = lower;
    return true;
}

static void drop_below(Found *found, double level) {
    int64_t left = 0;
    for (int64_t i = 0; i < found->count; i++) {
        if (found->candidates[i].upper >= level) {
            found->candidates[left++] = found->candidates[i];
        }
    }
    found->count = left;
}

static bool room_for(Found *found, int64_t count) {
    void *candidates = found->candidates;
    bool grown = grow(&candidates, &found->capacity, count, sizeof *found->candidates);
    found->candidates = candidates;
    return grown;
}

void found_add(Found *found, int64_t k, int64_t limit, double unit, ScanCandidate candidate) {
    if (found->count < 0) {
        return;
    }
    if (found->count == found->capacity) {
        drop_below(found, found_level(found, k, unit));
        if (found->count > limit) {
            found->count = TOO_MANY;
            return;
        }
        /* twice the room, so that candidates are dropped a logarithmic number of times */
        if (2 * found->count >= found->capacity && !room_for(found, 2 * found->count + 1)) {
            found->count = NO_MEMORY;
            return;
        }
    }
    found->candidates[found->count++] = candidate;
    if (!keep_best(found, k, candidate.lower)) {
        found->count = NO_MEMORY;
    }
}

int64_t found_join(Found *const *finds, int64_t threads, int64_t k, int64_t limit, double unit) {
    Found *all = finds[0];
    for (int64_t i = 0; i < threads; i++) {
        if (finds[i]->count < 0) {
            return finds[i]->count;
        }
        for (int64_t j = 0; i > 0 && j < finds[i]->best_count; j++) {
            if (!keep_best(all, k, finds[i]->best[j])) {
                return NO_MEMORY;
            }
        }
    }
    double level = found_level(all, k, unit);
    int64_t total = 0;
    for (int64_t i = 0; i < threads; i++) {
        drop_below(finds[i], level);
        total += finds[i]->count;
    }
    if (total > limit) {
        return TOO_MANY;
    }
    if (total > 0 && !room_for(all, total)) {
        return NO_MEMORY;
    }
    for (int64_t i = 1; i < threads; i++) {
        if (finds[i]->count) {
            memcpy(all->candidates + all->count, finds[i]->candidates, (size_t)finds[i]->count * sizeof *all->candidates);
        }
        all->count += finds[i]->count;
        finds[i]->count = 0;
    }
    return total;
}

void found_free(Found *found) {
    free(found->best);
    free(found->candidates);
}
