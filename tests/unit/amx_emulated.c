/* SPDX-License-Identifier: MIT */
/* Tile registers in C: see amx_emulated.h. Written from the instructions' descriptions, one function each. */
#include "amx_emulated.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local amx_state state;

amx_state *amx_state_get(void)
{
    return &state;
}

static void require(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "amx: a processor would fault: %s\n", what);
    abort();
}

static void require_tile(int tile)
{
    require(state.configured, "tiles are not configured");
    require(tile >= 0 && tile < AMX_TILES && state.rows[tile] > 0, "the tile is not configured");
}

/* Byte 0: palette; 1: start row; 16 + 2 t: bytes of a row of tile t; 48 + t: its rows; all else zero. */
void amx_tile_configure(const void *config)
{
    uint8_t c[64];
    memcpy(c, config, sizeof c);
    require(c[0] == 1, "palette 1 is the only one");
    require(c[1] == 0, "nothing was interrupted");
    for (int i = 2; i < 64; i++) {
        bool reserved = i < 16 || (i >= 32 && i < 48) || i >= 56;
        require(!reserved || c[i] == 0, "reserved bytes of the configuration");
    }
    for (int t = 0; t < AMX_TILES; t++) {
        unsigned bytes = c[16 + 2 * t] | (unsigned)c[17 + 2 * t] << 8, rows = c[48 + t];
        require(bytes <= AMX_ROW_BYTES && rows <= AMX_ROWS, "a tile of at most 16 rows of 64 bytes");
        require((bytes == 0) == (rows == 0), "rows without bytes, or bytes without rows");
        state.rows[t] = (uint8_t)rows;
        state.row_bytes[t] = (uint16_t)bytes;
    }
    memset(state.tile, 0, sizeof state.tile);
    state.configured = true;
}

void amx_tile_release(void)
{
    long n_products = state.n_products;
    memset(&state, 0, sizeof state);
    state.n_products = n_products;
}

void amx_tile_load(int tile, const void *p, ptrdiff_t stride)
{
    require_tile(tile);
    memset(state.tile[tile], 0, sizeof state.tile[tile]);
    for (int r = 0; r < state.rows[tile]; r++)
        memcpy(state.tile[tile][r], (const char *)p + r * stride, state.row_bytes[tile]);
}

void amx_tile_store(int tile, void *p, ptrdiff_t stride)
{
    require_tile(tile);
    for (int r = 0; r < state.rows[tile]; r++)
        memcpy((char *)p + r * stride, state.tile[tile][r], state.row_bytes[tile]);
}

void amx_tile_zero(int tile)
{
    require_tile(tile);
    memset(state.tile[tile], 0, sizeof state.tile[tile]);
}

/* sum[n] += the products of four bytes of x with bytes 4n..4n+3 of y. */
static void add_fours(uint32_t *sum, const uint8_t *x, const uint8_t *y, int n_columns, bool y_is_signed)
{
    for (int n = 0; n < n_columns; n++)
        for (int i = 0; i < 4; i++) {
            int32_t a = (int8_t)x[i], b = y_is_signed ? (int8_t)y[4 * n + i] : y[4 * n + i];
            sum[n] += (uint32_t)(a * b);
        }
}

/* TDPBSSD, TDPBSUD: sum.row[m].dword[n] += a.row[m].dword[k] . b.row[k].dword[n] for all k. */
void amx_tile_product(int sum, int a, int b, bool b_is_signed)
{
    require_tile(sum);
    require_tile(a);
    require_tile(b);
    require(sum != a && sum != b && a != b, "three tiles that differ");
    require(state.row_bytes[sum] % 4 == 0 && state.row_bytes[a] % 4 == 0 && state.row_bytes[b] % 4 == 0,
            "rows of whole groups of four bytes");
    require(state.rows[sum] == state.rows[a], "as many sums as rows of the first factor");
    require(state.row_bytes[sum] == state.row_bytes[b], "as many sums in a row as columns of the second");
    require(state.row_bytes[a] / 4 == state.rows[b], "inner sizes that match");
    int n_inner = state.row_bytes[a] / 4, n_columns = state.row_bytes[sum] / 4;
    for (int m = 0; m < state.rows[sum]; m++) {
        uint32_t row[AMX_ROW_BYTES / 4];
        memcpy(row, state.tile[sum][m], sizeof row);
        for (int k = 0; k < n_inner; k++)
            add_fours(row, state.tile[a][m] + 4 * k, state.tile[b][k], n_columns, b_is_signed);
        memcpy(state.tile[sum][m], row, sizeof row);
    }
    state.n_products++;
}
