/* SPDX-License-Identifier: MIT */
/* Arithmetic loop for x86-64 processors with AMX: nothing but products of full tiles. */
#include "tensor/peak.h"

#if defined(__x86_64__)

#include <string.h>

#include "tensor/amx_tiles.h"

void sp_peak_tiles_amx(int64_t n_rounds)
{
#if defined(SP_HAS_TILES)
    static const sp_tile_config config = sp_tile_config_of(16, 64);
    uint8_t bytes[16 * 64];
    memset(bytes, 3, sizeof bytes);
    tile_configure(&config);
    tile_load(4, bytes, 64);
    tile_load(5, bytes, 64);
    tile_load(6, bytes, 64);
    tile_load(7, bytes, 64);
    for (int64_t r = 0; r < n_rounds; r++) {
        tile_dp_signed(0, 4, 6);
        tile_dp_signed(1, 4, 7);
        tile_dp_signed(2, 5, 6);
        tile_dp_signed(3, 5, 7);
    }
    tile_release();
#else
    (void)n_rounds;
#endif
}

#endif
