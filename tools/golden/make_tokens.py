# SPDX-License-Identifier: MIT
"""Token ids of our text set from the `tokenizers` package, and the tree's own tiny tokenizer.

    python make_tokens.py SHARED_DATA TOKENIZERS_DIR TREE/tests/golden

TOKENIZERS_DIR is what build_tokenizers.py wrote. Writes tokens/NAME.json and tokenizers/tiny/. A case is
    {"text" or "hex" (UTF-8 bytes; where JSON readers refuse NUL), "repeat": n?, "special": true?, "ids": [...]}
with {"count", "crc32"} in place of ids when there are more than 300 (CRC-32 of the ids as little-endian u32);
{"file": path below SHARED_DATA, ...} encodes a whole file; {"hex", "round_trip": true} is not UTF-8: the package
defines no ids, only that decoding what was encoded gives the bytes back (left out where the vocabulary lacks a byte). Without "special" no control token is
recognised. "ids_raw" (qwen2) are the ids without the tokenizer's NFC normalisation, where they differ.
"""
import json
import pathlib
import sys
import zlib

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

import texts
from build_tokenizers import byte_map, split

LONG = 300


def without_added(path):
    """The tokenizer with no added tokens, so that control text is plain text."""
    return Tokenizer.from_str(json.dumps({**json.loads(path.read_text()), "added_tokens": []}))


def encode(tok, text):
    return tok.encode(text, add_special_tokens=False).ids


def answer(ids, key="ids"):
    if len(ids) <= LONG:
        return {key: ids}
    crc = zlib.crc32(np.array(ids, "<u4").tobytes())
    return {"count": len(ids), "crc32": crc} if key == "ids" else {"count_raw": len(ids), "crc32_raw": crc}


def question(text):
    return {"hex": text.encode().hex()} if "\0" in text else {"text": text}


def case(tok, raw, head, text):
    out = {**head, **answer(encode(tok, text))}
    if raw is not None and (ids := encode(raw, text)) != encode(tok, text):
        out.update(answer(ids, "ids_raw"))
    return out


def cases(path, shared):
    plain, full = without_added(path), Tokenizer.from_file(str(path))
    raw = None
    if json.loads(path.read_text())["normalizer"] not in (None, {"type": "Sequence", "normalizers": []}):
        raw = without_added(path)
        raw.normalizer = None
    out = [case(plain, raw, question(t), t) for t in texts.TEXTS]
    out += [case(plain, raw, {"text": u, "repeat": n}, u * n) for u, n, _ in texts.REPEATED]
    if full.get_added_tokens_decoder():
        out += [case(full, None, {"text": t, "special": True}, t) for t in texts.SPECIAL + [t for t in texts.TEXTS if "<think>" in t]]
    table, vocab = byte_map(), full.get_vocab()
    out += [{"hex": b.hex(), "round_trip": True} for b in texts.INVALID if all(table[x] in vocab for x in b)]
    if shared:
        for f in texts.FILES:
            out.append(case(plain, raw, {"file": f}, (shared / f).read_bytes().decode()))
    return out


def write(path, name, items):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in items)
    path.write_text(f'{{"tokenizer":"{name}","cases":[\n{lines}\n]}}\n')


V3_PATTERNS = [
    r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"""
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"]
TINY_VOCAB = 512
FIRST = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"]
CONTROL = ["<think>", "</think>", "<｜fim▁hole｜>", "<｜fim▁begin｜>", "<｜fim▁end｜>", "<｜User｜>", "<｜Assistant｜>", "<|EOT|>",
           "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁outputs▁begin｜>",
           "<｜tool▁outputs▁end｜>", "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>", "<｜tool▁sep｜>"]


def tiny(shared, folder):
    """V3's tokenizer in small: 512 ids, merges learnt from War and Peace (public domain) and our own texts."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [split(p) for p in V3_PATTERNS] + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    corpus = [(shared / "text/war-and-peace.txt").read_text()[:200000]] + [t * 20 for t in texts.TEXTS]
    tok.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=TINY_VOCAB - len(CONTROL), show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(t, special=True, normalized=False) for t in FIRST]))
    tok.add_tokens([AddedToken(t, special=t == "<|EOT|>", normalized=False) for t in CONTROL])
    folder.mkdir(parents=True, exist_ok=True)
    tok.save(str(folder / "tokenizer.json"), pretty=False)
    token = lambda t: {"__type": "AddedToken", "content": t, "lstrip": False, "normalized": False, "rstrip": False,
                       "single_word": False}
    config = {"add_bos_token": True, "add_eos_token": False, "bos_token": token(FIRST[0]), "eos_token": token(FIRST[1]),
              "pad_token": token(FIRST[2]), "unk_token": None, "clean_up_tokenization_spaces": False,
              "model_max_length": 512, "tokenizer_class": "LlamaTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n")


def main(shared, built, out):
    shared, built, out = pathlib.Path(shared), pathlib.Path(built), pathlib.Path(out)
    for name in ("deepseek-v3", "deepseek-llm", "deepseek-coder", "qwen2", "llama3"):
        write(out / "tokens" / f"{name}.json", name, cases(built / f"{name}.json", shared))
    tiny(shared, out / "tokenizers/tiny")
    write(out / "tokens/tiny.json", "tiny", cases(out / "tokenizers/tiny/tokenizer.json", None))


if __name__ == "__main__":
    main(*sys.argv[1:4])
