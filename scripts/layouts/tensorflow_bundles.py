"""The layouts that TensorFlow's Saver writes: Google's checkpoints, brightmart's, and bundles that a reader must refuse."""

import json
import platform
import struct
import tempfile
from pathlib import Path

import numpy as np
import safetensors
import tensorflow as tf
from safetensors.numpy import load_file
from tensorflow.core.protobuf import tensor_bundle_pb2

from layouts.reasons import write_reasons

tf.compat.v1.disable_eager_execution()

LAYER = {  # Google's name within a layer: ours
    "attention_1/self/query": "attention.query", "attention_1/self/key": "attention.key",
    "attention_1/self/value": "attention.value", "attention_1/output/dense": "attention.dense",
    "LayerNorm": "attention.LayerNorm", "LayerNorm_1": "full_layer_layer_norm",
    "ffn_1/intermediate/dense": "ffn", "ffn_1/intermediate/output/dense": "ffn_output",
}
OUTSIDE = {
    "bert/embeddings/LayerNorm": "albert.embeddings.LayerNorm",
    "bert/encoder/embedding_hidden_mapping_in": "albert.encoder.embedding_hidden_mapping_in",
    "bert/pooler/dense": "albert.pooler", "cls/predictions/transform/dense": "predictions.dense",
    "cls/predictions/transform/LayerNorm": "predictions.LayerNorm",
}
WHOLE = {
    "bert/embeddings/word_embeddings": "albert.embeddings.word_embeddings.weight",
    "bert/embeddings/position_embeddings": "albert.embeddings.position_embeddings.weight",
    "bert/embeddings/token_type_embeddings": "albert.embeddings.token_type_embeddings.weight",
    "cls/predictions/output_bias": "predictions.bias",
    "cls/seq_relationship/output_weights": "sop_classifier.classifier.weight",
    "cls/seq_relationship/output_bias": "sop_classifier.classifier.bias",
}
# The optimizer's slots of a variable, in Google's checkpoints taken during training.
SLOTS = ["bert/pooler/dense/kernel", "cls/predictions/output_bias"]
STEP = 125_000


# --- Google's names --------------------------------------------------------------------------------------------------

def google(state: dict, config: dict, projection=True) -> dict:
    """The weights under Google's names: kernels are stored transposed, norms are gamma and beta."""
    modules = OUTSIDE if projection else {theirs: ours for theirs, ours in OUTSIDE.items() if "mapping_in" not in theirs}
    modules = dict(modules)
    for group in range(config.get("num_hidden_groups", 1)):
        for inner in range(config.get("inner_group_num", 1)):
            theirs = f"bert/encoder/transformer/group_{group}/inner_group_{inner}"
            ours = f"albert.encoder.albert_layer_groups.{group}.albert_layers.{inner}"
            modules |= {f"{theirs}/{part}": f"{ours}.{name}" for part, name in LAYER.items()}
    variables = {theirs: state[ours] for theirs, ours in WHOLE.items()}
    for theirs, ours in modules.items():
        weight, bias = state[f"{ours}.weight"], state[f"{ours}.bias"]
        is_norm = weight.ndim == 1
        variables[theirs + ("/gamma" if is_norm else "/kernel")] = weight.T
        variables[theirs + ("/beta" if is_norm else "/bias")] = bias
    used = len(variables) + 2 * (not projection)
    assert used == len(state.keys() - {"predictions.decoder.weight", "predictions.decoder.bias"}), "a weight is left out"
    return variables


def trained(variables: dict) -> dict:
    """With the step and some of the optimizer's slots."""
    slots = {f"{name}/{slot}": variables[name] * 0 + 0.5 for name in SLOTS for slot in ("adam_m", "adam_v")}
    return variables | slots | {"global_step": np.array(STEP, dtype=np.int64)}


def google_config(config: dict) -> dict:
    """albert_config.json: "gelu" is the tanh approximation here, which transformers calls gelu_new."""
    assert config["hidden_act"] == "gelu_new"
    fields = ("embedding_size", "hidden_size", "intermediate_size", "max_position_embeddings", "num_attention_heads",
              "num_hidden_layers", "vocab_size")
    return {
        "attention_probs_dropout_prob": 0.0, "hidden_act": "gelu", "hidden_dropout_prob": 0.0, "initializer_range": 0.02,
        **{field: config[field] for field in fields},
        "num_hidden_groups": config.get("num_hidden_groups", 1), "net_structure_type": 0, "gap_size": 0,
        "num_memory_blocks": 0, "inner_group_num": config.get("inner_group_num", 1), "down_scale_factor": 1,
        "type_vocab_size": 2,
    }


