"""Run by test_interrupt.py: compiles a small network again and again, each time stopped by a signal a bit later.

Prints a JSON object a line: the signal, the exit code, what it printed, and what stands in the output folder. Forks
after a first compile in this process, since importing all there is to torch takes longer than all the rest.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from fxprune.cli import front, main
from fxprune.emit.load import load
from fxprune.errors import FxpruneError

ARGUMENTS = ["fxprune", "compile", "half.prune", "net.py", "-o", "place/out"]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


def run() -> None:
    """The command, in a child; whatever a signal hits before or after it counts as stopped by it."""
    said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.argv = ARGUMENTS
    code = 130
    try:
        main()
    except SystemExit as end:
        code = int(str(end.code))
    except KeyboardInterrupt:
        pass
    os._exit(code)


def stopped(number: int | None, after: float) -> int:
    """Run it in a child, stopped after some seconds; its exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        run()
    if number is not None:
        time.sleep(after)
        os.kill(child, number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def state() -> str:
    """What stands in the output folder."""
    if not Path("place/out").exists():
        return "absent"
    try:
        load("place/out")
    except FxpruneError as error:
        return f"torn: {error}"
    return "whole"


def report(number: int | None, code: int) -> None:
    beside = sorted(path.name for path in Path("place").iterdir()) if Path("place").exists() else []
    said = Path("said.txt").read_text()
    print(json.dumps({"signal": number, "code": code, "state": state(), "said": said, "beside": beside}), flush=True)


with contextlib.suppress(SystemExit), contextlib.redirect_stdout(sys.stderr):
    front.main(ARGUMENTS[1:])
start = time.monotonic()
stopped(None, 0)
whole = time.monotonic() - start
for point in range(int(sys.argv[1])):
    if point % 2 and Path("place/out").exists():
        Path("place/out").rename(f"kept-{point}")
    number = SIGNALS[point % len(SIGNALS)]
    report(number, stopped(number, whole * (point + 1) / (int(sys.argv[1]) + 1)))
report(None, stopped(None, 0))
