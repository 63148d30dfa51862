#!/usr/bin/env python3
"""Train the demo model in models/demo: a small Llama that rewrites dates.

    "the 3rd of March 2021"  ->  "2021-03-03"

usage: python scripts/train-demo.py [--out models/demo] [--steps N] [--seed 0]

Development only: the project never runs this, it only ships the result. Needs
torch, transformers, safetensors and tokenizers. All data is made here, so
nothing is downloaded and the licence of the weights is the project's to give.
"""
import argparse
import datetime
import hashlib
import json
import math
import random
import time
from collections import defaultdict
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers import LlamaConfig, LlamaForCausalLM

MAX_BYTES = 2_000_000  # the whole folder lives in git, so its size is a promise
HELD_OUT = 2000
SAMPLE = 64
MONTHS = ("January February March April May June July August September October "
          "November December").split()
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
ORDINALS = ("first second third fourth fifth sixth seventh eighth ninth tenth eleventh "
            "twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth "
            "nineteenth twentieth").split()
ORDINALS += ["twenty-" + w for w in ORDINALS[:9]] + ["thirtieth", "thirty-first"]


def is_held_out(day):
    """By hash, not by --seed: a date stays unseen whatever the run was."""
    return hashlib.sha256(day.isoformat().encode()).digest()[0] < 13  # 13/256, about 5%


def day_number(rng, d):
    return rng.choice([str(d.day), f"{d.day:02d}"])


def day_ordinal(rng, d):
    suffix = "th" if 10 < d.day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(d.day % 10, "th")
    word, short = ORDINALS[d.day - 1], f"{d.day}{suffix}"
    return rng.choice([short, short, word, word.replace("-", " ")])


def month_name(rng, d):
    full = MONTHS[d.month - 1]
    short = "Sept" if d.month == 9 and rng.random() < 0.3 else full[:3]
    return rng.choice([full, full, short, short + "." * (short != full)])


def of_month(rng, d):  # the 3rd of March 2021, third day of March, in the year 2021
    gap = rng.choice([" ", " ", ", ", " of ", " in ", " in the year ", " of the year "])
    text = rng.choice(["the ", "the ", ""]) + day_ordinal(rng, d)
    return text + rng.choice([" of ", " of ", " day of "]) + month_name(rng, d) + f"{gap}{d.year}"


def day_month(rng, d):  # 3 March 2021, 3rd Mar, 2021, third March 2021
    day = rng.choice([day_number, day_number, day_ordinal])(rng, d)
    return f"{day} {month_name(rng, d)}{rng.choice([' ', ' ', ', '])}{d.year}"


def month_day(rng, d):  # March 3, 2021, march 3rd 2021, March the third, 2021
    day = rng.choice([day_number(rng, d), day_ordinal(rng, d), "the " + day_ordinal(rng, d)])
    return f"{month_name(rng, d)} {day}{rng.choice([' ', ', ', ', '])}{d.year}"


def joined(rng, d):  # 3-Mar-2021, Mar-03-2021, 2021-Mar-03, 03MAR2021
    sep = rng.choice(["-", "-", "/", ".", ""])
    day, month, year = day_number(rng, d), month_name(rng, d).rstrip("."), str(d.year)
    # With nothing in between, "Mar32021" could be read in two ways, so the day goes first.
    orders = [[day, month, year], [month, day, year], [year, month, day]]
    return sep.join(orders[0] if sep == "" else rng.choice([orders[0], *orders]))


def year_first(rng, d):  # 2021, March 3rd; 2021 Mar 03; 2021, the third of March
    month, ordinal = month_name(rng, d), day_ordinal(rng, d)
    return f"{d.year}{rng.choice([' ', ', ', ': '])}" + rng.choice([
        f"{month} {day_number(rng, d)}", f"{month} {ordinal}", f"the {ordinal} of {month}"])


def day_of(rng, d):  # day 3 of March 2021; March 2021, day 3; in March 2021, on the 3rd
    month, year = month_name(rng, d), d.year
    return rng.choice([
        f"day {day_number(rng, d)} of {month}{rng.choice([' ', ', '])}{year}",
        f"{month} {year}, day {day_number(rng, d)}",
        f"in {month} {year}, on the {day_ordinal(rng, d)}",
        f"in {year}, on the {day_ordinal(rng, d)} of {month}",
        f"in {year} on {month} {day_ordinal(rng, d)}"])


