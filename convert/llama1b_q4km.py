"""Writes a Llama of random numbers with the shapes and the tensor kinds of Llama-3.2-1B in Q4_K_M, to measure speed on.

    python convert/llama1b_q4km.py llama1b-q4_k_m.gguf                            # 0.8 GB, some seconds, 0.5 GB of memory
    python convert/llama1b_q4km.py llama1b-q4_k_m.gguf --tokenizer SmolLM2.gguf   # with the words of that file
    python convert/llama1b_q4km.py FOLDER/model.gguf --tiny                       # the same mix, 0.7 MB: tests/golden/q4_k_m

Speed does not depend on the numbers, so the blocks are made of random bits. Their factors are such that a matrix has
mean 0 and what comes out of it is about as large as what goes in: nothing overflows, and no two logits are nearly equal
for want of size. What they must give is computed by tests/golden/q4_k_m.py.

Which tensor is of which kind is llama.cpp's choice for Q4_K_M (llama_tensor_get_type): Q6_K for token_embd, which is the
head too, and, in those blocks that `use_more_bits` names, for attn_v and ffn_down; Q4_K for all other matrices; F32 for
norms and the factors of the rope. Without --tokenizer every token is a byte: 256 of them, two that begin and end a text,
two spaces, and others named by their number up to the size of the vocabulary.
Needs numpy and gguf 0.19.0."""
import argparse
import math

import numpy as np
from gguf import GGMLQuantizationType as Kind, GGUFReader, GGUFWriter, GGUFValueType, TokenType
from gguf.constants import GGML_QUANT_SIZES

SHAPES = {
    "1b": dict(width=2048, hidden=8192, blocks=16, heads=32, kv_heads=8, head=64, vocab=128256, context=131072, trained_on=8192),
    # widths that all differ, and a block of each sort
    "tiny": dict(width=256, hidden=512, blocks=2, heads=8, kv_heads=2, head=32, vocab=288, context=256, trained_on=32),
}
ROPE = dict(base=500000.0, factor=32.0, low=1.0, high=4.0)
EPS = 1e-5
BLOCK = 256
# Rows of blocks that are made at a time.
PIECE = 1 << 16


def use_more_bits(block, blocks):
    """Which blocks' attn_v and ffn_down are Q6_K, as llama.cpp says it."""
    return block < blocks // 8 or block >= 7 * blocks // 8 or (block - blocks // 8) % 3 == 2


def tensors(s):
    """Name, rows, columns, kind and the standard deviation of a number, in the order of the file; no columns: a vector."""
    width, hidden, kv = s["width"], s["hidden"], s["kv_heads"] * s["head"]
    # a logit's standard deviation is 3
    yield "token_embd.weight", s["vocab"], width, Kind.Q6_K, 3 / math.sqrt(width)
    yield "rope_freqs.weight", s["head"] // 2, None, Kind.F32, None
    for i in range(s["blocks"]):
        more = Kind.Q6_K if use_more_bits(i, s["blocks"]) else Kind.Q4_K
        for name, rows, columns, kind in [
            ("attn_norm", width, None, Kind.F32), ("attn_q", s["heads"] * s["head"], width, Kind.Q4_K),
            ("attn_k", kv, width, Kind.Q4_K), ("attn_v", kv, width, more),
            ("attn_output", width, s["heads"] * s["head"], Kind.Q4_K), ("ffn_norm", width, None, Kind.F32),
            ("ffn_gate", hidden, width, Kind.Q4_K), ("ffn_up", hidden, width, Kind.Q4_K), ("ffn_down", width, hidden, more),
        ]:
            yield f"blk.{i}.{name}.weight", rows, columns, kind, columns and 1 / math.sqrt(columns)
    yield "output_norm.weight", width, None, Kind.F32, None


def halves(values):
    return np.ascontiguousarray(values.astype("<f2")).view(np.uint8).reshape(-1, 2)


def q4_k(random, count, deviation):
    """Blocks of 256 numbers d·s·q − e·m: q of 0 to 15, s and m of 0 to 63 for each 32 of them. With e = 7.5 d and m near s
    their mean is 0."""
    s = random.integers(32, 64, (count, 8), dtype=np.uint8)
    m = np.clip(s.astype(np.int8) + random.integers(-3, 4, s.shape, dtype=np.int8), 0, 63).astype(np.uint8)
    # of q, times the root of the mean square of s
    d = deviation / (math.sqrt((16**2 - 1) / 12) * math.sqrt(np.mean(np.arange(32, 64) ** 2.0)))
    d = d * random.uniform(0.7, 1.3, count)
    scales = np.concatenate([  # of 6 bits: the upper two of the last four stand above the first four
        s[:, :4] | s[:, 4:] >> 4 << 6, m[:, :4] | m[:, 4:] >> 4 << 6, s[:, 4:] & 15 | (m[:, 4:] & 15) << 4], axis=1)
    codes = random.integers(0, 256, (count, 128), dtype=np.uint8)
    return np.concatenate([halves(d), halves(7.5 * d), scales, codes], axis=1)


