#!/usr/bin/env python3
"""Plays the program in tmux and writes what its screen showed as SVG: a short cast and stills.

    samples/make-cast.py [PROGRAM]

Every frame is a real one: tmux is the terminal, this script only reads its cells. A cell that did
not change since the frame before is not written again. Needs tmux and nothing else.
"""
import os
import re
import subprocess
import sys
import tempfile
import time
from html import escape

HERE = os.path.dirname(os.path.abspath(__file__))
COLUMNS, ROWS = 100, 30
# One cell in units of the picture.
WIDTH, HEIGHT = 8.4, 18
INK, PAPER, ACCENT = (212, 212, 212), (18, 18, 18), (95, 175, 255)
BASIC = [(0, 0, 0), (205, 49, 49), (13, 188, 121), (229, 229, 16), (36, 114, 200), (188, 63, 188),
         (17, 168, 205), (229, 229, 229), (102, 102, 102), (241, 76, 76), (35, 209, 139),
         (245, 245, 67), (59, 142, 234), (214, 112, 214), (41, 184, 219), (255, 255, 255)]
# What is pressed, for how long its frame stays, and what is said of it.
CAST = [
    ([], 3.5, "One head of a real model: a row is a query token, a column a key, bright is attention"),
    (["]"], 0.7, "]  raises λ: more blocks are skipped (×)"),
    (["]"], 0.7, "]  raises λ: more blocks are skipped (×)"),
    (["]"], 0.7, "]  raises λ: more blocks are skipped (×)"),
    (["]"], 2.5, "the panel says what that costs: dropped mass, output error"),
    ([":", "query 460", "Enter", ":", "key 150", "Enter"], 3.5,
     "the cursor: why is this block skipped? Its margin lies below ln λ"),
    (["+", "+"], 2.5, "+  zooms, down to single tokens"),
    (["0", "3"], 3.5, "3  every block's margin, the curve over all λ, each verdict"),
    (["2"], 2.5, "2  all heads"),
    (["C"], 3.5, "C  what λ skips in each head, and what that costs, the cheapest first"),
    (["C", "C", "1", ":", "method lucid", "Enter", "y"], 3.0,
     "one of 82 methods on the same head: LUCID, a signed map"),
    ([":", "compare 12.6 dense", "Enter", "6"], 3.5,
     "6  beside softmax on the same head: what moved, and where"),
]
# Stills of README: name, keys from the start, columns, rows.
STILLS = [
    ("screen-map", ["]", "]", "]", "]"], 120, 34),
    ("screen-method", ["]", "]", "]", "]", "3"], 120, 34),
    ("screen-compare", [":", "compare 12.3", "Enter", "6"], 120, 34),
]


class Screen:
    """The program in a terminal of tmux's own server, which ends with it."""

    def __init__(self, program, columns, rows):
        self.folder = tempfile.mkdtemp()
        config = os.path.join(self.folder, "tmux.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write("set -g default-terminal tmux-256color\nset -g status off\n"
                       "set -sg escape-time 0\n")
        self.tmux = ["tmux", "-S", os.path.join(self.folder, "socket"), "-f", config]
        sample = os.path.join(HERE, "smollm2-log-832.safetensors")
        line = (f"XDG_STATE_HOME={self.folder} XDG_CONFIG_HOME={self.folder} exec {program} open "
                f"{sample} --layer 12 --head 6 --color truecolor --background dark")
        subprocess.run(self.tmux + ["new-session", "-d", "-x", str(columns), "-y", str(rows),
                                    line], check=True, env=os.environ | {"LC_ALL": "C.UTF-8"})
        self.settle()

    def text(self):
        done = subprocess.run(self.tmux + ["capture-pane", "-p", "-e", "-N"], check=True,
                              capture_output=True)
        return done.stdout.decode()

    def settle(self):
        """Waits until the screen is exact and has stood still, 30 s at most."""
        end, before, since = time.time() + 30, None, time.time()
        while time.time() < end:
            now = self.text()
            if now != before:
                before, since = now, time.time()
            elif "exact" in now and time.time() - since > 1.2:
                return
            time.sleep(0.1)
        raise SystemExit("the screen did not come to rest")

    def press(self, keys):
        for key in keys:
            named = len(key) == 1 or key in ("Enter", "Escape", "Tab")
            subprocess.run(self.tmux + ["send-keys"] + ([] if named else ["-l"]) + ["--", key],
                           check=True)
            time.sleep(0.6 if key.isdigit() else 0.15)
        self.settle()

    def close(self):
        subprocess.run(self.tmux + ["kill-server"], check=False)


