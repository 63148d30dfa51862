"""Exports a live PyTorch module as ONNX, in a form that `masset fragment OUT` splits by its modules.

usage: export_onnx.py MODULE INPUTS OUT.onnx [--dynamic INPUT:AXIS=NAME]... [--output NAME]... [--exporter torchscript|dynamo]

MODULE and INPUTS are `package.module:name`: a module, and its example inputs (a dict by argument name, a tuple or a
tensor), or functions that give them. In Python:

    from export_onnx import export
    export(model, {'input_ids': ids}, 'model.onnx', dynamic={'input_ids': {0: 'batch', 1: 'sequence'}})

Every weight keeps its name and bytes of the state dict: constants are not folded, batch normalisation stays apart, and a
module in training is exported as it is evaluated. So the fragments have the CIDs of the checkpoint. (`torchscript`
makes one of tensors that hold the same numbers, such as norms that were never trained.) The exporter
`torchscript`, the default, needs torch alone; `dynamo`, for what that one can't trace, needs onnxscript too.
"""
import argparse
import importlib
import importlib.util
import os

import torch

OPSETS = {'torchscript': 17, 'dynamo': 20}


def export(module, inputs, out, dynamic=None, outputs=None, exporter='torchscript', opset=None):
    """Writes the torch.nn.Module as the ONNX model `out`; weights of more than 2 GiB go into files beside it.

    inputs: example inputs by argument name, in the order of the arguments, or as a tuple, or one tensor.
    dynamic: input -> axis -> name, for the dimensions that may differ from those of the examples.
    outputs: names of the outputs, in their order. opset: 17 or 20, by the exporter, if None.
    Raises ValueError for an unknown exporter or input, and whatever the exporter of PyTorch raises for what it can't export.
    """
    if exporter not in OPSETS:
        raise ValueError(f'Cannot export with {exporter!r}: give one of {", ".join(OPSETS)}')
    if isinstance(inputs, torch.Tensor):
        inputs = (inputs,)
    kwargs = inputs if isinstance(inputs, dict) else {}
    args = () if kwargs else tuple(inputs)
    names = list(kwargs) or argument_names(module, len(args))
    unknown = [name for name in dynamic or {} if name not in names]
    if unknown:
        raise ValueError(f'Cannot export with the dynamic input {unknown[0]!r}: the inputs are {", ".join(names)}')
    common = {'kwargs': kwargs, 'input_names': names, 'output_names': outputs, 'opset_version': opset or OPSETS[exporter]}
    was_training = {child: child.training for child in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            if exporter == 'dynamo':
                shapes = {name: {axis: torch.export.Dim.DYNAMIC for axis in (dynamic or {}).get(name, {})} for name in names}
                # Its optimizer folds what it can into new tensors.
                torch.onnx.export(module, args, out, dynamo=True, optimize=False, external_data=True,
                                  dynamic_shapes=shapes if dynamic else None, **common)
            else:
                without_onnx()
                torch.onnx.export(module, args, out, dynamo=False, do_constant_folding=False, dynamic_axes=dynamic,
                                  training=torch.onnx.TrainingMode.PRESERVE, **common)
    finally:
        for child, training in was_training.items():
            child.training = training


def without_onnx():
    """Lets the TorchScript exporter do without the onnx package, which it wants only to look for functions of onnxscript."""
    if importlib.util.find_spec('onnx') is None:
        try:
            utils = importlib.import_module('torch.onnx._internal.torchscript_exporter.onnx_proto_utils')
        except ImportError:
            return
        utils._add_onnxscript_fn = lambda model_bytes, custom_opsets: model_bytes


def argument_names(module, count):
    """The names of the first arguments that the module's forward takes."""
    code = type(module).forward.__code__
    names = list(code.co_varnames[1:code.co_argcount])[:count]
    return names + [f'input_{at}' for at in range(len(names), count)]


def load(source):
    """What `package.module:name` is; a function that is no module is called."""
    package, colon, name = source.partition(':')
    if not colon:
        raise SystemExit(f'Cannot read {source}: name it as package.module:name')
    found = getattr(importlib.import_module(package), name)
    return found() if callable(found) and not isinstance(found, torch.nn.Module) else found


def dynamic_axes(texts):
    """{'x': {0: 'batch'}} of ['x:0=batch']"""
    axes = {}
    for text in texts:
        where, equals, name = text.partition('=')
        value, colon, axis = where.rpartition(':')
        if not (equals and colon and axis.isdigit() and name):
            raise SystemExit(f'Cannot read --dynamic {text}: give INPUT:AXIS=NAME, such as input_ids:0=batch')
        axes.setdefault(value, {})[int(axis)] = name
    return axes


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Exports a PyTorch module as ONNX, for `masset fragment OUT`.')
    parser.add_argument('module', help='package.module:name of a module, or of a function that gives one')
    parser.add_argument('inputs', help='package.module:name of its example inputs, or of a function that gives them')
    parser.add_argument('out', help='the ONNX file to write')
    parser.add_argument('--dynamic', action='append', default=[], metavar='INPUT:AXIS=NAME', help='a dimension that may differ')
    parser.add_argument('--output', action='append', metavar='NAME', help='the name of an output, in their order')
    parser.add_argument('--exporter', choices=list(OPSETS), default='torchscript')
    given = parser.parse_args()
    os.makedirs(os.path.dirname(os.path.abspath(given.out)), exist_ok=True)
    export(load(given.module), load(given.inputs), given.out, dynamic_axes(given.dynamic), given.output, given.exporter)
