"""Files of PyTorch's two formats that a reader must refuse: each differs from a good one in the one way it is named for."""

import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import torch

from layouts.reasons import write_reasons

GOOD = {"weight": torch.arange(4, dtype=torch.float32)}
STOP = pickle.STOP
LONG_AGO = (1980, 1, 1, 0, 0, 0)


class RunsACommand:
    """Pickles as GLOBAL `posix system` and REDUCE."""

    def __reduce__(self):
        return os.system, ("true",)


def saved(content, legacy=False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def zipped(pickled: bytes | None = None, compression=zipfile.ZIP_STORED, without=(), **entries) -> bytes:
    """The good zip file with another pickle or other entries in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(GOOD))) as good, zipfile.ZipFile(buffer, "w", compression) as out:
        for entry in good.infolist():
            name = entry.filename.split("/", 1)[1]
            content = good.read(entry)
            if name == "data.pkl" and pickled is not None:
                content = pickled
            if name not in without:
                info = zipfile.ZipInfo(entry.filename, LONG_AGO)
                info.compress_type = compression
                out.writestr(info, entries.get(name.replace("/", "_"), content))
    return buffer.getvalue()


def good_pickle() -> bytes:
    with zipfile.ZipFile(io.BytesIO(saved(GOOD))) as good:
        return good.read(next(name for name in good.namelist() if name.endswith("data.pkl")))


def replaced(before: bytes, after: bytes) -> bytes:
    """The good pickle with one place changed."""
    pickled = good_pickle()
    assert pickled.count(before) == 1, (pickled.count(before), pickled)
    return pickled.replace(before, after)


def integer(value: int) -> bytes:
    """LONG1: any size."""
    encoded = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return pickle.LONG1 + bytes([len(encoded)]) + encoded


# In the good pickle: offset 0, size (4,), then (memo 8) stride (1,).
VIEW = b"K\x00K\x04\x85"
VIEW_AND_STRIDE = VIEW + b"q\x08K\x01\x85"


def cases() -> dict[str, tuple[bytes, str]]:
    legacy = saved(GOOD, legacy=True)
    count = struct.pack("<q", 4)
    assert legacy.count(count) == 1 and legacy.endswith(GOOD["weight"].numpy().tobytes())
    assert good_pickle().count(VIEW) == 1
    whole = saved(GOOD)
    depth, doublings = 30_000, 64
    doubled = b"".join(b"]q" + bytes([i + 1]) + b"(h" + bytes([i]) + b"h" + bytes([i]) + b"e" for i in range(doublings))
    return {
        "system-zip.bin": (saved({"weight": RunsACommand()}), "the pickle calls os.system (GLOBAL `posix system`, REDUCE)"),
        "system-legacy.bin": (saved({"weight": RunsACommand()}, legacy=True), "the same in the legacy format"),
        "unknown-opcode.bin": (zipped(b"\x80\x02\xff" + STOP), "0xff is not an opcode of pickle"),
        "truncated-zip.bin": (whole[:len(whole) * 2 // 3], "cut off: the zip directory at the end is missing"),
        "truncated-legacy.bin": (legacy[:-6], "cut off inside the last storage"),
        "truncated-pickle.bin": (legacy[:legacy.index(count) // 2], "cut off inside the pickles of the legacy format"),
        "lying-storage-legacy.bin": (legacy.replace(count, struct.pack("<q", 1 << 40)), "a storage claims 2^40 elements and has 4"),
        "negative-storage-legacy.bin": (legacy.replace(count, struct.pack("<q", -4)), "a storage claims -4 elements"),
        "deflated.bin": (zipped(compression=zipfile.ZIP_DEFLATED), "the entries are compressed, which PyTorch never does"),
        "missing-storage.bin": (zipped(without=["data/0"]), "the entry of storage 0 is missing"),
        "short-storage.bin": (zipped(data_0=b"\0" * 8), "storage 0 has 8 bytes, its 4 floats need 16"),
        "missing-pickle.bin": (zipped(without=["data.pkl"]), "no data.pkl"),
        "big-endian.bin": (zipped(byteorder=b"big"), "byteorder says big"),
        "view-beyond-storage.bin": (zipped(replaced(VIEW, b"K\x00M\xe8\x03\x85")), "a tensor of 1000 in a storage of 4"),
        "view-overflows.bin": (zipped(replaced(VIEW_AND_STRIDE, b"K\x00" + integer(1 << 62) + integer(8) + b"\x86K\x00K\x00\x86")),
                               "a shape of [2^62, 8], whose count overflows 64 bits, over strides of 0"),
        "offset-beyond-storage.bin": (zipped(replaced(VIEW, integer(1 << 62) + b"K\x04\x85")), "an offset of 2^62 in a storage of 4"),
        "negative-offset.bin": (zipped(replaced(VIEW, integer(-1) + b"K\x04\x85")), "an offset of -1"),
        "negative-size.bin": (zipped(replaced(VIEW, b"K\x00" + integer(-4) + b"\x85")), "a shape of [-4]"),
        "storage-path.bin": (zipped(replaced(b"X\x01\x00\x00\x000q", b"X\x09\x00\x00\x00../../../q")),
                             "the key of the storage is a path out of the archive"),
        "huge-string.bin": (zipped(b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b"weight" + STOP), "a string of 2^60 bytes, 6 there"),
        "deep-nesting.bin": (zipped(b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + STOP), f"lists nested {depth} deep"),
        "doubling.bin": (zipped(b"\x80\x02]q\x00" + doubled + STOP), f"lists that hold the one before twice, {doublings} times over"),
        "cycle.bin": (zipped(b"\x80\x02]q\x00h\x00a" + STOP), "a list that holds itself"),
        "unset-memo.bin": (zipped(b"\x80\x02}X\x06\x00\x00\x00weighth\x07s" + STOP), "takes memo 7, which nothing set"),
        "empty-stack.bin": (zipped(b"\x80\x02R" + STOP), "REDUCE with nothing on the stack"),
        "no-stop.bin": (zipped(b"\x80\x02}"), "the pickle ends without STOP"),
        "not-a-dictionary.bin": (zipped(b"\x80\x02K\x01" + STOP), "the pickle holds the number 1"),
        "empty.bin": (b"", "an empty file"),
        "text.bin": (b"<!doctype html><title>Not found</title>\n", "a web page saved under the name of weights"),
        "lfs-pointer.bin": (b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 47376696\n",
                            "a Git LFS pointer in place of the file"),
    }


def write(folder: Path) -> None:
    folder.mkdir()
    reasons = {}
    for name, (content, reason) in cases().items():
        (folder / name).write_bytes(content)
        reasons[name] = reason
    for name, index in {"escaping-safetensors": "model.safetensors.index.json", "escaping-bin": "pytorch_model.bin.index.json"}.items():
        target = "../../safetensors-single/model.safetensors" if "safetensors" in index else "../../bin-zip/pytorch_model.bin"
        (folder / name).mkdir()
        weights = {"albert.pooler.weight": target}
        (folder / name / index).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weights}) + "\n")
        (folder / name / "config.json").write_bytes((folder.parent / "safetensors-single/config.json").read_bytes())
        reasons[f"{name}/{index}"] = "names a shard outside the folder"
    write_reasons(folder, reasons)
