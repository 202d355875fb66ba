"""Runs an interactive shell on a terminal of its own and types at it: each argument is typed once the text that the one
before it waits for has appeared. Arguments in pairs: TYPE EXPECT. Prints what the terminal showed; status 1 on timeout."""
import atexit
import os
import pty
import re
import select
import signal
import sys
import time

pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(PS1="$ ", TERM="dumb", HISTFILE="")
    os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])

shown = ""


def hang_up():
    os.close(terminal)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def wait_for(pattern, start):
    global shown
    deadline = time.monotonic() + 20
    while not re.search(pattern, shown[start:]):
        if time.monotonic() > deadline:
            print(shown)
            print(f"terminal.py: {pattern!r} did not appear")
            sys.exit(1)
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 65536).decode(errors="replace")


atexit.register(hang_up)
wait_for(r"\$ ", 0)
steps = sys.argv[1:]
for typed, expected in zip(steps[::2], steps[1::2]):
    start = len(shown)
    os.write(terminal, typed.encode().decode("unicode_escape").encode())
    wait_for(expected, start)
print(shown)
