"""Both ways between our backends and llama-index: a backend as its `LLM`, and any of its LLMs as a backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Any, TypeVar

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
    ToolCallBlock,
)
from llama_index.core.llms import LLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools import BaseTool, FunctionTool
from llama_index.core.tools.types import ToolMetadata
from pydantic import PrivateAttr

from assistant.offline import refused
from assistant.providers.base import (
    Backend,
    Delta,
    Finish,
    Message,
    Reply,
    Request,
    Role,
    ToolCall,
    ToolSpec,
    Usage,
    parse_arguments,
)
from assistant.providers.errors import Unavailable, error_of_status
from ingest.errors import ModelError

T = TypeVar("T")
DEFAULT_OUTPUT_TOKENS = 1024
_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "assistant": "assistant", "tool": "tool"}


class BackendLLM(FunctionCallingLLM):
    """A backend as a llama-index LLM: for what llama-index has no integration for that fits.

    `max_tokens`, `temperature` and `timeout_s` may be given to each call.
    """

    max_tokens: int = DEFAULT_OUTPUT_TOKENS
    temperature: float = 0.0
    timeout_s: float = 600.0
    _backend: Any = PrivateAttr()

    def __init__(self, backend: Backend, **options: Any) -> None:
        super().__init__(**options)
        self._backend = backend

    @classmethod
    def class_name(cls) -> str:
        """Return the name llama-index stores."""
        return "matlit"

    @property
    def metadata(self) -> LLMMetadata:
        """What llama-index asks about the model."""
        return LLMMetadata(
            context_window=self._backend.context_tokens,
            num_output=self.max_tokens,
            is_chat_model=True,
            is_function_calling_model=self._backend.native_tools,
            model_name=self._backend.model,
        )

    def chat(self, messages: Sequence[ChatMessage], **options: Any) -> ChatResponse:
        """Answer at once."""
        return _response(self._backend.reply(self._request(messages, options)))

    def stream_chat(self, messages: Sequence[ChatMessage], **options: Any) -> ChatResponseGen:
        """Answer piece by piece."""
        request = self._request(messages, options)

        def pieces() -> ChatResponseGen:
            text = ""
            for item in self._backend.stream(request):
                if isinstance(item, Reply):
                    yield _response(item)
                else:
                    text += item.text
                    message = ChatMessage(role=MessageRole.ASSISTANT, content=text)
                    yield ChatResponse(message=message, delta=item.text)

        return pieces()

    def complete(self, prompt: str, formatted: bool = False, **options: Any) -> CompletionResponse:
        """Answer a prompt as the only message."""
        response = self.chat([ChatMessage(role=MessageRole.USER, content=prompt)], **options)
        return CompletionResponse(text=response.message.content or "", raw=response.raw)

    def stream_complete(self, prompt: str, formatted: bool = False, **options: Any) -> CompletionResponseGen:
        """Answer a prompt piece by piece."""
        responses = self.stream_chat([ChatMessage(role=MessageRole.USER, content=prompt)], **options)
        return (
            CompletionResponse(text=response.message.content or "", delta=response.delta, raw=response.raw)
            for response in responses
        )

    async def achat(self, messages: Sequence[ChatMessage], **options: Any) -> ChatResponse:
        """Answer at once, in a thread."""
        return await asyncio.to_thread(self.chat, messages, **options)

    async def acomplete(self, prompt: str, formatted: bool = False, **options: Any) -> CompletionResponse:
        """Answer a prompt, in a thread."""
        return await asyncio.to_thread(self.complete, prompt, formatted, **options)

    async def astream_chat(self, messages: Sequence[ChatMessage], **options: Any) -> ChatResponseAsyncGen:
        """Answer piece by piece, each piece fetched in a thread."""
        return _afrom(self.stream_chat(messages, **options))

    async def astream_complete(
        self, prompt: str, formatted: bool = False, **options: Any
    ) -> CompletionResponseAsyncGen:
        """Answer a prompt piece by piece, each piece fetched in a thread."""
        return _afrom(self.stream_complete(prompt, formatted, **options))

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **options: Any
    ) -> list[ToolSelection]:
        """Return the tools the model wants to have run."""
        blocks = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        if not blocks and error_on_no_tool_call:
            raise ValueError("the model called no tool")
        return [
            ToolSelection(tool_id=block.tool_call_id or "", tool_name=block.tool_name, tool_kwargs=_kwargs(block))
            for block in blocks
        ]

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **options: Any,
    ) -> dict[str, Any]:
        asked = ChatMessage(role=MessageRole.USER, content=user_msg) if isinstance(user_msg, str) else user_msg
        messages = [*(chat_history or []), *([asked] if asked else [])]
        return {"messages": messages, "tools": [_tool_spec(tool) for tool in tools], **options}

    def _request(self, messages: Sequence[ChatMessage], options: dict[str, Any]) -> Request:
        request = Request(
            tuple(_from_llama(message) for message in messages),
            tools=tuple(options.get("tools") or ()),
            schema=options.get("schema"),
            max_tokens=options.get("max_tokens", self.max_tokens),
            temperature=options.get("temperature", self.temperature),
            timeout_s=options.get("timeout_s", self.timeout_s),
            stop=tuple(options.get("stop") or ()),
        )
        return request if self._backend.json_schema else request.schema_in_words()


def as_llm(make_backend: Callable[..., Backend], model: str, *, offline: bool, **options: Any) -> BackendLLM:
    """Build a backend as an LLM; of `options`, the LLM's own fields go to it and the others to the backend."""
    own = {name: options.pop(name) for name in list(options) if name in BackendLLM.model_fields}
    return BackendLLM(make_backend(model, offline=offline, **options), **own)


