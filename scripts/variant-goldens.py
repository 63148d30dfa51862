"""Makes tiny random checkpoints of variants of architectures with reference outputs of transformers in float32.

usage: variant-goldens.py FOLDER VARIANTS_JSON     (needs torch, transformers)
VARIANTS_JSON: [{"name": ..., "kind": "CausalLM" | "Encoder" | "Seq2SeqLM" | "ImageClassification", "config": {"model_type": ..., ...},
"ids": [[...]], "mask": [[...]], "decoder_ids": [[...]], "generate": COUNT}]. Each FOLDER/NAME then holds config.json,
model.safetensors and golden.json; one with "live" also the folder live, with the state dict of the module as it runs.
"""
import json
import os
import shutil
import sys

import torch
import transformers

KINDS = {
    'CausalLM': (transformers.AutoModelForCausalLM, 'logits'),
    'Encoder': (transformers.AutoModel, 'last_hidden_state'),
    'Seq2SeqLM': (transformers.AutoModelForSeq2SeqLM, 'logits'),
    'ImageClassification': (transformers.AutoModelForImageClassification, 'logits'),
}


def randomise(model):
    """Weights large enough that whatever is computed wrongly shows in the outputs."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.copy_(torch.randn_like(weight) * 1.5 / weight.shape[-1] ** 0.5)
            else:
                weight.copy_(float('norm' in name.lower()) + 0.2 * torch.randn_like(weight))


def inputs_of(variant):
    feeds = {'input_ids': 'ids', 'attention_mask': 'mask', 'decoder_input_ids': 'decoder_ids'}
    feeds = {name: torch.tensor(variant[key]) for name, key in feeds.items() if key in variant}
    if 'pixels' in variant:
        feeds['pixel_values'] = torch.randn(variant['pixels'])
    return feeds


folder, variants = sys.argv[1:3]
for variant in json.loads(variants):
    torch.manual_seed(7)
    config = dict(variant['config'])
    auto, output = KINDS[variant['kind']]
    config = transformers.AutoConfig.for_model(config.pop('model_type'), **config)
    config._attn_implementation = 'eager'
    model = auto.from_config(config, dtype=torch.float32).eval()
    randomise(model)
    golden = {}
    with torch.no_grad():
        feeds = inputs_of(variant)
        golden['output'] = getattr(model(**feeds), output).tolist()
        if 'pixel_values' in feeds:
            golden['pixels'] = feeds['pixel_values'].flatten().tolist()
        if 'generate' in variant:
            ids = feeds['input_ids'][:1]
            made = model.generate(ids, max_new_tokens=variant['generate'], do_sample=False, eos_token_id=None, pad_token_id=0)
            # a decoder with an encoder begins with a token of its own
            golden['greedy'] = made[0, 1 if config.is_encoder_decoder else ids.shape[1]:].tolist()
    path = os.path.join(folder, variant['name'])
    model.save_pretrained(path)
    if variant.get('live'):
        live = os.path.join(path, 'live')
        os.makedirs(live)
        torch.save(model.state_dict(), os.path.join(live, 'pytorch_model.bin'))
        for name in ('config.json', 'generation_config.json'):
            if os.path.exists(os.path.join(path, name)):
                shutil.copy(os.path.join(path, name), live)
    json.dump(golden, open(os.path.join(path, 'golden.json'), 'w'))
