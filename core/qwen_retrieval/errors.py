"""Every error this library raises on purpose.

::

    QwenRetrievalError
    ├── SettingsError        (ValueError)    a setting is out of its range or contradicts another
    ├── TextError            (ValueError)    a text cannot be used as it is
    │   ├── PrefixedQueryError               a query already carries an instruction
    │   └── TooLongError                     a text, or a reranker query, leaves no room
    ├── NotTextError         (TypeError)     something other than `str` where a text belongs
    ├── ModelError           (RuntimeError)  a checkpoint cannot be used
    │   ├── ModelNotFoundError (OSError)     no such folder or repository, or out of reach
    │   ├── ModelFilesError    (OSError)     files are missing, truncated or corrupt
    │   └── WrongModelError    (ValueError)  a checkpoint of another kind
    ├── ServerError          (RuntimeError)  a server cannot be used, or gives no right answer
    │   ├── ServerUnreachableError (ConnectionError) nobody answers at that address
    │   ├── ServerTimeoutError (TimeoutError) no answer within `timeout`
    │   ├── ServerRefusedError               it answers with a status that is an error
    │   │   └── ServerAccessError (PermissionError) 401 or 403: the key
    │   ├── ServerAnswerError  (ValueError)  it answers something other than was asked for
    │   ├── ServerSetupError                 it is started in a way that gives wrong answers
    │   └── ServerUnsupportedError (NotImplementedError) it cannot do this as promised
    ├── NonFiniteError       (ArithmeticError) NaN or infinity in a vector or score
    ├── IndexMismatchError   (ValueError)    an index was made by another embedder
    ├── DataError            (ValueError)    a file of a collection is broken; names its line
    ├── StoreError           (RuntimeError)  what an evaluation keeps on disk is in use
    └── ClosedError          (RuntimeError)  used after `close()`

Each inherits the fitting builtin, so ``except ValueError`` keeps working. A message names the
value, the limit and the remedy. Two things are warned of and go on: `TruncationWarning` (documents
were cut) and `MemoryWarning` (memory ran out, smaller batches are used).
"""


class QwenRetrievalError(Exception):
    """The base of all errors below."""


class SettingsError(QwenRetrievalError, ValueError):
    """A setting is out of its range, or two settings contradict each other."""


class TextError(QwenRetrievalError, ValueError):
    """A text cannot be used as it is."""


class PrefixedQueryError(TextError):
    """A query already carries an instruction, which would be doubled."""


class TooLongError(TextError):
    """A text is longer than allowed, or a query leaves no room for a document."""


class NotTextError(QwenRetrievalError, TypeError):
    """Something other than ``str`` stands where a text belongs."""


class ModelError(QwenRetrievalError, RuntimeError):
    """A checkpoint cannot be used."""


class ModelNotFoundError(ModelError, OSError):
    """There is no such folder or repository, or it cannot be reached."""


class ModelFilesError(ModelError, OSError):
    """Files of a checkpoint are missing, truncated or corrupt."""


class WrongModelError(ModelError, ValueError):
    """A checkpoint of another kind than the one needed."""


class ServerError(QwenRetrievalError, RuntimeError):
    """A server cannot be used, or gives no right answer."""


class ServerUnreachableError(ServerError, ConnectionError):
    """Nobody answers at the server's address, or the connection breaks."""


class ServerTimeoutError(ServerError, TimeoutError):
    """A request and its retries took longer than `timeout`."""


class ServerRefusedError(ServerError):
    """The server answers with a status that is an error.

    Attributes:
        status: of the answer, such as 404.
        words: the server's own, shortened.
        retry_after: seconds after which the server would like to be asked again, or None.
    """

    status: int = 0
    words: str = ""
    retry_after: float | None = None


class ServerAccessError(ServerRefusedError, PermissionError):
    """The server asks for another key: status 401 or 403."""


class ServerAnswerError(ServerError, ValueError):
    """The server answers something other than what was asked for."""


class ServerSetupError(ServerError):
    """A server is started in a way that gives wrong answers; names the options that mend it."""


class ServerUnsupportedError(ServerError, NotImplementedError):
    """The server's interface cannot do this as the contract promises, so it is not asked."""


class NonFiniteError(QwenRetrievalError, ArithmeticError):
    """A vector or score holds NaN or infinity."""


class IndexMismatchError(QwenRetrievalError, ValueError):
    """An index was made by another embedder than the one that queries it."""


class DataError(QwenRetrievalError, ValueError):
    """A file of a collection cannot be used as it is; the message names file and line."""


class StoreError(QwenRetrievalError, RuntimeError):
    """What an evaluation keeps on disk is in use by another process."""


class ClosedError(QwenRetrievalError, RuntimeError):
    """A model is used after ``close()``."""


class TruncationWarning(UserWarning):
    """Documents were longer than `max_length` and have been cut; says how many.

    Attributes:
        cut: how many of the call's texts.
        limit: that they were cut to, in tokens.
    """

    def __init__(self, message: str, *, cut: int = 0, limit: int = 0) -> None:
        """Keep the figures beside the sentence."""
        super().__init__(message)
        self.cut = cut
        self.limit = limit


class MemoryWarning(UserWarning):
    """Memory ran out, and the work goes on in smaller batches."""
