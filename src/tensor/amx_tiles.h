/* SPDX-License-Identifier: MIT */
/* Tile instructions under names of our own: the compiler's intrinsics, or functions in C that do what the manual says
 * (tests/unit/amx_emulated.c), since no machine that tests this program has AMX. Tiles are named by literal numbers.
 *
 * Tiles 0-3 are sums: a row per activation row, sixteen int32, one per weight row. Tiles 4 and 5 hold activations: a row
 * of bytes each. Tiles 6 and 7 hold weights: row k has elements 4k..4k+3 of sixteen weight rows, which is sp_panel's q.
 * (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18; instructions in volume 2.) */
#ifndef SP_TENSOR_AMX_TILES_H
#define SP_TENSOR_AMX_TILES_H

#include <stdint.h>

/* What LDTILECFG reads. */
typedef struct sp_tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} sp_tile_config;

#if defined(SP_AMX_EMULATED)

#include SP_AMX_EMULATED /* a header of the tests */

#define SP_HAS_TILES 1

#define sp_fill_matmul_amx sp_fill_matmul_amx_emulated /* in kernel_rows.h too */

#elif defined(__AMX_INT8__) || defined(__AMXINT8__) /* gcc's name; clang's of old */

#include <immintrin.h>

#define SP_HAS_TILES 1

/* gcc does not take loads for readers of memory, of a configuration of its first eight bytes: stores must be done by then
 * all the same, also to a variable that nothing else reads. */
#define tile_load(tile, p, stride)                                                                           \
    do {                                                                                                     \
        __asm__ volatile("" ::"r"(p) : "memory");                                                            \
        _tile_loadd(tile, p, stride);                                                                        \
    } while (0)
#define tile_configure(config)                                                                               \
    do {                                                                                                     \
        __asm__ volatile("" ::"r"(config) : "memory");                                                       \
        _tile_loadconfig(config);                                                                            \
    } while (0)
#define tile_store(tile, p, stride) _tile_stored(tile, p, stride)
#define tile_zero(tile) _tile_zero(tile)
#define tile_release() _tile_release()
#define tile_dp_signed(sum, x, w) _tile_dpbssd(sum, x, w)
#define tile_dp_unsigned_w(sum, x, w) _tile_dpbsud(sum, x, w)

#endif

/* For activation tiles of `rows` rows of `bytes` bytes. */
#define sp_tile_config_of(n_rows, bytes)                                                                     \
    {                                                                                                        \
        .palette = 1, .row_bytes = {64, 64, 64, 64, bytes, bytes, 64, 64}, .rows = {                         \
            n_rows,                                                                                          \
            n_rows,                                                                                          \
            n_rows,                                                                                          \
            n_rows,                                                                                          \
            n_rows,                                                                                          \
            n_rows,                                                                                          \
            (bytes) / 4,                                                                                     \
            (bytes) / 4                                                                                      \
        }                                                                                                    \
    }

#endif
