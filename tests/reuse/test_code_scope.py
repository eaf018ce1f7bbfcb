"""Which scripts of other steps a step certainly doesn't use."""

from __future__ import annotations

import pytest

from airflow_azureml.reuse.code_scope import unrelated_scripts

OTHERS = ["other.py", "steps/third.py"]


def unrelated(
    text: str | bytes, *, script: str = "main.py", others: list[str] = OTHERS, **files: str
) -> set[str]:
    """Return what is unrelated to a script with that text; ``a__b`` stands for the file ``a/b.py``."""
    data = text if isinstance(text, bytes) else text.encode()
    folder = {"other.py": b"", "steps/third.py": b"", script: data}
    folder.update({f"{name.replace('__', '/', 1)}.py": content.encode() for name, content in files.items()})
    return set(unrelated_scripts(script, others, folder, folder.__getitem__))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "print('hello')",
        "import os, json, pandas, otherwise",
        "import argparse\nparser.add_argument('--other', default='x')",
        "open('other.csv')",
        "import re; re.compile('x'); model.eval(); frame.eval('a + b')",
        "import os; os.listdir(args.data); os.walk(args.data)",
        "import glob, os; glob.glob(os.path.join(args.data, '*.csv'))",
        "from pathlib import Path; list(Path(args.data).glob('*'))",
        "from pathlib import Path; here = Path(__file__).parent; list(here.glob('*.csv'))",
        "import glob; glob.glob('*.csv')",
        "import os; os.makedirs('x'); os.path.join('a', 'b')",
    ],
)
def test_scripts_that_are_neither_imported_nor_mentioned_do_not_count(text: str) -> None:
    assert unrelated(text) == set(OTHERS)


@pytest.mark.parametrize(
    "text",
    [
        "import other",
        "import other as something",
        "from other import x",
        "from . import other",
        "def late():\n    import other",
        "try:\n    import other\nexcept ImportError:\n    pass",
        "run('other.py')",
        "path = 'lib/other.py'",
        "name = 'other'",
        '"""Prepares for other.py."""',
    ],
)
def test_one_that_is_imported_or_mentioned_counts(text: str) -> None:
    assert unrelated(text) == {"steps/third.py"}


@pytest.mark.parametrize(
    "text", ["import steps.third", "from steps import third", "from steps.third import x"]
)
def test_one_in_a_package_counts_too(text: str) -> None:
    assert unrelated(text) == {"other.py"}


def test_imports_are_found_from_the_scripts_own_folder_and_from_the_root() -> None:
    assert unrelated("import third", script="steps/main.py") == {"other.py"}
    assert unrelated("import other", script="steps/main.py") == {"steps/third.py"}
    assert unrelated("from . import third", script="steps/main.py") == {"other.py"}
    assert unrelated("from .. import other", script="steps/main.py") == {"steps/third.py"}


def test_imports_are_followed_through_other_files() -> None:
    assert unrelated("import helper", helper="import deep.er", deep__er="import other") == {"steps/third.py"}
    assert unrelated("import pack", pack____init__="from pack import inner", pack__inner="import other") == {
        "steps/third.py"
    }
    assert unrelated("import a", a="import b", b="import a") == set(OTHERS)


@pytest.mark.parametrize(
    "text",
    [
        "import importlib; importlib.import_module(name)",
        "from importlib import import_module; import_module(name)",
        "__import__(name)",
        "exec(open(name).read())",
        "eval(text)",
        "import runpy; runpy.run_path(name)",
        "import subprocess, sys; subprocess.run([sys.executable, args.script])",
        "from subprocess import check_call",
        "import os; os.system('python ' + name)",
        "import os; os.execv(path, argv)",
        "import os; os.listdir()",
        "import os; os.listdir('.')",
        "import os; [open(f) for f in os.listdir(os.getcwd())]",
        "from pathlib import Path; list(Path(__file__).parent.iterdir())",
        "from pathlib import Path; list(Path().iterdir())",
        "from pathlib import Path; here = Path.cwd(); list(here.rglob('*.py'))",
        "import glob; glob.glob('*')",
        "import glob; glob.glob('*.py')",
        "from glob import glob; glob('oth*')",
        "import os, pkgutil; pkgutil.iter_modules([os.path.dirname(__file__)])",
        "this is no Python",
        b"\xff\xfe\x00",
        "(" * 3000 + ")" * 3000,
        "-" * 100_000 + "1",
    ],
)
def test_all_count_when_nobody_can_tell_what_is_loaded(text: str | bytes) -> None:
    assert unrelated(text) == set()


def test_all_count_when_an_imported_file_cannot_be_followed() -> None:
    assert unrelated("import helper", helper="import importlib; importlib.import_module(x)") == set()
    assert unrelated("import helper", helper="no Python") == set()


def test_a_file_that_vanishes_meanwhile_is_one_that_cannot_be_followed() -> None:
    def gone(_: str) -> bytes:
        raise FileNotFoundError

    assert unrelated_scripts("main.py", OTHERS, ["main.py", *OTHERS], gone) == frozenset()


def test_only_scripts_of_other_steps_are_ever_left_out() -> None:
    assert unrelated("", others=[]) == set()
    assert unrelated("", others=["main.py"]) == set()
    assert unrelated("", others=["not there.py"]) == set()
