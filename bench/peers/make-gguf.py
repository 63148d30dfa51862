"""Writes a GGUF file of the same weights as a BF16 checkpoint of llama or qwen3_moe, one tensor in memory at a time. Needs numpy and gguf.

    python make-gguf.py CHECKPOINT OUT.gguf [--type bf16|q8_0|q4_0]

CHECKPOINT holds config.json and model.safetensors. All matrices get the type, vectors stay float32. The tokenizer is made up.
"""
import argparse
import json
import os
import re
import struct

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType, quants

TYPES = {
    "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "q4_0": (GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0),
}
LAYER_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate": "ffn_gate_inp",
    "mlp.experts.gate_proj": "ffn_gate_exps", "mlp.experts.up_proj": "ffn_up_exps", "mlp.experts.down_proj": "ffn_down_exps",
}
ARCHITECTURES = {"llama": "llama", "qwen3_moe": "qwen3moe"}
EXPERT = re.compile(r"(.*\.experts)\.(\d+)(\..*)")
NAMES = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}


def gguf_name(name):
    if name in NAMES:
        return NAMES[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{LAYER_NAMES[rest.removesuffix('.weight')]}.weight"


def tensors(path):
    """Name -> (shape, function that reads it as float32)."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)

    def reader(offset, shape):
        def read():
            raw = np.fromfile(path, np.uint16, int(np.prod(shape)), offset=8 + length + offset)
            return (raw.astype(np.uint32) << 16).view(np.float32).reshape(shape)
        return read

    if any(entry["dtype"] != "BF16" for entry in header.values()):
        raise SystemExit("Cannot convert the checkpoint: not all of its tensors are BF16")
    return {name: (entry["shape"], reader(entry["data_offsets"][0], entry["shape"])) for name, entry in header.items()}


def stacked(found):
    """The same with the experts of a layer in one tensor, as llama.cpp has them."""
    stacks = {}
    for name, (shape, read) in found.items():
        match = EXPERT.fullmatch(name)
        key = match[1] + match[3] if match else name
        stacks.setdefault(key, {})[int(match[2]) if match else None] = (shape, read)

    def reader(parts):
        return lambda: np.stack([parts[at][1]() for at in range(len(parts))])
    return {
        key: parts[None] if None in parts else ([len(parts), *parts[0][0]], reader(parts)) for key, parts in stacks.items()
    }


def interleaved(rows, heads):
    """llama.cpp has the two halves of each rotary pair side by side."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("out")
    parser.add_argument("--type", choices=TYPES, default="bf16")
    args = parser.parse_args()
    with open(os.path.join(args.checkpoint, "config.json")) as file:
        config = json.load(file)
    matrix_type, file_type = TYPES[args.type]
    unfinished = args.out + ".new"
    writer = GGUFWriter(unfinished, ARCHITECTURES[config["model_type"]])
    if config["model_type"] == "qwen3_moe":
        writer.add_expert_count(config["num_experts"])
        writer.add_expert_used_count(config["num_experts_per_tok"])
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    writer.add_file_type(file_type)
    writer.add_quantization_version(2)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config.get("rope_theta", 10000.0))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    special = [b"<unk>", b"<s>", b"</s>"] + [f"<0x{byte:02X}>".encode() for byte in range(256)]
    count = config["vocab_size"] - len(special)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(special + [f"t{at}".encode() for at in range(count)])
    writer.add_token_scores([0.0] * len(special) + [-float(at) for at in range(count)])
    kinds = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL] + [TokenType.BYTE] * 256
    writer.add_token_types(kinds + [TokenType.NORMAL] * count)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    found = stacked(tensors(os.path.join(args.checkpoint, "model.safetensors")))

    def kind_of(name, shape):
        # a router is small, and much depends on it
        return matrix_type if len(shape) > 1 and not name.endswith("mlp.gate.weight") else GGMLQuantizationType.F32
    for name, (shape, _) in found.items():
        kind = kind_of(name, shape)
        bytes_shape = quants.quant_shape_to_byte_shape(shape, kind)
        writer.add_tensor_info(gguf_name(name), bytes_shape, np.uint8, int(np.prod(bytes_shape)), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, (shape, read) in found.items():
        rows = read()
        turned = config["model_type"] == "llama"
        if turned and name.endswith("q_proj.weight"):
            rows = interleaved(rows, config["num_attention_heads"])
        if turned and name.endswith("k_proj.weight"):
            rows = interleaved(rows, config["num_key_value_heads"])
        kind = kind_of(name, shape)
        writer.write_tensor_data(quants.quantize(rows, kind).view(np.uint8))
    writer.close()
    os.rename(unfinished, args.out)


main()