class LLMBackend:
    """Any llama-index LLM as a backend: one of their many integrations, configured by its user.

    Tokens are counted as the LLM tells, else estimated at four characters each.
    """

    json_schema = False
    local = False

    def __init__(self, llm: LLM) -> None:
        self.llm = llm
        described = llm.metadata
        self.model = described.model_name
        self.context_tokens = described.context_window
        self.native_tools = described.is_function_calling_model and isinstance(llm, FunctionCallingLLM)
        self.provider = f"llama-index/{llm.class_name()}"

    def reply(self, request: Request) -> Reply:
        """Answer at once."""
        response = self._called(request, "chat")
        return self._built(response, request)

    def stream(self, request: Request) -> Iterator[Delta | Reply]:
        """Answer piece by piece; the last item is the whole reply."""
        last: ChatResponse | None = None
        responses = iter(self._called(request, "stream_chat"))
        while (response := self._guarded(lambda: next(responses, None))) is not None:
            last = response
            if response.delta:
                yield Delta(response.delta)
        if last is None:
            raise Unavailable(f"{self.model} answered nothing")
        yield self._built(last, request)

    def close(self) -> None:
        """Do nothing: the LLM is its user's."""

    def _called(self, request: Request, method: str) -> Any:
        request = request if self.native_tools else request.tools_in_words()
        options: dict[str, Any] = {} if request.max_tokens is None else {"max_tokens": request.max_tokens}
        messages = [_to_llama(message) for message in request.messages]
        if not request.tools:
            return self._guarded(lambda: getattr(self.llm, method)(messages, **options))
        tools = [_llama_tool(tool) for tool in request.tools]
        with_tools = getattr(self.llm, f"{method}_with_tools")
        return self._guarded(
            lambda: with_tools(tools, chat_history=messages, allow_parallel_tool_calls=True, **options)
        )

    def _guarded(self, call: Any) -> Any:
        """Return what `call` returns; an error that carries an HTTP status, or is the network's, becomes ours."""
        try:
            return call()
        except ModelError:
            raise
        except Exception as error:
            status = getattr(error, "status_code", None) or getattr(error, "code", None)
            if (offline := refused(error)) is not None:
                raise offline from error
            if isinstance(status, int) and 400 <= status < 600:
                raise error_of_status(status, str(error), who=self.model) from None
            if isinstance(error, OSError):
                raise Unavailable(f"{self.model}: {error}") from error
            raise  # no provider's error, as far as anyone can tell: it should be seen

    def _built(self, response: ChatResponse, request: Request) -> Reply:
        calls = tuple(
            ToolCall(block.tool_call_id or f"call_{place}", block.tool_name, _given(block.tool_kwargs))
            for place, block in enumerate(response.message.blocks)
            if isinstance(block, ToolCallBlock)
        )
        text = response.message.content or ""
        finish: Finish = "tool_calls" if calls else "stop"
        return Reply(text, calls, _usage(response, request, text), finish, self.model)


