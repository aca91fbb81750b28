/* The float algorithms, written once in lanes. An instruction set includes this after lanes.h.
 *
 * FLOAT_ROWS and FLOAT_GROUPS are the rows and the groups of 16 columns whose sums fit its registers. They change the
 * speed, not the result: each sum of a product runs over its terms in order. */
#ifndef CLIPSHELF_FLOAT_KERNELS_H
#define CLIPSHELF_FLOAT_KERNELS_H

#include "lanes.h"

static inline size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* Rows of the next tile of at most `most` rows, so that all tiles of `left` rows are even: 50 become 6+6+6+6+6+5+5+5+5,
 * not 8 times 6 and 2. */
static inline size_t even_rows(size_t left, size_t most) { return ceil_div(left, ceil_div(left, most)); }

/* c (rows, 16 groups) = a (rows, depth) @ b (depth, 16 groups); `rows`, `groups` and `half` are constants where this
 * is expanded. b holds floats, or half precision with `half`. */
static ALWAYS_INLINE void float_tile(size_t rows, size_t groups, bool half, const float *a, size_t a_stride,
                                     const void *b, size_t b_stride, size_t depth, float *c, size_t c_stride) {
    Lanes sum[FLOAT_ROWS][FLOAT_GROUPS];
    UNROLL for (size_t r = 0; r < rows; r++) {
        UNROLL for (size_t g = 0; g < groups; g++) { sum[r][g] = lanes_of(0.0F); }
    }
    for (size_t t = 0; t < depth; t++) {
        Lanes column[FLOAT_GROUPS];
        UNROLL for (size_t g = 0; g < groups; g++) {
            size_t at = t * b_stride + g * LANES;
            column[g] = half ? lanes_load_half((const uint16_t *)b + at) : lanes_load((const float *)b + at);
        }
        UNROLL for (size_t r = 0; r < rows; r++) {
            Lanes factor = lanes_of(a[r * a_stride + t]);
            UNROLL for (size_t g = 0; g < groups; g++) { sum[r][g] = lanes_fma(factor, column[g], sum[r][g]); }
        }
    }
    UNROLL for (size_t r = 0; r < rows; r++) {
        UNROLL for (size_t g = 0; g < groups; g++) { lanes_store(c + r * c_stride + g * LANES, sum[r][g]); }
    }
}

#define FLOAT_TILE_CASE(count)                                                                                         \
    case count:                                                                                                        \
        float_tile(count, groups, half, a, a_stride, b, b_stride, depth, c, c_stride);                                 \
        break;

static ALWAYS_INLINE void float_tile_rows(size_t rows, size_t groups, bool half, const float *a, size_t a_stride,
                                          const void *b, size_t b_stride, size_t depth, float *c, size_t c_stride) {
    switch (rows) {
        FLOAT_TILE_CASE(1)
        FLOAT_TILE_CASE(2)
        FLOAT_TILE_CASE(3)
        FLOAT_TILE_CASE(4)
        FLOAT_TILE_CASE(5)
        default:
            float_tile(FLOAT_ROWS, groups, half, a, a_stride, b, b_stride, depth, c, c_stride);
    }
}
#undef FLOAT_TILE_CASE

/* c (rows, columns) = a (rows, depth) @ b (depth, columns) for at most FLOAT_ROWS rows and a multiple of 16 columns. */
static NOINLINE void float_product(size_t rows, size_t columns, const float *a, size_t a_stride, const float *b,
                                   size_t b_stride, size_t depth, float *c, size_t c_stride) {
    size_t n = 0;
    for (; n + FLOAT_GROUPS * LANES <= columns; n += FLOAT_GROUPS * LANES) {
        float_tile_rows(rows, FLOAT_GROUPS, false, a, a_stride, b + n, b_stride, depth, c + n, c_stride);
    }
    for (; n < columns; n += LANES) {
        float_tile_rows(rows, 1, false, a, a_stride, b + n, b_stride, depth, c + n, c_stride);
    }
}

/* The same with b in half precision and 64 columns. */
static NOINLINE void half_product(size_t rows, const float *a, size_t a_stride, const uint16_t *b, size_t depth,
                                  float *c) {
    for (size_t n = 0; n < PANEL_COLUMNS; n += FLOAT_GROUPS * LANES) {
        float_tile_rows(rows, FLOAT_GROUPS, true, a, a_stride, b + n, PANEL_COLUMNS, depth, c + n, PANEL_COLUMNS);
    }
}