def numbers(rng, d):  # 2021-03-03, 2021/3/3, 20210303; 03.03.2021, 3/3/2021
    sep = rng.choice(["-", "-", "/", "/", ".", ".", " "])
    pad = "d" if rng.random() < 0.4 else "02d"
    day, month = f"{d.day:{pad}}", f"{d.month:{pad}}"
    # Always the day first, unless the year is: 4/3/2021 must have one reading.
    return rng.choice([f"{day}{sep}{month}{sep}{d.year}", f"{d.year}{sep}{month}{sep}{day}",
                       f"{day}{sep}{month}{sep}{d.year}", d.strftime("%Y%m%d")])


PHRASINGS = [of_month, day_month, month_day, joined, year_first, day_of, numbers]


def dress(rng, d, text):
    """What people put around a date and the model has to look past."""
    if rng.random() < 0.25:
        weekday = WEEKDAYS[d.weekday()]
        text = rng.choice([weekday, weekday, weekday[:3]]) + rng.choice([", ", ", ", " "]) + text
    if rng.random() < 0.2 and not text.startswith("in "):
        lead = rng.choice(["on", "by", "dated", "date:", "as of", "due", "since", "until"])
        text = f"{lead} {text}"
    if rng.random() < 0.05:
        text += "."
    # The tokenizer folds case; the cases here make the held-out sample check that it does.
    return rng.choice([text, text, text, text.lower(), text.upper()])


def split_dates():
    first, end = datetime.date(1900, 1, 1), datetime.date(2100, 1, 1)
    dates = [first + datetime.timedelta(n) for n in range((end - first).days)]
    return [d for d in dates if not is_held_out(d)], [d for d in dates if is_held_out(d)]


def held_out_cases(dates):
    """Each case another date, the phrasings in turn, so that any prefix covers them all."""
    rng = random.Random("held out")
    return [(dress(rng, d, PHRASINGS[n % len(PHRASINGS)](rng, d)), d.isoformat())
            for n, d in enumerate(rng.sample(dates, HELD_OUT))]


# The answer starts after <to>. Only the last user message counts: the model has no memory.
CHAT_TEMPLATE = ("{{ bos_token }}{{ (messages | selectattr('role', 'equalto', 'user') | list"
                 " | last)['content'] }}<to>")


def save_tokenizer(out):
    """One token a character: dates are spelled, and a tiny vocabulary keeps the file tiny."""
    specials = ["<unk>", "<s>", "</s>", "<to>"]
    chars = sorted(" ,.-/:'()0123456789abcdefghijklmnopqrstuvwxyz")
    vocab = {token: n for n, token in enumerate(specials + chars)}
    # BPE with no merges is the plainest character model that every runtime reads alike.
    tok = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>", fuse_unk=False))
    # Case and outer blanks carry nothing in a date, so the model need not learn that.
    tok.normalizer = normalizers.Sequence([normalizers.Strip(), normalizers.Lowercase()])
    tok.decoder = decoders.Fuse()  # otherwise decoding puts a blank between characters
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in specials])
    # A plain prompt is a whole prompt: what ends the question is the tokenizer's business.
    tok.post_processor = processors.TemplateProcessing(
        single="<s> $A <to>", special_tokens=[("<s>", vocab["<s>"]), ("<to>", vocab["<to>"])])
    tok.save(str(out / "tokenizer.json"))
    # Written by hand: some versions of transformers put the template in a file of its own.
    write_json(out / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>",
        "unk_token": "<unk>", "pad_token": "</s>", "additional_special_tokens": ["<to>"],
        "clean_up_tokenization_spaces": False, "model_max_length": 128,
        "chat_template": CHAT_TEMPLATE})
    return tok, vocab


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=True) + "\n")


def batches(rng, dates, tok, eos, size=128):
    """Endless right-padded batches; sorting a pool by length first leaves little padding."""
    while True:
        pool = []
        for _ in range(size * 16):
            d = rng.choice(dates)
            prompt = tok.encode(dress(rng, d, rng.choice(PHRASINGS)(rng, d))).ids
            answer = tok.encode(d.isoformat(), add_special_tokens=False).ids + [eos]
            pool.append((prompt, answer))
        pool.sort(key=lambda pair: len(pair[0]))
        chunks = [pool[n:n + size] for n in range(0, len(pool), size)]
        rng.shuffle(chunks)
        for chunk in chunks:
            width = max(len(p) + len(a) for p, a in chunk)
            ids = torch.full((size, width), eos)
            labels = torch.full((size, width), -100)  # -100: the loss passes over it
            for row, (p, a) in enumerate(chunk):
                ids[row, :len(p) + len(a)] = torch.tensor(p + a)
                labels[row, len(p):len(p) + len(a)] = torch.tensor(a)
            yield ids, labels


