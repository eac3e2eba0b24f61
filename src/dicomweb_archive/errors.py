"""The family of errors: what went wrong in the words of the domain, without HTTP or DIMSE codes.

Messages name the attribute or parameter, what is accepted and the way out. They never hold a value that
came from a data set, a query or a path: messages are logged, and such a value may name a patient.
"""


class ArchiveError(Exception):
    """Something the archive expects to go wrong; `web/errors.py` gives each class its HTTP status."""


class InvalidRequestError(ArchiveError):
    """A request breaks the grammar of its transaction (PS3.18 8.5: Bad Request)."""


class InvalidParameterError(InvalidRequestError):
    """The value of a known query parameter does not fit (PS3.18 8.3)."""

    def __init__(self, parameter: str, *, accepted: str) -> None:
        # The value may name a patient and this text is logged, so it stays out.
        super().__init__(f"{parameter} cannot be understood as written; accepted: {accepted}")
        self.parameter = parameter


class InvalidMatchError(InvalidParameterError):
    """A search value does not fit the grammar of its attribute (PS3.4 C.2.2.2)."""


class RequestTooLargeError(ArchiveError):
    """A request goes beyond a configured limit (number of parts, sizes, length of a list)."""


class RequestTimeoutError(ArchiveError):
    """A client sent its request body too slowly."""


class NotAcceptableError(ArchiveError):
    """None of the representations that the client accepts can be had (PS3.18 8.7.8)."""

    def __init__(self, message: str, *, available: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.available = available


class RangeNotSatisfiableError(ArchiveError):
    """A range of bytes lies behind the end of the representation (RFC 9110 14.4, 15.5.17)."""

    def __init__(self, length: int) -> None:
        super().__init__(f"the range lies outside of the {length} bytes that there are")
        self.length = length


class PreconditionFailedError(ArchiveError):
    """The client has set a condition that does not hold, for something else than reading (RFC 9110 13.1.2)."""


class PreconditionRequiredError(ArchiveError):
    """A change must say of which revision it is meant, and does not (RFC 6585 3)."""


class UnsupportedMediaTypeError(ArchiveError):
    """The payload's media type or content coding is not one that this transaction takes (PS3.18 8.6)."""

    def __init__(self, message: str, *, supported: tuple[str, ...] = (), codings: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.supported = supported
        self.codings = codings


class NotFoundError(ArchiveError):
    """The resource does not exist, or this principal may not know that it does."""


class GoneError(NotFoundError):
    """The resource was deleted and its tombstone is known (PS3.18 8.5: Gone)."""


class ConflictError(ArchiveError):
    """The request is well formed but contradicts the present state."""


class TransitionError(ConflictError):
    """Something cannot be done in the present state.

    Args:
        state: the present one.
        action: what was asked for.
        allowed: what can be done instead.
    """

    def __init__(self, state: str, action: str, *, allowed: tuple[str, ...]) -> None:
        instead = ", ".join(allowed) or "nothing"
        super().__init__(f"what is {state} does not know {action}; it knows: {instead}")
        self.allowed = allowed


class UnauthenticatedError(ArchiveError):
    """The credentials are missing or wrong."""


class ForbiddenError(ArchiveError):
    """This principal may not do that."""


class InvalidInstanceError(ArchiveError):
    """A byte stream is not a DICOM instance that can be kept; a value of a store request, not its end.

    Args:
        reason: what is wrong, without any value from the data set.
        failure: the Failure Reason (0008,1197) to report, see `dicom/status.py`.
        offset: where in the stream, in bytes, when known.
    """

    def __init__(self, reason: str, *, failure: int = 0xC000, offset: int | None = None) -> None:
        where = "" if offset is None else f" (at byte {offset})"
        super().__init__(f"{reason}{where}")
        self.reason = reason
        self.failure = failure
        self.offset = offset


class UndecodableError(ArchiveError):
    """Stored pixel data cannot be decoded; the stored bytes can still be retrieved."""


class ObjectNotFoundError(ArchiveError):
    """The object store does not hold an object that it should."""


class DamagedObjectError(ArchiveError):
    """The object store returned other bytes, or fewer, than were stored."""


class StorageFullError(ArchiveError):
    """The free space is under the watermark, or the disk is full."""


class StorageUnavailableError(ArchiveError):
    """The object store cannot be reached or fails to read or write; trying again later may help."""


class DatabaseUnavailableError(ArchiveError):
    """The database cannot be reached or refused a connection; trying again later may help."""


class OverloadedError(ArchiveError):
    """More is being asked than can be done at once (PS3.18 8.5: Service Unavailable); trying again later may help."""


class QueryTooExpensiveError(ArchiveError):
    """The statement ran into its time limit (PS3.18 10.6.3: the search was too broad)."""


class SetupError(ArchiveError):
    """The machine or configuration cannot run the archive; the message says the way out."""
