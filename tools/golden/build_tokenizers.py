# SPDX-License-Identifier: MIT
"""Builds tokenizer.json files of the family's members from the published vocabularies.

    python build_tokenizers.py SHARED_DATA OUT_DIR

Writes OUT_DIR/{deepseek-v3,deepseek-llm,deepseek-coder,qwen2,llama3}.json (45 MB in all; not kept in the tree),
with the published pre-tokenizer patterns. qwen2 and llama3 carry no added tokens; deepseek-v3 is the published file.
"""
import base64
import json
import pathlib
import shutil
import sys

import gguf
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

# Cased letters as deepseek-llm's pattern lists them (code points in hexadecimal, ranges inclusive).
CASED = """B5 C0-D6 D8-F6 F8-1BA 1BC-1BF 1C4-293 295-2AF 370-373 376 377 37B-37D 37F 386 388-38A 38C 38E-3A1 3A3-3F5 3F7-481
48A-52F 531-556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA 1CBD-1CBF 1D00-1D2B 1D6B-1D77 1D79-1D9A 1E00-1F15 1F18-1F1D
1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D 1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4 1FC6-1FCC 1FD0-1FD3 1FD6-1FDB
1FE0-1FEC 1FF2-1FF4 1FF6-1FFC 2102 2107 210A-2113 2115 2119-211D 2124 2126 2128 212A-212D 212F-2134 2139 213C-213F 2145-2149
214E 2183 2184 2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2 2CF3 A640-A66D A680-A69B A722-A76F A771-A787 A78B-A78E AB70-ABBF FB00-FB06
FB13-FB17 FF21-FF3A FF41-FF5A 10400-1044F 104B0-104D3 104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF 1E900-1E943"""

CJK_KOREAN = "[一-龥ࠀ-一가-\ud7ff]+"
WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def cased_class():
    return "".join("-".join(chr(int(x, 16)) for x in item.split("-")) for item in CASED.split())


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


PATTERNS = {
    "deepseek-llm": [split(r"[\r\n]"), split(r"\s?[A-Za-z" + cased_class() + "]+"),
                     split("\\s?[!-/:-~！-／：-～‘-‟　-。]+"), split(r"\s+$"), split(CJK_KOREAN),
                     pre_tokenizers.Digits(individual_digits=True)],
    "deepseek-coder": [split(r"[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(CJK_KOREAN),
                       pre_tokenizers.Digits(individual_digits=True)],
    "qwen2": [split(WORDS % "")],
    "llama3": [split(WORDS % "{1,3}")],
}


def byte_map():
    """Byte -> printable character, as byte-level vocabularies write them."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    out, n = {b: chr(b) for b in keep}, 0
    for b in range(256):
        if b not in out:
            out[b], n = chr(256 + n), n + 1
    return out


def merges_of_ranks(ranks):
    """Ranked byte strings -> merge list: each token's two parts are what the lower ranks leave of it."""
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda x: x[1]):
        parts = [bytes([b]) for b in token]
        while len(parts) > 2:
            best, at = min((ranks.get(parts[i] + parts[i + 1], rank), i) for i in range(len(parts) - 1))
            if best >= rank:
                break
            parts[at:at + 2] = [parts[at] + parts[at + 1]]
        if len(parts) == 2:
            merges.append(tuple(parts))
    return merges


def assemble(vocab, merges, name, **options):
    tok = Tokenizer(models.BPE(vocab=vocab, merges=merges, **options))
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        PATTERNS[name] + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    return tok


def qwen2(data):
    ranks = {}
    for line in (data / "tokenizers/qwen2/qwen.tiktoken").read_text().split("\n"):
        if line.strip():
            word, rank = line.split()
            ranks[base64.b64decode(word)] = int(rank)
    table = byte_map()
    text = lambda word: "".join(table[b] for b in word)
    tok = assemble({text(w): r for w, r in ranks.items()}, [(text(a), text(b)) for a, b in merges_of_ranks(ranks)], "qwen2")
    tok.normalizer = normalizers.NFC()
    return tok


def llama3(data):
    folder = data / "tokenizers/llama3"
    vocab = json.loads((folder / "encoder.json").read_text())
    lines = (folder / "vocab.bpe").read_text().split("\n")
    merges = [tuple(x.split(" ")) for x in lines if x and not x.startswith("#version")]
    return assemble(vocab, merges, "llama3", ignore_merges=True)


def from_gguf(data, name):
    r = gguf.GGUFReader(data / f"tokenizers/gguf-vocab/ggml-vocab-{name}.gguf")
    strings = lambda key: r.fields[key].contents()
    tokens, types = strings("tokenizer.ggml.tokens"), strings("tokenizer.ggml.token_type")
    vocab = {t: i for i, (t, kind) in enumerate(zip(tokens, types)) if kind == gguf.TokenType.NORMAL}
    return assemble(vocab, [tuple(m.split(" ")) for m in strings("tokenizer.ggml.merges")], name)


def main(data, out):
    data, out = pathlib.Path(data), pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    shutil.copy(data / "tokenizers/deepseek-v3-r1/tokenizer.json", out / "deepseek-v3.json")
    for name in ("deepseek-llm", "deepseek-coder"):
        from_gguf(data, name).save(str(out / f"{name}.json"))
    qwen2(data).save(str(out / "qwen2.json"))
    llama3(data).save(str(out / "llama3.json"))


if __name__ == "__main__":
    main(*sys.argv[1:3])