def colour(parts):
    """The colour behind 38 or 48, and how many parts it took."""
    if parts[0] == 2:
        return tuple(parts[1:4]), 4
    number = parts[1]
    if number < 16:
        return BASIC[number], 2
    if number > 231:
        return (8 + 10 * (number - 232),) * 3, 2
    steps = [0, 95, 135, 175, 215, 255]
    number -= 16
    return (steps[number // 36], steps[number // 6 % 6], steps[number % 6]), 2


class Pen:
    def __init__(self):
        self.apply([0])

    def apply(self, codes):
        at = 0
        while at < len(codes):
            code, at = codes[at], at + 1
            if code == 0:
                self.front, self.back, self.styles = None, None, frozenset()
            elif code in (1, 2, 3, 4, 7):
                self.styles |= {code}
            elif code in (22, 23, 24, 27):
                gone = {22: {1, 2}, 23: {3}, 24: {4}, 27: {7}}[code]
                self.styles -= gone
            elif code in (38, 48):
                value, taken = colour(codes[at:])
                at += taken
                if code == 38:
                    self.front = value
                else:
                    self.back = value
            elif code in (39, 49):
                if code == 39:
                    self.front = None
                else:
                    self.back = None
            elif 30 <= code <= 37 or 90 <= code <= 97:
                self.front = BASIC[code - 30 if code < 90 else code - 82]
            elif 40 <= code <= 47 or 100 <= code <= 107:
                self.back = BASIC[code - 40 if code < 100 else code - 92]

    def cell(self, letter):
        front, back = self.front or INK, self.back or PAPER
        if 7 in self.styles:
            front, back = back, front
        if 2 in self.styles:
            front = tuple((3 * a + 2 * b) // 5 for a, b in zip(front, back))
        return letter, front, back, 1 in self.styles, 4 in self.styles


def cells(text, columns, rows):
    """The screen as `rows` lists of cells."""
    pen, grid = Pen(), []
    for line in text.split("\n")[:rows]:
        row = []
        for escape_codes, letters in re.findall(r"\x1b\[([\d;:]*)m|([^\x1b]+)", line):
            if letters:
                row += [pen.cell(letter) for letter in letters if letter.isprintable()]
            else:
                pen.apply([int(c or 0) for c in re.split("[;:]", escape_codes)])
        grid.append((row + [pen.cell(" ")] * columns)[:columns])
    return grid


def coarse(rgb):
    """A colour in steps of 3, which no eye tells apart and which makes equal ones meet."""
    return "#%02x%02x%02x" % tuple(min(255, 3 * ((c + 1) // 3)) for c in rgb)


LINES = {"─": "M0 .5H1", "│": "M.5 0V1", "┌": "M1 .5H.5V1", "┐": "M0 .5H.5V1", "└": "M1 .5H.5V0",
         "┘": "M0 .5H.5V0", "├": "M.5 0V1M.5 .5H1", "┤": "M.5 0V1M.5 .5H0"}
HALVES = {"▀": (0, 1), "▄": (1, 2), "█": (0, 2)}


def changed(grid, before):
    return [(x, y, cell) for y, row in enumerate(grid) for x, cell in enumerate(row)
            if before is None or before[y][x] != cell]


def runs(halves):
    """Half cells of one colour as one path, joined along rows."""
    path, ordered = [], sorted(halves)
    while ordered:
        y, x = ordered.pop(0)
        length = 1
        while ordered and ordered[0] == (y, x + length):
            ordered.pop(0)
            length += 1
        path.append(f"M{x} {y}h{length}v1h-{length}z")
    return "".join(path)


def letters(found):
    """Runs of text: neighbours of one style in one element, as wide as their cells."""
    out, at = [], 0
    while at < len(found):
        x, y, (letter, front, _, bold, under) = found[at]
        text, at = letter, at + 1
        while at < len(found):
            nx, ny, (letter, nfront, _, nbold, nunder) = found[at]
            if (nx, ny, nfront, nbold, nunder) != (x + len(text), y, front, bold, under):
                break
            text, at = text + letter, at + 1
        style = (' font-weight="700"' if bold else "") + (
            ' text-decoration="underline"' if under else "")
        # Words apart: what draws the picture may fold blanks.
        for word in re.finditer(r"\S+(?: \S+)*", text):
            out.append(f'<text x="{(x + word.start()) * WIDTH:.1f}" y="{y * HEIGHT + 13.5:.1f}" '
                       f'textLength="{len(word.group()) * WIDTH:.1f}" fill="{coarse(front)}"'
                       f"{style}>{escape(word.group())}</text>")
    return out


def drawn(grid, before):
    """What differs from the frame before, as SVG."""
    halves, lines, words = {}, {}, []
    for x, y, cell in changed(grid, before):
        letter, front, back = cell[:3]
        own = HALVES.get(letter)
        for half in (0, 1):
            covered = own and own[0] <= half < own[1]
            if covered or back != PAPER or before is not None:
                halves.setdefault(coarse(front if covered else back), []).append((2 * y + half, x))
        if letter in LINES:
            lines.setdefault((letter, coarse(front)), []).append((x, y))
        elif not own:
            words.append((x, y, cell))
    out = [f'<g transform="scale({WIDTH} {HEIGHT / 2})" shape-rendering="crispEdges">']
    out += [f'<path fill="{fill}" d="{runs(parts)}"/>' for fill, parts in sorted(halves.items())]
    out.append("</g>")
    strokes = {}
    for (letter, fill), places in sorted(lines.items()):
        strokes.setdefault(fill, []).extend(placed(letter, x, y) for x, y in places)
    out += [f'<path fill="none" stroke="{fill}" d="{"".join(parts)}"/>'
            for fill, parts in strokes.items()]
    return "".join(out + letters(words))


def placed(letter, x, y):
    """The line of a box letter at its cell."""
    def move(match):
        kind, numbers = match.group(1), [float(n) for n in match.group(2).split()]
        across, down = (lambda n: f"{(x + n) * WIDTH:.1f}"), (lambda n: f"{(y + n) * HEIGHT:.0f}")
        if kind == "M":
            return f"M{across(numbers[0])} {down(numbers[1])}"
        return kind + (across if kind == "H" else down)(numbers[0])
    return re.sub(r"([MHV])([\d. ]+)", move, LINES[letter])


def page(body, columns, rows, extra=0, style=""):
    width, height = columns * WIDTH, rows * HEIGHT + extra
    font = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 -8 {width + 16:g} '
            f'{height + 16:g}"><style>text{{font:14px {font};white-space:pre}}{style}</style>'
            f'<rect x="-8" y="-8" width="{width + 16:g}" height="{height + 16:g}" rx="8" '
            f'fill="{coarse(PAPER)}"/>{body}</svg>\n')


def said(text):
    y = ROWS * HEIGHT
    return (f'<rect y="{y + 4}" width="{COLUMNS * WIDTH}" height="26" fill="#1d2b3a"/>'
            f'<text x="10" y="{y + 22}" fill="{coarse(ACCENT)}">{escape(text)}</text>')


def cast(program):
    screen, before, body, style = Screen(program, COLUMNS, ROWS), None, [], []
    total, start = sum(seconds for _, seconds, _ in CAST), 0.0
    for number, (keys, seconds, words) in enumerate(CAST):
        screen.press(keys)
        grid = cells(screen.text(), COLUMNS, ROWS)
        shown = 100 * start / total
        body.append(f'<g class="f{number}">{drawn(grid, before)}{said(words)}</g>')
        if number:
            style.append(f"@keyframes k{number}{{0%,{shown:.2f}%{{visibility:hidden}}"
                         f"{shown + 0.01:.2f}%,100%{{visibility:visible}}}}"
                         f".f{number}{{animation:k{number} {total:g}s infinite}}")
        before, start = grid, start + seconds
    screen.close()
    return page("".join(body), COLUMNS, ROWS, extra=34, style="".join(style))


def still(program, keys, columns, rows):
    screen = Screen(program, columns, rows)
    screen.press(keys)
    grid = cells(screen.text(), columns, rows)
    screen.close()
    return page(drawn(grid, None), columns, rows)


def main():
    program = os.path.abspath(
        sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "../.build/release/attnscope"))
    pictures = {"cast": cast(program)}
    for name, keys, columns, rows in STILLS:
        pictures[name] = still(program, keys, columns, rows)
    for name, text in pictures.items():
        path = os.path.join(HERE, name + ".svg")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        print(f"{path}: {len(text.encode()) // 1000} KB")


if __name__ == "__main__":
    main()
