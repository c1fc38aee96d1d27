"""Errors a caller can act on: every message names the file or option at fault and the remedy."""


class IsoclinicError(Exception):
    """Base of all errors raised on purpose; the command line prints it and exits with `exit_code`."""

    exit_code = 1


class InputError(IsoclinicError, ValueError):
    """A file or array that cannot be used as it is (exit code 1)."""


class UsageError(IsoclinicError, ValueError):
    """An option, argument or combination of them that makes no sense (exit code 2)."""

    exit_code = 2