def _response(reply: Reply) -> ChatResponse:
    blocks = [
        ToolCallBlock(
            tool_call_id=call.id,
            tool_name=call.name,
            tool_kwargs=call.arguments if isinstance(call.arguments, str) else dict(call.arguments),
        )
        for call in reply.tool_calls
    ]
    message = ChatMessage(role=MessageRole.ASSISTANT, content=reply.text)
    message.blocks.extend(blocks)
    counts = {"prompt_tokens": reply.usage.input_tokens, "completion_tokens": reply.usage.output_tokens}
    return ChatResponse(
        message=message, delta="", raw={"usage": counts, "model": reply.model}, additional_kwargs=counts
    )


def _from_llama(message: ChatMessage) -> Message:
    calls = tuple(
        ToolCall(block.tool_call_id or "", block.tool_name, _given(block.tool_kwargs))
        for block in message.blocks
        if isinstance(block, ToolCallBlock)
    )
    role = _ROLES.get(message.role.value, "user")
    return Message(role, message.content or "", calls, str(message.additional_kwargs.get("tool_call_id", "")))


def _to_llama(message: Message) -> ChatMessage:
    made = ChatMessage(role=MessageRole(message.role), content=message.content)
    for call in message.tool_calls:
        given = call.arguments if isinstance(call.arguments, str) else dict(call.arguments)
        made.blocks.append(ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=given))
    if message.role == "tool":
        made.additional_kwargs = {"tool_call_id": message.tool_call_id, "name": message.name}
    return made


class _SchemaMetadata(ToolMetadata):
    """A tool described by a JSON schema, where llama-index would derive one from a Pydantic model."""

    def __init__(self, tool: ToolSpec) -> None:
        super().__init__(description=tool.description, name=tool.name)
        self._parameters = dict(tool.parameters)

    def get_parameters_dict(self) -> dict[str, Any]:
        return self._parameters


def _llama_tool(tool: ToolSpec) -> BaseTool:
    def never(**arguments: Any) -> str:
        raise RuntimeError(f"{tool.name} is run by the agent, not by llama-index")

    return FunctionTool(fn=never, metadata=_SchemaMetadata(tool))


def _tool_spec(tool: BaseTool) -> ToolSpec:
    return ToolSpec(tool.metadata.get_name(), tool.metadata.description, tool.metadata.get_parameters_dict())


def _given(arguments: dict[str, Any] | str) -> dict[str, Any] | str:
    parsed = parse_arguments(arguments) if isinstance(arguments, str) else arguments
    return parsed if isinstance(parsed, str) else dict(parsed)


def _kwargs(block: ToolCallBlock) -> dict[str, Any]:
    given = _given(block.tool_kwargs)
    return {} if isinstance(given, str) else given


def _usage(response: ChatResponse, request: Request, text: str) -> Usage:
    raw = response.raw if isinstance(response.raw, dict) else getattr(response.raw, "__dict__", {})
    told = raw.get("usage") or response.additional_kwargs
    told = told if isinstance(told, dict) else getattr(told, "__dict__", {})
    read = told.get("prompt_tokens") or told.get("input_tokens")
    written = told.get("completion_tokens") or told.get("output_tokens")
    asked = sum(len(message.content) for message in request.messages)
    return Usage(int(read or asked // 4), int(written or len(text) // 4), calls=1)


async def _afrom(items: Iterator[T]) -> AsyncGenerator[T, None]:
    while (item := await asyncio.to_thread(next, items, None)) is not None:
        yield item
