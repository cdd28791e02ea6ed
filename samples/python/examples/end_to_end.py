"""A real model on a GPU, its Triton kernel, and the viewer on a terminal: `samples/gpu` was made by this.

    python3 end_to_end.py --model MODEL.gguf --viewer attnscope --text samples/tarn-point-log.txt --out FOLDER

Starts generate.py, opens attnscope on a pseudo-terminal of 120x40, presses keys, and writes what the screen shows as
text, with its colours as ANSI; then runs once more into a file, which is a recording with Q and K of three layers.
Needs `pip install pyte`.
"""
import argparse
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

import pyte

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS, COLUMNS = 40, 120
WAIT = 60


class Terminal:
    """A program on a pseudo-terminal, and its screen."""

    def __init__(self, words):
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self.stream = pyte.ByteStream(self.screen)
        self.child, self.descriptor = pty.fork()
        if self.child == 0:
            os.environ.update(TERM="xterm-256color", LANG="C.UTF-8", LC_ALL="C.UTF-8", COLORTERM="truecolor")
            os.execvp(words[0], words)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def read(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.descriptor], [], [], min(left, 0.1))[0]:
                try:
                    data = os.read(self.descriptor, 1 << 16)
                except OSError:
                    return False
                self.stream.feed(data)
        return True

    def text(self):
        return "\n".join(line.rstrip() for line in self.screen.display) + "\n"

    def until(self, pattern):
        """Waits for it; the match."""
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            if found := re.search(pattern, self.text()):
                return found
            if not self.read(0.1):
                break
        raise SystemExit(f"never saw {pattern!r} on\n{self.text()}")

    def press(self, keys):
        os.write(self.descriptor, keys.encode())
        self.read(0.7)

    def ansi(self):
        """The screen with its colours."""
        out = []
        for y in range(ROWS):
            last, line = None, []
            for x in range(COLUMNS):
                cell = self.screen.buffer[y][x]
                look = (cell.fg, cell.bg, cell.bold, cell.reverse)
                if look != last:
                    line.append("\x1b[0" + ";1" * cell.bold + ";7" * cell.reverse + colour(cell.fg, 38) + colour(cell.bg, 48) + "m")
                    last = look
                line.append(cell.data)
            out.append("".join(line) + "\x1b[0m")
        return "\n".join(out) + "\n"


NAMES = ("black", "red", "green", "brown", "blue", "magenta", "cyan", "white")


def colour(name, kind):
    if name == "default":
        return ""
    if name in NAMES:
        return f";{kind - 8 + NAMES.index(name)}"
    if re.fullmatch("[0-9a-f]{6}", name):
        return f";{kind};2;{int(name[:2], 16)};{int(name[2:4], 16)};{int(name[4:], 16)}"
    return ""


def run(chosen, more):
    words = [sys.executable, os.path.join(HERE, "generate.py"), "--model", chosen.model, "--prompt-file", chosen.text,
             "--device", chosen.device, "--dtype", chosen.dtype, "--kernel", chosen.kernel, "--tile", "128x64",
             "--decode-tile", "1x64", *more]
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", required=True)
    arguments.add_argument("--viewer", default="attnscope")
    arguments.add_argument("--text", required=True)
    arguments.add_argument("--out", required=True)
    arguments.add_argument("--device", default="cuda")
    arguments.add_argument("--dtype", default="float16")
    arguments.add_argument("--kernel", default="triton")
    chosen = arguments.parse_args()
    os.makedirs(chosen.out, exist_ok=True)
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "run.sock")

    def keep(name):
        with open(os.path.join(chosen.out, name + ".txt"), "w") as file:
            file.write(terminal.text())
        with open(os.path.join(chosen.out, name + ".ansi"), "w") as file:
            file.write(terminal.ansi())
        print(f"== {name}\n{terminal.text()}", flush=True)

    model = run(chosen, ["--to", "unix:" + path, "--lambda", "0.01", "--wait", "--slow", "0.1", "--max-new-tokens", "600"])
    end = time.monotonic() + 3 * WAIT
    while not os.path.exists(path):
        if model.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"generate.py did not begin: {model.stderr.read()[-2000:]}")
        time.sleep(0.2)
    terminal = Terminal([chosen.viewer, "open", "unix:" + path])
    try:
        terminal.until(r"tokens/s")
        terminal.until(r"[1-9]\d tokens decoded")
        keep("1-text")
        before = terminal.until(r"pruned +(\d+\.\d) %").group(1)
        for _ in range(4):
            terminal.press("]")
        terminal.read(4)
        keep("2-text-larger-lambda")
        after = terminal.until(r"pruned +(\d+\.\d) %").group(1)
        print(f"pruned of the newest token: {before} % at first, {after} % after four steps of lambda", flush=True)
        terminal.press(" ")
        terminal.press("1")
        terminal.until(r"exact|log max")
        terminal.read(3)
        keep("3-map")
        terminal.press("2")
        terminal.read(3)
        keep("4-heads")
        os.kill(model.pid, signal.SIGKILL)
        terminal.read(2)
        terminal.until(r"ended|broke|gone|closed")
        keep("5-the-process-was-killed")
    finally:
        for _ in range(2):
            terminal.press("q")
        if model.poll() is None:
            model.kill()
    recording = os.path.join(chosen.out, "gpu-run.safetensors")
    done = run(chosen, ["--to", recording, "--carry", "--layers", "0,12,18", "--lambda", "0.1", "--prompt-tokens", "384",
                           "--max-new-tokens", "64"])
    said = done.communicate(timeout=3 * WAIT)[1]
    print(said[-600:], os.path.getsize(recording), "bytes", flush=True)
    made = subprocess.run([chosen.viewer, "open", recording, "--plain"], input="quit\n", capture_output=True, text=True, timeout=WAIT)
    print(made.stdout[-1500:], made.stderr[-500:])
    with open(os.path.join(chosen.out, "run.json"), "w") as file:
        json.dump({"pruned before": before, "pruned after": after, "said": said[-600:]}, file, indent=1)


if __name__ == "__main__":
    main()
