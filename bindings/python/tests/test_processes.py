"""Threads, forks, pickling and Ctrl-C."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from conftest import FIXTURES

from albert_candle import Embedder, MaskFiller, Tokenizer


def test_threads_share_an_embedder(embedder, sentences):
    expected = embedder.encode(sentences).tobytes()
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda _: embedder.encode(sentences).tobytes(), range(16)))
    assert set(results) == {expected}


def test_other_threads_run_during_a_call(embedder, sentences):
    ticks, done = 0, threading.Event()

    def tick():
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    before = ticks
    embedder.encode(sentences * 5)
    counted = ticks - before
    done.set()
    thread.join()
    # A call that held the lock would let the other thread run only at its start and its end.
    assert counted > 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("threads", [None, 2])
def test_a_forked_child_computes_with_the_embedder_of_its_parent(threads, sentences):
    embedder = Embedder(threads=threads)
    # The threads are running before the fork.
    expected = embedder.encode(sentences)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()

    def work():
        queue.put(embedder.encode(sentences))

    children = [context.Process(target=work, daemon=True) for _ in range(2)]
    for child in children:
        child.start()
    # A child ends once its vectors are read, which are larger than the buffer of a pipe.
    for child in children:
        assert np.array_equal(queue.get(), expected)
    for child in children:
        child.join(timeout=120)
        assert child.exitcode == 0
    assert np.array_equal(embedder.encode(sentences), expected)


def test_a_spawned_process_gets_the_embedder_by_pickling(embedder, sentences):
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as processes:
        vectors = processes.submit(embedder.encode, sentences).result(timeout=120)
    assert np.array_equal(vectors, embedder.encode(sentences))


def test_a_pickle_has_the_arguments_and_no_weights(monkeypatch, tmp_path):
    monkeypatch.chdir(FIXTURES)
    embedder = Embedder("tiny", threads=1, max_length=16)
    pickled = pickle.dumps(embedder)
    assert len(pickled) < 1000
    # A relative folder is found from another one.
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(pickled)
    assert again.max_length == 16 and again.threads == 1
    assert np.array_equal(again.encode("the river"), embedder.encode("the river"))
    assert repr(again) == repr(embedder) and "max_length=16" in repr(again)


def test_other_objects_pickle():
    text = "She opened the [MASK]."
    filler = MaskFiller()
    assert pickle.loads(pickle.dumps(filler)).fill(text) == filler.fill(text)
    assert pickle.loads(pickle.dumps(Tokenizer())).encode(text) == Tokenizer().encode(text)


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_ends_a_long_call():
    program = """
import sys
from albert_candle import Embedder
embedder = Embedder()
print("ready", flush=True)
try:
    embedder.encode(["A sentence of some words that takes its time. " * 20] * 100_000)
except KeyboardInterrupt:
    # The object is still usable.
    print("interrupted", embedder.encode("A cat.").shape == (embedder.dim,), flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    time.sleep(1.5)
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=60)
    assert (output, child.returncode) == ("interrupted True\n", 0)


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_ends_a_download(tmp_path):
    program = """
from albert_candle import Embedder
try:
    Embedder("owner/model")
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        environment = {
            **os.environ,
            "HF_ENDPOINT": f"http://127.0.0.1:{server.getsockname()[1]}",
            "HF_HUB_CACHE": str(tmp_path),
            "HF_HUB_DOWNLOAD_TIMEOUT": "50",
            "NO_PROXY": "127.0.0.1",
        }
        command = [sys.executable, "-c", program]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        # The request arrives, and nothing ever answers it.
        connection, _ = server.accept()
        assert connection.recv(1000).startswith(b"GET ")
        time.sleep(0.5)
        start = time.monotonic()
        child.send_signal(signal.SIGINT)
        output, _ = child.communicate(timeout=60)
        connection.close()
    assert (output, child.returncode) == ("interrupted\n", 0)
    # Far less than the timeout of the request, even on a busy machine.
    assert time.monotonic() - start < 10
