"""The agent's loop with a scripted model: tools, bounds, data apart from instructions, and what is made of a text."""

from __future__ import annotations

import dataclasses
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from papers import make_library

from assistant import Answer, Assistant, journal, prompts
from assistant.agent import Bounds, Manner
from assistant.chat import ChatModel, Message, Retries, ToolCall, Unavailable, Usage
from assistant.events import Answered, Note, Searched, TextDelta, ToolFinished, ToolStarted
from assistant.providers.base import Reply
from assistant.providers.scripted import ScriptedBackend
from assistant.tools import read_only
from ingest.embed import Embedder, make_embedder
from ingest.errors import BadInput, ModelError
from ingest.library import Library

QUESTION = "What initial discharge capacity did the LiFePO4 cathode deliver at 0.1 C?"
RIGHT = "The LiFePO4 cathode delivered an initial discharge capacity of 163 mAh g−1 at 0.1 C [1]."


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return make_embedder("all-MiniLM-L6-v2")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Iterator[Library]:
    with make_library(tmp_path_factory.mktemp("agent"), embedder) as made:
        yield made


@pytest.fixture
def ask(library: Library, embedder: Embedder):  # type: ignore[no-untyped-def]  # a function of a script
    def asked(script, question=QUESTION, *, options=None, model=None, **more):  # type: ignore[no-untyped-def]
        chat = model or ChatModel.scripted(script)
        assistant = Assistant(library, chat, embedder=embedder, keep_journal=False, **more)
        return assistant.ask(question, **(options or {})), chat

    return asked


CALL = '{"name": "calculator", "arguments": {"expression": "1+1"}}'


def calls(*names_and_arguments: tuple[str, object]) -> dict[str, object]:
    return {"tool_calls": [{"name": name, "arguments": arguments} for name, arguments in names_and_arguments]}


def test_a_cited_sentence_is_verified_with_the_sentence_that_bears_it_out(ask) -> None:  # type: ignore[no-untyped-def]
    answer, _ = ask([RIGHT])
    assert [claim.status for claim in answer.claims] == ["verified"]
    citation = answer.citations[0]
    assert (citation.n, citation.page, citation.status) == (1, 1, "verified")
    assert citation.quote == "The LiFePO4 cathode delivered an initial discharge capacity of 163 mAh g−1 at 0.1 C."
    assert answer.text == RIGHT
    assert answer.papers[0].title == "Carbon-coated cathodes"


def test_what_no_source_says_is_marked_in_text_and_json(ask) -> None:  # type: ignore[no-untyped-def]
    answer, _ = ask([f"{RIGHT} It delivered 999 mAh g−1 at 10 C [1]. Mars is red [9]."])
    assert [claim.status for claim in answer.claims] == ["verified", "unsupported", "unsupported"]
    assert answer.text.count(prompts.UNSUPPORTED["en"]) == 2
    assert "999 mAh" in answer.claims[1].reason
    assert "[9]" in answer.claims[2].reason
    assert [claim["status"] for claim in answer.to_json()["claims"]][1:] == ["unsupported", "unsupported"]


def test_a_sentence_without_a_source_gets_the_one_that_bears_it_out(ask) -> None:  # type: ignore[no-untyped-def]
    answer, _ = ask(["The LiFePO4 cathode delivered 163 mAh g−1 at 0.1 C."])
    assert answer.text.endswith("at 0.1 C. [1]")
    assert answer.claims[0].status == "verified"
    assert any(step["step"] == "attributed" for step in answer.trace)


def test_a_bare_value_for_a_japanese_question_gets_the_english_source_that_gives_it(ask) -> None:  # type: ignore[no-untyped-def]
    question = "LiFePO4正極の0.1 Cにおける初期放電容量はいくらか。"
    answer, _ = ask(["163 mAh g−1"], question)
    assert [(claim.status, claim.citations) for claim in answer.claims] == [("verified", (1,))]


