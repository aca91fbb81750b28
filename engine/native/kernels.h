/* The kernels: what each of them computes, and the table of functions that an instruction set provides.
 *
 * Letters: M rows, K inputs, N outputs, B batch, L tokens, C width, H heads, S head size, O outlier channels.
 * Matrices are row-major. Nothing here allocates, locks or fails: the callers check shapes and own all memory.
 *
 * A result depends neither on the instruction set, nor on how the work is split: every float sum has one order
 * (lanes.h), and integer sums are exact. docs/kernels.md has the layout of the weights and the reasons. */
#ifndef CLIPSHELF_KERNELS_H
#define CLIPSHELF_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scan_block.h"

enum {
    PANEL_COLUMNS = 64,  /* columns of a panel */
    GROUP_INPUTS = 4,    /* neighbouring inputs of a column that lie together */
    GROUP_BYTES = PANEL_COLUMNS * GROUP_INPUTS,
    LANES = 16,          /* floats that every sum and function works on at once */
    MAX_INPUTS = 65536,  /* above, a sum of products may leave int32: 65536 * 255 * 128 < 2^31 */
};

typedef enum { ACTIVATION_NONE, ACTIVATION_SILU, ACTIVATION_GELU, ACTIVATION_GELU_TANH, ACTIVATION_COUNT } Activation;

/* Rounding to uint8: clamp(round_half_even(value * inverse_scale) + zero, 0, 255). */
typedef struct {
    float inverse_scale;
    int32_t zero;
} Rounding;

/* Channels whose values leave in floating point beside the rounded ones.
 * values (M, count): column i is channel channels[i]. */
typedef struct {
    size_t count;
    const int64_t *channels; /* each below the width */
    float *values;
} OutlierOutput;

/* y = activation(x8 @ W * scale + columns @ column_weight + bias + residual), or its rounding to uint8.
 *
 * The integer sums are those of (x8 - zero) @ W, taken as x8 @ W less zero times the sums of W's columns. */
typedef struct {
    size_t rows, inputs, outputs;
    const uint8_t *x;       /* (M, K), rows x_stride bytes apart; a row may be read up to the next multiple of 4 */
    size_t x_stride;
    const int8_t *panels;   /* int8 (ceil(N/64), ceil(K/4), 64, 4), 0 beyond K and N */
    const int32_t *sums;    /* (N): the sums of W's columns */
    int32_t zero;
    const float *scale;     /* (N) */
    const float *bias;      /* (N) */
    size_t column_count;    /* O */
    const float *columns;   /* (M, O), or NULL for O = 0 */
    const float *column_weight; /* (O, N) */
    const float *residual;  /* (M, N), or NULL */
    Activation activation;
    bool exact_pairs;       /* 255 * |w0| + 255 * |w1| of one sign fits 16 bits for all neighbours (AVX2 needs it) */
    size_t y_stride;        /* elements between rows of y or y8 */
    float *y;               /* (M, N), or NULL where y8 is the output */
    uint8_t *y8;            /* (M, N): rounding of (y - shift) * unspread */
    const float *shift;     /* (N), or NULL for 0 */
    const float *unspread;  /* (N), or NULL for 1 */
    Rounding rounding;
    OutlierOutput outliers; /* of (y - shift) * unspread */
} Linear;

/* y = activation(x @ W + bias + residual) in floating point. */
typedef struct {
    size_t rows, inputs, outputs;
    const float *x;           /* (M, K) */
    const void *panels;       /* float or half (ceil(N/64), K, 64), 0 beyond N */
    bool half;                /* whether the panels are IEEE half precision */
    const float *bias;        /* (N), or NULL for 0 */
    const float *residual;    /* (M, N), or NULL */
    Activation activation;
    float *y;                 /* (M, N) */
} FloatLinear;

/* y = (x - mean) / sqrt(variance + epsilon) * gain + bias of each row, or its rounding to uint8. */
typedef struct {
    size_t rows, width;
    const float *x;           /* (M, C) */
    const float *gain, *bias; /* (C) */
    float epsilon;
    float *y;                 /* (M, C), or NULL where y8 is the output */
    uint8_t *y8;
    Rounding rounding;
    OutlierOutput outliers;
} Norm;

/* softmax(q k^T / sqrt(S), over the keys that count) v of each head, rounded to uint8 or not. */
typedef struct {
    size_t batch, tokens, heads, head_size;
    const float *q;           /* (B, queries, ...): rows q_stride floats apart, head h at h * S */
    const float *k, *v;       /* (B, L, ...): rows kv_stride floats apart */
    size_t q_stride, kv_stride;
    size_t queries;           /* of a sequence: L, or 1 with `position` */
    const int64_t *position;  /* token of the one query of each sequence, position_step apart; NULL: query i is token i */
    size_t position_step;     /* 0 where one position serves all sequences */
    bool causal;              /* a query sees the keys up to its own token */
    const int32_t *key_mask;  /* (B, L), 0 where a token is no key; NULL: all are */
    float *y;                 /* (B, queries, C), or NULL where y8 is the output */
    uint8_t *y8;
    Rounding rounding;
} Attention;

/* y = x / norm of each row; a row of zeros stays. */
typedef struct {
    size_t rows, width;
    const float *x;
    float *y;
} Normalize;

/* A run of rows or panels, first included, last not. */
typedef struct {
    size_t first, last;
} Range;

enum { ATTENTION_QUERIES = 96 }; /* queries of one work item of attention */

/* The functions of an instruction set. All compute the same; each may be called by several threads on parts of a job. */
typedef struct {
    const char *name;
    bool needs_exact_pairs;  /* whether Linear.exact_pairs is looked at */
    size_t tile_rows;        /* rows of one tile; a part of a job has at least as many, where there are */
    void (*linear)(const Linear *job, Range panels, Range rows);
    void (*float_linear)(const FloatLinear *job, Range panels, Range rows);
    void (*norm)(const Norm *job, Range rows);
    /* Items are (sequence, head, run of ATTENTION_QUERIES queries), the last the fastest.
     * scratch: attention_scratch() floats, 64-byte aligned, of this call alone. */
    void (*attention)(const Attention *job, Range items, float *scratch);
    void (*normalize)(const Normalize *job, Range rows);
    /* y = function(x) of n values, for tests: 0 exp, else an Activation. */
    void (*function)(int which, size_t count, const float *x, float *y);
    ScanBlockFunction *scan; /* one block of rows of a ranker */
} Kernels;

static inline size_t round_up(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

static inline size_t ceil_div(size_t value, size_t divisor) { return (value + divisor - 1) / divisor; }

static inline size_t panel_count(size_t outputs) { return ceil_div(outputs, PANEL_COLUMNS); }

static inline size_t attention_items(const Attention *job) {
    return job->batch * job->heads * ceil_div(job->queries, ATTENTION_QUERIES);
}

/* Most rows of a float tile on any instruction set. */
enum { MAX_FLOAT_ROWS = 8 };

/* Transposed keys (S, L16), limits (L16), scores (rows, L16), the last columns of the values (L16, 16), sums (rows, S16). */
static inline size_t attention_scratch(const Attention *job) {
    size_t keys = round_up(job->tokens, LANES);
    return (job->head_size + 1 + MAX_FLOAT_ROWS + LANES) * keys + MAX_FLOAT_ROWS * round_up(job->head_size, LANES);
}

#endif
