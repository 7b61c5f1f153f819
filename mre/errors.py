"""The errors that a user can cause and mend. Each message is one line that names the file, row or field."""


class MreError(Exception):
    """Anything wrong with what came from outside: a file, an upload, a flag, a reply. Programs print it without a traceback."""


class RewardError(MreError, ValueError):
    """A score or reward text that is not one."""


class ImageError(MreError):
    """A picture that cannot be read, or is too large, too small or too long."""


class DataError(MreError):
    """A data file or folder with a fault; the message names the row, key or file."""


class ModelError(MreError):
    """Weights or a model folder that cannot be used; the message names the tensor or file."""


class EditRefused(ModelError):
    """An editor that will not make this one edit, because of its content for example, and takes others."""


class PerhapsPaid(EditRefused):
    """An edit that a server was asked for without its answer arriving, and that it may charge for: it is not asked again unasked."""


class SettingsError(MreError, ValueError):
    """A flag or configuration field with a value that cannot be used, or that does not exist."""


class EditStopped(MreError):
    """An edit that was stopped on request: before it began, or within one step."""


class TrainingStopped(MreError):
    """A training that was stopped on request."""


class ServiceError(MreError):
    """A paid service, a judge or an editor on a server, that is not configured or does not answer; or a file of its answers."""


class JudgeError(ServiceError):
    """A judge that is not configured, or does not answer."""


class JudgeUsedUpError(JudgeError):
    """The budget of a judge is exhausted."""


class JudgeReplyError(JudgeError):
    """A judge's reply that is not a verdict. `raw` keeps the reply as it came."""

    def __init__(self, message: str, raw: str = "") -> None:
        super().__init__(message)
        self.raw = raw


class StudyError(MreError):
    """Something a study does not allow: an unknown token, an expired lease, a second vote, a frozen design."""


class NotYours(StudyError):
    """A token of somebody else, of an ended lease, or of nothing at all."""


class AlreadyAnswered(StudyError):
    """Another answer to this screen came first."""


class BadAnswer(StudyError):
    """Scores, reason or comment that are not ones."""
