"""Random command lines: never a traceback, never a wrong exit status."""

import os
import random
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gradcheck.cli import main

LINES = int(os.environ.get("GRADCHECK_COMMAND_LINES", "100"))
"""More of them take longer: 2,000 about as many tenths of a second."""
BATCHES = 10

NASTY = [
    "9" * 31, "9" * 5000, "-" + "9" * 400, "a" * 5000, "a\0b", "\udcff\ud800", "\x1b[31mred",
    "\x07", "\u202eright\u2066", "[bold]x[/red]", ":smile:", "{0}%s%(default)s", "a\nb\tc", "é∂ℓ",
    "😀", "~", "$HOME", "*", "../..", "/", ".", "..", "con", "%00", "\u2028", "'\"`", "\\", "=",
    "==", ",", "[", "[0,", "x=[1,2]", "1/0", "0x1F", "1e400", "１２x", "None", "True", "()",
    "@file", "a" * 300 + ".py",
]  # fmt: skip
"""Texts that are nothing that anybody can have meant, for whatever they are given."""

FILES = {
    "mine.py": "from dataclasses import replace\nfrom gradcheck.examples import chain\n"
    "MINE = replace(chain.MODEL, name='mine')\n",
    "made.py": "from dataclasses import replace\nfrom gradcheck.examples import chain\n"
    "def build(size=1): return replace(chain.MODEL, name=f'made-{size}')\n",
    "odd [b]:name:.py": "from dataclasses import replace\nfrom gradcheck.examples import chain\n"
    "M = replace(chain.MODEL, name='[b]\\x1b]0;:smile:\\u202e')\n",
}
MODELS = ["chain", "chain-misprint", "gelu", "mine.py", "mine.py:MINE", "made.py:build", *FILES]
CHAINS = {"chain", "chain-misprint", "mine.py", "mine.py:MINE", "made.py:build", "odd [b]:name:.py"}
"""Of these the gradients are known in closed form, and nothing in them is compared."""
WRONG_FILES = {
    "slip.py": "def (",
    "deep.py": "(" * 500,
    "null.py": "x = '\0'",
    "empty.py": "",
    "several.py": FILES["mine.py"] + "OTHER = replace(MINE, name='other')\n",
    "unmet.py": "import a_module_that_is_nowhere",
    "exits.py": "import sys; sys.exit(0)",
    "generator.py": "raise GeneratorExit",
    "own.py": "class Own(BaseException): pass\nraise Own('[/red]\\x1b[0m')",
    "dumb.py": "class Dumb(Exception):\n    def __str__(self): raise SystemExit(0)\nraise Dumb",
    "endless.py": "def f(): return f()\nf()",
    "large.py": FILES["mine.py"] + "L = replace(MINE, parameters={'w': (10**6, 10**6)})\n",
    "huge.py": FILES["mine.py"] + "L = replace(MINE, parameters={'w': (10**5000,)})\n",
    "odd.py": FILES["mine.py"] + "L = replace(MINE, parameters={'w': ('a',)})\n",
    "named.py": FILES["mine.py"] + "L = replace(MINE, name='a/b')\n",
    "ends.py": FILES["mine.py"] + "def end(*_): raise SystemExit(0)\n"
    "MINE = replace(MINE, backward=end)\n",
    "dies.py": FILES["mine.py"] + "def end(*_): raise GeneratorExit\n"
    "MINE = replace(MINE, loss=end)\n",
    "mute.py": FILES["mine.py"] + "class Mute(Exception):\n    def __str__(self): return 1 / 0\n"
    "def end(*_): raise Mute\nMINE = replace(MINE, forward=end)\n",
}
WRONG_MODELS = [
    *WRONG_FILES, "chian", "", "folder.py", "pipe.py", "binary.py", "missing.py", "mine.py:",
    "made.py", "mine.py:NAME", "mine.py:replace", "made.py:int", "made.py:build:x", "several.py:x",
    "mine.PY", "chain.py:MODEL", "network:build", "/dev/null", "/dev/stdin",
    "https://example.org/model.py",
]  # fmt: skip

