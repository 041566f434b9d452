#!/usr/bin/env python3
"""Runs a full-screen program in a pseudo-terminal, and models the screen that a person would see.

usage: terminal.py COLUMNS LINES COMMAND < DIALOGUE

A line of the dialogue is "see REGEX" or "unseen REGEX" (waits until a row of the screen does, or no row does, match;
fails after 20 s), "size COLUMNS LINES" (the window is resized, which sends SIGWINCH), "key C" (Ctrl-C), "signal TERM",
"run COMMAND" (in a shell, to its end), "shot NAME" (keeps the screen; with SHOTS=FOLDER also as FOLDER/NAME.txt and .html) or "end" (waits until the process
ends). stdout gets one line of JSON: `failed` (what was not seen), `status`, `shots` and `rows` (lists of rows),
`colours` (by shot: row -> the colours in it), `cursor`, `alternate`, `wrap`, `plain` (whether the attributes are
reset), and `unknown` (escape sequences that the model does not have).
"""
import fcntl
import html
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
import unicodedata

sys.dont_write_bytecode = True  # a tree of sources stays one
from prompt import receive  # noqa: E402

SECONDS = 20
ESCAPE = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])")
COLOURS = {31: "#c33", 32: "#4a4", 33: "#b80", 34: "#36c", 36: "#2aa"}


def window(terminal, columns, lines):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


class Screen:
    def __init__(self, columns, lines):
        self.columns, self.lines = columns, lines
        self.cursor = self.wrap = True
        self.alternate, self.unknown, self.pen, self.rest = False, [], (), ""
        self.main, self.x, self.y = None, 0, 0
        self.cells = self.blank()

    def blank(self):
        return [[(" ", ())] * self.columns for _ in range(self.lines)]

    def resize(self, columns, lines):
        """Like a terminal that does not reflow: rows are cut or filled; those above the cursor go first."""
        def fit(cells, x, y):
            first = max(0, y + 1 - lines)
            rows = [(row + [(" ", ())] * columns)[:columns] for row in cells[first:first + lines]]
            rows += [[(" ", ())] * columns for _ in range(lines - len(rows))]
            return rows, min(x, columns - 1), y - first
        self.columns, self.lines = columns, lines
        self.cells, self.x, self.y = fit(self.cells, self.x, self.y)
        self.main = self.main and fit(*self.main)

    def line_feed(self):
        if self.y + 1 < self.lines:
            self.y += 1
        else:
            self.cells = self.cells[1:] + [[(" ", ())] * self.columns]

    def put(self, char):
        width = 0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if self.x + width > self.columns:
            if self.wrap:
                self.x = 0
                self.line_feed()
            else:
                self.x = self.columns - width
        for i in range(width):
            self.cells[self.y][self.x + i] = ("" if i else char, self.pen)
        self.x += width

    def mode(self, number, on):
        if number == 25:
            self.cursor = on
        elif number == 7:
            self.wrap = on
        elif number == 1049 and on != self.alternate:
            self.alternate = on
            if on:
                self.main = (self.cells, self.x, self.y)
                self.cells = self.blank()
            else:
                self.cells, self.x, self.y = self.main
                self.main = None
        elif number != 1049:
            self.unknown.append("mode %d" % number)

    def escape(self, private, text, letter):
        numbers = [int(n or 0) for n in text.split(";")]
        if private and letter in "hl":
            for number in numbers:
                self.mode(number, letter == "h")
        elif letter == "m":
            for n in numbers:
                self.pen = () if n == 0 else self.pen + (n,)
        elif letter == "H":
            self.y = min(max(numbers[0], 1), self.lines) - 1
            self.x = min(max(numbers[1] if len(numbers) > 1 else 1, 1), self.columns) - 1
        elif letter == "K" and numbers == [0]:
            row = self.cells[self.y]
            row[self.x:] = [(" ", ())] * (self.columns - self.x)
        elif letter == "J" and numbers == [0]:
            self.escape("", "", "K")
            for y in range(self.y + 1, self.lines):
                self.cells[y] = [(" ", ())] * self.columns
        elif letter == "J" and numbers == [2]:
            self.cells = self.blank()
        else:
            self.unknown.append(private + text + letter)

    def feed(self, text):
        text, self.rest = self.rest + text, ""
        at = 0
        while at < len(text):
            char = text[at]
            if char == "\x1b":
                found = ESCAPE.match(text, at)
                if not found and len(text) - at < 16:
                    self.rest = text[at:]
                    return
                if found:
                    self.escape(*found.groups())
                else:
                    self.unknown.append(repr(text[at:at + 8]))
                at = found.end() if found else at + 1
                continue
            if char == "\r":
                self.x = 0
            elif char == "\n":
                self.line_feed()
            elif char < " " or "\x7f" <= char < "\xa0":
                self.unknown.append(repr(char))
            else:
                self.put(char)
            at += 1

    def rows(self):
        return ["".join(char for char, _ in row).rstrip() for row in self.cells]

    def colours(self):
        return [sorted({n for _, pen in row for n in pen if n}) for row in self.cells]

    def html(self):
        out = ['<meta charset="utf-8"><body style="background:#111;margin:8px"><pre style="color:#ddd;'
               'font:16px/1.15 DejaVu Sans Mono">']
        for row in self.cells:
            for char, pen in row:
                style = "".join("color:%s;" % COLOURS[n] for n in pen if n in COLOURS)
                style += "font-weight:bold;" if 1 in pen else ""
                style += "opacity:.55;" if 2 in pen else ""
                out.append('<span style="%s">%s</span>' % (style, html.escape(char)) if style else html.escape(char))
            out.append("\n")
        return "".join(out)


