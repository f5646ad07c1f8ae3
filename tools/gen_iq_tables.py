#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes src/tensor/iq_tables.c: the codebooks of the IQ1..IQ3 formats.

The numbers are those of ggml-common.h (llama.cpp, MIT), read here from the grids of the `gguf` package:
    python3 tools/gen_iq_tables.py > src/tensor/iq_tables.c
"""
import gguf.quants as q

TABLES = [
    ("sp_iq1_grid", q.IQ1_S, 64),
    ("sp_iq2xxs_grid", q.IQ2_XXS, 64),
    ("sp_iq2xs_grid", q.IQ2_XS, 64),
    ("sp_iq2s_grid", q.IQ2_S, 64),
    ("sp_iq3xxs_grid", q.IQ3_XXS, 32),
    ("sp_iq3s_grid", q.IQ3_S, 32),
]

print("""/* SPDX-License-Identifier: MIT */
/* Codebooks of the IQ1, IQ2 and IQ3 formats; element i of an entry is byte i of the little-endian word.
 * Numeric facts from ggml-common.h of llama.cpp (MIT). Written by tools/gen_iq_tables.py; do not edit. */
#include "tensor/decode.h"

/* clang-format off */""")
for name, cls, bits in TABLES:
    cls.init_grid()
    rows = cls.grid.reshape(cls.grid_shape)
    per_line = 5 if bits == 64 else 9
    print(f"\nconst uint{bits}_t {name}[{len(rows)}] = {{")
    words = [int.from_bytes(bytes(int(v) & 255 for v in row), "little") for row in rows]
    suffix = "ull" if bits == 64 else "u"
    for i in range(0, len(words), per_line):
        print("    " + " ".join(f"0x{w:0{bits // 4}x}{suffix}," for w in words[i:i + per_line]))
    print("};")
print("\n/* clang-format on */")