def test_a_model_may_say_that_the_sources_do_not_answer(ask) -> None:  # type: ignore[no-untyped-def]
    for text in (prompts.NO_ANSWER, "The sources do not mention the discharge capacity.", ""):
        answer, _ = ask([text])
        assert answer.abstained
        assert answer.citations == ()
        assert prompts.REFUSAL["en"] in answer.text


def test_without_support_and_without_tools_the_model_is_not_even_asked(ask) -> None:  # type: ignore[no-untyped-def]
    answer, model = ask(["never"], "Who won the football match yesterday?", options={"tools": False})
    assert answer.abstained
    assert model.backend.requests == []


def test_tools_are_called_at_once_and_their_results_go_back_as_data(ask) -> None:  # type: ignore[no-untyped-def]
    both = calls(("calculator", {"expression": "1.43 eV to nm"}), ("calculator", {"expression": "2 eV to nm"}))
    answer, model = ask([both, "1.43 eV are 867.0223667 nm."], "How long is a wave of 1.43 eV and of 2 eV light?")
    assert [call["name"] for call in answer.tool_calls] == ["calculator", "calculator"]
    assert [claim.status for claim in answer.claims] == ["tool"]
    results = [message for message in model.backend.requests[1].messages if message.role == "tool"]
    assert [result.tool_call_id for result in results] == ["call_1_0", "call_1_1"]
    assert all(result.content.startswith('<tool_result tool="calculator">') for result in results)


def test_parallel_calls_run_at_the_same_time(ask) -> None:  # type: ignore[no-untyped-def]
    together = threading.Barrier(2, timeout=10)

    @read_only
    def meet(name: str) -> str:
        """Wait for the other call."""
        together.wait()
        return f"{name} met"

    answer, _ = ask([calls(("meet", {"name": "a"}), ("meet", {"name": "b"})), RIGHT], tools=[meet])
    assert [call["error"] for call in answer.tool_calls] == [None, None]


def test_errors_of_tools_and_unknown_tools_are_data_for_the_model(ask) -> None:  # type: ignore[no-untyped-def]
    script = [calls(("calculator", {"expression": "1 +"}), ("telescope", {"at": "Mars"})), RIGHT]
    answer, model = ask(script)
    shown = [message.content for message in model.backend.requests[1].messages if message.role == "tool"]
    assert "Error:" in shown[0]
    assert "no tool named 'telescope'" in shown[1]
    assert "calculator" in shown[1]  # the known ones
    assert not answer.abstained


def test_malformed_arguments_are_answered_with_what_is_wrong(ask) -> None:  # type: ignore[no-untyped-def]
    broken = Reply("", (ToolCall("c1", "calculator", '{"expression": "1+'),), Usage(calls=1), "tool_calls", "scripted")
    answer, model = ask([broken, RIGHT])
    assert "not JSON" in model.backend.requests[1].messages[-1].content
    assert answer.claims[0].status == "verified"


def test_the_same_call_over_and_over_is_stopped(ask) -> None:  # type: ignore[no-untyped-def]
    again = calls(("calculator", {"expression": "1+1"}))
    answer, model = ask([again, again, again, RIGHT])
    assert len(model.backend.requests) == 4
    assert model.backend.requests[-1].tools == ()
    assert prompts.REPEATED in model.backend.requests[2].messages[-1].content
    assert any(step["step"] == "stopped" for step in answer.trace)


@pytest.mark.parametrize(
    ("bounds", "told"),
    [(Bounds(max_steps=3), "3 steps"), (Bounds(max_tokens=10), "10 tokens"), (Bounds(max_seconds=0.0), "0 s")],
)
def test_an_endless_loop_of_calls_ends_at_a_bound(ask, bounds: Bounds, told: str) -> None:  # type: ignore[no-untyped-def]
    script = [calls(("calculator", {"expression": f"{n}+1"})) for n in range(50)]
    chat = ChatModel.scripted([*script[:3], RIGHT] if bounds.max_steps == 3 else [script[0], RIGHT])
    answer, _ = ask(None, model=chat, manner=Manner(bounds=bounds))
    assert next(step["reached"] for step in answer.trace if step["step"] == "stopped") == told
    assert not answer.abstained
    if bounds.max_seconds == 0.0:
        assert answer.text.startswith(prompts.OUT_OF_BOUNDS["en"].format(reached="0 s"))
        assert [claim.status for claim in answer.claims][:2] == ["tool", "verified"]  # 0+1, and the best sentence
        assert "0+1 = 1" in answer.text
        assert "163 mAh" in answer.text


