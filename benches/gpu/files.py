"""Safetensors and .npy of f32 numbers with Python's own library: a machine with a GPU may have nothing more."""

import json
import re
import struct
from array import array
from pathlib import Path

Tensors = dict[str, tuple[list[int], array]]


def write_safetensors(path: Path, tensors: Tensors) -> None:
    header, offset = {}, 0
    for name, (shape, numbers) in tensors.items():
        end = offset + 4 * len(numbers)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, numbers in tensors.values():
            numbers.tofile(file)


def read_safetensors(path: Path) -> Tensors:
    data = path.read_bytes()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        first, end = entry["data_offsets"]
        tensors[name] = (entry["shape"], array("f", data[start + first : start + end]))
    return tensors


def write_npy(path: Path, shape: list[int], numbers: array) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    with path.open("wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        numbers.tofile(file)


def read_npy(path: Path) -> tuple[list[int], array]:
    data = path.read_bytes()
    start = 10 + struct.unpack("<H", data[8:10])[0]
    header = data[10:start].decode()
    if "'<f4'" not in header or "'fortran_order': False" not in header:
        raise SystemExit(f"{path}: expected f32 row by row, found {header.strip()}")
    shape = re.search(r"'shape': \(([^)]*)\)", header).group(1)
    return [int(size) for size in shape.split(",") if size.strip()], array("f", data[start:])
