"""The mistakes that a user can mend."""


class RequestError(ValueError):
    """A request that cannot be met: which argument, what was given, what would do.

    Raised before any work; the command line prints it as one line and exits with status 2.
    """