def test_a_call_of_a_tool_that_does_not_exist_is_listed_with_its_error(ask) -> None:  # type: ignore[no-untyped-def]
    answer, _ = ask([calls(("telescope", {"at": "Mars"})), RIGHT])
    assert [(call["name"], call["error"]) for call in answer.tool_calls] == [
        ("telescope", "there is no tool named 'telescope'")
    ]


def test_an_answer_that_was_cut_off_says_so(ask) -> None:  # type: ignore[no-untyped-def]
    answer, _ = ask([{"text": RIGHT, "finish": "length"}])
    assert answer.text.splitlines()[-1] == prompts.CUT_OFF["en"]


@pytest.mark.parametrize("said", ["", "I cannot help with that."])
def test_a_model_that_declines_is_told_as_such_not_as_nothing_found(ask, said: str) -> None:  # type: ignore[no-untyped-def]
    answer, _ = ask([{"text": said, "finish": "declined"}])
    assert answer.text == (said or prompts.MODEL_DECLINED["en"].format(model="scripted"))
    assert answer.abstained
    assert answer.claims == ()


def test_money_is_a_bound_too(ask) -> None:  # type: ignore[no-untyped-def]
    call = (ToolCall("c", "calculator", {"expression": "1+1"}),)
    dear = Reply("", call, Usage(input_tokens=10_000_000, calls=1), "tool_calls", "scripted")
    chat = ChatModel(ScriptedBackend([dear, RIGHT], local=False), spec="openai/gpt-4o-mini")
    answer, _ = ask(None, model=chat, manner=Manner(bounds=Bounds(max_tokens=10**9, max_cost_usd=0.5)))
    assert next(step["reached"] for step in answer.trace if step["step"] == "stopped") == "0.5 US dollars"
    assert answer.text.startswith(prompts.OUT_OF_BOUNDS["en"].format(reached="0.5 US dollars"))
    assert "1+1 = 2" in answer.text
    assert answer.usage["cost_usd"] == pytest.approx(1.5)


def test_the_bound_on_time_ends_a_tool_that_hangs(ask) -> None:  # type: ignore[no-untyped-def]
    go = threading.Event()

    @read_only
    def hung() -> bool:
        """Wait."""
        return go.wait(60)

    answer, _ = ask([calls(("hung", {}))], tools=[hung], manner=Manner(bounds=Bounds(max_seconds=0.5)))
    go.set()
    assert "was left behind" in answer.tool_calls[0]["error"]
    assert next(step["reached"] for step in answer.trace if step["step"] == "stopped") == "0.5 s"
    assert answer.text.startswith(prompts.OUT_OF_BOUNDS["en"].format(reached="0.5 s"))
    assert all(claim.status == "verified" for claim in answer.claims)


@pytest.mark.parametrize(
    "question", [QUESTION, "LiFePO4正極の0.1Cでの初期放電容量は?", "What is the toughness of QX-77?"]
)
def test_time_that_ends_during_a_call_of_the_model_is_an_answer_not_an_error(ask, question: str) -> None:  # type: ignore[no-untyped-def]
    slow = {"seconds": 0.6, "error": "did not finish within 0.5 s"}
    chat = ChatModel.scripted([calls(("oven", {})), slow, RIGHT])

    @read_only
    def oven() -> str:
        """Read the oven."""
        return "The oven is at 867 K."

    answer, _ = ask(None, question, model=chat, tools=[oven], manner=Manner(bounds=Bounds(max_seconds=0.5)))
    japanese = question.startswith("LiFePO4")
    language = "ja" if japanese else "en"
    assert answer.text.startswith(prompts.OUT_OF_BOUNDS[language].format(reached="0.5秒" if japanese else "0.5 s"))
    assert "The oven is at 867 K. (oven)" in answer.text
    assert len(chat.backend.requests) <= 2
    assert [call["error"] for call in answer.tool_calls] == [None]
    assert not answer.abstained
    assert any(claim.status == "verified" for claim in answer.claims) == (question == QUESTION)