static void float_linear_store(const FloatLinear *job, size_t panel, size_t row, size_t rows, const float *sums) {
    size_t first = panel * PANEL_COLUMNS;
    for (size_t g = 0; g < PANEL_COLUMNS && first + g < job->outputs; g += LANES) {
        size_t n = first + g, count = smaller(LANES, job->outputs - n);
        Lanes bias = job->bias ? lanes_load_some(job->bias + n, count) : lanes_of(0.0F);
        for (size_t r = 0; r < rows; r++) {
            size_t at = (row + r) * job->outputs + n;
            Lanes value = lanes_add(lanes_load(sums + r * PANEL_COLUMNS + g), bias);
            if (job->residual) {
                value = lanes_add(value, lanes_load_some(job->residual + at, count));
            }
            lanes_store_some(job->y + at, lanes_activation(job->activation, value), count);
        }
    }
}

static void float_linear(const FloatLinear *job, Range panels, Range rows) {
    float sums[FLOAT_ROWS * PANEL_COLUMNS];
    for (size_t panel = panels.first; panel < panels.last; panel++) {
        size_t at = panel * job->inputs * PANEL_COLUMNS;
        for (size_t row = rows.first, count; row < rows.last; row += count) {
            count = even_rows(rows.last - row, FLOAT_ROWS);
            const float *x = job->x + row * job->inputs;
            if (job->half) {
                half_product(count, x, job->inputs, (const uint16_t *)job->panels + at, job->inputs, sums);
            } else {
                float_product(count, PANEL_COLUMNS, x, job->inputs, (const float *)job->panels + at, PANEL_COLUMNS,
                              job->inputs, sums, PANEL_COLUMNS);
            }
            float_linear_store(job, panel, row, count, sums);
        }
    }
}

/* Sum a row in four interleaved parts: of the values less `mean`, or of their squares. */
static inline float row_sum(const float *x, size_t width, Lanes mean, bool squares) {
    Lanes part[4] = {lanes_of(0.0F), lanes_of(0.0F), lanes_of(0.0F), lanes_of(0.0F)};
    for (size_t c = 0; c < width; c += 4 * LANES) {
        UNROLL for (size_t i = 0; i < 4; i++) {
            size_t at = c + i * LANES;
            if (at >= width) {
                break;
            }
            size_t count = smaller(LANES, width - at);
            Lanes value = lanes_sub(lanes_load_some(x + at, count), mean);
            value = count < LANES ? lanes_keep_first(value, count, lanes_of(0.0F)) : value;
            part[i] = squares ? lanes_fma(value, value, part[i]) : lanes_add(part[i], value);
        }
    }
    return lanes_sum4(part);
}

static void norm_outliers(const Norm *job, size_t row, float mean, float inverse) {
    const float *x = job->x + row * job->width;
    for (size_t i = 0; i < job->outliers.count; i++) {
        size_t c = (size_t)job->outliers.channels[i];
        job->outliers.values[row * job->outliers.count + i] =
            fmaf((x[c] - mean) * inverse, job->gain[c], job->bias[c]);
    }
}

static void norm(const Norm *job, Range rows) {
    size_t width = job->width;
    for (size_t row = rows.first; row < rows.last; row++) {
        const float *x = job->x + row * width;
        float mean = row_sum(x, width, lanes_of(0.0F), false) / (float)width;
        float variance = row_sum(x, width, lanes_of(mean), true) / (float)width;
        float inverse = 1.0F / sqrtf(variance + job->epsilon);
        for (size_t c = 0; c < width; c += LANES) {
            size_t count = smaller(LANES, width - c);
            Lanes value = lanes_sub(lanes_load_some(x + c, count), lanes_of(mean));
            value = lanes_fma(lanes_mul(value, lanes_of(inverse)), lanes_load_some(job->gain + c, count),
                              lanes_load_some(job->bias + c, count));
            if (job->y8) {
                lanes_quantise(job->y8 + row * width + c, value, job->rounding, count);
            } else {
                lanes_store_some(job->y + row * width + c, value, count);
            }
        }
        norm_outliers(job, row, mean, inverse);
    }
}

static void normalize(const Normalize *job, Range rows) {
    for (size_t row = rows.first; row < rows.last; row++) {
        const float *x = job->x + row * job->width;
        float *y = job->y + row * job->width;
        float size = sqrtf(row_sum(x, job->width, lanes_of(0.0F), true));
        Lanes divisor = lanes_of(size > 0 ? size : 1.0F);
        for (size_t c = 0; c < job->width; c += LANES) {
            size_t count = smaller(LANES, job->width - c);
            lanes_store_some(y + c, lanes_div(lanes_load_some(x + c, count), divisor), count);
        }
    }
}

static void function(int which, size_t count, const float *x, float *y) {
    for (size_t i = 0; i < count; i += LANES) {
        size_t some = smaller(LANES, count - i);
        Lanes value = lanes_load_some(x + i, some);
        value = which == 0 ? lanes_exp(value) : lanes_activation((Activation)which, value);
        lanes_store_some(y + i, value, some);
    }
}

#endif
