"""Writes a GGUF file of a checkpoint of transformers as llama.cpp's converters do, each tensor in the element type that it has.
Names come from the `gguf` package; the tokenizer is made up. Needs numpy and gguf.

    python gguf-fixture.py CHECKPOINT OUT.gguf
"""
import json
import math
import os
import struct
import sys

import numpy as np
from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, GGMLQuantizationType, GGUFWriter, RopeScalingType, get_tensor_name_map

ARCHITECTURES = {
    "llama": MODEL_ARCH.LLAMA, "mistral": MODEL_ARCH.LLAMA, "smollm3": MODEL_ARCH.SMOLLM3, "qwen2": MODEL_ARCH.QWEN2,
    "qwen3": MODEL_ARCH.QWEN3, "phi3": MODEL_ARCH.PHI3, "gemma2": MODEL_ARCH.GEMMA2, "gemma3_text": MODEL_ARCH.GEMMA3,
    "gpt2": MODEL_ARCH.GPT2, "gpt_neox": MODEL_ARCH.GPTNEOX,
}
TYPES = {"F32": (np.float32, GGMLQuantizationType.F32), "F16": (np.float16, GGMLQuantizationType.F16), "BF16": (np.uint16, GGMLQuantizationType.BF16)}


def tensors(folder):
    """Name, element type and numbers (BF16 as the 16 bits that it is) of every tensor."""
    for file_name in sorted(os.listdir(folder)):
        if not file_name.endswith(".safetensors"):
            continue
        with open(os.path.join(folder, file_name), "rb") as file:
            data = file.read()
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8:8 + length])
        header.pop("__metadata__", None)
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            numbers = np.frombuffer(data[8 + length + begin:8 + length + end], TYPES[entry["dtype"]][0])
            yield name, entry["dtype"], numbers.reshape(entry["shape"])


def interleaved(rows, heads):
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def as_stored(kind, config, name, dtype, numbers):
    heads = config.get("num_attention_heads", config.get("n_head"))
    if kind in ("llama", "mistral", "smollm3"):
        if ".q_proj." in name:
            return interleaved(numbers, heads)
        if ".k_proj." in name:
            return interleaved(numbers, config["num_key_value_heads"])
    if kind == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
        return numbers.T
    if kind == "gpt_neox" and ".query_key_value." in name:
        return numbers.reshape(heads, 3, -1, *numbers.shape[1:]).swapaxes(0, 1).reshape(numbers.shape)
    if kind.startswith("gemma") and name.endswith("norm.weight"):
        return numbers + np.float32(1)
    return numbers


def llama3_factors(config, rope):
    width, base = config["head_dim"], rope["rope_theta"]
    low, high, length = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    for i in range(0, width, 2):
        wavelength = 2 * math.pi * base ** (i / width)
        smooth = min(max((length / wavelength - low) / (high - low), 0), 1)
        yield 1 / ((1 - smooth) / rope["factor"] + smooth)


def write_config(writer, kind, config):
    hidden = config.get("hidden_size", config.get("n_embd"))
    heads = config.get("num_attention_heads", config.get("n_head"))
    width = config.get("head_dim", hidden // heads)
    writer.add_context_length(config.get("max_position_embeddings", config.get("n_positions")))
    writer.add_embedding_length(hidden)
    writer.add_block_count(config.get("num_hidden_layers", config.get("n_layer")))
    writer.add_feed_forward_length(config.get("intermediate_size") or 4 * hidden)
    writer.add_head_count(heads)
    if kind == "gpt2":
        return writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    rope = config["rope_parameters"]
    rope = rope.get("full_attention", rope)
    writer.add_rope_freq_base(rope["rope_theta"])
    if kind == "gpt_neox":
        writer.add_layer_norm_eps(config["layer_norm_eps"])
        writer.add_parallel_residual(config["use_parallel_residual"])
        return writer.add_rope_dimension_count(int(width * rope["partial_rotary_factor"]))
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if kind in ("llama", "mistral", "smollm3", "phi3"):
        writer.add_rope_dimension_count(width)
    if kind in ("qwen3", "gemma2", "gemma3_text"):
        writer.add_key_length(width)
        writer.add_value_length(width)
    if kind == "phi3":
        writer.add_rope_scaling_orig_ctx_len(config["original_max_position_embeddings"])
        writer.add_sliding_window(config["sliding_window"] or 0)
    if kind.startswith("gemma"):
        writer.add_sliding_window(config["sliding_window"])
    if kind == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", np.array(list(llama3_factors(config, rope)), np.float32))


def main():
    folder, out = sys.argv[1:]
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    kind = config["model_type"]
    architecture = ARCHITECTURES[kind]
    names = get_tensor_name_map(architecture, config.get("num_hidden_layers", config.get("n_layer")))
    writer = GGUFWriter(out, MODEL_ARCH_NAMES[architecture])
    write_config(writer, kind, config)
    vocabulary = config["vocab_size"]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([f"t{id}" for id in range(vocabulary)])
    writer.add_token_scores([0.0] * vocabulary)
    for token, add in (("bos_token_id", writer.add_bos_token_id), ("eos_token_id", writer.add_eos_token_id)):
        if config.get(token) is not None and config[token] < vocabulary:
            add(config[token])
    for name, dtype, numbers in tensors(folder):
        stored = np.ascontiguousarray(as_stored(kind, config, name, dtype, numbers))
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if dtype == "BF16":
            stored = stored.view(np.uint8)
        writer.add_tensor(found, stored, raw_dtype=TYPES[dtype][1])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main()