def save(variables: dict, path: Path, shards=1) -> None:
    """TensorFlow's own writer; one shard for each device that variables are placed on."""
    devices = tf.compat.v1.ConfigProto(device_count={"CPU": shards})
    with tf.Graph().as_default(), tf.compat.v1.Session(config=devices) as session:
        created = {}
        for i, (name, value) in enumerate(sorted(variables.items())):
            with tf.device(f"/cpu:{i % shards}"):
                created[name] = tf.compat.v1.get_variable(name, initializer=tf.constant(value), use_resource=False)
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver(created, sharded=shards > 1)
        saver.save(session, str(path), write_meta_graph=False, write_state=False)
    data = sorted(path.parent.glob(f"{path.name}.data-*"))
    assert [file.name for file in data] == [f"{path.name}.data-{i:05}-of-{shards:05}" for i in range(shards)], data
    reader = tf.train.load_checkpoint(str(path))
    assert reader.get_variable_to_shape_map().keys() == variables.keys()
    for name, value in variables.items():
        found = reader.get_tensor(name)
        assert found.dtype == value.dtype and np.array_equal(found, value), name


# --- brightmart's ----------------------------------------------------------------------------------------------------

def brightmart() -> tuple[dict, dict]:
    """A few variables of albert_zh's first, different architecture: one shared layer, projection without a bias."""
    vocab, narrow, hidden, intermediate = 20, 4, 6, 8
    layer = "bert/encoder/layer_shared"
    norms = ["bert/embeddings/LayerNorm", f"{layer}/attention/output/LayerNorm", f"{layer}/output/LayerNorm"]
    dense = {f"{layer}/attention/self/{part}": (hidden, hidden) for part in ("query", "key", "value")} | {
        f"{layer}/attention/output/dense": (hidden, hidden), f"{layer}/intermediate/dense": (hidden, intermediate),
        f"{layer}/output/dense": (intermediate, hidden), "bert/pooler/dense": (hidden, hidden),
    }
    shapes = {
        "bert/embeddings/word_embeddings": (vocab, narrow), "bert/embeddings/word_embeddings_2": (narrow, hidden),
        "bert/embeddings/position_embeddings": (16, hidden), "bert/embeddings/token_type_embeddings": (2, hidden),
        **{f"{norm}/{part}": (hidden,) for norm in norms for part in ("gamma", "beta")},
        **{f"{name}/kernel": shape for name, shape in dense.items()},
        **{f"{name}/bias": shape[1:] for name, shape in dense.items()},
    }
    config = {
        "attention_probs_dropout_prob": 0.0, "directionality": "bidi", "hidden_act": "gelu", "hidden_dropout_prob": 0.0,
        "hidden_size": hidden, "embedding_size": narrow, "initializer_range": 0.02, "intermediate_size": intermediate,
        "max_position_embeddings": 16, "num_attention_heads": 2, "num_hidden_layers": 3, "pooler_fc_size": hidden,
        "pooler_num_attention_heads": 2, "pooler_num_fc_layers": 3, "pooler_size_per_head": 3,
        "pooler_type": "first_token_transform", "type_vocab_size": 2, "vocab_size": vocab,
    }
    random = np.random.default_rng(21)
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}, config


