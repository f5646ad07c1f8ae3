# SPDX-License-Identifier: MIT
"""Goldens of the storage formats: packed blocks with their float values, and the reference quantisers' errors.

    python make_quants.py LLAMA_DIR OUT_DIR

Per type, OUT_DIR/<type>.bin holds blocks and <type>.f32 their values: one half are random bytes with sane scales
(two of them with a zero and a subnormal scale), the other half come from ggml's own quantiser. The values are those
of the `gguf` package's decoder (of torch for f8_e4m3) and must equal ggml's C decoder bit for bit.
matrix.f32 (16 x 1024: gaussian rows of different width, every 97th value ten times as large) is the quantisers'
input; quantisers.json holds, per type, the root mean square error of ggml's quantiser (without importance matrix),
and the CRC-32 of its bytes. LLAMA_DIR is a source tree of llama.cpp with a shared-library build in build/.
"""
import ctypes
import json
import pathlib
import sys
import zlib

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as T

# type -> (byte offsets of its half-precision fields); IQ1_M and MXFP4 keep their scale elsewhere
HALVES = {
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q2_K: [80, 82], T.Q3_K: [108],
    T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208], T.IQ4_NL: [0], T.IQ4_XS: [0], T.IQ1_S: [0], T.IQ1_M: [],
    T.IQ2_XXS: [0], T.IQ2_XS: [0], T.IQ2_S: [0], T.IQ3_XXS: [0], T.IQ3_S: [0], T.TQ1_0: [52], T.TQ2_0: [64],
    T.MXFP4: [],
}
QUANTISERS = [T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q2_K, T.Q3_K, T.Q4_K, T.Q5_K, T.Q6_K, T.IQ4_NL, T.IQ4_XS]
N_VALUES = 1536  # random values per type, and as many quantised ones
ROWS, COLS = 16, 1024


def matrix():
    rng = np.random.default_rng(1024)
    x = rng.standard_normal((ROWS, COLS)) * np.linspace(0.02, 1.5, ROWS)[:, None]
    x.reshape(-1)[::97] *= 10
    return x.astype(np.float32)


class Ggml:
    def __init__(self, llama_dir):
        lib = pathlib.Path(llama_dir) / "build" / "bin" / "libggml-base.so"
        self.lib = ctypes.CDLL(str(lib))
        self.lib.ggml_quantize_chunk.restype = ctypes.c_size_t
        self.lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
                                                 ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]

    def quantise(self, x, t):
        """x (rows, cols) float32 -> packed bytes; types that insist on an importance matrix get all ones."""
        block, size = gguf.GGML_QUANT_SIZES[t]
        out = np.zeros((x.shape[0], x.shape[1] // block * size), np.uint8)
        weight = np.ones(x.shape[1], np.float32) if self.lib.ggml_quantize_requires_imatrix(int(t)) else None
        self.lib.ggml_quantize_chunk(int(t), x.ctypes.data, out.ctypes.data, 0, *x.shape,
                                     None if weight is None else weight.ctypes.data)
        return out

    def dequantise(self, packed, t):
        block, size = gguf.GGML_QUANT_SIZES[t]
        out = np.empty(packed.size // size * block, np.float32)
        name = "dequantize_row_" + t.name.lower().replace("_k", "_K")
        getattr(self.lib, name)(packed.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p),
                                ctypes.c_int64(out.size))
        return out


def random_blocks(t, rng):
    block, size = gguf.GGML_QUANT_SIZES[t]
    n = N_VALUES // block
    b = rng.integers(0, 256, (n, size), dtype=np.uint8)
    scales = (rng.uniform(0.01, 1, (n, 2)) * rng.choice([-1, 1], (n, 2))).astype("<f2")
    scales[0] = 0
    scales[1] = np.float16(3e-6)  # subnormal
    for i, at in enumerate(HALVES[t]):
        b[:, at:at + 2] = scales[:, i:i + 1].view(np.uint8)
    if t == T.IQ1_M:  # the half's four digits are the top nibbles of bytes 49, 51, 53, 55, lowest first
        bits = scales[:, 0].view("<u2")
        for i in range(4):
            at = 49 + 2 * i
            b[:, at] = (b[:, at] & 15) | (((bits >> (4 * i)) & 15) << 4).astype(np.uint8)
    if t == T.MXFP4:
        b[:, 0] = rng.integers(100, 140, n)
        b[:4, 0] = [0, 1, 2, 250]
    return b.reshape(-1)


def write(out, name, packed, values):
    packed.tofile(out / f"{name}.bin")
    values.astype("<f4").tofile(out / f"{name}.f32")


def main(llama_dir, out_dir):
    ggml, out = Ggml(llama_dir), pathlib.Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    x = matrix()
    x.tofile(out / "matrix.f32")
    for t in HALVES:
        rng = np.random.default_rng([7, int(t)])
        real = ggml.quantise(np.ascontiguousarray(x[1::3].reshape(-1)[None, :N_VALUES]), t).reshape(-1)
        packed = np.concatenate([random_blocks(t, rng), real])
        values = gguf.quants.dequantize(packed, t).reshape(-1)
        other = ggml.dequantise(packed, t)
        assert np.isfinite(values).all(), t.name
        differ = values.view(np.uint32) != other.view(np.uint32)
        differ &= ~((values == 0) & (other == 0))
        if differ.any():
            print(f"{t.name}: {differ.sum()} of {values.size} differ from ggml, largest relative "
                  f"{np.max(np.abs(values - other)[differ] / np.abs(other[differ])):.1e}")
        write(out, t.name.lower(), packed, values)
    floats(out)
    report = {}
    for t in QUANTISERS:
        packed = ggml.quantise(x, t)
        error = gguf.quants.dequantize(packed, t).reshape(x.shape).astype(np.float64) - x
        report[t.name.lower()] = {"rms": float(np.sqrt((error ** 2).mean())), "crc32": zlib.crc32(packed.tobytes())}
    text = {"rows": ROWS, "cols": COLS, "source": "ggml_quantize_chunk of ggml 0.25.3", "types": report}
    (out / "quantisers.json").write_text(json.dumps(text, indent=1) + "\n")


def floats(out):
    rng = np.random.default_rng(16)
    bits = rng.integers(0, 1 << 16, N_VALUES, dtype=np.uint16)
    half = bits[(bits & 0x7c00) != 0x7c00]
    half[:4] = [0x0001, 0x8001, 0x03ff, 0x7bff]
    write(out, "f16", half, half.view(np.float16).astype(np.float32))
    brain = bits[(bits & 0x7f80) != 0x7f80]
    write(out, "bf16", brain, (brain.astype(np.uint32) << 16).view(np.float32))
    codes = np.arange(256, dtype=np.uint8)
    write(out, "f8_e4m3", codes, torch.from_numpy(codes).view(torch.float8_e4m3fn).float().numpy())


if __name__ == "__main__":
    main(*sys.argv[1:3])