def test_a_server_that_fails_before_the_time_is_up_is_an_error(ask) -> None:  # type: ignore[no-untyped-def]
    chat = ChatModel(
        ScriptedBackend([{"error": "gone"}] * 9), spec="scripted", retries=Retries(times=1, first_wait_s=0.0)
    )
    with pytest.raises(Unavailable, match="gone"):
        ask(None, model=chat)


def test_retries_end_where_the_time_does() -> None:
    chat = ChatModel(
        ScriptedBackend([{"error": "busy"}] * 9), spec="scripted", retries=Retries(times=8, first_wait_s=30.0)
    )
    with pytest.raises(Unavailable, match="busy"):
        chat.chat([Message("user", "?")], within_s=20.0)
    with pytest.raises(Unavailable, match="busy"):
        list(chat.stream([Message("user", "?")], within_s=20.0))
    requests = chat.backend.requests  # type: ignore[attr-defined]  # of the scripted one
    assert len(requests) == 2
    assert all(request.timeout_s <= 20.0 for request in requests)


def test_a_tool_that_may_change_something_runs_only_where_it_is_allowed(ask) -> None:  # type: ignore[no-untyped-def]
    done: list[str] = []

    def delete(name: str) -> str:
        """Delete something."""
        done.append(name)
        return "deleted"

    script = [calls(("delete", {"name": "x"})), RIGHT]
    ask(script, tools=[delete])
    assert done == []
    ask(script, tools=[delete], confirm=lambda name, arguments: name == "delete" and arguments == {"name": "x"})
    assert done == ["x"]


def test_a_call_written_as_text_is_a_call_where_the_model_has_no_better_way(ask) -> None:  # type: ignore[no-untyped-def]
    chat = without_tools([f"```json\n{CALL}\n```", RIGHT], json_schema=False)
    answer, _ = ask(None, model=chat, manner=Manner(loop="tools"))
    assert answer.tool_calls[0]["result"]["value"] == 2


def step(answer: str = "", *made: tuple[str, object]) -> str:
    """Return what a model that is held to the schema of steps writes."""
    calls = [{"name": name, "arguments": arguments} for name, arguments in made]
    return json.dumps({"calls": calls} if calls else {"answer": answer})


def without_tools(script: list[object], **more: object) -> ChatModel:
    chat = ChatModel.scripted(script)
    chat.backend.native_tools = False
    for name, value in more.items():
        setattr(chat.backend, name, value)
    return chat


def test_a_model_that_keeps_to_schemas_works_in_steps(ask) -> None:  # type: ignore[no-untyped-def]
    made = [("calculator", {"expression": "1+1"}), ("telescope", {})]
    chat = without_tools([step("", *made), step(RIGHT)])
    answer, _ = ask(None, model=chat, manner=Manner(loop="tools"))
    first, second = chat.backend.requests
    assert first.tools == second.tools == ()
    calling, answering = first.schema["anyOf"]
    names = [each["properties"]["name"]["enum"] for each in calling["properties"]["calls"]["items"]["anyOf"]]
    assert list(answering["properties"]) == ["answer"]
    assert ["calculator"] in names
    assert "calculator" in first.messages[0].content
    assert [message.role for message in second.messages] == ["system", "user", "assistant", "user"]
    assert "= 2" in second.messages[-1].content
    assert "no tool named 'telescope'" in second.messages[-1].content
    assert [claim.status for claim in answer.claims] == ["verified"]
    assert answer.text == RIGHT