GOOD = {
    "--samples": ["1", "7", "20", "+3", "1_0"],
    "--seed": ["0", "5", str(2**128 - 1)],
    "--scale": ["1", "0.5", "1e-3", ".1"],
    "--dtypes": [
        "float64",
        "float32",
        "float32,float64",
        "float64,float64",
        " float64 ,",
        "float64,bfloat16",
    ],
    "--ulps": ["0.5", "4", "1048576", "1e1"],
    "--distribution": ["normal", "uniform", "log-uniform"],
    "--rows": ["1", "3", str(2**31)],
    "--referee-limit": ["0", "1", "2"],
    "--audit": ["0", "0.0", "1e-9"],
    "--bars": ["auto", "ball", "stochastic"],
    "--timeout": ["1", "60", "1e6", "0.5"],
    "--output": ["out", "./out", "out/deep/er", "results", "odd [b] :smile:", "link"],
}
WRONG = {
    "--samples": ["0", "-1", "1.5", "1e3", "nan", str(2**53 + 1), "9" * 31],
    "--seed": ["-1", str(2**128), "0.0"],
    "--scale": ["0", "-1", "nan", "inf", "1e301", "1e999"],
    "--dtypes": ["float8_e5m2", "", ",", "float64,flaot32", "FLOAT64"],
    "--adapters": ["", ",", "tortch", "complex-step,", "hand-writen", "torch,nothing"],
    "--ulps": ["0.49", "nan", "inf", "-4", "1048577"],
    "--distribution": ["", "Normal", "cauchy"],
    "--rows": ["0", "-1", "1" * 30],
    "--workers": ["0", "-1", "1000000000", "9" * 31, "1.0"],
    "--referee-limit": ["-1", "1e3", "9" * 31],
    "--audit": ["-0.1", "1.1", "nan", "inf"],
    "--bars": ["", "balls"],
    "--timeout": ["0", "-1", "nan", "inf", "1e7"],
    "--output": ["", "file", "file/below", "/proc/new", "/dev/null", "nowhere", "a" * 300],
}
WRONG["--adapters"].remove("complex-step,")
TAKEN_BY_TRACE = {
    "--seed",
    "--scale",
    "--dtypes",
    "--ulps",
    "--distribution",
    "--bars",
    "--adapters",
}
UNKNOWN = ["--bogus", "-x", "--samples=", "--no-kinks", "--=", "--seed=x", "--output="]


@dataclass
class Line:
    """A command line, and whether something in it is wrong, to the knowledge of who made it."""

    arguments: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def add(self, *arguments, wrong=False):
        self.arguments += arguments
        if wrong:
            self.wrong.append(" ".join(arguments))


def make_line(number):
    """Make a command line, a pure function of its number."""
    chance = random.Random(number)  # noqa: S311
    line = Line()
    sane = chance.random() < 0.4
    command = chance.choices(["sweep", "trace", "new", "adapters", None], [60, 20, 10, 4, 6])[0]
    if command is None:
        line.add(
            *chance.choices(["", "swep", "--bogus", *NASTY], k=chance.randint(0, 2)), wrong=True
        )
    elif command == "adapters":
        line.add("adapters")
        if not sane:
            line.add(chance.choice(["more", "--force", *UNKNOWN]), wrong=True)
    elif command == "new":
        _new(line, chance, sane)
    else:
        _comparison(line, chance, sane, command)
    return line


def _new(line, chance, sane):
    line.add("new")
    if sane:
        line.add(chance.choice(["fresh.py", "odd [x].py", "a-b.py", "ö.py"]))
    else:
        names = [
            "mine.py",
            "folder.py",
            "fresh",
            "fresh.txt",
            "none/fresh.py",
            "file/x.py",
            "",
            ".py",
        ]
        line.add(chance.choice([*names, "/proc/x.py", "a\0.py", "x" * 300 + ".py"]), wrong=True)


def _comparison(line, chance, sane, command):
    line.add(command)
    model = "chain"
    if chance.random() < 0.7:
        if not sane and chance.random() < 0.4:
            model = chance.choice([*WRONG_MODELS, *NASTY])
            line.add("--", model, wrong=True) if model[:1] == "-" else line.add(model, wrong=True)
        else:
            model = chance.choice([*MODELS[:6], "odd [b]:name:.py"])
            line.add(model)
    known = [name for name in GOOD if command == "sweep" or name in TAKEN_BY_TRACE]
    for name in chance.sample(known, chance.randint(0, 4)):
        _setting(line, chance, sane, name)
    if chance.random() < 0.2 and not sane:
        _setting(line, chance, sane, chance.choice(["--adapters", "--workers"]))
    if not sane and chance.random() < 0.1:
        line.add(chance.choice(UNKNOWN), wrong=True)
    if not any(argument.startswith("--adapters") for argument in line.arguments):
        line.add(
            "--adapters", "complex-step" if model not in CHAINS else "closed-form,complex-step"
        )
    if command == "sweep":
        _sweep(line, chance, sane, model)
    elif chance.random() < 0.6:
        _point(line, chance, sane, model)