class Session:
    def __init__(self, columns, lines, command):
        self.screen, self.closed, self.rest = Screen(columns, lines), False, b""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            window(0, columns, lines)
            # the echo of a key may come amid an escape sequence, and break it
            os.execvp("sh", ["sh", "-c", "stty -echo; exec " + command])

    def read(self, deadline):
        """Takes more of the output. Returns False when time is up or the process has ended."""
        data, self.closed = receive(self.terminal, deadline)
        some = bool(data)
        data = self.rest + data
        text = data.decode("utf-8", "ignore" if self.closed else "surrogateescape")
        tail = re.search("[\udc80-\udcff]{1,3}$", text)  # a character that has come in part
        self.rest = tail.group().encode("utf-8", "surrogateescape") if tail else b""
        self.screen.feed(text[:tail.start()] if tail else text)
        return some

    def wait(self, done):
        deadline = time.monotonic() + SECONDS
        while not done():
            if not self.read(deadline):
                return done()
        return True

    def settle(self):
        """Reads to the end of a picture that has come in part."""
        while self.read(time.monotonic() + 0.03):
            pass

    def shows(self, regex):
        return any(re.search(regex, row) for row in self.screen.rows())

    def follow(self, verb, text):
        """Does one line of the dialogue. Returns whether it went as written."""
        if verb == "see":
            return self.wait(lambda: self.shows(text))
        if verb == "unseen":
            return self.wait(lambda: not self.shows(text))
        if verb == "end":
            return self.wait(lambda: self.closed)
        if verb == "size":
            self.screen.resize(*map(int, text.split()))
            window(self.terminal, *map(int, text.split()))
        elif verb == "key":
            os.write(self.terminal, bytes([ord(text) - 64]))
        elif verb == "signal":
            os.kill(self.pid, getattr(signal, "SIG" + text))
        elif verb == "run":
            return subprocess.run(text, shell=True, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode == 0
        return True


def keep(screen, name, result):
    result["shots"][name], result["colours"][name] = screen.rows(), screen.colours()
    folder = os.environ.get("SHOTS")
    if folder:
        for ending, text in (("txt", "\n".join(screen.rows()) + "\n"), ("html", screen.html())):
            with open("%s/%s.%s" % (folder, name, ending), "w", encoding="utf-8") as file:
                file.write(text)


def main():
    session = Session(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
    screen, result = session.screen, {"shots": {}, "colours": {}}
    for line in sys.stdin.read().splitlines():
        verb, _, text = line.strip().partition(" ")
        if verb == "shot":
            session.settle()
            keep(screen, text, result)
        elif verb and not session.follow(verb, text):
            result["failed"] = line.strip()
            break
    if not session.closed:
        os.kill(session.pid, signal.SIGKILL)
    _, status = os.waitpid(session.pid, 0)
    result.update(status=status, rows=screen.rows(), cursor=screen.cursor, alternate=screen.alternate,
                  wrap=screen.wrap, plain=not screen.pen, unknown=screen.unknown)
    print(json.dumps(result))


main()
