"""Providers through the vendors' own clients, against local servers that speak their protocols."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from servers import KEY, ModelServer, Turn
from servers.anthropic import AnthropicServer
from servers.gemini import GeminiServer
from servers.openai import OpenAIServer

from assistant.chat import ChatModel, Delta, Message, Reply, Retries, ToolCall, ToolSpec, Usage
from assistant.limits import Limiter
from assistant.llms import check_model, make_llm
from assistant.providers.errors import BadReply, Declined, KeyRefused, ModelNotFound, RateLimited, TooLong, Unavailable
from ingest.errors import ModelError

ASK = [Message("system", "Be brief."), Message("user", "What is the gap of silicon?")]
TOOL = ToolSpec("materials", "Looks a material up.", {"type": "object", "properties": {"id": {"type": "string"}}})
SCHEMA = {
    "type": "object",
    "properties": {"gap": {"type": "number"}, "note": {"type": "string", "maxLength": 80}},
    "required": ["gap", "note"],
    "additionalProperties": False,
}
NO_RETRIES = Retries(times=0)

Serve = Callable[..., Any]


@contextmanager
def serving(name: str, turns: list[Any], monkeypatch: pytest.MonkeyPatch, **options: Any) -> Iterator[tuple[str, Any]]:
    """Serve `turns` in the protocol `name`; yield the spec to ask, and the server."""
    kinds: dict[str, type[ModelServer]] = {"gemini": GeminiServer, "anthropic": AnthropicServer}
    with kinds.get(name, OpenAIServer)(turns, **options) as server:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("GEMINI_API_KEY", KEY)
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        monkeypatch.setenv("MATLIT_SERVER_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        yield (
            {
                "openai": "openai/gpt-4o-mini",
                "gemini": "gemini/gemini-2.5-flash",
                "anthropic": "anthropic/claude-sonnet-4-6",
                "http": f"{server.url}/v1?tools=native#tiny",
            }[name],
            server,
        )


@pytest.fixture(params=["openai", "gemini", "anthropic", "http"])
def serve(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Serve:
    return lambda *turns, **options: serving(request.param, list(turns), monkeypatch, **options)


@pytest.fixture
def serve_as(monkeypatch: pytest.MonkeyPatch) -> Serve:
    return lambda name, *turns, **options: serving(name, list(turns), monkeypatch, **options)


def patient(spec: str, waits: list[float]) -> ChatModel:
    """Return the model on a clock of its own, which goes forward by the waits instead of waiting."""
    model = ChatModel.from_spec(spec)
    model._sleep = waits.append
    model._limiter = Limiter(clock=lambda: sum(waits), sleep=lambda seconds: None)
    return model


def test_a_question_is_answered_with_its_tokens_counted(serve: Serve) -> None:
    with serve("1.1 eV, indirect.") as (spec, server):
        reply = ChatModel.from_spec(spec).chat(ASK)
    assert (reply.text, reply.finish, reply.tool_calls) == ("1.1 eV, indirect.", "stop", ())
    assert reply.usage.input_tokens == 11
    assert reply.usage.output_tokens in (7, 10)  # Gemini's thoughts are paid as output
    assert len(server.calls) == 1


def test_an_answer_streams_and_ends_with_the_same_reply(serve: Serve) -> None:
    with serve("Silicon has 1.1 eV.") as (spec, _):
        *deltas, last = ChatModel.from_spec(spec).stream(ASK)
    assert [type(delta) for delta in deltas] == [Delta] * 4
    assert "".join(delta.text for delta in deltas) == last.text == "Silicon has 1.1 eV."
    assert last.usage.output_tokens in (7, 10)


@pytest.mark.parametrize("streamed", [False, True])
def test_parallel_tool_calls_arrive_with_ids_and_arguments(serve: Serve, streamed: bool) -> None:
    turn = Turn("Let me look.", calls=[("materials", {"id": "mp-149"}), ("materials", {"id": "mp-66"})])
    with serve(turn) as (spec, _):
        model = ChatModel.from_spec(spec)
        reply = list(model.stream(ASK, tools=[TOOL]))[-1] if streamed else model.chat(ASK, tools=[TOOL])
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [
        ("materials", {"id": "mp-149"}),
        ("materials", {"id": "mp-66"}),
    ]
    assert len({call.id for call in reply.tool_calls}) == 2
    assert reply.finish == "tool_calls"


def test_the_results_of_tools_go_back_with_their_calls(serve: Serve) -> None:
    with serve(Turn(calls=[("materials", {"id": "mp-149"})]), "It is 1.1 eV.") as (spec, server):
        model = ChatModel.from_spec(spec)
        asked = model.chat(ASK, tools=[TOOL])
        result = Message("tool", '{"gap": 1.1}', tool_call_id=asked.tool_calls[0].id)
        reply = model.chat([*ASK, asked.message, result], tools=[TOOL])
    assert reply.text == "It is 1.1 eV."
    assert '{\\"gap\\": 1.1}' in str(server.calls[1].body).replace("'", '"').replace('{"gap"', '{\\"gap\\"')


def test_an_answer_by_schema_is_read_as_data(serve: Serve) -> None:
    written = {"gap": 1.1, "note": "PBE"}
    with serve('{"gap": 1.1, "note": "PBE"}') as (spec, server):
        reply = ChatModel.from_spec(spec).chat(ASK, schema=SCHEMA)
    assert reply.data() == written
    assert "gap" in str(server.calls[0].body)


def test_a_wrong_key_is_said_without_being_shown(serve: Serve) -> None:
    with serve("never", key="another") as (spec, server):
        with pytest.raises(KeyRefused) as raised:
            ChatModel.from_spec(spec).chat(ASK)
        assert len(server.calls) == 1  # not tried again
    assert KEY not in f"{raised.value} {raised.value.hint} {raised.value.__cause__!r}"


def test_a_rate_limit_is_waited_for_as_long_as_the_provider_asks(serve: Serve) -> None:
    waits: list[float] = []
    with serve(Turn(status=429, message="slow down", headers={"Retry-After": "7"}), "Yes.") as (spec, server):
        reply = patient(spec, waits).chat(ASK)
        assert (reply.text, waits, len(server.calls)) == ("Yes.", [7.0], 2)


def test_a_failing_server_is_asked_again_with_growing_waits(serve: Serve) -> None:
    waits: list[float] = []
    with serve(Turn(status=500), Turn(status=503), "Yes.") as (spec, _):
        assert patient(spec, waits).chat(ASK).text == "Yes."
    assert 1 <= waits[0] <= 1.25
    assert 2 <= waits[1] <= 2.5


def test_a_dropped_connection_is_tried_again(serve: Serve) -> None:
    with serve(Turn("lost", drop=True), "Yes.") as (spec, _):
        assert patient(spec, []).chat(ASK).text == "Yes."


def test_a_stream_that_breaks_off_is_no_answer(serve: Serve) -> None:
    with serve(Turn("one two three four five six", drop=True)) as (spec, _):
        got: list[Any] = []
        with pytest.raises(Unavailable) as raised:
            got.extend(item for item in ChatModel.from_spec(spec, retries=NO_RETRIES).stream(ASK))
    assert raised.value.retryable
    assert not any(isinstance(item, Reply) for item in got)


def test_a_stream_slower_than_the_time_out_is_given_up(serve: Serve) -> None:
    with serve(Turn("one two three four five six seven eight", seconds_per_piece=0.15)) as (spec, _):
        began = time.monotonic()
        with pytest.raises(Unavailable, match=r"within 0\.4 s"):
            list(ChatModel.from_spec(spec).stream(ASK, timeout_s=0.4))
    assert time.monotonic() - began < 3


def test_an_answer_that_does_not_come_is_given_up(serve: Serve) -> None:
    with serve(Turn("late", seconds_per_piece=1.0)) as (spec, _):
        model = ChatModel.from_spec(spec, retries=NO_RETRIES)
        model.chat(ASK, timeout_s=30)  # opens the connection and loads the client
        with pytest.raises(Unavailable):
            model.chat(ASK, timeout_s=0.3)


def test_a_server_that_is_not_there_is_said(serve: Serve) -> None:
    with serve("gone") as (spec, _):
        model = ChatModel.from_spec(spec, retries=NO_RETRIES)
    with pytest.raises(Unavailable, match="connection"):
        model.chat(ASK)


def test_a_page_that_is_no_json_is_a_bad_reply_or_no_server(serve: Serve) -> None:
    page = Turn(body=b"<html>captive portal</html>", headers={"Content-Type": "text/html"})
    with serve(page) as (spec, _), pytest.raises((BadReply, Unavailable)):
        ChatModel.from_spec(spec, retries=NO_RETRIES).chat(ASK)


def test_a_cut_answer_says_so(serve: Serve, request: pytest.FixtureRequest) -> None:
    names = {"gemini": "MAX_TOKENS", "anthropic": "max_tokens"}
    finish = next((word for name, word in names.items() if name in request.node.name), "length")
    with serve(Turn("It is 1.", finish=finish)) as (spec, _):
        assert ChatModel.from_spec(spec).chat(ASK, max_tokens=3).finish == "length"


def test_the_check_asks_for_the_model_and_pays_nothing(serve: Serve) -> None:
    with serve("never") as (spec, server):
        assert check_model(spec)
        assert server.calls == []


def test_the_check_names_a_wrong_key(serve: Serve) -> None:
    with serve("never", key="another") as (spec, _), pytest.raises(KeyRefused):
        check_model(spec)


def test_the_check_names_an_unknown_model(serve: Serve) -> None:
    with serve("never") as (spec, _), pytest.raises(ModelNotFound):
        check_model(f"{spec}-x")


def test_make_llm_gives_a_llama_index_llm(serve: Serve) -> None:
    from llama_index.core.llms import LLM

    with serve("A real answer.") as (spec, _):
        llm = make_llm(spec)
        assert isinstance(llm, LLM)
        assert llm.complete("Well?").text == "A real answer."


def test_any_llama_index_llm_can_be_talked_to(serve_as: Serve) -> None:
    with serve_as("openai", "By llama-index.", Turn(calls=[("materials", {"id": "mp-149"})])) as (spec, _):
        model = ChatModel.from_llm(make_llm(spec))
        reply = model.chat(ASK)
        called = model.chat(ASK, tools=[TOOL])
    assert reply.text == "By llama-index."
    assert (reply.usage.input_tokens, reply.usage.cost_usd) == (11, None)
    assert [(call.name, call.arguments) for call in called.tool_calls] == [("materials", {"id": "mp-149"})]


def test_malformed_arguments_are_kept_as_they_were_written(serve_as: Serve) -> None:
    with serve_as("openai", Turn(calls=[("materials", '{"id": mp-149')])) as (spec, _):
        (call,) = ChatModel.from_spec(spec).chat(ASK, tools=[TOOL]).tool_calls
    assert call.malformed
    assert call.arguments == '{"id": mp-149'


def test_the_cost_comes_from_the_price_table_cached_tokens_cheaper(serve_as: Serve) -> None:
    turn = Turn("ok", input_tokens=1_000_000, cached_tokens=400_000, output_tokens=100_000)
    with serve_as("openai", turn) as (spec, _):
        model = ChatModel.from_spec(spec)
        reply = model.chat(ASK)
    assert reply.usage.cost_usd == pytest.approx(0.6 * 0.15 + 0.4 * 0.075 + 0.1 * 0.60)
    assert model.used == reply.usage


def test_a_model_without_a_known_price_has_no_cost(serve_as: Serve) -> None:
    with serve_as("openai", "ok") as (_, _):
        assert ChatModel.from_spec("openai/gpt-99").chat(ASK).usage.cost_usd is None


def test_a_used_up_quota_is_not_tried_again(serve_as: Serve) -> None:
    turn = Turn(status=429, message="You exceeded your current quota", code="insufficient_quota")
    with serve_as("openai", turn) as (spec, server), pytest.raises(RateLimited) as raised:
        ChatModel.from_spec(spec).chat(ASK)
    assert not raised.value.retryable
    assert len(server.calls) == 1


def test_too_long_a_prompt_is_named_so(serve_as: Serve) -> None:
    turn = Turn(status=400, message="This model's maximum context length is 8192", code="context_length_exceeded")
    with serve_as("openai", turn) as (spec, _), pytest.raises(TooLong):
        ChatModel.from_spec(spec).chat(ASK)


def test_a_content_filter_is_a_refusal(serve_as: Serve) -> None:
    turn = Turn(status=400, message="blocked", code="content_filter")
    with serve_as("openai", turn) as (spec, _), pytest.raises(Declined):
        ChatModel.from_spec(spec).chat(ASK)


def test_reasoning_models_get_no_temperature(serve_as: Serve) -> None:
    with serve_as("openai", "ok") as (_, server):
        ChatModel.from_spec("openai/gpt-5-mini").chat(ASK, max_tokens=9)
    assert "temperature" not in server.calls[0].body
    assert server.calls[0].body["max_completion_tokens"] == 9


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_a_model_that_refuses_a_temperature_is_asked_without_one(serve_as: Serve, name: str) -> None:
    refusal = Turn(status=400, message="Unsupported value: 'temperature' is deprecated for this model")
    with serve_as(name, refusal, "ok") as (spec, server):
        model = ChatModel.from_spec(spec)
        assert model.chat(ASK).text == model.chat(ASK).text == "ok"
    assert ["temperature" in call.body for call in server.calls] == [True, False, False]


def test_openai_holds_to_a_closed_schema_without_lengths(serve_as: Serve) -> None:
    with serve_as("openai", "{}") as (spec, server):
        model = ChatModel.from_spec(spec)
        model.chat(ASK, schema=SCHEMA)
        model.chat(ASK, schema={"type": "object", "properties": {"gap": {"type": "number"}}})
    closed, open_ = (call.body["response_format"]["json_schema"] for call in server.calls)
    assert (closed["strict"], open_["strict"]) == (True, False)
    assert "maxLength" not in closed["schema"]["properties"]["note"]


@pytest.mark.parametrize("streamed", [False, True])
def test_an_older_claude_answers_by_schema_through_a_tool(serve_as: Serve, streamed: bool) -> None:
    with serve_as("anthropic", Turn(calls=[("answer_as_json", {"gap": 1.1, "note": "PBE"})])) as (_, server):
        model = ChatModel.from_spec("anthropic/claude-3-5-haiku-20241022")
        reply = list(model.stream(ASK, schema=SCHEMA))[-1] if streamed else model.chat(ASK, schema=SCHEMA)
    assert (reply.data(), reply.tool_calls, reply.finish) == ({"gap": 1.1, "note": "PBE"}, (), "stop")
    assert server.calls[0].body["tool_choice"] == {"type": "tool", "name": "answer_as_json"}


def test_a_newer_claude_gets_no_temperature(serve_as: Serve) -> None:
    with serve_as("anthropic", "ok") as (_, server):
        ChatModel.from_spec("anthropic/claude-opus-5").chat(ASK)
    assert "temperature" not in server.calls[0].body


def test_gemini_gets_its_thought_signature_back(serve_as: Serve) -> None:
    with serve_as("gemini", Turn(calls=[("materials", {"id": "mp-149"})]), "ok") as (spec, server):
        model = ChatModel.from_spec(spec)
        asked = model.chat(ASK, tools=[TOOL])
        model.chat([*ASK, asked.message, Message("tool", "1.1", tool_call_id=asked.tool_calls[0].id)], tools=[TOOL])
    call, result = (content["parts"][0] for content in server.calls[1].body["contents"][1:])
    assert call["thoughtSignature"] == "c2lnbmVk"
    assert result["functionResponse"]["name"] == "materials"


def test_gemini_waits_as_its_error_details_say(serve_as: Serve) -> None:
    waits: list[float] = []
    with serve_as("gemini", Turn(status=429, message="quota per minute, please retry", code="9s"), "ok") as (spec, _):
        assert patient(spec, waits).chat(ASK).text == "ok"
    assert waits == [9.0]


def test_gemini_with_tools_is_asked_for_json_in_words(serve_as: Serve) -> None:
    with serve_as("gemini", '{"gap": 1.1, "note": ""}') as (spec, server):
        ChatModel.from_spec(spec).chat(ASK, tools=[TOOL], schema=SCHEMA)
    body = server.calls[0].body
    assert "responseMimeType" not in body.get("generationConfig", {})
    assert "JSON Schema" in body["contents"][-1]["parts"][-1]["text"]


def test_gemini_counts_tokens_without_answering(serve_as: Serve) -> None:
    from assistant.providers.base import Request

    with serve_as("gemini", Turn(input_tokens=42)) as (spec, _):
        assert ChatModel.from_spec(spec).backend.count_tokens(Request(tuple(ASK))) == 42


def test_a_server_without_a_model_named_takes_its_only_one(serve_as: Serve) -> None:
    with serve_as("http", "ok") as (_, server):
        server.models = ("only",)
        model = ChatModel.from_spec(f"{server.url}/v1")
    assert (model.model, model.local, model.native_tools) == ("only", True, False)


def test_a_server_tells_its_context(serve_as: Serve) -> None:
    with serve_as("http", "ok") as (spec, _):
        assert ChatModel.from_spec(spec).context_tokens == 4096


def test_a_server_never_gets_the_openai_key(serve_as: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_as("http", "ok", key="") as (spec, server):
        monkeypatch.delenv("MATLIT_SERVER_KEY")
        ChatModel.from_spec(spec).chat(ASK)
    assert KEY not in str(server.calls[0].headers)


def test_a_loopback_server_is_reached_without_the_proxy(serve_as: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://192.0.2.1:9")
    with serve_as("http", "ok") as (spec, _):
        assert ChatModel.from_spec(spec, retries=NO_RETRIES).chat(ASK).text == "ok"


def test_a_refused_stream_is_tried_again_before_its_first_word(serve: Serve) -> None:
    with serve(Turn(status=500), "Yes.") as (spec, _):
        assert list(patient(spec, []).stream(ASK))[-1].text == "Yes."


def test_a_reply_that_went_back_holds_its_calls(serve_as: Serve) -> None:
    call = ToolCall("a", "materials", {"id": "mp-149"})
    assert Reply("x", (call,), Usage()).message == Message("assistant", "x", (call,))


def test_another_refusal_says_what_the_provider_said(serve: Serve) -> None:
    turn = Turn(status=400, message="tools are not supported")
    with serve(turn) as (spec, _), pytest.raises(ModelError, match="tools are not supported") as raised:
        ChatModel.from_spec(spec).chat(ASK)
    assert not raised.value.retryable