# --- the index, written by hand to lie -------------------------------------------------------------------------------

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
FOOTER_SIZE = 48
GOOD = np.arange(4, dtype=np.float32)


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """LevelDB's rule: a checksum is never stored as it is."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def block(entries: list[tuple[bytes, bytes]], compression=0, shared=0) -> bytes:
    """Entries that share no prefix, one restart, then the kind of compression and the checksum."""
    body = b"".join(varint(shared) + varint(len(key)) + varint(len(value)) + key + value for key, value in entries)
    body += struct.pack("<II", 0, 1)
    return body + bytes([compression]) + struct.pack("<I", masked(crc32c(body + bytes([compression]))))


def table(entries: list[tuple[bytes, bytes]], compression=0, shared=0, index_size=None) -> bytes:
    data, meta = block(entries, compression, shared), block([])
    handle = lambda offset, size: varint(offset) + varint(size)
    index = block([(entries[-1][0], handle(0, len(data) - 5))])
    footer = handle(len(data), len(meta) - 5) + handle(len(data) + len(meta), index_size or len(index) - 5)
    return data + meta + index + footer.ljust(FOOTER_SIZE - len(MAGIC), b"\0") + MAGIC


def entry(**changes) -> bytes:
    """The entry of `weight`, four floats at the start of the data, with some fields changed."""
    proto = tensor_bundle_pb2.BundleEntryProto(dtype=1, size=16, crc32c=masked(crc32c(GOOD.tobytes())))
    for size in changes.pop("dims", [4]):
        proto.shape.dim.add(size=size)
    for field, value in changes.items():
        setattr(proto, field, value)
    return proto.SerializeToString()


def header(num_shards=1, **fields) -> tuple[bytes, bytes]:
    """The first entry, under the empty name."""
    proto = tensor_bundle_pb2.BundleHeaderProto(num_shards=num_shards, **fields)
    proto.version.producer = 1
    return b"", proto.SerializeToString()


def hostile() -> dict[str, tuple[bytes, str]]:
    first = header()
    good = table([first, (b"weight", entry())])
    flipped = bytearray(good)
    flipped[good.index(b"weight")] ^= 0x20

    def weight(**changes):
        return table([first, (b"weight", entry(**changes))])

    return {
        "broken-crc": (bytes(flipped), "a bit of a name in the index is flipped: its checksum does not fit"),
        "data-crc": (weight(crc32c=1), "the checksum of the tensor's bytes does not fit"),
        "offset-beyond-data": (weight(offset=8), "a tensor of 16 bytes at offset 8 of 16 bytes"),
        "offset-overflows": (weight(offset=(1 << 63) - 8), "offset + size overflows 63 bits"),
        "negative-offset": (weight(offset=-8), "an offset of -8"),
        "shape-and-size-differ": (weight(dims=[1 << 20, 1 << 20]), "a shape of 2^40 elements in 16 bytes"),
        "shape-overflows": (weight(dims=[1 << 62, 8]), "a shape whose count overflows 64 bits"),
        "negative-size": (weight(dims=[-4]), "a shape of [-4]"),
        "no-such-shard": (weight(shard_id=7), "an entry in shard 7 of 1"),
        "unknown-type": (weight(dtype=99), "data type 99, which TensorFlow does not have"),
        "many-shards": (table([header(num_shards=1 << 30), (b"weight", entry())]), "a header that says 2^30 shards"),
        "big-endian": (table([header(endianness=1), (b"weight", entry())]), "a header that says big-endian"),
        "no-header": (table([(b"weight", entry())]), "an index without the header entry"),
        "not-an-entry": (table([first, (b"weight", b"\xff" * 12)]), "an entry that is not a protobuf message"),
        "compressed-block": (table([first, (b"weight", entry())], compression=1), "a block marked as Snappy-compressed that is not"),
        "huge-block": (table([first, (b"weight", entry())], index_size=1 << 50), "a footer that says the index block has 2^50 bytes"),
        "prefix-beyond-key": (table([first, (b"weight", entry())], shared=100),
                              "a key that shares 100 bytes with the one before"),
        "bad-magic": (good[:-1] + b"\0", "the last byte of the magic number is wrong"),
        "truncated": (good[:-20], "cut off inside the footer"),
        "short": (good[-30:], "shorter than a footer"),
    }


def check_table(content: bytes, data: bytes) -> None:
    """The hand-written table is right where nothing in it lies: TensorFlow reads it.

    It is not asked about the others: a shape that overflows ends its process.
    """
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder) / "good"
        Path(f"{prefix}.index").write_bytes(content)
        Path(f"{prefix}.data-00000-of-00001").write_bytes(data)
        found = tf.train.load_checkpoint(str(prefix)).get_tensor("weight")
    assert found.tobytes() == data, found


def write_hostile(folder: Path) -> None:
    data = GOOD.tobytes()
    check_table(table([header(), (b"weight", entry())]), data)
    reasons = {}
    for name, (content, reason) in hostile().items():
        prefix = folder / f"bundle-{name}" / "model.ckpt-best"
        prefix.parent.mkdir(exist_ok=True)
        Path(f"{prefix}.index").write_bytes(content)
        Path(f"{prefix}.data-00000-of-00001").write_bytes(data)
        reasons[f"{prefix.parent.name}/{prefix.name}.index"] = reason
    write_reasons(folder, reasons)


# --- the stage -------------------------------------------------------------------------------------------------------

def write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def write(out: Path, work: Path) -> str:
    state, config = load_file(work / "grouped.safetensors"), json.loads((work / "grouped.json").read_text())
    variables = google(state, config)
    # A model fine-tuned from TensorFlow Hub: names under module/, no sentence-order head, a classifier of its own.
    from_hub = {f"module/{name}": value for name, value in variables.items() if "seq_relationship" not in name}
    from_hub |= {"output_weights": np.ones((3, config["hidden_size"]), np.float32), "output_bias": np.zeros(3, np.float32)}
    layouts = {
        "google-tf": (trained(variables), 1),
        "google-tf-two-shards": (trained(variables), 2),
        "google-tf-module": (from_hub, 1),
    }
    for name, (content, shards) in layouts.items():
        (out / name).mkdir(exist_ok=True)
        save(content, out / name / "model.ckpt-best", shards)
        write_json(out / name / "albert_config.json", google_config(config))

    square, square_config = load_file(work / "square.safetensors"), json.loads((work / "square.json").read_text())
    save(google(square, square_config, projection=False), out / "google-tf-no-projection/model.ckpt-best")
    write_json(out / "google-tf-no-projection/albert_config.json", google_config(square_config))

    (out / "brightmart").mkdir(exist_ok=True)
    content, config = brightmart()
    save(content, out / "brightmart/albert_model.ckpt")
    write_json(out / "brightmart/albert_config.json", config)
    write_hostile(out / "hostile")
    return f"python {platform.python_version()}, tensorflow {tf.__version__}, numpy {np.__version__}, safetensors {safetensors.__version__}"
