/* The int8 linear around the integer tile of an instruction set. Included after its `tile` function:
 *
 *   static void tile(Tiles *tiles, const Linear *job, const uint8_t *x, size_t rows, const int8_t *panel,
 *                    Prefetch next, int32_t *sums);
 *
 * puts x (rows, K) @ the panel (K, 64) into sums (rows, 64), for 1 to TILE_ROWS rows. The sums are exact and may wrap
 * around: the sums with the offset do not. `next` is memory to be read ahead. `tiles` keeps what an instruction set wants
 * to remember from one tile of a thread to the next. */
#ifndef CLIPSHELF_LINEAR_H
#define CLIPSHELF_LINEAR_H

#include "float_kernels.h"

/* What the outputs of a panel have in common, 0 beyond N. */
typedef struct {
    int32_t offset[PANEL_COLUMNS];
    float scale[PANEL_COLUMNS], bias[PANEL_COLUMNS], shift[PANEL_COLUMNS], unspread[PANEL_COLUMNS];
    size_t first, count; /* columns of the matrix */
    bool outliers;       /* whether an outlier channel is among them */
} PanelConstants;

static void panel_constants(const Linear *job, size_t panel, PanelConstants *to) {
    memset(to, 0, sizeof *to);
    to->first = panel * PANEL_COLUMNS;
    to->count = smaller(PANEL_COLUMNS, job->outputs - to->first);
    for (size_t n = 0; n < to->count; n++) {
        to->offset[n] = (int32_t)(0U - (uint32_t)job->zero * (uint32_t)job->sums[to->first + n]);
    }
    memcpy(to->scale, job->scale + to->first, to->count * sizeof(float));
    memcpy(to->bias, job->bias + to->first, to->count * sizeof(float));
    if (job->shift) {
        memcpy(to->shift, job->shift + to->first, to->count * sizeof(float));
    }
    if (job->unspread) {
        memcpy(to->unspread, job->unspread + to->first, to->count * sizeof(float));
    }
    for (size_t i = 0; i < job->outliers.count; i++) {
        size_t channel = (size_t)job->outliers.channels[i];
        to->outliers = to->outliers || (channel >= to->first && channel < to->first + to->count);
    }
}

static void store_outliers(const OutlierOutput *outliers, size_t row, size_t column, size_t count, Lanes value) {
    float values[LANES];
    lanes_store(values, value);
    for (size_t i = 0; i < outliers->count; i++) {
        size_t channel = (size_t)outliers->channels[i];
        if (channel >= column && channel < column + count) {
            outliers->values[row * outliers->count + i] = values[channel - column];
        }
    }
}

static ALWAYS_INLINE void linear_store_rounded(const Linear *job, const PanelConstants *panel, size_t row, size_t g,
                                               size_t count, Lanes value) {
    size_t n = panel->first + g;
    if (job->shift) {
        value = lanes_sub(value, lanes_load(panel->shift + g));
    }
    if (job->unspread) {
        value = lanes_mul(value, lanes_load(panel->unspread + g));
    }
    if (panel->outliers) {
        store_outliers(&job->outliers, row, n, count, value);
    }
    lanes_quantise(job->y8 + row * job->y_stride + n, value, job->rounding, count);
}

/* Add the outlier columns and the residual of 16 outputs of a row. */
static inline Lanes linear_add(const Linear *job, size_t row, size_t n, size_t count, Lanes value) {
    const float *columns = job->columns + row * job->column_count;
    for (size_t o = 0; o < job->column_count; o++) {
        Lanes weight = lanes_load_some(job->column_weight + o * job->outputs + n, count);
        value = lanes_fma(lanes_of(columns[o]), weight, value);
    }
    return job->residual ? lanes_add(value, lanes_load_some(job->residual + row * job->outputs + n, count)) : value;
}

/* Scale the integer sums of a tile, add what is to be added, and store. `activation` is a constant where this is
 * expanded, so that the loop has no choice in it. */
static ALWAYS_INLINE void linear_store_as(Activation activation, const Linear *job, const PanelConstants *panel,
                                          size_t row, size_t rows, const int32_t *sums) {
    bool adds = job->column_count || job->residual;
    for (size_t g = 0; g < panel->count; g += LANES) {
        size_t n = panel->first + g, count = smaller(LANES, panel->count - g);
        Lanes scale = lanes_load(panel->scale + g), bias = lanes_load(panel->bias + g);
        for (size_t r = 0; r < rows; r++) {
            Lanes value = lanes_fma(lanes_load_sum(sums + r * PANEL_COLUMNS + g, panel->offset + g), scale, bias);
            if (adds) {
                value = linear_add(job, row + r, n, count, value);
            }
            value = lanes_activation(activation, value);
            if (job->y8) {
                linear_store_rounded(job, panel, row + r, g, count, value);
            } else {
                lanes_store_some(job->y + (row + r) * job->y_stride + n, value, count);
            }
        }
    }
}

static NOINLINE void linear_store(const Linear *job, const PanelConstants *panel, size_t row, size_t rows,
                                  const int32_t *sums) {
    switch (job->activation) {
        case ACTIVATION_SILU:
            linear_store_as(ACTIVATION_SILU, job, panel, row, rows, sums);
            break;
        case ACTIVATION_GELU:
            linear_store_as(ACTIVATION_GELU, job, panel, row, rows, sums);
            break;
        case ACTIVATION_GELU_TANH:
            linear_store_as(ACTIVATION_GELU_TANH, job, panel, row, rows, sums);
            break;
        case ACTIVATION_NONE:
        case ACTIVATION_COUNT:
        default:
            linear_store_as(ACTIVATION_NONE, job, panel, row, rows, sums);
    }
}

/* Rows are cut into even tiles. The next panel is read ahead evenly meanwhile. */
static void linear(const Linear *job, Range panels, Range rows) {
    size_t bytes = ceil_div(job->inputs, GROUP_INPUTS) * GROUP_BYTES;
    size_t count = ceil_div(rows.last - rows.first, TILE_ROWS), last = panel_count(job->outputs);
    int32_t sums[TILE_ROWS * PANEL_COLUMNS];
    PanelConstants constants;
    Tiles tiles = {0};
    for (size_t panel = panels.first; panel < panels.last; panel++) {
        const int8_t *weights = job->panels + panel * bytes;
        panel_constants(job, panel, &constants);
        size_t row = rows.first;
        for (size_t i = 0; i < count; i++) {
            size_t tile_rows = even_rows(rows.last - row, TILE_ROWS);
            Prefetch next = {weights, 0};
            if (panel + 1 < last) {
                next.from = weights + bytes + bytes * i / count / 64 * 64;
                next.lines = bytes * (i + 1) / count / 64 - bytes * i / count / 64;
            }
            tile(&tiles, job, job->x + row * job->x_stride, tile_rows, weights, next, sums);
            linear_store(job, &constants, row, tile_rows, sums);
            row += tile_rows;
        }
    }
    tiles_end(&tiles);
}

#endif
