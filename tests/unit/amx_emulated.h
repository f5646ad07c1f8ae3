/* SPDX-License-Identifier: MIT */
/* Tile registers in C, for src/tensor/amx_tiles.h: what the tile instructions do, and what they refuse, by Intel's
 * manual (volume 2: LDTILECFG, TILELOADD, TILESTORED, TILEZERO, TILERELEASE, TDPBSSD, TDPBSUD). Where a processor would
 * fault, this aborts. One set of tiles per thread. */
#ifndef AMX_EMULATED_H
#define AMX_EMULATED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AMX_TILES = 8, AMX_ROWS = 16, AMX_ROW_BYTES = 64 };

typedef struct amx_state {
    bool configured;
    uint8_t rows[AMX_TILES];
    uint16_t row_bytes[AMX_TILES];
    uint8_t tile[AMX_TILES][AMX_ROWS][AMX_ROW_BYTES];
    long n_products; /* of tiles, since the thread began */
} amx_state;

amx_state *amx_state_get(void);

void amx_tile_configure(const void *config);
void amx_tile_release(void);
void amx_tile_load(int tile, const void *p, ptrdiff_t stride);
void amx_tile_store(int tile, void *p, ptrdiff_t stride);
void amx_tile_zero(int tile);
void amx_tile_product(int sum, int a, int b, bool b_is_signed); /* bytes of a are signed */

#define tile_configure(config) amx_tile_configure(config)
#define tile_release() amx_tile_release()
#define tile_load(tile, p, stride) amx_tile_load(tile, p, (ptrdiff_t)(stride))
#define tile_store(tile, p, stride) amx_tile_store(tile, p, (ptrdiff_t)(stride))
#define tile_zero(tile) amx_tile_zero(tile)
#define tile_dp_signed(sum, x, w) amx_tile_product(sum, x, w, true)
#define tile_dp_unsigned_w(sum, x, w) amx_tile_product(sum, x, w, false)

#endif
