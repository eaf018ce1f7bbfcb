"""Which files of a shared folder count, and which scripts of other steps a step certainly doesn't use."""

from __future__ import annotations

import pytest

from airflow_azureml.reuse.code_scope import CodeSelection, import_scope, unrelated_scripts

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


FIVE = {
    "prepare.py": "import common",
    "clean.py": "from lib import clean",
    "train.py": "from lib.models import Model",
    "evaluate.py": "import metrics",
    "publish.py": "open('template.html')",
    "common.py": "import lib",
    "metrics.py": "",
    "lib/__init__.py": "",
    "lib/clean.py": "",
    "lib/models.py": "from . import layers",
    "lib/layers.py": "",
    "template.html": "",
    "conf/a.yaml": "",
    "conf/deep/b.yaml": "",
    "README.md": "",
}
"""A folder that five steps share."""


def counting(script: str, *globs: str, **changes: str) -> set[str]:
    """Return what counts for a script of that folder; ``a__b`` stands for the file ``a/b.py``."""
    folder = {**FIVE, **{f"{name.replace('__', '/', 1)}.py": text for name, text in changes.items()}}
    scope = import_scope(script, globs, folder, lambda path: folder[path].encode())
    return set(folder) - scope.unrelated


class TestTheImportsOfAScript:
    @pytest.mark.parametrize(
        ("script", "files"),
        [
            ("prepare.py", {"common.py", "lib/__init__.py"}),
            ("clean.py", {"lib/__init__.py", "lib/clean.py"}),
            ("train.py", {"lib/__init__.py", "lib/models.py", "lib/layers.py"}),
            ("evaluate.py", {"metrics.py"}),
        ],
    )
    def test_count_and_nothing_else(self, script: str, files: set[str]) -> None:
        assert counting(script) == {script, *files}

    def test_and_files_that_strings_name(self) -> None:
        assert counting("publish.py") == {"publish.py", "template.html"}
        assert "conf/a.yaml" in counting("prepare.py", common="open(folder / 'a.yaml')")
        assert "train.py" in counting("prepare.py", common="context.addPyFile('steps/train.py')")

    def test_but_not_scripts_whose_names_are_words(self) -> None:
        assert counting("evaluate.py", metrics="name = 'train'; other = 'publish'") == {
            "evaluate.py",
            "metrics.py",
        }

    @pytest.mark.parametrize(
        ("glob", "files"),
        [
            ("conf/*.yaml", {"conf/a.yaml"}),
            ("conf/**", {"conf/a.yaml", "conf/deep/b.yaml"}),
            ("**/*.yaml", {"conf/a.yaml", "conf/deep/b.yaml"}),
            ("conf", {"conf/a.yaml", "conf/deep/b.yaml"}),
            ("./README.md", {"README.md"}),
            ("*.md", {"README.md"}),
        ],
    )
    def test_and_declared_globs(self, glob: str, files: set[str]) -> None:
        assert counting("evaluate.py", glob) == {"evaluate.py", "metrics.py", *files}

    def test_and_modules_that_python_loads_by_itself(self) -> None:
        assert counting("evaluate.py", sitecustomize="import common") == {
            "evaluate.py",
            "metrics.py",
            "sitecustomize.py",
            "common.py",
            "lib/__init__.py",
        }

    def test_and_all_of_a_package_that_is_imported_with_a_star(self) -> None:
        assert counting("evaluate.py", metrics="from lib import *") == {
            "evaluate.py",
            "metrics.py",
            *(path for path in FIVE if path.startswith("lib/")),
        }

    def test_a_new_file_that_takes_the_place_of_an_import_counts(self) -> None:
        assert "json.py" in counting("evaluate.py", metrics="import json", json="")


class TestWhenImportsCannotBeFollowed:
    def scope(self, *globs: str, **files: str) -> CodeSelection:
        folder = {**FIVE, **{f"{name}.py": text for name, text in files.items()}}
        return import_scope("evaluate.py", globs, folder, lambda path: folder[path].encode())

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("import importlib\n\nimportlib.import_module(name)", "metrics.py uses import_module in line 3"),
            ("import os\nos.system('x')", "metrics.py uses os.system in line 2"),
            ("import subprocess", "metrics.py uses subprocess in line 1"),
            ("no Python", "metrics.py is no Python source that can be read"),
            ("import os; os.listdir('.')", "metrics.py lists the files of its folder"),
        ],
    )
    def test_all_files_count_and_the_note_says_why(self, text: str, why: str) -> None:
        scope = self.scope(metrics=text)
        assert scope.unrelated == frozenset()
        assert scope.note == f'all files count in spite of code_scope="imports": {why}'

    def test_a_compiled_module_cannot_be_followed(self) -> None:
        folder = {**FIVE, "metrics.cpython-312-x86_64-linux-gnu.so": ""}
        del folder["metrics.py"]
        scope = import_scope(
            "evaluate.py", (), folder, lambda path: b"\x7fELF" if ".so" in path else b"import metrics"
        )
        assert scope.unrelated == frozenset()
        assert "metrics.cpython-312-x86_64-linux-gnu.so is no Python source" in scope.note

    def test_otherwise_there_is_no_note(self) -> None:
        assert self.scope().note == ""

    def test_a_glob_that_finds_nothing_is_noted(self) -> None:
        assert self.scope("conf/*.json", "conf/*.yaml").note == (
            "code_files: conf/*.json matches no file of the source directory"
        )


def test_editing_one_script_of_a_shared_folder_changes_what_counts_for_its_step_alone() -> None:
    scripts = list(FIVE)[:5]
    edited = {**FIVE, "evaluate.py": "import metrics  # better"}

    def digest(script: str, folder: dict[str, str]) -> dict[str, str]:
        unrelated = import_scope(script, (), folder, lambda path: folder[path].encode()).unrelated
        return {path: text for path, text in folder.items() if path not in unrelated}

    assert [script for script in scripts if digest(script, FIVE) != digest(script, edited)] == ["evaluate.py"]
