"""What the three scripts share: the parser of options, and the shell around main().

Nothing here imports torch, which takes seconds: --help, a wrong option or a missing file is answered at once.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import signal
import sys
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, NoReturn

if sys.version_info < (3, 11):
    sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}")

from alexnet.files import UserError, printable

RUNS = Path("results/runs")
PRETRAINED = "pretrained"   # instead of a file's name: torchvision's weights

# What options may name. A test compares these with alexnet.model and alexnet.recipe, which import torch.
VARIANTS = ("as-written", "as-trained", "caffe", "torchvision")
LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
SCHEDULES = ("steps", "plateau", "release", "constant")


class CommandLine(argparse.ArgumentParser):
    """A script's options, described by its docstring (what it does, then examples). None may be shortened;
    a mistyped one gets one line with the name that was probably meant."""

    def __init__(self, about: str | None, **more: Any) -> None:
        description, examples = (about or "\n\n").split("\n\n")[:2]   # python -OO has no docstrings
        super().__init__(description=description, epilog="examples:\n" + examples, allow_abbrev=False,
                         formatter_class=argparse.RawDescriptionHelpFormatter, **more)
        self.register("type", None, typed)   # of options without a type
        self.register("type", Path, typed_path)

    def error(self, message: str) -> NoReturn:
        mistyped = message if message.startswith("unrecognized") else ""
        names = [name for action in self._actions for name in action.option_strings]
        near = []
        for word in re.findall(r"(?<!\S)[-–—]+([^\s=]+)", mistyped):   # — is what Word makes of --
            beginning = [name for name in names if name.startswith(f"--{word}")]
            near += (beginning or difflib.get_close_matches(f"--{word}", names, 1, 0.7))[:1]
        if "--data" in names and not near:
            near = [f"--data {word}" for word in mistyped.split()[2:] if os.path.isdir(word)][:1]
        meant = f" (is {' or '.join(near)} meant?)" if near else ""
        raise UserError(f"{message}{meant}; --help shows all options")


def typed(text: str) -> str:
    """What a person typed: `~` is their home (a shell leaves --out=~/x as it is); an empty text is an error,
    since it comes from a shell's variable that is not set (--model "$MODEL")."""
    if not text:
        raise argparse.ArgumentTypeError("nothing is given")
    return os.path.expanduser(text)


def typed_path(text: str) -> Path:
    return Path(typed(text))


def say(text: str) -> None:
    """On standard error, in one line: results go to standard output."""
    print(printable(text), file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Of something odd while the work goes on."""
    say(f"warning: {text}")


def find(given: str | None) -> Path:
    """The named checkpoint or run's folder, else the newest run's best.pt. UserError without one."""
    if given:
        if given != PRETRAINED and not os.path.exists(given):
            raise UserError(f"there is no checkpoint {given}")
        return Path(given)
    newest = max(RUNS.glob("*/best.pt"), key=lambda path: path.stat().st_mtime, default=None)
    if not newest:
        raise UserError(f"no model: there is no run in {RUNS.resolve()}. Train one (python train_alexnet.py "
                        "takes some minutes), or name a checkpoint with --model")
    return newest


def check_data(where: str | None) -> None:
    """UserError for --data with a folder that does not exist; a plain word may name a torchvision set."""
    if where and not where.isalnum() and not os.path.exists(where):
        raise UserError(f"--data {where}: there is no such folder")


def on_signals(handlers: dict[int, Any]) -> None:
    """Sets the handlers, but only in a program's main thread: Python refuses it in others."""
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def shell(script: str) -> Iterator[None]:
    """Around a script's main(): what a person can mend becomes one line and exit status 2; Ctrl-C is 130, a
    closed pipe 1. SIGTERM, as a cluster sends it, ends the process as Ctrl-C would: temporary
    files are removed. Afterwards signals are handled as before, since a notebook's process goes on."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    on_signals({signal.SIGTERM: lambda *_: sys.exit(128 + signal.SIGTERM)})
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):   # a notebook's has none
            stream.reconfigure(errors="backslashreplace")   # for letters that the terminal's encoding lacks
    try:
        with warnings.catch_warnings():   # once for all threads
            warnings.filterwarnings("ignore", module=r"PIL(\.|$)")   # odd metadata; what is unreadable raises
            yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (UserError, OSError) as error:
        print(f"{script}: {printable(str(error))}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except (RuntimeError, MemoryError) as error:   # of torch, which is not imported here
        if isinstance(error.__context__, (KeyboardInterrupt, SystemExit)):   # a signal came while Python
            sys.exit(getattr(error.__context__, "code", 130))   # waited for a lock, whose release then fails
        if isinstance(error, RuntimeError) and not re.search("out of memory|can't allocate", str(error)):
            raise
        print(f"{script}: out of memory: fewer images at once (a smaller --batch-size) or smaller ones (in "
              "training a smaller --image-size) take less", file=sys.stderr)
        sys.exit(2)
    finally:
        on_signals({number: handler for number, handler in handlers.items()
                    if signal.getsignal(number) != signal.SIG_IGN})   # device.first_to_fail
