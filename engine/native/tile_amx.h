/* The integer tile of AMX: 16 rows x 64 columns, or 32 rows x 32 columns twice, in four tile registers over all of K.
 * Included after tile_avx512vnni.h, which computes what K has beyond a multiple of 64.
 *
 * A panel serves as it is: 16 rows of 4 x 16 bytes of it, 256 bytes apart, are a tile of weights. */
#ifndef CLIPSHELF_TILE_AMX_H
#define CLIPSHELF_TILE_AMX_H

#include "float_kernels.h"

enum { TILE_ROWS = 32, AMX_ROWS = 16, AMX_GROUPS = 16, AMX_BYTES = AMX_GROUPS * GROUP_INPUTS };

/* Tile registers: 0 to 3 sums, 4 and 5 inputs, 6 and 7 weights. */
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} TileConfiguration;

/* What a thread's tile registers are configured for: rows of a tile, 0 for none. */
typedef struct {
    size_t rows;
} Tiles;

static Tiles tiles_begin(void) { return (Tiles){0}; }

/* Unused registers need not be saved when the thread is interrupted. */
static void tiles_end(const Tiles *tiles) {
    if (tiles->rows) {
        _tile_release();
    }
}

static void tiles_configure(Tiles *tiles, size_t rows) {
    if (tiles->rows == rows) {
        return;
    }
    bool two = rows > AMX_ROWS;
    uint8_t upper = (uint8_t)(two ? (rows + 1) / 2 : rows), lower = (uint8_t)(rows - upper);
    TileConfiguration to = {.palette = 1};
    for (size_t i = 0; i < 8; i++) {
        to.row_bytes[i] = AMX_BYTES;
        to.rows[i] = upper;
    }
    if (two) {
        to.rows[2] = to.rows[3] = to.rows[5] = lower;
    }
    to.rows[6] = to.rows[7] = AMX_GROUPS;
    if (!two) {
        to.rows[5] = AMX_GROUPS;
    }
    _tile_loadconfig(&to);
    tiles->rows = rows;
}