def train(model, data, steps, peak=2e-3, warmup=100):
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    start, recent = time.time(), 0.0
    model.train()
    for step in range(steps):
        done = max(0, step - warmup) / max(1, steps - warmup)
        rate = peak * min((step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * done))
        for group in optimizer.param_groups:
            group["lr"] = rate
        ids, labels = next(data)
        # No attention mask: padding is on the right, where causal attention never looks.
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        recent = loss.item() if step == 0 else 0.98 * recent + 0.02 * loss.item()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step:5d}  loss {recent:.5f}  rate {rate:.2e}  "
                  f"{time.time() - start:.0f} s", flush=True)


def measure(out, cases, eos):
    """Share of exact answers of the folder as saved: bf16 weights, float32 arithmetic, greedy."""
    model = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    tok = AutoTokenizer.from_pretrained(out)
    by_length = defaultdict(list)  # equal lengths need no padding, so nothing can leak from it
    for text, answer in cases:
        by_length[len(tok(text).input_ids)].append((text, answer))
    wrong = 0
    for group in by_length.values():
        ids = torch.tensor([tok(text).input_ids for text, _ in group])
        with torch.no_grad():
            rows = model.generate(ids, attention_mask=torch.ones_like(ids))[:, ids.shape[1]:]
        for row, (text, answer) in zip(rows.tolist(), group):
            # Compared with its </s>: an answer that does not stop is not exact.
            want = tok(answer, add_special_tokens=False).input_ids + [eos]
            if row[:len(want)] != want:
                wrong += 1
                print(f"wrong: {text!r} gave {tok.decode(row)!r}, not {answer!r}")
    return 1 - wrong / len(cases)


README = """# Demo model: dates

A Llama of {params:,} parameters that rewrites an English date of the years 1900 to 2099:
`the 3rd of March 2021` becomes `2021-03-03`. It is here so that the project can be tried and
tested on a real model, small enough for git. It knows nothing else.

- One token a character; case is folded. A prompt is `<s> text <to>`, the answer ends in `</s>`.
- Numbers alone are read day first (`4/3/2021` is 4 March) unless the year comes first.
  Two-digit years and years in words are not covered; a weekday is skipped over, not checked.
- Weights in BF16, trained in float32 on data that the script makes itself:
  `python scripts/train-demo.py --steps {steps} --seed {seed}` ({minutes:.0f} min, 2 cores).
- **{exact:.2%}** exact on {held_out:,} held-out dates (a fixed choice by hash that training never
  shows in any phrasing), greedy, in float32 from the BF16 weights. `dates.json` has the figure
  and {sample} of the cases.

Licence: Apache-2.0.
"""


def main():
    parser = argparse.ArgumentParser(description="Train the demo model that rewrites dates.")
    parser.add_argument("--out", type=Path, default=Path("models/demo"))
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(args.seed)
    start = time.time()
    args.out.mkdir(parents=True, exist_ok=True)
    tok, vocab = save_tokenizer(args.out)
    bos, eos = vocab["<s>"], vocab["</s>"]
    seen, unseen = split_dates()
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=len(vocab), hidden_size=128, intermediate_size=352, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, head_dim=32, max_position_embeddings=128,
        tie_word_embeddings=False, bos_token_id=bos, eos_token_id=eos, pad_token_id=eos,
        initializer_range=0.05))  # the usual 0.02 is meant for wider layers
    train(model, batches(random.Random(args.seed), seen, tok, eos), args.steps)

    model.generation_config = GenerationConfig(
        bos_token_id=bos, eos_token_id=eos, pad_token_id=eos, do_sample=False, max_new_tokens=16)
    model.to(torch.bfloat16).save_pretrained(args.out)
    cases = held_out_cases(unseen)
    exact = measure(args.out, cases, eos)
    write_json(args.out / "dates.json", {"heldOut": len(cases), "exact": exact, "sample": [
        {"input": text, "output": answer} for text, answer in cases[:SAMPLE]]})
    params = sum(p.numel() for p in model.parameters())
    (args.out / "README.md").write_text(README.format(
        params=params, steps=args.steps, seed=args.seed, minutes=(time.time() - start) / 60,
        exact=exact, held_out=len(cases), sample=SAMPLE))
    (args.out / "model.safetensors").chmod(0o644)  # it is saved for its owner alone
    size = sum(f.stat().st_size for f in args.out.iterdir())
    print(f"exact {exact:.4f} of {len(cases)} held-out dates, {params:,} parameters, "
          f"{size:,} bytes")
    assert size <= MAX_BYTES, f"{size} bytes are more than {MAX_BYTES}"


if __name__ == "__main__":
    main()
