"""Ctrl-C and SIGTERM end a program with one line and exit status 130, and with no traceback, from its first imports on.

A program calls :func:`arm` before it imports torch, which takes seconds, and gives its main function to :func:`run`.
The commands ``infomax``, ``mmim_example`` and ``benchmarks`` do so. Nothing here loads torch.
While Python itself starts, before the first line of a program (less than 0.1 s), signals still act as Python decides.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

#: The exit status of an interrupted program, for both signals.
STATUS = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_line = "interrupted"
_interrupted = False


def arm(line: str) -> None:
    """Until :func:`run`, a signal ends the process at once. Call it when nothing has been started or opened yet.

    Args:
        line: what is printed to standard error, here and in :func:`run`.
    """
    global _line  # noqa: PLW0603 - signals belong to the process, and so does the line
    _line = line
    _handle(_end)


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run the main function of a program, and exit with its status.

    The first signal raises ``KeyboardInterrupt`` in ``main``, whose ``finally`` blocks can end what it started; if
    ``main`` is importing something, as soon as this is done. Signals that come during the clean-up, or while the
    process exits, are ignored.
    """
    status: int | None = STATUS
    try:
        try:
            _handle(_interrupt)
            status = main()
        finally:
            _handle(signal.SIG_IGN)
    except BaseException as error:
        if not (_interrupted or isinstance(error, KeyboardInterrupt)):
            raise
        status = STATUS
        _say()
        eval("None")  # noqa: S307 - if the last text that was run raised it, Python would kill itself instead of exiting
    sys.exit(status)


@contextmanager
def shielded() -> Iterator[None]:
    """Processes that are started inside never see Ctrl-C, which a terminal sends to all: this process must end them.

    A Ctrl-C that comes inside takes effect at the end of the block. On Windows nothing is changed.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    for name in ("multiprocessing.resource_tracker", "joblib.externals.loky.backend.resource_tracker"):
        if name.partition(".")[0] in sys.modules:
            import_module(name).ensure_running()  # it would unblock the signal when it starts inside
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _handle(handler: Any) -> None:
    """Replace the handlers; a signal that the parent made this process ignore stays ignored, as for ``nohup``."""
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, handler)


def _say() -> None:
    with suppress(OSError):  # a terminal that was closed
        os.write(2, f"{_line}\n".encode())


def _end(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the arguments of a handler
    # An exception here could be swallowed or printed by the import that it interrupts.
    _say()
    os._exit(STATUS)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _interrupted  # noqa: PLW0603 - as above
    if _importing(frame):  # extension modules turn an exception into another one, or print it
        again = threading.Timer(0.05, _send, [number])
        again.daemon = True
        again.start()
    elif not isinstance(sys.exc_info()[1], KeyboardInterrupt):  # else the clean-up after the first one goes on
        _interrupted = True
        warnings.simplefilter("ignore")  # about work that is cut short
        raise KeyboardInterrupt


def _send(number: int) -> None:
    """Send the signal to the main thread."""
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, number)
    else:
        _thread.interrupt_main(signal.Signals(number))


def _importing(frame: FrameType | None) -> bool:
    """Whether code of an import is running, below :func:`run`."""
    while frame is not None and frame.f_code is not run.__code__:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
