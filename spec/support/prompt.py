#!/usr/bin/env python3
"""Types at an interactive interpreter through a pseudo-terminal, as a person would.

usage: prompt.py COMMAND < DIALOGUE

A line of the dialogue is "type TEXT", "key C" (Ctrl-C), "see TEXT" (waits until TEXT has been shown since the
last thing typed; fails after a minute) or "end" (waits for the process to end after Ctrl-D). The screen goes to
stdout; the exit status is 0 when all of it went as written, 1 when something was not seen.
"""
import os
import pty
import re
import select
import signal
import sys
import time

SECONDS = 60


def start(command):
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.environ.update(TERM="dumb", INPUTRC="/dev/null")
        os.execvp("sh", ["sh", "-c", "stty -echo; exec " + command])
    return pid, terminal


def receive(terminal, deadline):
    """What the process writes next: no bytes when time is up or it has ended. Also whether it has ended."""
    ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
    try:
        data = os.read(terminal, 65536) if ready else b""
    except OSError:
        data = b""
    return data, bool(ready) and not data


class Screen:
    def __init__(self, terminal):
        self.terminal, self.fresh, self.closed = terminal, "", False

    def read(self, deadline):
        """More of the screen, or False when time is up or the process has ended."""
        data, self.closed = receive(self.terminal, deadline)
        text = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", data.decode("utf-8", "replace")).replace("\r", "")
        self.fresh += text
        sys.stdout.write(text)
        return bool(data)

    def see(self, text):
        deadline = time.monotonic() + SECONDS
        while text not in self.fresh:
            if not self.read(deadline):
                return False
        # what follows is looked for behind it
        self.fresh = self.fresh.split(text, 1)[1]
        return True


def main():
    dialogue = sys.stdin.read().splitlines()
    pid, terminal = start(sys.argv[1])
    screen = Screen(terminal)
    good = True
    for line in dialogue:
        verb, _, text = line.partition(" ")
        if verb == "type":
            os.write(terminal, text.encode() + b"\n")
        elif verb == "key":
            os.write(terminal, bytes([ord(text) - 64]))
        elif verb == "see":
            good = screen.see(text)
        elif verb == "end":
            os.write(terminal, b"\x04")
            while screen.read(time.monotonic() + SECONDS):
                pass
            good, text = screen.closed, "the end"
        if not good:
            print("\nNOT SEEN: " + text)
            break
    if not good:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if good and status != 0:
        print("\nENDED WITH: %d" % status)
        good = False
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
