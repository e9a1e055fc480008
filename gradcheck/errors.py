"""The mistakes that a user can mend."""


class RequestError(ValueError):
    """A request that cannot be met: which argument, what was given, what would do.

    Raised before any work; the command line prints it as one line and exits with status 2.

    Parameters
    ----------
    field
        The argument: a setting of `Request`, `model`, …; empty if it is none in particular.
    text
        What was given, what was expected, and the mend.
    """

    def __init__(self, field: str, text: str) -> None:
        super().__init__(field, text)
        self.field, self.text = field, text

    def __str__(self) -> str:
        return f"{self.field}: {self.text}" if self.field else self.text
