"""A program on a pseudo-terminal of its own, and the screen that it has drawn: what `soak` and
`kills` look through. Standard library only; `python3 Tests/window.py` tests it.

Colours and attributes are passed over: a screen is its letters. Example:

    window = Window([program, "open", sample], 100, 30)
    window.wait(lambda text: "exact" in text, 10)
    window.send("?")
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
import unicodedata

TOKEN = re.compile(
    rb"\x1b\[([?>=!]?)([0-9;:]*)([ -/]*)([@-~])"  # a control sequence
    rb"|\x1b[\]P_^X](.*?)(?:\x07|\x1b\\)"  # a string: titles, colours, questions
    rb"|\x1b([ -/]*)([0-~])"  # another escape
    rb"|([\x00-\x1f\x7f])"
    rb"|([^\x00-\x1f\x7f]+)",
    re.DOTALL,
)
# What may go on in the next packet.
UNFINISHED = re.compile(rb"\x1b(\[[^@-~]*|[\]P_^X](?:(?!\x07|\x1b\\).)*|[ -/]*)?\Z", re.DOTALL)


class Screen:
    """The letters of a terminal, as xterm-256color places them."""

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.cells = [[" "] * columns for _ in range(rows)]
        self.x = self.y = self.top = 0
        self.bottom = rows - 1
        self.saved = (0, 0)
        self.modes, self.rest, self.last = {}, b"", " "
        self.unknown = set()

    def resize(self, columns, rows):
        for row in self.cells:
            del row[columns:]
            row.extend(" " * (columns - len(row)))
        del self.cells[rows:]
        self.cells.extend([" "] * columns for _ in range(rows - len(self.cells)))
        self.columns, self.rows, self.top, self.bottom = columns, rows, 0, rows - 1
        self.x, self.y = min(self.x, columns - 1), min(self.y, rows - 1)

    def text(self):
        return "\n".join("".join(row).rstrip() for row in self.cells)

    def feed(self, data):
        data = self.rest + data
        cut = UNFINISHED.search(data)
        end = cut.start() if cut else len(data)
        # A character may be split between two packets.
        for back in range(1, min(4, end) + 1):
            byte = data[end - back]
            if byte >= 0xC0:
                if back < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4):
                    end -= back
                break
            if byte < 0x80:
                break
        self.rest = data[end:]
        for part in TOKEN.finditer(data[:end]):
            kind, numbers, between, final, string, _, escape, control, letters = part.groups()
            if letters is not None:
                self.put(letters.decode("utf-8", "replace"))
            elif final is not None:
                self.sequence(kind, numbers, between, final.decode())
            elif control is not None:
                self.control(control[0])
            elif escape is not None:
                self.escape(escape)

    def put(self, text):
        for letter in text:
            if unicodedata.combining(letter) or letter in "\u200b\u200d\ufe0f":
                continue
            wide = unicodedata.east_asian_width(letter) in "WF"
            if self.x + wide >= self.columns:
                self.x = 0
                self.feed_line()
            wide = wide and self.columns > 1
            self.cells[self.y][self.x] = self.last = letter
            self.x += 1
            if wide:
                self.cells[self.y][self.x] = ""
                self.x += 1

    def feed_line(self):
        if self.y == self.bottom:
            self.scroll(1)
        else:
            self.y = min(self.y + 1, self.rows - 1)

    def scroll(self, count, top=None):
        top = self.top if top is None else top
        for _ in range(min(abs(count), self.bottom - top + 1)):
            gone, new = (top, self.bottom) if count > 0 else (self.bottom, top)
            del self.cells[gone]
            self.cells.insert(new, [" "] * self.columns)

    def control(self, code):
        if code == 8:
            self.x = max(0, min(self.x, self.columns - 1) - 1)
        elif code == 9:
            self.x = min(self.columns - 1, self.x // 8 * 8 + 8)
        elif code in (10, 11, 12):
            self.feed_line()
        elif code == 13:
            self.x = 0

    def escape(self, final):
        if final == b"7":
            self.saved = (self.x, self.y)
        elif final == b"8":
            self.x, self.y = min(self.saved[0], self.columns), min(self.saved[1], self.rows - 1)
        elif final == b"M":
            if self.y == self.top:
                self.scroll(-1)
            else:
                self.y = max(0, self.y - 1)

    def sequence(self, kind, numbers, between, final):
        if final in "mntrcqpu" and (final != "r" or kind) or between or final == "t":
            return
        values = [int(n) if n.isdigit() else 0 for n in numbers.split(b";")]
        if final in "hl":
            if kind == b"?":
                for value in values:
                    self.modes[value] = final == "h"
                    if value in (47, 1047, 1049):
                        self.erase(0, self.columns * self.rows)
            return
        first = max(1, values[0])
        row, x = self.cells[self.y], min(self.x, self.columns - 1)
        if final in "Hf":
            self.y = min(first, self.rows) - 1
            self.x = min(max(1, (values + [1])[1]), self.columns) - 1
        elif final in "ABCDGd`":
            self.x = x
            if final == "A":
                self.y = max(0, self.y - first)
            elif final == "B":
                self.y = min(self.rows - 1, self.y + first)
            elif final == "C":
                self.x = min(self.columns - 1, x + first)
            elif final == "D":
                self.x = max(0, x - first)
            elif final == "d":
                self.y = min(first, self.rows) - 1
            else:
                self.x = min(first, self.columns) - 1
        elif final in "JK":
            here, line = self.y * self.columns + x, self.y * self.columns
            start, end = (
                (0, self.rows * self.columns) if final == "J" else (line, line + self.columns)
            )
            self.erase(start if values[0] else here, here + 1 if values[0] == 1 else end)
        elif final == "X":
            row[x : x + first] = [" "] * len(row[x : x + first])
        elif final == "P":
            del row[x : x + first]
            row.extend(" " * (self.columns - len(row)))
        elif final == "@":
            row[x:x] = [" "] * first
            del row[self.columns :]
        elif final == "b":
            self.put(self.last * first)
        elif final in "ST":
            self.scroll(first if final == "S" else -first)
        elif final in "LM":
            self.scroll(-first if final == "L" else first, self.y)
        elif final == "Z":
            self.x = max(0, (x - 1) // 8 * 8)
        elif final == "r":
            self.top = first - 1
            self.bottom = (
                min(max(1, (values + [0])[1]) if len(values) > 1 else self.rows, self.rows) - 1
            )
            self.x = self.y = 0
        else:
            self.unknown.add(final)

    def erase(self, start, end):
        for at in range(start, min(end, self.rows * self.columns)):
            self.cells[at // self.columns][at % self.columns] = " "


class Window:
    """A program with a terminal; `errors` is the file that its standard error goes to."""

    def __init__(self, command, columns=100, rows=30, environment=None, errors=None, cwd=None):
        self.screen, self.pause, self.answers = Screen(columns, rows), 0, {}
        master, slave = pty.openpty()
        self.master = master
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        size(slave, columns, rows)
        variables = clean(environment)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
                for number in (0, 1, 2):
                    os.dup2(slave, number)
                if errors:
                    file = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                    os.dup2(file, 2)
                os.closerange(3, 256)
                if cwd:
                    os.chdir(cwd)
                os.execvpe(command[0], command, variables)
            finally:
                os._exit(127)
        os.set_blocking(master, False)
        self.code, self.received = None, 0

    def read(self, seconds, most=1 << 16):
        """Takes what has come within so many seconds; false when nothing has."""
        try:
            if not select.select([self.master], [], [], seconds)[0]:
                return False
            data = os.read(self.master, most)
        except OSError:
            time.sleep(0.01)
            return False
        self.received += len(data)
        for question, answer in self.answers.items():
            if question in data:
                self.send(answer)
        self.screen.feed(data)
        return bool(data)

    def send(self, keys):
        """Keys as text or bytes; reads beside while the program takes them slowly."""
        data = keys.encode() if isinstance(keys, str) else keys
        limit = time.monotonic() + 60
        while data and time.monotonic() < limit and not self.ended():
            try:
                data = data[os.write(self.master, data[:1024]) :]
            except BlockingIOError:
                self.read(0.02)
            except OSError:
                return False
        return not data

    def resize(self, columns, rows):
        self.screen.resize(columns, rows)
        size(self.slave, columns, rows)

    def wait(self, condition, seconds):
        """Whether the screen comes to meet a condition; looks once more at the end."""
        limit = time.monotonic() + seconds
        while True:
            while self.read(0):
                pass
            if condition(self.screen.text()):
                return True
            left = limit - time.monotonic()
            if left <= 0 or self.ended():
                return condition(self.screen.text())
            self.read(min(left, 0.05))

    def settle(self, quiet=0.4, seconds=20):
        """Reads until nothing has changed for a while; the text that then stands."""
        limit, last, since = time.monotonic() + seconds, None, time.monotonic()
        while time.monotonic() < limit and not self.ended():
            self.read(0.05)
            text = self.screen.text()
            if text != last:
                last, since = text, time.monotonic()
            elif time.monotonic() - since > quiet:
                break
        return self.screen.text()

    def ended(self):
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def end(self, seconds):
        """The exit code within so many seconds, negative for a signal; None while it runs."""
        limit = time.monotonic() + seconds
        while not self.ended() and time.monotonic() < limit:
            self.read(0.02)
        while self.read(0.02):
            pass
        return self.code

    def kill(self, number=signal.SIGKILL):
        if not self.ended():
            os.kill(self.pid, number)

    def close(self):
        self.kill()
        while not self.ended():
            time.sleep(0.002)
        if self.master is not None:
            os.close(self.master)
            os.close(self.slave)
        self.master = None

    def memory(self):
        """Resident memory in megabytes: all of it, and that which is no mapped file."""
        found = {}
        try:
            with open(f"/proc/{self.pid}/status") as status:
                for line in status:
                    word = line.split()
                    if word[0] in ("VmRSS:", "RssAnon:"):
                        found[word[0]] = int(word[1]) / 1024
        except OSError:
            pass
        return found.get("VmRSS:", 0), found.get("RssAnon:", 0)

    def whole(self):
        """What is not as it was before the program took the terminal; empty when all is."""
        on = [mode for mode in (1049, 1000, 1002, 1003, 1006, 2004) if self.screen.modes.get(mode)]
        wrong = [f"mode {mode} is left on" for mode in on]
        if self.screen.modes.get(25) is False:
            wrong.append("the cursor is hidden")
        if termios.tcgetattr(self.slave)[:4] != self.before[:4]:
            wrong.append("the line discipline is changed")
        return ", ".join(wrong)


def size(file, columns, rows):
    fcntl.ioctl(file, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def clean(environment):
    """Variables that neither the user's terminal nor the user's settings change."""
    variables = dict(os.environ)
    for name in (
        "NO_COLOR",
        "COLORTERM",
        "TMUX",
        "COLORFGBG",
        "SSH_CONNECTION",
        "ATTNSCOPE_CONFIG",
    ):
        variables.pop(name, None)
    variables.update(TERM="xterm-256color", LC_ALL="C.UTF-8", SWIFT_BACKTRACE="enable=no")
    variables.update(environment or {})
    return variables


def test():
    screen = Screen(10, 4)
    for packet in (
        b"\x1b[2J\x1b[Habc",
        b"\x1b[2;3Hde\x1b[",
        b"1;1Hx\xe2\x96",
        b"\x80\x1b]0;t\x07y",
    ):
        screen.feed(packet)
    assert screen.text() == "x\u2580y\n  de\n\n", screen.text()
    screen.feed(b"\x1b[3;1H-\x1b[4b\x1b[3;2H\x1b[X\x1b[3;4H\x1b[1K")
    assert screen.text().split("\n")[2] == "    -", screen.text()
    screen.feed(b"\x1b[2;4r\x1b[4;1Hlast\nnew\x1b[r\x1b[1;2H\x1b[P\x1b[1@")
    assert screen.text() == "x y\n    -\nlast\nnew".replace("new", "    new"), screen.text()
    screen.feed(b"\x1b[H\x1b[J0123456789+\x1b[H\x1b[J0123456789\xe8\xa1\xa8.\x1b[?25l")
    assert screen.text() == "0123456789\n\u8868.\n\n" and screen.modes[25] is False, screen.text()
    window = Window(["/bin/sh", "-c", "read a; printf 'got %s' \"$a\"; exit 3"])
    window.send("it\n")
    assert window.wait(lambda text: "got it" in text, 5) and window.end(5) == 3
    assert window.whole() == ""
    window.close()
    print("window: the screen is read as it should be")


if __name__ == "__main__":
    test()