def test_only_the_answer_of_a_step_is_streamed(library: Library, embedder: Embedder) -> None:
    chat = without_tools([step("", ("calculator", {"expression": "1+1"})), step(RIGHT)])
    assistant = Assistant(library, chat, embedder=embedder, keep_journal=False, manner=Manner(loop="tools"))
    events = list(assistant.stream(QUESTION))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == RIGHT
    assert [type(event) for event in events if isinstance(event, ToolStarted | ToolFinished)] == [
        ToolStarted,
        ToolFinished,
    ]


def test_a_server_that_does_not_hold_to_the_schema_is_understood_all_the_same(ask) -> None:  # type: ignore[no-untyped-def]
    fenced = '```json\n{"name": "calculator", "arguments": {"expression": "1+1"}}\n```'
    chat = without_tools([fenced, f"Here it is: {step(RIGHT)}"])
    answer, _ = ask(None, model=chat, manner=Manner(loop="tools"))
    assert answer.tool_calls[0]["result"]["value"] == 2
    assert answer.text == RIGHT
    plain, _ = ask(None, model=without_tools([RIGHT]), manner=Manner(loop="tools"))
    assert plain.text == RIGHT


def test_a_server_that_refuses_the_schema_gets_tools_in_words(ask) -> None:  # type: ignore[no-untyped-def]
    refused = ModelError("the server answered 400: response_format is not supported")
    chat = without_tools([refused, *[{"tool_calls": []} | {"text": text} for text in (CALL, RIGHT)]])
    answer, _ = ask(None, model=chat, manner=Manner(loop="tools"))
    assert [request.schema is None for request in chat.backend.requests] == [False, True, True]
    assert [bool(request.tools) for request in chat.backend.requests] == [False, True, True]
    assert answer.tool_calls[0]["result"]["value"] == 2
    assert answer.text == RIGHT


def test_endless_steps_end_at_a_bound_where_only_an_answer_is_taken(ask) -> None:  # type: ignore[no-untyped-def]
    endless = [step("", ("calculator", {"expression": f"{n}+1"})) for n in range(3)]
    chat = without_tools([*endless, step(RIGHT)])
    answer, _ = ask(None, model=chat, manner=Manner(loop="tools", bounds=Bounds(max_steps=3)))
    assert list(chat.backend.requests[-1].schema["properties"]) == ["answer"]
    assert answer.text == RIGHT


def test_a_step_that_ran_out_of_tokens_keeps_the_answer_begun_in_it(ask) -> None:  # type: ignore[no-untyped-def]
    cut_off = Reply(step(f"{RIGHT} It then faded")[:-2], finish="length")
    answer, _ = ask(None, model=without_tools([cut_off]), manner=Manner(loop="tools"))
    assert answer.text.startswith(RIGHT)
    assert "{" not in answer.text


def test_an_answer_from_memory_is_objected_to_once_and_a_tool_has_to_be_called(
    library: Library, embedder: Embedder
) -> None:
    from_memory, result = "It is 900 nm.", "It is 868 nm."
    script = [step(from_memory), step("", ("calculator", {"expression": "1.43 eV to nm"})), step(result)]
    chat = without_tools(script)
    assistant = Assistant(library, chat, embedder=embedder, keep_journal=False, manner=Manner(loop="tools"))
    *events, last = assistant.stream("Convert 1.43 eV to a wavelength in nm.")
    first, second, third = chat.backend.requests
    assert "anyOf" in first.schema
    assert list(second.schema["properties"]) == ["calls"]
    assert from_memory in second.messages[-1].content
    assert "anyOf" in third.schema
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == result
    assert isinstance(last, Answered)
    assert "867.022" in last.answer.text  # 868 is not what the tool said: its own words stand above


