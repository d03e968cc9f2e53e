"""Fine-tuning at OpenAI: the same rows, priced before anything is sent, in a job folder that can be resumed.

    job.json    what was sent, the ids of files and job, the last state
    run.json    once it succeeded: the folder then loads as a predictor like any other run's

Every step is written down before the next is taken. A job that was created but not noted (a crash in between) is found
again at the provider by its mark, so that nothing is paid twice.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from finetune.dataset import read_card, read_split
from finetune.generate import Generator, Written
from finetune.runs import Run, now, read_run, versions, write_run, write_whole
from finetune.tasks import NotANumber, find_target, parse_number
from ingest.errors import BadInput, MatlitError, ModelError

Report = Callable[[str], None]
MARK = "matlit"  # key in a job's metadata; its value tells our jobs apart
LEAST_ROWS = 10  # fewer are refused by the API
MOST_TOKENS = 16_385  # of one example, for the smallest context among the models below
MOST_BYTES = 512 * 2**20  # of one file
# Measured with OpenAI's cl100k_base on 500 and 200 rows; "words" is taken as the tutorial's, which is rather too dear
BYTES_PER_TOKEN = {"compact": 1.52, "tutorial": 1.86, "words": 1.86}
FRAME_TOKENS = 7  # that the chat format puts around a row
ENDED = ("succeeded", "failed", "cancelled")
POLL_S = 10.0

PRICES_AS_OF = "2025-08"
PRICE_PAGE = "https://platform.openai.com/docs/pricing"
TRAINING_PRICES = {  # US dollars per million tokens trained, of that date; --price overrides
    "gpt-4.1": 25.0,
    "gpt-4.1-mini": 5.0,
    "gpt-4.1-nano": 1.5,
    "gpt-4o": 25.0,
    "gpt-4o-mini": 3.0,
    "gpt-3.5-turbo": 8.0,
}


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of the provider."""

    model: str = "gpt-4o-mini-2024-07-18"
    epochs: int = 3
    suffix: str = "matlit"
    seed: int = 0
    limit: int = 0  # training rows; 0: all
    price: float | None = None  # US dollars per million tokens, where the table does not know the model

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.limit < 0:
            raise BadInput(f"epochs {self.epochs} or limit {self.limit} cannot be")
        if not self.suffix or len(self.suffix) > 64:
            raise BadInput(f"the suffix {self.suffix!r} has {len(self.suffix)} characters; 1 to 64 are taken")


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a job would cost; `usd` is None where the model's price is not known."""

    rows: int
    validation_rows: int
    tokens: int  # of all rows once
    epochs: int
    usd: float | None
    price_basis: str  # where the price comes from, and of when it is
    longest: int  # tokens of the longest row
    problems: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Job:
    """The state of a job, as `job.json` has it."""

    order: Mapping[str, Any]
    dataset: Mapping[str, Any]
    mark: str
    targets: tuple[str, ...]
    style: str
    training_file: str = ""
    validation_file: str = ""
    job_id: str = ""
    status: str = "new"  # then the provider's own words
    fine_tuned_model: str = ""
    trained_tokens: int = 0
    error: str = ""
    last_event: str = ""

    @property
    def spec(self) -> str:
        """Return how the trained model is named elsewhere in matlit, "" before there is one."""
        return f"openai/{self.fine_tuned_model}" if self.fine_tuned_model else ""


# --- before anything is sent ------------------------------------------------------------------------------------------


