"""Writes what the weights of a GGUF file stand for, as the `gguf` package has it: float32, all tensors one after the other, in
order of their names. Needs numpy and gguf.

    python gguf-oracle.py FILE OUT
"""
import sys

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

with open(sys.argv[2], "wb") as out:
    for tensor in sorted(GGUFReader(sys.argv[1]).tensors, key=lambda tensor: tensor.name):
        out.write(dequantize(tensor.data, tensor.tensor_type).astype(np.float32).tobytes())