def test_a_small_model_is_shown_passages_only_where_papers_may_answer(ask) -> None:  # type: ignore[no-untyped-def]
    script = [step("", ("calculator", {"expression": "1+1"})), step("2")]
    for question, shown in (("What is 2.5 eV in nm?", False), (QUESTION, True)):
        _, chat = ask(None, question, model=without_tools([*script]), manner=Manner(loop="tools"))
        assert ("<passages>" in chat.backend.requests[0].messages[-1].content) == shown


def test_the_error_of_a_tool_is_no_answer(ask) -> None:  # type: ignore[no-untyped-def]
    failing = step("", ("calculator", {"expression": "1 eV to kg"}))
    error = "Error: units do not fit"
    _, chat = ask(
        None, "What is 1 eV in kg?", model=without_tools([failing] + [step("?")] * 3), manner=Manner(loop="tools")
    )
    assert error in chat.backend.requests[1].messages[-1].content
    answer, _ = ask(
        None, "What is 1 eV in kg?", model=without_tools([failing] + [step(error)] * 3), manner=Manner(loop="tools")
    )
    assert answer.abstained
    assert error not in answer.text


@pytest.mark.parametrize(
    ("question", "reached"),
    [
        (QUESTION, {"calculator", "papers", "materials"}),
        ("Which pair style runs the peridynamic model?", {"calculator", "papers"}),
        ("What is the density of mp-149?", {"calculator", "papers", "materials", "structure", "bandgap"}),
    ],
)
def test_a_small_model_may_call_only_tools_that_have_something_to_work_on(
    ask,  # type: ignore[no-untyped-def]
    question: str,
    reached: set[str],
) -> None:
    _, chat = ask(None, question, model=without_tools([step(RIGHT)] * 4), manner=Manner(loop="tools"))
    first = chat.backend.requests[0]
    listed = first.schema["anyOf"][0]["properties"]["calls"]["items"]["anyOf"]
    assert {name for one in listed for name in one["properties"]["name"]["enum"]} == reached
    assert "structure" in first.messages[0].content  # told all the same: the prompt's beginning stays as it is


def test_the_tools_are_told_in_the_same_words_for_every_question(ask) -> None:  # type: ignore[no-untyped-def]
    told = set()
    for question in (QUESTION, "LiFePO4正極の0.1 Cにおける初期放電容量はいくらか。"):
        _, chat = ask(None, question, model=without_tools([step(RIGHT)] * 3), manner=Manner(loop="tools"))
        told.add(chat.backend.requests[0].messages[0].content)
    assert len(told) == 1


def test_what_a_small_model_makes_up_is_replaced_by_quotes(ask) -> None:  # type: ignore[no-untyped-def]
    answer, _ = ask(None, model=without_tools(["The cathode delivered 999 mAh g−1 at 0.1 C [1]."]))
    assert answer.text.startswith(prompts.NOT_BORNE_OUT["en"])
    assert "163 mAh" in answer.text
    assert "999" not in answer.text


def test_a_small_model_gets_the_planners_results_and_writes_once(ask) -> None:  # type: ignore[no-untyped-def]
    chat = ChatModel.scripted([RIGHT])
    chat.backend.native_tools = False
    question = f"{QUESTION[:-1]}, and what is 1.43 eV in nm?"
    answer, _ = ask(None, question, model=chat)
    assert "867.022" in answer.text
    assert [claim.status for claim in answer.claims] == ["tool", "verified"]
    assert len(chat.backend.requests) == 1
    assert chat.backend.requests[0].tools == ()