def to_messages(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row in the chat format of the API."""
    turns = (("user", row["prompt"]), ("assistant", row["completion"]))
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def estimate(dataset: Path, order: Order) -> Estimate:
    """Check the rows as the API would, and say what the job costs; nothing is sent.

    Raises:
        BadInput: there is no dataset.
    """
    rows, validation = _rows(dataset, order)
    style = read_card(dataset)["style"]
    counts = [_tokens(row, style) for row in rows]
    problems = []
    if len(rows) < LEAST_ROWS:
        problems.append(f"{len(rows)} training rows; the API takes no fewer than {LEAST_ROWS}")
    for name, part in (("training", rows), ("validation", validation)):
        if (size := len(_jsonl(part))) > MOST_BYTES:
            problems.append(f"the {name} file would have {size / 2**20:.0f} MiB; the API takes {MOST_BYTES // 2**20}")
    for row, count in zip(rows, counts, strict=True):
        if count > MOST_TOKENS:
            problems.append(f"{row['id']} has about {count} tokens, more than {MOST_TOKENS}")
        if not row["prompt"].strip() or not row["completion"].strip():
            problems.append(f"{row['id']} has an empty prompt or answer")
    price, basis = _price(order)
    usd = None if price is None else round(sum(counts) * order.epochs * price / 1e6, 4)
    return Estimate(len(rows), len(validation), sum(counts), order.epochs, usd, basis, max(counts), tuple(problems))


def _rows(dataset: Path, order: Order) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    has_validation = read_card(dataset)["rows"]["validation"]
    validation = read_split(dataset, "validation") if has_validation else []
    return read_split(dataset, "train", limit=order.limit), validation


def _price(order: Order) -> tuple[float | None, str]:
    """Return US dollars per million tokens, None where they are not known, and what is to be known about the figure."""
    if order.price is not None:
        return order.price, f"{order.price:g} USD per million tokens, as given with --price"
    bare = order.model.split(":")[1] if order.model.startswith("ft:") else order.model
    known = [name for name in TRAINING_PRICES if bare == name or bare.startswith(f"{name}-20")]
    if not known:
        return None, f"no price of {order.model} is known here; look at {PRICE_PAGE} and give it with --price"
    price = TRAINING_PRICES[max(known, key=len)]
    changes = f"prices change, so compare {PRICE_PAGE} and give today's with --price"
    return price, f"{price:g} USD per million tokens as of {PRICES_AS_OF}; {changes}"


def _tokens(row: Mapping[str, Any], style: str) -> int:
    """Return about how many tokens a row has; structure texts are mostly digits, so a token is short."""
    return math.ceil(len((row["prompt"] + row["completion"]).encode()) / BYTES_PER_TOKEN[style]) + FRAME_TOKENS


def _jsonl(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(to_messages(row), ensure_ascii=False) + "\n" for row in rows).encode()


# --- the job ----------------------------------------------------------------------------------------------------------


def start(dataset: Path, folder: Path, order: Order, *, report: Report = lambda _: None) -> Job:
    """Upload the rows and create the job, or go on where an earlier call was stopped; return the job's state.

    Raises:
        BadInput: the rows would be refused, or the folder holds another job.
        ModelError: the provider refuses, or cannot be reached.
    """
    found = estimate(dataset, order)
    if found.problems:
        raise BadInput(f"the API would refuse these rows: {found.problems[0]}", hint="Prepare the dataset otherwise")
    job = _open(dataset, folder, order)
    client = _client()
    if not job.job_id and (known := _created_before(client, job)):
        report(f"the job {known} was created before, and is gone on with")
        job = _note(folder, replace(job, job_id=known))
    if not job.job_id:
        job = _upload(client, dataset, folder, order, job, report)
        with _speaking():
            made = client.fine_tuning.jobs.create(
                model=order.model,
                training_file=job.training_file,
                **({"validation_file": job.validation_file} if job.validation_file else {}),
                method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": order.epochs}}},
                suffix=order.suffix,
                seed=order.seed,
                metadata={MARK: job.mark},
            )
        job = _note(folder, replace(job, job_id=made.id, status=made.status))
        report(f"created the job {made.id}")
    return refresh(folder, report=report)


def refresh(folder: Path, *, report: Report = lambda _: None) -> Job:
    """Ask the provider how the job stands, note it, and report what it said since the last time.

    Raises:
        BadInput: there is no job in the folder, or it was not created yet.
        ModelError: the provider refuses, or cannot be reached.
    """
    job, client = _created(folder), _client()
    with _speaking():
        state = client.fine_tuning.jobs.retrieve(job.job_id)
        events = client.fine_tuning.jobs.list_events(job.job_id, limit=100).data
    fresh = _since(events, job.last_event)
    for event in fresh:
        report(f"{event.level}: {event.message}")
    job = replace(
        job,
        status=state.status,
        fine_tuned_model=state.fine_tuned_model or "",
        trained_tokens=state.trained_tokens or 0,
        error=state.error.message if state.error and state.error.message else "",
        last_event=fresh[-1].id if fresh else job.last_event,
    )
    if job.fine_tuned_model:
        _write_run(folder, job)
    return _note(folder, job)


def wait(folder: Path, *, report: Report = lambda _: None, poll_s: float = POLL_S) -> Job:
    """Ask until the job has ended; stopping to wait does not stop the job. Raises as `refresh`."""
    job = refresh(folder, report=report)
    while job.status not in ENDED:
        time.sleep(poll_s)
        job = refresh(folder, report=report)
    return job


def cancel(folder: Path, *, report: Report = lambda _: None) -> Job:
    """Cancel the job. Raises as `refresh`; one that has ended is left as it is."""
    job = refresh(folder, report=report)
    if job.status in ENDED:
        report(f"the job {job.job_id} has {job.status} already")
        return job
    with _speaking():
        _client().fine_tuning.jobs.cancel(job.job_id)
    return refresh(folder, report=report)


def read_job(folder: Path) -> Job:
    """Return the state of the job in a folder.

    Raises:
        BadInput: there is none, or it is damaged.
    """
    path = folder / "job.json"
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        return Job(**{**given, "targets": tuple(given["targets"])})
    except FileNotFoundError as error:
        raise BadInput(f"there is no job in {str(folder)!r}", hint="matlit finetune hosted DATASET -o DIR") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadInput(f"{str(path)!r} cannot be read: {error}") from error


def _open(dataset: Path, folder: Path, order: Order) -> Job:
    card = read_card(dataset)
    asked = {name: value for name, value in asdict(order).items() if name != "price"}
    if (folder / "job.json").is_file():
        job = read_job(folder)
        if dict(job.order) != asked or job.dataset["hash"] != card["hash"]:
            raise BadInput(f"{str(folder)!r} holds another job", hint="Name another folder with -o")
        return job
    if folder.exists() and (folder.is_file() or any(folder.iterdir())):
        raise BadInput(f"{str(folder)!r} is taken, and no job", hint="Name another folder with -o")
    about = {"path": str(Path(dataset).resolve()), "hash": card["hash"]}
    # the folder's name is part of the mark: another folder is another job, though its rows be the same
    mark = f"{card['hash']}-{order.model}-{order.epochs}-{order.limit}-{order.seed}-{folder.resolve().name}"[:512]
    return _note(folder, Job(asked, about, mark, tuple(card["targets"]), card["style"]))


def _note(folder: Path, job: Job) -> Job:
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "job.json", json.dumps(asdict(job), indent=1, ensure_ascii=False) + "\n")
    return job


def _created(folder: Path) -> Job:
    job = read_job(folder)
    if not job.job_id:
        raise BadInput(f"the job in {str(folder)!r} was not created yet", hint="Give the command that began it again")
    return job


def _upload(client: Any, dataset: Path, folder: Path, order: Order, job: Job, report: Report) -> Job:
    rows, validation = _rows(dataset, order)
    for name, part in (("training_file", rows), ("validation_file", validation)):
        if part and not getattr(job, name):
            content = _jsonl(part)
            with _speaking():
                sent = client.files.create(file=(f"{name}.jsonl", content), purpose="fine-tune")
            job = _note(folder, replace(job, **{name: sent.id}))
            report(f"uploaded {len(part)} rows ({len(content) / 2**20:.2f} MiB) as {sent.id}")
    return job


def _created_before(client: Any, job: Job) -> str:
    with _speaking():
        for known in client.fine_tuning.jobs.list(limit=100).data:
            if (known.metadata or {}).get(MARK) == job.mark and known.status not in ("failed", "cancelled"):
                return str(known.id)
    return ""


def _since(events: Sequence[Any], last: str) -> list[Any]:
    """Return the events after `last`, the oldest first; the API lists the newest first."""
    fresh = []
    for event in events:
        if event.id == last:
            break
        fresh.append(event)
    return fresh[::-1]


def _write_run(folder: Path, job: Job) -> None:
    write_run(
        folder,
        Run(
            objective="generate",
            method="hosted",
            base_model=job.spec,
            targets=job.targets,
            style=job.style,
            dataset=job.dataset,
            settings=job.order,
            status="finished",
            versions=versions(("matlit", "openai")),
            finished=now(),
            results={"trained_tokens": job.trained_tokens},
        ),
    )


# --- the provider -----------------------------------------------------------------------------------------------------


def _client() -> Any:
    import openai

    with _speaking():
        return openai.OpenAI(max_retries=4)


@contextmanager
def _speaking() -> Iterator[None]:
    """Turn what OpenAI's client raises into an error that says what to do."""
    import openai

    try:
        yield
    except openai.APIConnectionError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MatlitError):  # offline mode, which refuses at the socket
                raise cause from error
            cause = cause.__cause__ or cause.__context__
        raise ModelError(
            f"OpenAI is not reached: {error}",
            hint="Check the network, then give the same command again",
            retryable=True,
        ) from error
    except openai.APIStatusError as error:
        hints = {401: "Check OPENAI_API_KEY", 403: "The key may not fine-tune: see the project's permissions"}
        hint = hints.get(error.status_code, "Give the same command again later; what was done is noted")
        detail = error.body.get("message", "") if isinstance(error.body, dict) else ""
        raise ModelError(
            f"OpenAI refuses ({error.status_code}): {detail or error.message}",
            hint=hint,
            retryable=error.status_code >= 429,
        ) from error
    except openai.OpenAIError as error:
        raise ModelError(f"OpenAI's client refuses: {error}", hint="Set OPENAI_API_KEY in the environment") from error


