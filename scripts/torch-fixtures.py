"""Writes files of torch.save and torch.jit.save, and what torch itself says is in them.

usage: torch-fixtures.py OUT     (needs torch)
OUT/expected.json: file -> tensor name -> [element type, shape, SHA-256 of the dense bytes].
"""
import collections
import hashlib
import json
import os
import sys
import warnings

import torch
from torch import nn

from fragment import DTYPES, fragment

warnings.simplefilter('ignore')
torch.manual_seed(7)
out = sys.argv[1]
os.makedirs(out, exist_ok=True)
expected = {}


def dense(tensors):
    entries = {}
    for name, tensor in tensors.items():
        raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        entries[name] = [DTYPES[tensor.dtype], list(tensor.shape), hashlib.sha256(raw).hexdigest()]
    return entries


def save(name, value, tensors, **options):
    torch.save(value, f'{out}/{name}', **options)
    expected[name] = dense(tensors)


base = torch.randn(40, 30)
views = collections.OrderedDict({
    'whole.weight': base, 'turned.weight': base.t(), 'rows.weight': base[3:9], 'columns.weight': base[:, 5:11], 'every.weight': base[::3, ::2],
    'expanded.weight': torch.randn(7, 1).expand(7, 9), 'permuted.weight': torch.randn(3, 4, 5).permute(2, 0, 1), 'scalar': torch.tensor(2.5),
    'empty.weight': torch.zeros(0, 4), 'parameter.weight': nn.Parameter(torch.randn(2, 3)), 'tied.weight': base, 'diagonal': base.diagonal(),
})
types = {f'x.{dtype}': torch.arange(6).reshape(2, 3).to(dtype) for dtype in (
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)}
newer = {'u16': torch.arange(6).to(torch.uint16), 'f8': torch.arange(6).float().to(torch.float8_e4m3fn), 'u64': torch.arange(6).to(torch.uint64)}
for form, options in {'zip': {}, 'stacked': {'_use_new_zipfile_serialization': False}}.items():
    save(f'views-{form}.pt', views, views, **options)
    save(f'types-{form}.pt', types, types, **options)
    for protocol in (3, 4, 5):
        save(f'protocol{protocol}-{form}.pt', views, views, pickle_protocol=protocol, **options)
save('newer.pt', newer, newer)

model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 4, bias=False)).eval()
optimizer = torch.optim.Adam(model.parameters())
model(torch.randn(2, 3)).sum().backward()
optimizer.step()
training = {
    'epoch': 3, 'best': 0.5, 'device': torch.device('cpu'), 'size': torch.Size([1, 2]), 'type': torch.float16, 'names': {'a', 'b'},
    'scheduler': torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 5]).state_dict(), 'optimizer': optimizer.state_dict(),
}
for form, options in {'zip': {}, 'stacked': {'_use_new_zipfile_serialization': False}}.items():
    save(f'training-{form}.pt', {**training, 'model_state_dict': model.state_dict()}, model.state_dict(), **options)
parallel = nn.DataParallel(model)
save('parallel.pt', parallel.state_dict(), model.state_dict())
attributes = {'p': nn.Parameter(torch.ones(3)), 't': torch.ones(2)}
attributes['p'].note, attributes['t'].note = 'a', 'b'
save('attributes.pt', attributes, attributes)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer('scale', torch.ones(2))
        self.names = ['a']
        self.layers = nn.ModuleList([nn.Linear(2, 2)])

    def forward(self, x):
        return self.head(self.embed(x)) * self.scale.sum()


for name, script in {'script.jit': torch.jit.script(Tied()), 'trace.jit': torch.jit.trace(model, torch.randn(2, 3))}.items():
    torch.jit.save(script, f'{out}/{name}')
    expected[name] = dense(torch.jit.load(f'{out}/{name}').state_dict())


class Odd(nn.Module):
    """Names that fragments must tell apart: own tensors beside submodules, capitals, other alphabets, a name that is escaped."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(3).to(torch.bfloat16))
        self.A, self.a = nn.Linear(2, 2), nn.Linear(2, 2)
        self.register_module('größe "x"\n', nn.LayerNorm(4))
        self.inner = nn.Module()
        self.inner.own = nn.Parameter(torch.randn(5, 4).t())
        self.inner.register_buffer('count', torch.tensor(3))
        self.inner.register_buffer('flags', torch.tensor([True, False, True]))
        self.inner.leaf = nn.Conv1d(2, 3, 3)


odd = Odd()
torch.save(odd.state_dict(), f'{out}/odd.pt')
expected['odd.pt'] = dense(odd.state_dict())
fragment(odd, f'{out}/odd')
json.dump(expected, open(f'{out}/expected.json', 'w'))
