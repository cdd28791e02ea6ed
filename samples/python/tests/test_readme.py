"""What the README says runs."""
import os
import re

import pytest
from test_attach import recorded

FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TEXT = open(os.path.join(FOLDER, "README.md")).read()


def test_its_python(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.S):
        exec(block, names)
    assert len(recorded(tmp_path / "run.recording")["step"]) == 19
    assert recorded(tmp_path / "skipping.recording")["hello"][0][0]["lambda"] == "0.1"
    assert "tiles of 32x32, head votes, ascending" in capsys.readouterr().out


LINES = re.findall(r"^python3 (samples/python/\S+)(?: (.*))?$", TEXT, re.M)


@pytest.mark.parametrize("line", LINES, ids=lambda one: one[0])
def test_its_command_lines(line):
    """The file is there and knows the options."""
    source = open(os.path.join(FOLDER, "..", "..", line[0])).read()
    for option in re.findall(r"--[a-z]+", line[1]):
        assert f'"{option}"' in source, option