def test_a_small_model_that_repeats_the_question_is_replaced_by_quotes(ask) -> None:  # type: ignore[no-untyped-def]
    chat = ChatModel.scripted(["The initial discharge capacity the LiFePO4 cathode did deliver at 0.1 C [1]."])
    chat.backend.native_tools = False
    answer, _ = ask(None, model=chat)
    assert answer.text.startswith(prompts.ECHO["en"])
    assert "163 mAh" in answer.text
    assert answer.usage["calls"] == 1


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (RIGHT.replace("[1]", "in passage [1]"), RIGHT),
        (RIGHT.replace(" [1].", ", as stated in the source [1]."), RIGHT),
        (f"{RIGHT} This is stated in passage [1].", RIGHT),
        ("[33,34]", prompts.UNANSWERED["en"]),
        ("The LiFePO4 cathode did deliver that initial discharge capacity in passage [1].", prompts.ECHO["en"]),
    ],
)
def test_what_small_models_write_around_their_numbers_is_tidied(ask, written: str, read: str) -> None:  # type: ignore[no-untyped-def]
    answer, _ = ask(None, model=without_tools([written]))
    assert answer.text.startswith(read)
    assert {claim.status for claim in answer.claims} == {"verified"}


def test_a_small_model_is_not_asked_about_passages_too_weak_to_quote(ask, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("assistant.quoting.ANSWERS_ABOVE", 1.01)
    answer, model = ask(None, model=without_tools([]))
    assert answer.abstained
    assert model.backend.requests == []


def test_a_small_model_that_gives_up_on_passages_that_answer_is_replaced_by_quotes(ask) -> None:  # type: ignore[no-untyped-def]
    chat = ChatModel.scripted([prompts.NO_ANSWER])
    chat.backend.native_tools = False
    answer, _ = ask(None, model=chat)
    assert answer.text.startswith(prompts.UNANSWERED["en"])
    assert "163 mAh" in answer.text
    assert {claim.status for claim in answer.claims} == {"verified"}
    assert {"step": "quoted", "instead_of": prompts.NO_ANSWER} in answer.trace


def test_passages_are_data_in_the_user_turn_and_never_in_the_system_prompt(ask) -> None:  # type: ignore[no-untyped-def]
    _, model = ask([RIGHT])
    system, user = model.backend.requests[0].messages
    assert (system.role, user.role) == ("system", "user")
    assert "163 mAh" not in system.content
    assert QUESTION not in system.content
    assert re.search(r'<source n="1" title="[^"]+" page="1">\n.*163 mAh', user.content, re.DOTALL)


def test_thinking_aloud_is_no_part_of_the_answer(ask) -> None:  # type: ignore[no-untyped-def]
    answer, model = ask([f"Reasoning: [1] gives 163, perhaps 164.\nAnswer:\n{RIGHT}"], options={"strategy": "cot"})
    assert answer.text == RIGHT
    assert "Reasoning" in model.backend.requests[0].messages[0].content


def test_own_examples_are_shown_by_the_few_shot_strategy(ask, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "examples.jsonl"
    file.write_text(json.dumps({"question": "Why blue?", "sources": ["It is blue."], "answer": "Blue [1]."}) + "\n")
    manner = Manner(strategy="few-shot", examples=prompts.read_examples(file))
    _, model = ask([RIGHT], manner=manner)
    roles = [message.role for message in model.backend.requests[0].messages]
    assert roles == ["system", "user", "assistant", "user"]
    assert "Why blue?" in model.backend.requests[0].messages[1].content
    file.write_text('{"question": "no answer"}\n')
    with pytest.raises(BadInput, match="no example"):
        prompts.read_examples(file)


def test_events_come_in_order_and_the_text_is_streamed(library: Library, embedder: Embedder) -> None:
    chat = ChatModel.scripted([calls(("calculator", {"expression": "1+1"})), RIGHT])
    events = list(Assistant(library, chat, embedder=embedder, keep_journal=False).stream(QUESTION))
    kinds = [type(event) for event in events if not isinstance(event, TextDelta)]
    assert kinds[1:] == [Searched, ToolStarted, ToolFinished, Answered]
    pieces = [event.text for event in events if isinstance(event, TextDelta)]
    assert len(pieces) > 3
    assert "".join(pieces) == RIGHT


def test_closing_the_stream_stops_the_model(library: Library, embedder: Embedder) -> None:
    chat = ChatModel.scripted([calls(("calculator", {"expression": "1+1"})), RIGHT])
    events = Assistant(library, chat, embedder=embedder, keep_journal=False).stream(QUESTION)
    for event in events:
        if isinstance(event, ToolFinished):
            break
    events.close()  # type: ignore[attr-defined]
    assert len(chat.backend.requests) == 1  # type: ignore[attr-defined]


def test_a_search_by_the_model_gives_numbers_that_it_can_cite(ask) -> None:  # type: ignore[no-untyped-def]
    script = [calls(("papers", {"query": "calcined precursor", "k": 2}))]
    answer, model = ask([*script, "The precursor was calcined at 700 °C for 8 h [3]."], "Tell me about BaZrS3 gaps?")
    shown = model.backend.requests[1].messages[-1].content
    found = re.findall(r'<source n="(\d+)"[^>]*>\n[^<]*700 °C', shown)
    assert found
    cited = [citation for citation in answer.citations if citation.status == "verified"]
    assert "700 °C" in cited[0].quote


def test_the_journal_holds_the_hash_of_what_the_model_was_told(library: Library, embedder: Embedder) -> None:
    assistant = Assistant(library, ChatModel.scripted([RIGHT]), embedder=embedder)
    assistant.ask(QUESTION)
    entry = journal.entries(library.info.path, limit=1)[0]
    assert re.fullmatch("[0-9a-f]{16}", entry.prompt)
    assert entry.model == "scripted"
    assert entry.answer["usage"]["calls"] == 1


def test_any_llama_index_model_answers(library: Library, embedder: Embedder) -> None:
    from llama_index.core.llms import MockLLM

    class Fixed(MockLLM):
        def chat(self, messages, **options):  # type: ignore[no-untyped-def]
            from llama_index.core.llms import ChatMessage, ChatResponse

            return ChatResponse(message=ChatMessage(role="assistant", content=RIGHT))

        def stream_chat(self, messages, **options):  # type: ignore[no-untyped-def]
            response = self.chat(messages)
            response.delta = RIGHT
            yield response

    answer = Assistant(library, Fixed(), embedder=embedder, keep_journal=False).ask(QUESTION)
    assert answer.claims[0].status == "verified"
    assert answer.model.startswith("llama-index/")


def test_a_japanese_question_is_asked_to_be_answered_in_japanese(ask) -> None:  # type: ignore[no-untyped-def]
    answer, model = ask(["初期放電容量は0.1 Cで163 mAh g−1であった [1]。"], "LiFePO4正極の初期放電容量はいくらか。")
    assert "Answer in Japanese" in model.backend.requests[0].messages[0].content
    assert answer.claims[0].status == "verified"
    assert "discharge capacity of 163" in answer.citations[0].quote


def test_history_reaches_the_model_as_turns(ask) -> None:  # type: ignore[no-untyped-def]
    history = (Message("user", "Tell me about LiFePO4."), Message("assistant", "It is a cathode [1]."))
    _, model = ask([RIGHT], options={"history": history})
    roles = [message.role for message in model.backend.requests[0].messages]
    assert roles == ["system", "user", "assistant", "user"]


def test_an_answer_is_one_shape_whatever_the_model(ask, library: Library, embedder: Embedder) -> None:  # type: ignore[no-untyped-def]
    modelled, _ = ask([RIGHT])
    quoted = Assistant(library, embedder=embedder, keep_journal=False).ask(QUESTION)
    assert list(modelled.to_json()) == list(quoted.to_json())
    assert {field.name for field in dataclasses.fields(Answer)} >= set(modelled.to_json())


def test_a_note_tells_of_a_bound(library: Library, embedder: Embedder) -> None:
    chat = ChatModel.scripted([calls(("calculator", {"expression": "1+1"})), RIGHT])
    manner = Manner(bounds=Bounds(max_steps=1))
    events = list(Assistant(library, chat, embedder=embedder, keep_journal=False, manner=manner).stream(QUESTION))
    assert any(isinstance(event, Note) and "1 steps" in event.text for event in events)
