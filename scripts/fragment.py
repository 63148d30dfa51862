"""Writes a live PyTorch module, or a state dict, as canonical fragments; `masset seal OUT` makes the asset of them.

usage: fragment.py SOURCE OUT [--config CONFIG_JSON]     (needs torch and numpy)

SOURCE is a file that torch.save or torch.jit.save wrote, or `package.module:name` of a module or of a function that
gives one. In Python:

    from fragment import fragment
    fragment(model, 'my-asset', config='config.json')

The sealed folder has the bytes and the CID that `masset fragment` gives for the same weights saved by torch.save, with the
same config.json beside them. Other files that belong to a model (tokenizer.json, ...) go into OUT before it is sealed.
"""
import argparse
import importlib
import json
import os

import torch

PAGE = 4096
DTYPES = {
    torch.float32: 'F32', torch.float64: 'F64', torch.float16: 'F16', torch.bfloat16: 'BF16',
    torch.int64: 'I64', torch.int32: 'I32', torch.int16: 'I16', torch.int8: 'I8', torch.uint8: 'U8', torch.bool: 'BOOL',
}
for name, short in {'uint16': 'U16', 'uint32': 'U32', 'uint64': 'U64', 'float8_e4m3fn': 'F8_E4M3', 'float8_e5m2': 'F8_E5M2'}.items():
    if hasattr(torch, name):
        DTYPES[getattr(torch, name)] = short

# As in src/sources/torch/state-dict.ts.
WRAPPERS = ('state_dict', 'model_state_dict', 'model', 'module')
PREFIXES = ('module.', '_orig_mod.')


def fragment(module_or_state_dict, out, config=None):
    """Writes a torch.nn.Module or a state dict (name -> tensor) into the new folder `out`, one fragment per module.

    config: what becomes config.json: the path of one, which is copied byte for byte, a dict, a configuration of
    transformers, or None. Raises ValueError for tensors that safetensors can't hold, FileExistsError if `out` has files.
    """
    tensors = state_dict(module_or_state_dict)
    fragments = list(module_tree(tensors))
    text = config_text(config)
    os.makedirs(out, exist_ok=True)
    if os.listdir(out):
        raise FileExistsError(f'Cannot write {out}: it has files already; name a new folder')
    for path, names in fragments:
        target = os.path.join(out, *path.split('/'))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, 'wb') as file:
            write_fragment(file, {name: tensors[name] for name in names})
    if text is not None:
        with open(os.path.join(out, 'config.json'), 'wb') as file:
            file.write(text)


def state_dict(source):
    """The tensors of a module or a state dict, as a checkpoint of them would be read: see WRAPPERS and PREFIXES."""
    if isinstance(source, torch.nn.Module):
        source = source.state_dict()
    if not any(isinstance(value, torch.Tensor) for value in source.values()):
        for key in WRAPPERS:
            inner = source.get(key)
            if isinstance(inner, dict) and any(isinstance(value, torch.Tensor) for value in inner.values()):
                source = inner
                break
    tensors = {name: value for name, value in source.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise ValueError('Cannot fragment it: it holds no tensors; give a module or its state dict')
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in tensors)), None):
        tensors = {name[len(prefix):]: tensor for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPES or tensor.layout != torch.strided or tensor.device.type == 'meta':
            raise ValueError(f'Cannot fragment tensor {name!r}: it is {tensor.dtype}, {tensor.layout} on {tensor.device}; make it dense and of a plain type')
    return tensors


def module_tree(names):
    """The fragments' paths, each with the names of its tensors; as in src/asset/module-tree.ts."""
    root = {'children': {}, 'own': []}
    for name in names:
        branch = root
        for segment in name.split('.')[:-1]:
            branch = branch['children'].setdefault(segment, {'children': {}, 'own': []})
        branch['own'].append(name)

    def collect(branch, path, is_root):
        if branch['own']:
            yield f"{path}{'' if not branch['children'] and not is_root else '/@own'}.safetensors", branch['own']
        folded = [segment.lower() for segment in branch['children']]
        for segment, child in branch['children'].items():
            clash = folded.count(segment.lower()) > 1
            yield from collect(child, f'{path}/{encode_segment(segment, clash)}', False)

    return collect(root, 'modules', True)


def encode_segment(segment, case_clash):
    """A segment of a module key as a file name: other bytes percent-encoded, capitals too where only they differ."""
    plain = b'abcdefghijklmnopqrstuvwxyz0123456789_-' + (b'' if case_clash else b'ABCDEFGHIJKLMNOPQRSTUVWXYZ')
    encoded = ''.join(chr(byte) if byte in plain else f'%{byte:02X}' for byte in segment.encode('utf-8'))
    if len(encoded) > 200:
        raise ValueError(f'Cannot name a fragment for {segment[:60]!r}...: it is longer than 200 bytes as a file name')
    return encoded or '%'


def write_fragment(file, tensors):
    """Canonical safetensors; as in src/asset/fragment-codec.ts."""
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name.encode('utf-8')))
    entries, end = ['"__metadata__":{"format":"pt"}'], 0
    for name in order:
        tensor = tensors[name]
        begin, end = end, end + tensor.numel() * tensor.element_size()
        entry = {'dtype': DTYPES[tensor.dtype], 'shape': list(tensor.shape), 'data_offsets': [begin, end]}
        entries.append(f"{json.dumps(name, ensure_ascii=False)}:{json.dumps(entry, separators=(',', ':'))}")
    text = ('{' + ','.join(entries) + '}').encode('utf-8')
    start = -(-(8 + len(text)) // PAGE) * PAGE
    file.write((start - 8).to_bytes(8, 'little') + text.ljust(start - 8))
    for name in order:
        # resolve_*: the bits of a view that is only marked as negated or conjugated are not its numbers
        dense = tensors[name].detach().to('cpu').resolve_conj().resolve_neg().contiguous()
        file.write(dense.reshape(-1).view(torch.uint8).numpy())


def config_text(config):
    if config is None:
        return None
    if isinstance(config, (str, os.PathLike)):
        with open(config, 'rb') as file:
            return file.read()
    if hasattr(config, 'to_json_string'):
        return config.to_json_string().encode('utf-8')
    return (json.dumps(config, indent=2, sort_keys=True) + '\n').encode('utf-8')


def load(source):
    """A file of torch.save (never run: weights_only) or torch.jit.save, or `package.module:name`."""
    if os.path.exists(source):
        try:
            return torch.load(source, map_location='cpu', weights_only=True)
        except RuntimeError as error:
            if 'TorchScript' not in str(error):
                raise
            return torch.jit.load(source, map_location='cpu')
    package, colon, name = source.partition(':')
    if not colon:
        raise SystemExit(f'Cannot read {source}: there is no such file; name one, or package.module:name')
    found = getattr(importlib.import_module(package), name)
    return found if isinstance(found, (torch.nn.Module, dict)) else found()


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Writes a PyTorch module or state dict as fragments, for `masset seal OUT`.')
    parser.add_argument('source', help='a file of torch.save or torch.jit.save, or package.module:name')
    parser.add_argument('out', help='a new folder')
    parser.add_argument('--config', help='a config.json to copy')
    given = parser.parse_args()
    fragment(load(given.source), given.out, given.config)
