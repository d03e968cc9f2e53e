"""Model files from a hub that speaks Hugging Face's protocol (`HF_ENDPOINT`, `HF_TOKEN`), and the small one to take."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from assistant.offline import refused
from assistant.providers.errors import KeyRefused, ModelNotFound, Unavailable, scrub, transport_errors
from ingest import hub
from ingest.errors import OfflineError

T = TypeVar("T")

# Apache-2.0, 1.1 GB: answers from given passages in English and Japanese on two cores.
SMALL_REPOSITORY = "Qwen/Qwen2.5-1.5B-Instruct-GGUF"
SMALL_FILE = "qwen2.5-1.5b-instruct-q4_k_m.gguf"

_INSTEAD = "Set HF_ENDPOINT to a mirror, or copy a GGUF file here and name it: gguf/FILE.gguf"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(:[\w./-]+)?")


def get_small(
    *, offline: bool = False, repository: str = SMALL_REPOSITORY, file: str = SMALL_FILE, folder: Path | None = None
) -> Path:
    """Fetch the small instruct model, or another, and return its file; nothing is fetched twice.

    It goes to matlit's folder of models, where `gguf/small` finds it. A download that broke off is taken up again.

    Raises:
        OfflineError: `offline`, and it is not there yet.
        ModelNotFound: the hub has no such file.
        Unavailable: no hub can be reached.
    """
    path = small_model_path(folder)
    if path.is_file():
        return path
    if offline:
        raise OfflineError(f"offline mode: the model {repository}/{file} would have to be fetched")
    path.parent.mkdir(parents=True, exist_ok=True)
    fetched = _download(repository, file, folder=path.parent / ".fetching", offline=False)
    fetched.replace(path)
    return path


def small_model_path(folder: Path | None = None) -> Path:
    """Return where the small model is, or would be."""
    return (folder or models_folder()) / "small.gguf"


def models_folder() -> Path:
    """Return matlit's folder of fetched models, in the user's data folder."""
    import platformdirs

    return Path(platformdirs.user_data_dir("matlit")) / "models"


def looks_like_hub_id(name: str) -> bool:
    """Tell whether `name` could be `owner/name` or `owner/name:file` on a hub."""
    return _HUB_ID.fullmatch(name) is not None and not name.startswith((".", "/"))


def fetch(name: str, *, offline: bool) -> Path:
    """Return the GGUF file of `owner/name[:file]` from the hub's cache, or from the hub unless `offline`.

    Without a file it takes the repository's only one, else its only one in q4_k_m.
    """
    repository, _, file = name.partition(":")
    if not file:
        file = _choose(repository, offline=offline)
    return _download(repository, file, folder=None, offline=offline)


def _choose(repository: str, *, offline: bool) -> str:
    if offline:
        raise ModelNotFound(
            f"{repository!r} names no file, and offline the hub cannot be asked",
            hint=f"Write gguf/{repository}:FILE.gguf",
        )
    from huggingface_hub import HfApi

    if why := hub.trouble():
        raise Unavailable(f"the hub cannot be asked for the files of {repository}: {why}", hint=_INSTEAD)
    files = [file for file in _asked(repository, lambda: HfApi().list_repo_files(repository)) if file.endswith(".gguf")]
    good = files if len(files) == 1 else [file for file in files if "q4_k_m" in file.lower()]
    if len(good) != 1:
        raise ModelNotFound(
            f"{repository} has {len(files)} GGUF files: {', '.join(files[:8])}",
            hint=f"Write gguf/{repository}:FILE.gguf",
        )
    return good[0]


def _download(repository: str, file: str, *, folder: Path | None, offline: bool) -> Path:
    from huggingface_hub import hf_hub_download

    why = "" if offline else hub.trouble()

    def download() -> str:
        return hf_hub_download(repository, file, local_dir=folder, local_files_only=bool(offline or why))

    return Path(_asked(f"{repository}/{file}", download, why=why))


def _asked(what: str, ask: Callable[[], T], *, why: str = "") -> T:
    """Return what the hub answers to `ask`, with its errors as ours; `why` says why it was not even tried to reach."""
    from huggingface_hub import errors

    failures: tuple[type[Exception], ...] = (errors.HfHubHTTPError, OSError, *transport_errors())
    try:
        with hub.quietly():
            return ask()
    except errors.LocalEntryNotFoundError as error:
        raise refused(error) or Unavailable(
            f"{what} is not on this disk, and no hub could be reached for it: {why or scrub(str(error))[:300]}",
            hint=_INSTEAD,
        ) from error
    except errors.GatedRepoError as error:
        raise KeyRefused(
            f"the hub wants its terms accepted for {what}", hint="Accept, then export HF_TOKEN=…"
        ) from error
    except (errors.RepositoryNotFoundError, errors.EntryNotFoundError, errors.RevisionNotFoundError) as error:
        raise ModelNotFound(f"the hub has no {what}", hint="Check the name; a private one needs HF_TOKEN") from error
    except errors.HFValidationError as error:
        raise ModelNotFound(f"{what!r} is no name on a hub", hint="Write OWNER/NAME") from error
    except failures as error:
        raise refused(error) or Unavailable(f"the hub failed on {what}: {scrub(str(error))[:300]}") from error
