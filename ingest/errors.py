"""The errors that matlit raises on purpose, and nothing else.

    MatlitError
    ├── BadInput              what the user handed over cannot be used
    │   ├── BadSettings       a settings file, variable or flag is wrong
    │   └── LibraryExists     a new library was asked for where there is one
    ├── ReadError             one file could not be read (its `cause` names why)
    ├── LibraryError          the library on disk refuses
    │   ├── LibraryNotFound
    │   ├── LibraryMismatch   another embedder, recipe or a newer schema
    │   ├── LibraryBusy       another process is writing
    │   ├── LibraryDamaged    catalog and vectors disagree
    │   └── NotInLibrary      no such paper, page or record
    ├── EmbedderError         the embedding model is missing or misbehaves
    ├── ModelError            a language model is missing or misbehaves
    ├── MissingExtra          an optional part is not installed
    └── OfflineError          offline mode forbade a connection

Each says what happened with the value in it; `hint` says what to do next, as a command where there is one.
Only the command line and the web app catch `MatlitError`; anything else that escapes is a bug.
"""

from __future__ import annotations


class MatlitError(Exception):
    """Base of every error matlit raises on purpose.

    `hint` is the next step for the user, and `retryable` tells a batch job whether the same call may succeed later.
    """

    hint: str = ""
    retryable: bool = False

    def __init__(self, message: str, *, hint: str | None = None, retryable: bool | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint
        if retryable is not None:
            self.retryable = retryable

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process borders by pickle, which would otherwise call __init__ without the keywords.
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))


def _rebuild(cls: type[MatlitError], args: tuple[object, ...], state: dict[str, object]) -> MatlitError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class BadInput(MatlitError):
    """What the user handed over (a path, a question, a number) cannot be used."""


class BadSettings(BadInput):
    """A settings file, an environment variable or a flag holds something unusable."""

    hint = "Correct it there, or take it out: the default is then in force"


class ReadError(MatlitError):
    """One file could not be read; the others are not affected.

    `cause` is one word for machines: `encrypted`, `scanned`, `empty`, `truncated`, `malformed`, `webpage`,
    `unsupported`, `too_large`, `timeout`, `memory`, `crashed`, `missing`, `permission`, `no_text`.
    """

    def __init__(self, message: str, *, cause: str, hint: str | None = None, retryable: bool | None = None) -> None:
        super().__init__(message, hint=hint, retryable=retryable)
        self.cause = cause


class LibraryError(MatlitError):
    """The library on disk cannot do what was asked."""


class LibraryExists(BadInput):
    """A library was to be made where there is one already."""


class LibraryNotFound(LibraryError):
    """There is no library in that folder."""

    hint = "Build one: matlit ingest FOLDER_OF_PDFS, or try the sample: matlit demo"


class LibraryMismatch(LibraryError):
    """The library was built with another embedder or chunking recipe, or by a newer matlit."""

    hint = "Ask with the library's own embedder, or rebuild it: matlit ingest --rebuild"


class LibraryBusy(LibraryError):
    """Another process is writing to the library."""

    hint = "Wait for it to finish; reading (search, ask) works meanwhile"
    retryable = True


class LibraryDamaged(LibraryError):
    """Catalog and vectors disagree."""

    hint = "Mend it from the catalog, without embedding again: matlit verify --repair"


class NotInLibrary(LibraryError):
    """No such paper, page or record in the library."""

    hint = "List what is there: matlit papers"


class EmbedderError(MatlitError):
    """The embedding model is missing, broken or was given something it cannot read."""


class ModelError(MatlitError):
    """A language model is missing, refuses or misbehaves."""

    hint = "See what works here and how to mend the rest: matlit doctor"


class MissingExtra(MatlitError):
    """An optional part of matlit is not installed."""

    def __init__(self, what: str, *, extra: str) -> None:
        super().__init__(f"{what} needs packages that are not installed", hint=f"pip install 'matlit[{extra}]'")
        self.extra = extra


class OfflineError(MatlitError):
    """Offline mode forbade a connection to another machine."""

    hint = "Leave out --offline, or set offline = false under [models] in the settings file"
