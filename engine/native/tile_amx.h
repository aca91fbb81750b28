/* The integer tile of AMX: 16 rows x 64 columns, or 32 rows x 32 columns twice, in four tile registers over all of K.
 * Included after float_kernels.h.
 *
 * A panel serves as it is: 16 groups of 4 inputs x 16 columns, 256 bytes apart, are a tile of weights. */
#ifndef CLIPSHELF_TILE_AMX_H
#define CLIPSHELF_TILE_AMX_H

enum { TILE_ROWS = 32, AMX_ROWS = 16, AMX_GROUPS = 16, AMX_BYTES = AMX_GROUPS * GROUP_INPUTS, SUM_BYTES = 256 };

/* The operand of the instruction that configures the tile registers. */
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} TileConfiguration;

/* Rows of the tiles that the registers of a thread are configured for, 0 for none. */
typedef struct {
    size_t rows;
} Tiles;

/* Configure the registers. Up to 16 rows: 0 to 3 are sums, 4 inputs, 5 to 7 weights. More: 0 and 1 are sums of the upper
 * half of the rows, 2 and 3 of the lower half, 4 and 5 their inputs, 6 and 7 weights. */
static void tiles_configure(Tiles *tiles, size_t rows) {
    if (tiles->rows == rows) {
        return;
    }
    uint8_t upper = (uint8_t)(rows > AMX_ROWS ? (rows + 1) / 2 : rows), lower = (uint8_t)(rows - upper);
    TileConfiguration to = {.palette = 1};
    for (size_t i = 0; i < 8; i++) {
        to.row_bytes[i] = AMX_BYTES;
        to.rows[i] = i < 5 ? upper : AMX_GROUPS;
    }
    if (lower) {
        to.rows[2] = to.rows[3] = to.rows[5] = lower;
    }
    _tile_loadconfig(&to);
    tiles->rows = rows;
}

/* Registers that are not in use need not be saved when a thread is interrupted. */
static void tiles_end(const Tiles *tiles) {
    if (tiles->rows) {
        _tile_release();
    }
}

/* Memory is read ahead at four places of a step: a burst would keep the loads of the tiles waiting. */
enum { READS_PER_STEP = 4 };

/* 64 columns of at most 16 rows; `steps` of 16 groups. */
static void tile_low(const uint8_t *x, size_t x_stride, const int8_t *panel, size_t steps, ReadAhead next,
                     int32_t *sums) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t k = 0; k < steps; k++, x += AMX_BYTES, panel += AMX_GROUPS * GROUP_BYTES) {
        _tile_loadd(4, x, x_stride);
        _tile_loadd(5, panel, GROUP_BYTES);
        _tile_dpbusd(0, 4, 5);
        read_ahead(&next);
        _tile_loadd(6, panel + 64, GROUP_BYTES);
        _tile_dpbusd(1, 4, 6);
        read_ahead(&next);
        _tile_loadd(7, panel + 128, GROUP_BYTES);
        _tile_dpbusd(2, 4, 7);
        read_ahead(&next);
        _tile_loadd(5, panel + 192, GROUP_BYTES);
        _tile_dpbusd(3, 4, 5);
        read_ahead(&next);
    }
    _tile_stored(0, sums, SUM_BYTES);
    _tile_stored(1, sums + 16, SUM_BYTES);
    _tile_stored(2, sums + 32, SUM_BYTES);
    _tile_stored(3, sums + 48, SUM_BYTES);
}

/* 32 columns of 17 to 32 rows, of which `upper` are in the first tile. */
static void tile_high(const uint8_t *x, size_t x_stride, size_t upper, const int8_t *panel, size_t steps,
                      ReadAhead *next, int32_t *sums) {
    const uint8_t *below = x + upper * x_stride;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t k = 0; k < steps; k++, x += AMX_BYTES, below += AMX_BYTES, panel += AMX_GROUPS * GROUP_BYTES) {
        _tile_loadd(4, x, x_stride);
        _tile_loadd(6, panel, GROUP_BYTES);
        _tile_dpbusd(0, 4, 6);
        read_ahead(next);
        _tile_loadd(7, panel + 64, GROUP_BYTES);
        _tile_dpbusd(1, 4, 7);
        read_ahead(next);
        _tile_loadd(5, below, x_stride);
        _tile_dpbusd(2, 5, 6);
        read_ahead(next);
        _tile_dpbusd(3, 5, 7);
        read_ahead(next);
    }
    _tile_stored(0, sums, SUM_BYTES);
    _tile_stored(1, sums + 16, SUM_BYTES);
    _tile_stored(2, sums + upper * PANEL_COLUMNS, SUM_BYTES);
    _tile_stored(3, sums + upper * PANEL_COLUMNS + 16, SUM_BYTES);
}

/* Add the products of the last groups, fewer than 16, by VNNI. */
static void add_last_groups(const Linear *job, const uint8_t *x, size_t rows, const int8_t *panel, int32_t *sums) {
    size_t groups = ceil_div(job->inputs, GROUP_INPUTS);
    for (size_t r = 0; r < rows; r++) {
        int32_t *to = sums + r * PANEL_COLUMNS;
        for (size_t c = 0; c < PANEL_COLUMNS; c += LANES) {
            __m512i sum = _mm512_loadu_si512(to + c);
            for (size_t k = groups / AMX_GROUPS * AMX_GROUPS; k < groups; k++) {
                int32_t group;
                memcpy(&group, x + r * job->x_stride + k * GROUP_INPUTS, sizeof group);
                __m512i weights = _mm512_loadu_si512(panel + k * GROUP_BYTES + c * GROUP_INPUTS);
                sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi32(group), weights);
            }
            _mm512_storeu_si512(to + c, sum);
        }
    }
}

static void tile(Tiles *tiles, const Linear *job, const uint8_t *x, size_t rows, const int8_t *panel, Prefetch next,
                 int32_t *sums) {
    size_t groups = ceil_div(job->inputs, GROUP_INPUTS), steps = groups / AMX_GROUPS;
    tiles_configure(tiles, rows);
    if (rows <= AMX_ROWS) {
        tile_low(x, job->x_stride, panel, steps, read_ahead_in(next, steps * READS_PER_STEP), sums);
    } else {
        ReadAhead ahead = read_ahead_in(next, 2 * steps * READS_PER_STEP);
        for (size_t half = 0; half < 2; half++) {
            tile_high(x, job->x_stride, (rows + 1) / 2, panel + half * 128, steps, &ahead, sums + half * 32);
        }
    }
    if (groups % AMX_GROUPS) {
        add_last_groups(job, x, rows, panel, sums);
    }
}

#endif