def q6_k(random, count, deviation):
    """Blocks of 256 numbers d·s·(q − 32): q of 0 to 63, s of −127 to 127 for each 16 of them, of both signs."""
    s = random.integers(64, 128, (count, 16), dtype=np.int8) * random.choice(np.array([-1, 1], dtype=np.int8), (count, 16))
    d = deviation / (math.sqrt((64**2 - 1) / 12) * math.sqrt(np.mean(np.arange(64, 128) ** 2.0)))
    d = d * random.uniform(0.7, 1.3, count)
    codes = random.integers(0, 256, (count, 128 + 64), dtype=np.uint8)
    return np.concatenate([codes, s.view(np.uint8), halves(d)], axis=1)


def rope_factors(s):
    """By what the frequencies of llama3's rope are divided, as llama.cpp's converter computes it."""
    low, high = s["trained_on"] / ROPE["low"], s["trained_on"] / ROPE["high"]
    for pair in range(s["head"] // 2):
        length = 2 * math.pi * ROPE["base"] ** (2 * pair / s["head"])
        smooth = (s["trained_on"] / length - ROPE["low"]) / (ROPE["high"] - ROPE["low"])
        yield 1.0 if length < high else ROPE["factor"] if length > low else 1 / ((1 - smooth) / ROPE["factor"] + smooth)


def pieces(name, rows, columns, kind, deviation, s, random):
    """A tensor's bytes or numbers, some at a time."""
    if name == "rope_freqs.weight":
        yield np.array(list(rope_factors(s)), dtype=np.float32)
    elif columns is None:
        yield (1 + 0.1 * random.standard_normal(rows)).astype(np.float32)
    else:
        make, left = {Kind.Q4_K: q4_k, Kind.Q6_K: q6_k}[kind], rows * columns // BLOCK
        while left:
            count = min(left, PIECE)
            yield make(random, count, deviation)
            left -= count


def byte_words():
    """What GPT-2's tokenizers call each byte: printable ones as they are, the others moved beyond 255."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def add_tokenizer(writer, vocab, path):
    if path:
        taken = {key: field for key, field in GGUFReader(path).fields.items() if key.startswith("tokenizer.")}
        words, kinds = taken.pop("tokenizer.ggml.tokens").contents(), taken.pop("tokenizer.ggml.token_type").contents()
        for key, field in taken.items():
            sort, *of = field.types
            writer.add_key_value(key, field.contents(), sort, *(of[:1] if sort is GGUFValueType.ARRAY else []))
    else:
        # two spaces in one, since readers refuse a list of no merges
        words, kinds = byte_words() + ["<|begin|>", "<|end|>", "ĠĠ"], [TokenType.NORMAL] * 256 + [TokenType.CONTROL] * 2 + [TokenType.NORMAL]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("llama-bpe")
        writer.add_token_merges(["Ġ Ġ"])
        writer.add_bos_token_id(256)
        writer.add_eos_token_id(257)
        writer.add_add_bos_token(True)
    if len(words) > vocab:
        raise SystemExit(f"{path} has {len(words)} tokens, and there is room for {vocab}")
    # ordinary ones, so that every engine shows what it says
    more = [f"[{n}]" for n in range(len(words), vocab)]
    writer.add_token_list(words + more)
    writer.add_token_types([*map(int, kinds), *(int(TokenType.NORMAL) for _ in more)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="the .gguf to write")
    parser.add_argument("--tiny", action="store_true", help="two blocks of width 256")
    parser.add_argument("--tokenizer", help="a .gguf whose tokenizer is taken over")
    parser.add_argument("--seed", type=int, default=20261130)
    args = parser.parse_args()
    s = SHAPES["tiny" if args.tiny else "1b"]

    writer = GGUFWriter(args.out, "llama")
    writer.add_name("random Llama, Q4_K_M")
    writer.add_description("made of random numbers by convert/llama1b_q4km.py, to measure speed on")
    writer.add_file_type(15)  # mostly Q4_K_M
    writer.add_quantization_version(2)
    for set_, value in [
        (writer.add_block_count, s["blocks"]), (writer.add_context_length, s["context"]), (writer.add_embedding_length, s["width"]),
        (writer.add_feed_forward_length, s["hidden"]), (writer.add_head_count, s["heads"]), (writer.add_head_count_kv, s["kv_heads"]),
        (writer.add_key_length, s["head"]), (writer.add_value_length, s["head"]), (writer.add_vocab_size, s["vocab"]),
        (writer.add_rope_dimension_count, s["head"]), (writer.add_rope_freq_base, ROPE["base"]),
        (writer.add_layer_norm_rms_eps, EPS),
    ]:
        set_(value)
    add_tokenizer(writer, s["vocab"], args.tokenizer)

    listed = list(tensors(s))
    for name, rows, columns, kind, _ in listed:
        if columns is None:
            writer.add_tensor_info(name, (rows,), np.dtype(np.float32), 4 * rows, kind)
        else:
            numbers, size = GGML_QUANT_SIZES[kind]
            of_row = columns // numbers * size
            writer.add_tensor_info(name, (rows, of_row), np.dtype(np.uint8), rows * of_row, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    # GGUFWriter takes a tensor at a time, and the largest is 215 MB
    for at, (name, *about) in enumerate(listed):
        made = list(pieces(name, *about, s, np.random.default_rng([args.seed, at])))
        writer.write_tensor_data(made[0] if len(made) == 1 else np.concatenate(made))
    writer.close()
    print(f"{args.out}: {sum(rows * (columns or 1) for _, rows, columns, *_ in listed):,} numbers")


if __name__ == "__main__":
    main()