class HostedGenerator(Generator):
    """A fine-tuned model at OpenAI as a predictor of one property: greedy, read as strictly as a local one."""

    def __init__(self, model: str, *, target: str, style: str, parallel: int = 8) -> None:
        self.name = model
        self.target = target
        self.unit = find_target(target).unit
        self.style = style
        self._parallel = parallel

    def write(self, prompts: Sequence[str]) -> list[Written]:
        """Return what the model writes to each prompt, several at a time; ModelError where the provider refuses."""
        client = _client()
        with ThreadPoolExecutor(self._parallel) as pool:
            return list(pool.map(lambda prompt: self._ask(client, prompt), prompts))

    def _ask(self, client: Any, prompt: str) -> Written:
        with _speaking():
            made = client.chat.completions.create(
                model=self.name,
                messages=[{"role": "user", "content": prompt}],
                temperature=0,
                max_tokens=24,
                logprobs=True,
            ).choices[0]
        text = made.message.content or ""
        logs = made.logprobs.content if made.logprobs and made.logprobs.content else []
        chance = math.exp(sum(one.logprob for one in logs)) if logs else 0.0
        try:
            return Written(text, parse_number(text, self.target), chance)
        except NotANumber as error:
            return Written(text, math.nan, chance, str(error))


def load_hosted(folder: Path, *, target: str) -> HostedGenerator:
    """Return the predictor of a job folder whose job has succeeded."""
    run = read_run(folder)
    return HostedGenerator(run.base_model.removeprefix("openai/"), target=target, style=run.style)
