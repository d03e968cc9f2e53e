"""`ChatModel` on scripted models: retries, limits, cache, cost, streaming and the async twins."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from assistant.chat import (
    Again,
    BadReply,
    ChatModel,
    Delta,
    Limits,
    Message,
    RateLimited,
    Reply,
    ReplyCache,
    Retries,
    ToolSpec,
    Unavailable,
    Usage,
    json_object,
)
from assistant.limits import Limiter, with_rates
from assistant.pricing import PRICES_AS_OF, dollars, note, price_of, with_cost
from assistant.providers.errors import KeyMissing, KeyRefused, read_key, retry_after, scrub, too_slow
from assistant.providers.scripted import ScriptedBackend
from ingest.errors import BadSettings, ModelError

ASK = [Message("user", "What is the gap of silicon?")]


def quick(replies: list[Any], **options: Any) -> tuple[ChatModel, list[float]]:
    """Return a scripted model on a clock of its own, and the waits it would have made."""
    waits: list[float] = []
    model = ChatModel.scripted(replies, **options)
    model._sleep = waits.append
    model._limiter = Limiter(clock=lambda: sum(waits), sleep=lambda seconds: None)
    return model, waits


def test_replies_are_used_up_in_order_and_an_end_is_said() -> None:
    model = ChatModel.scripted(["one", "two"])
    assert [model.chat(ASK).text, model.chat(ASK).text] == ["one", "two"]
    with pytest.raises(ModelError, match="no reply left"):
        model.chat(ASK)


def test_a_reply_with_a_condition_answers_whenever_it_fits() -> None:
    model = ChatModel.scripted([{"when": "gap", "text": "1.1 eV"}, "else"])
    assert [model.chat([Message("user", text)]).text for text in ("gap?", "hm", "the gap")] == [
        "1.1 eV",
        "else",
        "1.1 eV",
    ]


def test_an_error_that_may_pass_is_tried_again() -> None:
    model, waits = quick([Unavailable("down"), RateLimited("slow", retry_after_s=9.0), "up"])
    assert model.chat(ASK).text == "up"
    assert (1 <= waits[0] <= 1.25, waits[1]) == (True, 9.0)


def test_retries_end() -> None:
    model, waits = quick([Unavailable("down")] * 9)
    with pytest.raises(Unavailable):
        model.chat(ASK)
    assert len(waits) == Retries().times


def test_an_error_that_will_not_pass_is_raised_at_once() -> None:
    model, waits = quick([KeyRefused("no"), "never"])
    with pytest.raises(KeyRefused):
        model.chat(ASK)
    assert waits == []


def test_a_wait_longer_than_our_patience_is_not_waited_for() -> None:
    model, waits = quick([RateLimited("tomorrow", retry_after_s=86_400.0), "never"])
    with pytest.raises(RateLimited, match="tomorrow; it asks to wait 86,400 s"):
        model.chat(ASK)
    assert waits == []


def test_a_stream_yields_words_and_then_the_reply() -> None:
    *deltas, last = ChatModel.scripted(["one two three"]).stream(ASK)
    assert "".join(delta.text for delta in deltas if isinstance(delta, Delta)) == "one two three"
    assert isinstance(last, Reply)


@dataclass
class Breaking(ScriptedBackend):
    """Breaks off in the middle of its first answers."""

    times: int = 0

    def stream(self, request: Any) -> Iterator[Any]:
        for place, item in enumerate(ScriptedBackend.stream(self, request)):
            if place == 2 and self.times > 0:
                self.times -= 1
                raise Unavailable("gone")
            yield item


@pytest.mark.parametrize(("times", "over"), [(2, True), (1, False), (9, True)])
def test_a_stream_that_breaks_off_begins_anew_where_that_is_wanted(times: int, over: bool) -> None:
    waits: list[float] = []
    model = ChatModel(Breaking(["one two three"] * 9, times=times), spec="scripted", sleep=waits.append)
    got: list[Any] = []
    if times == 2:
        got.extend(model.stream(ASK, over=over))
        assert [item.reason for item in got if isinstance(item, Again)] == ["gone", "gone"]
        assert "".join(item.text for item in got[-4:-1]) == got[-1].text == "one two three"
    else:
        with pytest.raises(Unavailable):
            got.extend(model.stream(ASK, over=over))
        assert len(waits) == (Retries().times if over else 0)


def test_a_stream_that_is_too_slow_is_not_begun_anew() -> None:
    class Slow(Breaking):
        def stream(self, request: Any) -> Iterator[Any]:
            yield Delta("one ")
            raise too_slow("it", 3.0, retryable=True)

    waits: list[float] = []
    with pytest.raises(Unavailable, match="did not finish within 3 s"):
        list(ChatModel(Slow(["one"]), spec="scripted", sleep=waits.append).stream(ASK, over=True))
    assert waits == []


@pytest.mark.parametrize(
    ("provider", "allowed"),
    [("openai", Limits(500, 200_000, 3)), ("gemini", Limits(10, 0, 3)), ("anthropic", Limits(0, 0, 3))],
)
def test_rates_are_told_for_each_provider(provider: str, allowed: Limits) -> None:
    rates = "openai=500/200000, Gemini = 10,"
    assert with_rates(Limits(concurrent=3), provider, rates) == allowed
    assert with_rates(Limits(), "http://localhost:11434/v1", "localhost:11434=60").requests_per_minute == 60


@pytest.mark.parametrize("rates", ["openai", "openai=many", "openai=5/x", "openai 500"])
def test_rates_that_cannot_be_read_are_said(rates: str) -> None:
    with pytest.raises(BadSettings, match=r"models\.rates holds") as caught:
        with_rates(Limits(), "openai", rates)
    assert "openai=500/200000" in caught.value.hint


def test_a_stream_left_early_frees_its_place() -> None:
    model = ChatModel.scripted(["one two three"] * 2)
    model._limiter = Limiter(Limits(concurrent=1))
    stream = model.stream(ASK)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert model.chat(ASK).text == "one two three"


def test_a_model_without_schemas_is_asked_in_words() -> None:
    model = ChatModel.scripted(['Sure:\n```json\n{"gap": 1.1}\n```'], json_schema=False)
    assert model.chat(ASK, schema={"type": "object"}).data() == {"gap": 1.1}
    (request,) = model.backend.requests  # type: ignore[attr-defined]
    assert request.schema is None
    assert '{"type": "object"}' in request.messages[-1].content


def test_a_reply_without_json_is_a_bad_reply() -> None:
    with pytest.raises(BadReply, match="JSON"):
        ChatModel.scripted(["no idea"]).chat(ASK).data()


@pytest.mark.parametrize(
    "text", ['{"a": 1}', ' {"a": 1} and more', '```json\n{"a": 1}\n```', 'Here: {"a": 1}', '```\n{"a": 1}\n``` ok']
)
def test_json_is_found_bare_fenced_or_after_words(text: str) -> None:
    assert json_object(text) == {"a": 1}


def test_usage_adds_up_and_an_unknown_price_stays_unknown() -> None:
    known, unknown = Usage(1, 2, 0.5, 1), Usage(1, 2, None, 1)
    assert known + known == Usage(2, 4, 1.0, 2)
    assert (known + unknown).cost_usd is None


def test_a_local_model_costs_nothing() -> None:
    model = ChatModel.scripted(["ok"])
    assert model.chat(ASK).usage.cost_usd == 0.0
    assert model.used.calls == 1


def test_the_cache_answers_the_same_request_without_a_call(tmp_path: Path) -> None:
    def made() -> ChatModel:
        model = ChatModel.scripted([{"text": "once", "tool_calls": [{"name": "t", "arguments": {"a": 1}}]}])
        model._cache = ReplyCache(tmp_path / "replies.sqlite")
        return model

    first, second = made().chat(ASK), made()
    again = second.chat(ASK)
    assert (again.text, again.tool_calls, again.cached, again.usage) == (first.text, first.tool_calls, True, Usage())
    assert second.backend.requests == []  # type: ignore[attr-defined]
    assert list(second.stream(ASK)) == [Delta("once"), again]


def test_the_cache_asks_again_for_anything_else(tmp_path: Path) -> None:
    model = ChatModel.scripted(["one", "two", "three", "four"])
    model._cache = ReplyCache(tmp_path / "replies.sqlite")
    tool = ToolSpec("t", "", {"type": "object"})
    texts = [model.chat(ASK).text, model.chat(ASK, tools=[tool]).text, model.chat(ASK, max_tokens=9).text]
    assert [*texts, model.chat(ASK, temperature=1.0).text] == ["one", "two", "three", "four"]


def test_the_cache_keeps_no_cut_answer(tmp_path: Path) -> None:
    model = ChatModel.scripted([{"text": "cu", "finish": "length"}, "whole"])
    model._cache = ReplyCache(tmp_path / "replies.sqlite")
    assert [model.chat(ASK).text, model.chat(ASK).text] == ["cu", "whole"]


def test_a_cache_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "replies").write_text("something else entirely, and long enough to be looked at")
    model = ChatModel.scripted(["x"])
    model._cache = ReplyCache(tmp_path / "replies")
    with pytest.raises(BadSettings):
        model.chat(ASK)


def limiter(limits: Limits) -> tuple[Limiter, list[float]]:
    """Return a limiter whose clock goes forward by what it sleeps."""
    slept: list[float] = []
    return Limiter(limits, clock=lambda: sum(slept), sleep=slept.append), slept


def test_requests_per_minute_are_kept() -> None:
    under, slept = limiter(Limits(requests_per_minute=2))
    for _ in range(5):
        with under.call(1):
            pass
    assert sum(slept) == pytest.approx(120, abs=1)


def test_tokens_per_minute_are_kept_by_what_was_really_used() -> None:
    under, slept = limiter(Limits(tokens_per_minute=1000))
    with under.call(900) as ticket:
        ticket.settle(100)
    with under.call(900):
        pass
    assert slept == []
    with under.call(900):
        pass
    assert sum(slept) == pytest.approx(60, abs=1)


def test_a_call_larger_than_the_limit_passes_alone() -> None:
    under, slept = limiter(Limits(tokens_per_minute=10))
    with under.call(1000):
        pass
    assert slept == []


def test_a_provider_that_asks_to_wait_holds_up_everybody() -> None:
    under, slept = limiter(Limits())
    under.pause(7.0)
    with under.call(1):
        pass
    assert sum(slept) == pytest.approx(7.0)


def test_no_more_calls_run_at_once_than_allowed() -> None:
    under, running, most = Limiter(Limits(concurrent=2)), 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with under.call(1):
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.02)
            with lock:
                running -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2


def test_async_calls_run_at_the_same_time() -> None:
    model = ChatModel.scripted([{"text": "ok", "seconds": 0.3}] * 5)

    async def together() -> list[Reply]:
        return await asyncio.gather(*(model.achat(ASK) for _ in range(5)))

    began = time.monotonic()
    assert [reply.text for reply in asyncio.run(together())] == ["ok"] * 5
    assert time.monotonic() - began < 1.2


def test_async_errors_arrive_where_they_are_awaited() -> None:
    with pytest.raises(KeyRefused):
        asyncio.run(ChatModel.scripted([KeyRefused("no")]).achat(ASK))


def test_an_async_stream_yields_as_it_comes() -> None:
    async def listened() -> list[Any]:
        return [item async for item in ChatModel.scripted(["one two"]).astream(ASK)]

    assert [getattr(item, "text", "") for item in asyncio.run(listened())] == ["one ", "two", "one two"]


def test_an_async_stream_left_early_stops_the_model() -> None:
    stopped = threading.Event()

    class Endless:
        provider, model, context_tokens = "endless", "endless", 100
        native_tools = json_schema = local = False

        def stream(self, request: Any) -> Any:
            try:
                while True:
                    time.sleep(0.01)
                    yield Delta("x")
            finally:
                stopped.set()

    async def first() -> None:
        items = ChatModel(Endless(), spec="endless").astream(ASK)  # type: ignore[arg-type]
        async for _ in items:
            break
        await items.aclose()  # type: ignore[attr-defined]

    asyncio.run(first())
    assert stopped.wait(2)


def test_prices_know_snapshots_and_no_strangers() -> None:
    assert price_of("openai/gpt-4o-mini-2024-07-18") == price_of("openai/gpt-4o-mini")
    assert price_of("openai/gpt-99") is None
    assert PRICES_AS_OF in note("openai/gpt-4o-mini")
    assert "not known" in note("openai/gpt-99")


def test_long_prompts_cost_what_the_table_says() -> None:
    short = with_cost(Usage(100_000, 0), "gemini/gemini-2.5-pro").cost_usd
    long = with_cost(Usage(300_000, 0), "gemini/gemini-2.5-pro").cost_usd
    assert (short, long) == (pytest.approx(0.125), pytest.approx(0.75))


def test_a_batch_costs_half() -> None:
    assert with_cost(Usage(1_000_000, 0), "openai/gpt-4o", batch=True).cost_usd == pytest.approx(1.25)


def test_own_prices_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prices.toml").write_text('["openai/gpt-99"]\ninput = 3\noutput = 9\n')
    monkeypatch.setenv("MATLIT_PRICES", str(tmp_path / "prices.toml"))
    assert with_cost(Usage(1_000_000, 1_000_000), "openai/gpt-99").cost_usd == pytest.approx(12.0)


def test_prices_that_cannot_be_read_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prices.toml").write_text('["a/b"]\nin = 3\n')
    monkeypatch.setenv("MATLIT_PRICES", str(tmp_path / "prices.toml"))
    with pytest.raises(BadSettings, match=r"prices\.toml"):
        price_of("a/b")


def test_a_missing_key_names_its_variable() -> None:
    with pytest.raises(KeyMissing) as raised:
        read_key("OPENAI_API_KEY", provider="OpenAI", example="sk-…")
    assert "export OPENAI_API_KEY" in raised.value.hint


def test_a_key_with_a_line_break_inside_is_refused_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-first\nsk-second")
    with pytest.raises(KeyRefused) as raised:
        read_key("OPENAI_API_KEY", provider="OpenAI", example="sk-…")
    assert "first" not in str(raised.value)


def test_keys_are_scrubbed_from_what_others_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MP_API_KEY", "abcdefghijklmnop")
    assert scrub("sent abcdefghijklmnop and sk-live-123456789") == "sent [MP_API_KEY] and [key]"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"retry-after": "3"}, 3.0), ({"retry-after-ms": "250"}, 0.25), ({"retry-after": "soon"}, None), ({}, None)],
)
def test_the_wait_is_read_from_the_headers(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_the_wait_may_be_a_date() -> None:
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0


TOOLS = [ToolSpec("calculator", "Computes.", {"type": "object"})]
WRITTEN = '{"name": "calculator", "arguments": {"expression": "1+1"}}'


@pytest.mark.parametrize("text", [WRITTEN, f"```json\n{WRITTEN}\n```", f"<tool_call>\n{WRITTEN}\n</tool_call>"])
def test_a_call_written_as_text_is_a_call(text: str) -> None:
    reply = ChatModel.scripted([text]).chat(ASK, tools=TOOLS)
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [("calculator", {"expression": "1+1"})]
    assert (reply.text, reply.finish) == ("", "tool_calls")


@pytest.mark.parametrize(
    "text",
    [
        f"The paper says:\n```json\n{WRITTEN}\n```",
        WRITTEN.replace("calculator", "shell"),
        '{"name": "calculator"}',
        "[1]",
    ],
)
def test_anything_else_that_looks_like_a_call_is_text(text: str) -> None:
    reply = ChatModel.scripted([text]).chat(ASK, tools=TOOLS)
    assert (reply.text, reply.tool_calls) == (text, ())


def test_fragments_of_calls_are_put_together_however_a_server_numbers_them() -> None:
    from assistant.providers.base import Pieces

    proper, repeating, unnumbered = Pieces(), Pieces(), Pieces()
    for number, call in ((0, "a"), (1, "b")):
        proper.add(number, id=call, name="t")
        proper.add(number, arguments='{"x": ')
        proper.add(number, arguments="1}")
        repeating.add(number, id=call, name="t", arguments='{"x": ')
        repeating.add(number, id=call, name="t", arguments="1}")
        unnumbered.add(None, id=call, name="t", arguments='{"x": 1}')
    wanted = [("a", "t", {"x": 1}), ("b", "t", {"x": 1})]
    for pieces in (proper, repeating, unnumbered):
        assert [(call.id, call.name, call.arguments) for call in pieces.calls()] == wanted


def test_a_cost_says_the_date_of_its_prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used = with_cost(Usage(1000, 100), "openai/gpt-4o-mini")
    assert used.to_json()["prices_as_of"] == (used + Usage(1)).prices_as_of == PRICES_AS_OF
    assert dollars(0.000012) == f"under $0.0001 (list prices of {PRICES_AS_OF})"
    assert dollars(0.00123) == f"$0.0012 (list prices of {PRICES_AS_OF})"
    assert with_cost(Usage(1000, 100), "local/x", local=True).prices_as_of == ""
    own = tmp_path / "prices.toml"
    own.write_text('["openai/gpt-4o-mini"]\ninput = 1.0\noutput = 2.0\n')
    monkeypatch.setenv("MATLIT_PRICES", str(own))
    used = with_cost(Usage(1_000_000, 0), "openai/gpt-4o-mini")
    assert dollars(used.cost_usd or 0.0, used.prices_as_of) == "$1.0000 (prices of $MATLIT_PRICES)"