def _setting(line, chance, sane, name):
    if any(argument.partition("=")[0] == name for argument in line.arguments):
        return
    right = name in GOOD and (sane or chance.random() < 0.5)
    value = chance.choice(GOOD[name] if right else WRONG[name] + _nasty(name))
    if value[:1] == "-" or chance.random() < 0.3:
        line.add(f"{name}={value}", wrong=not right)
    else:
        line.add(name, value, wrong=not right)
    if name == "--scale" and value == "1e300":
        line.wrong.append("too large for float32")


def _nasty(name):
    """Return what is nasty and wrong here: any text may be a path, and long numbers be a seed."""
    if name == "--output":
        return ["a\0b", "x/" * 3000]
    return NASTY[1:] if name == "--seed" else NASTY


def _sweep(line, chance, sane, model):
    if "--samples" not in " ".join(line.arguments):
        line.add("--samples", "10")
    if "--audit" not in " ".join(line.arguments):
        line.add("--audit", "0")
    if "--referee-limit" not in " ".join(line.arguments):
        line.add("--referee-limit", "1")
    if not any(argument.startswith("--workers") for argument in line.arguments):
        line.add("--workers", "1")  # in this process, which is faster
    if chance.random() < 0.2:
        line.add("--allow-uninformative")
    if chance.random() < 0.1:
        line.add("--resume")
    if chance.random() < 0.1:
        line.add("--kinks", wrong=model in CHAINS or model == "gelu")
    if model == "made.py:build":
        _option(line, chance, sane, [("size=3", False), ("size=1,size=2", False)])
    elif not sane and chance.random() < 0.1:
        line.add("--option", chance.choice(["size=3", *NASTY]), wrong=True)


def _option(line, chance, sane, good):
    wrong = ["size=0", "size=x", "size", "=3", "sise=3", "size=1.5", "", *NASTY]
    value, is_wrong = chance.choice(good) if sane else (chance.choice(wrong), True)
    line.add(f"--option={value}", wrong=is_wrong)


def _point(line, chance, sane, model):
    of_chain = model in CHAINS
    if chance.random() < 0.5:
        good, wrong = ["0", "5", "123456789", str(2**53 - 1)], ["-1", "1.5", str(2**53), *NASTY]
        line.add(f"--sample={chance.choice(good if sane else wrong)}", wrong=not sane)
    elif of_chain:
        good, wrong = ["x=1", "x=2.5,y=-1", " x = 3 "], ["q=1", "x", "x=", "=1", "x=nan", "x[0]=1"]
        line.add(f"--at={chance.choice(good if sane else wrong + NASTY)}", wrong=not sane)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with models, files that are none, and what is no file."""
    for name, text in {**FILES, **WRONG_FILES}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "folder.py").mkdir()
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "binary.py").write_bytes(bytes(range(256)))
    (tmp_path / "file").write_text("kept\n")
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "nowhere").symlink_to("missing")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(arguments):
    try:
        return main(arguments)
    except SystemExit as ended:
        return ended.code


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_random_command_line_has_the_right_status_and_no_traceback(batch, folder, capsys):
    failures = []
    for number in range(batch, LINES, BATCHES):
        line = make_line(number)
        shown = f"{number}: {shlex.join(line.arguments)[:600]!r}, wrong: {str(line.wrong)[:300]}"
        try:
            status = run(line.arguments)
        except BaseException as error:
            pytest.fail(f"{type(error).__name__}: {error} by {shown}")
        output, errors = capsys.readouterr()
        expected = {2} if line.wrong else {0, 1}
        right = status in expected and "Traceback" not in output + errors
        if status == 2:
            right = right and len(errors.splitlines()) == 1 and len(errors) < 3000 and not output
        steering = [sign for sign in output + errors if not (sign.isprintable() or sign == "\n")]
        if not right or steering:
            failures.append(f"{status} by {shown}: {errors[-600:]!r} {output[-200:]!r} {steering}")
        for written in ("fresh.py", "odd [x].py", "a-b.py", "ö.py"):
            Path(written).unlink(missing_ok=True)
    assert not failures, "\n".join([f"{len(failures)} of {LINES // BATCHES}", *failures])


def test_the_generator_makes_right_requests_and_wrong_ones_of_every_kind():
    lines = [make_line(number) for number in range(2000)]
    wrong = sum(bool(line.wrong) for line in lines)
    assert 600 < wrong < 1400
    for command in ("sweep", "trace", "new", "adapters"):
        of_it = [line for line in lines if line.arguments[:1] == [command]]
        assert 5 < sum(bool(line.wrong) for line in of_it) < len(of_it) - 5
