"""Opens an asset folder with transformers and compares it with golden outputs.

usage: check-transformers.py ASSET_FOLDER GOLDEN_JSON     (needs torch, transformers)
Prints the largest absolute difference; exits 1 above 1e-4.
"""
import json
import sys

import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

folder, golden_path = sys.argv[1:3]
golden = json.load(open(golden_path))
is_decoder = 'logits' in golden
both = 'decoder_input_ids' in golden
kind = AutoModelForSeq2SeqLM if both else AutoModelForCausalLM if is_decoder else AutoModel
AutoConfig.from_pretrained(folder)
model = kind.from_pretrained(folder, dtype=torch.float32).eval()
feeds = {'input_ids': torch.tensor(golden['input_ids'])}
if 'attention_mask' in golden:
    feeds['attention_mask'] = torch.tensor(golden['attention_mask'])
if both:
    feeds['decoder_input_ids'] = torch.tensor(golden['decoder_input_ids'])
with torch.no_grad():
    out = model(**feeds)
found = out.logits if is_decoder else out.last_hidden_state
worst = (found - torch.tensor(golden['logits' if is_decoder else 'last_hidden_state'])).abs().max().item()
print(worst)
sys.exit(0 if worst < 1e-4 else 1)
