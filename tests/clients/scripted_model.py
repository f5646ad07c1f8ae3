# SPDX-License-Identifier: MIT
"""A model that says what a test wants: a folder in Hugging Face's form whose every token is followed by one other.

The script's pieces are tokens of their own, each different, and the weights say which comes after which: embeddings are one-hot, layers add
nothing, and the head's row of a token is the embedding of the one before it."""
import json
import os
import struct

EOS = "<｜end▁of▁sentence｜>"
DEEPSEEK = ["<｜begin▁of▁sentence｜>", EOS, "<｜User｜>", "<｜Assistant｜>"]
TOOLS = ["<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"]
THINK = ["<think>", "</think>"]

# What a template says is how the format is recognised; and the token that a prompt ends with.
FORMATS = {
    "v2.5": ("<｜User｜><｜Assistant｜>", DEEPSEEK, "<｜Assistant｜>"),
    "v3.1": ("thinking <｜Assistant｜></think>", DEEPSEEK + THINK, "</think>"),
    "r1": ("<｜Assistant｜><think>", DEEPSEEK + THINK, "\n"),
    "qwen": ("<|im_start|>", ["<|im_start|>", "<|im_end|>", EOS], "\n"),
}


def byte_chars():
    """Printable stand-ins of the 256 bytes, as byte-level vocabularies write them."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(256 + i) for i, b in enumerate(others)}}


CHARS = byte_chars()


def spell(text):
    return "".join(CHARS[b] for b in text.encode())


def cut(text, controls, taken):
    """Pieces of about three characters, none twice and none `taken`; controls stay whole."""
    pieces, at = [], 0
    while at < len(text):
        control = next((c for c in controls if text.startswith(c, at)), None)
        room = min([text.find(c, at) for c in controls if c in text[at:]] + [len(text)]) - at
        lengths = [len(control)] if control else sorted(range(1, room + 1), key=lambda n: abs(n - 3.1))
        piece = next(text[at:at + n] for n in lengths if text[at:at + n] not in [*pieces, taken])
        pieces.append(piece)
        at += len(piece)
    return pieces


def write_tensors(path, tensors):
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        n = 1
        for size in shape:
            n *= size
        block = bytearray(4 * n)
        for at, value in values.items():
            struct.pack_into("<f", block, 4 * at, value)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(block)]}
        data += block
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def write_tokenizer(folder, template, controls, pieces):
    words = [spell(bytes([b]).decode("latin-1")) if b < 128 else CHARS[b] for b in range(256)]
    words += [spell(p) for p in pieces if p not in controls and spell(p) not in words]
    ids = {word: i for i, word in enumerate(words)}
    added = [{"id": len(words) + i, "content": c, "special": True} for i, c in enumerate(controls)]
    with open(os.path.join(folder, "tokenizer.json"), "w") as file:
        json.dump({"added_tokens": added,
                   "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
                   "model": {"type": "BPE", "merges": [], "vocab": ids}}, file)
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as file:
        json.dump({"bos_token": controls[0], "eos_token": EOS, "add_bos_token": controls[0] in DEEPSEEK,
                   "chat_template": template}, file)
    return {**{spell(p): ids[spell(p)] for p in pieces if p not in controls}, **{a["content"]: a["id"] for a in added},
            "\n": 10}, len(words) + len(added)


def write(folder, format, text, more_controls=()):
    """A model of that conversation format whose replies are `text`."""
    template, controls, last = FORMATS[format]
    controls = [*controls, *more_controls]
    pieces = cut(text, controls, last) + [EOS]
    ids, n_vocab = write_tokenizer(folder, template, controls, pieces)
    chain = [ids[last]] + [ids[p if p in controls else spell(p)] for p in pieces]
    assert len(set(chain)) == len(chain), "a token comes twice"
    width = -(-len(chain) // 64) * 64
    ones = {i: 1.0 for i in range(width)}
    embedding = {token * width + i: 1.0 for i, token in enumerate(chain)}
    head = {token * width + i: 1.0 for i, token in enumerate(chain[1:])}
    square = ([width, width], {})
    layer = {f"model.layers.0.self_attn.{n}_proj.weight": square for n in "qkvo"}
    layer |= {f"model.layers.0.mlp.{n}_proj.weight": square for n in ("gate", "up", "down")}
    layer |= {f"model.layers.0.{n}_layernorm.weight": ([width], ones) for n in ("input", "post_attention")}
    write_tensors(os.path.join(folder, "model.safetensors"), {
        "model.embed_tokens.weight": ([n_vocab, width], embedding), **layer, "model.norm.weight": ([width], ones),
        "lm_head.weight": ([n_vocab, width], head)})
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width,
                   "intermediate_size": width, "num_hidden_layers": 1, "num_attention_heads": width // 32,
                   "num_key_value_heads": width // 32, "vocab_size": n_vocab, "rms_norm_eps": 1e-6,
                   "rope_theta": 10000.0, "max_position_embeddings": 4096, "tie_word_embeddings": False,
                   "torch_dtype": "float32"}, file)
    return folder
