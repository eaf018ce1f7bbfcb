"""Check the documentation: every code block does what its page says, and every link leads somewhere.

``python docs/check.py [page …]`` works through README.md and docs/*.md. Each page gets an empty Airflow home as its working
directory, and its blocks are worked through in order. What a block is says the line that opens it:

- ``python title="dags/first.py"``: a file (of any language) to be written below the home. DAG files are loaded by Airflow at the
  end; with ``run="dag_id"`` the DAG is run, too. ``same-as="docs/page.md"`` instead says that the file is that page's.
- ``python``: runs, in one namespace per page. A block ``text output`` after it is what it has to print.
- ``sh``: runs and must succeed.
- ``console``: lines that start with ``$`` run, the lines below one are what it has to print.
- ``not-run="why"``: what cannot run here, and why.
- Anything else is only shown.

In output, ``…`` stands for anything, alone on a line for any lines; times, durations and ids may differ.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pages import Block, Wrong, blocks_of, broken_links, commands_of, crowded_lines, fits

ROOT = Path(__file__).resolve().parent.parent
SHOWN_HOME = "/home/me/airflow"
"""How pages call the home they work in."""

LIMIT_S = 300
LANGUAGES_THAT_RUN = ("python", "sh", "console")


@dataclass
class Page:
    """A page and the place where its blocks are tried.

    :param path: the page.
    :param home: its Airflow home.
    :param environment: variables of what it runs.
    """

    path: Path
    home: Path
    environment: dict[str, str]
    problems: list[str] = field(default_factory=list)
    _python: subprocess.Popen[str] | None = None
    _printed: str = ""

    def check(self) -> None:
        """Work through the blocks; the first one that goes wrong ends the page, because later ones build on it."""
        try:
            for block in blocks_of(self.path.read_text(encoding="utf-8")):
                self._check_block(block)
        except Wrong as wrong:
            self.problems.append(f"{self.path.relative_to(ROOT)}: {wrong}")
        finally:
            if self._python is not None:
                self._python.communicate()

    def _check_block(self, block: Block) -> None:
        try:
            if block.attributes.get("not-run", "").strip():
                return
            if "title" in block.attributes:
                self._write(block)
            elif block.is_output:
                self._compare("the block above", block.text, self._printed)
            elif block.language in LANGUAGES_THAT_RUN:
                getattr(self, f"_{block.language}_block")(block)
        except Wrong as wrong:
            raise Wrong(f"line {block.line}: {wrong}") from None

    def _write(self, block: Block) -> None:
        if "same-as" in block.attributes:
            self._check_same(block)
            return
        target = self.home / block.attributes["title"]
        if not target.resolve().is_relative_to(self.home.resolve()):
            raise Wrong(f"{target} is outside the page's folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block.text, encoding="utf-8")
        if "run" in block.attributes:
            code, printed = self._shell(f"airflow dags test {block.attributes['run']}")
            if code != 0:
                raise Wrong(f"the DAG fails:\n{printed[-4000:]}")

    def _check_same(self, block: Block) -> None:
        title, page = block.attributes["title"], block.attributes["same-as"]
        others = blocks_of((ROOT / page).read_text(encoding="utf-8"))
        if block.text not in [other.text for other in others if other.attributes.get("title") == title]:
            raise Wrong(f"{page} shows another {title}")

    def _python_block(self, block: Block) -> None:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, __file__, "--blocks"],
                cwd=self.home,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        self._python.stdin.write(json.dumps([block.text, str(self.path), block.line]) + "\n")
        self._python.stdin.flush()
        answer = self._python.stdout.readline()
        if not answer:
            raise Wrong("the interpreter ended")
        self._printed, error = json.loads(answer)
        if error:
            raise Wrong(error)

    def _sh_block(self, block: Block) -> None:
        code, printed = self._shell(block.text)
        if code != 0:
            raise Wrong(f"ended with exit code {code}:\n{printed[-4000:]}")

    def _console_block(self, block: Block) -> None:
        for command, expected in commands_of(block.text):
            code, printed = self._shell(command)
            if expected.strip():
                self._compare(command, expected, printed)
            elif code != 0:
                raise Wrong(f"{command} ended with exit code {code}:\n{printed[-4000:]}")

    def _compare(self, what: str, expected: str, printed: str) -> None:
        printed = printed.replace(str(self.home), SHOWN_HOME)
        if not fits(expected, printed):
            raise Wrong(f"{what} prints\n{printed[-4000:]}\nwhere the page shows\n{expected}")

    def _shell(self, script: str) -> tuple[int, str]:
        with subprocess.Popen(
            ["/bin/sh", "-eu", "-c", script],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                printed, _ = process.communicate(timeout=LIMIT_S)
            except BaseException as error:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise Wrong(f"did not end within {LIMIT_S} s: {script}") from None
                raise
            return process.returncode, printed


def run_blocks() -> None:
    """Run the Python blocks that come in, one JSON line each; answer what each printed and its error."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    answers = sys.stdout
    for line in sys.stdin:
        text, path, number = json.loads(line)
        printed, error = io.StringIO(), ""
        with contextlib.redirect_stdout(printed):
            try:
                # Blank lines before it, so that line numbers in tracebacks are the page's.
                exec(compile("\n" * number + text, path, "exec"), namespace)  # noqa: S102 - that is what it is for
            except Exception:  # noqa: BLE001 - any error of a block is its answer
                error = traceback.format_exc()
        answers.write(json.dumps([printed.getvalue(), error]) + "\n")
        answers.flush()


def load_dags(folders: list[str]) -> int:
    """Let Airflow load the DAG files of some folders; return how many problems there are."""
    from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415 - only this part needs an Airflow home

    problems = 0
    for folder in folders:
        found = DagBag(folder)
        for file, error in found.import_errors.items():
            print(f"{file}: {error.strip()}")
        if not found.dags:
            print(f"{folder}: no DAG")
        problems += len(found.import_errors) + (not found.dags)
    return problems


def environment_below(place: Path) -> dict[str, str]:
    """Return the variables that pages run with: nothing of another Airflow, and caches that pages share."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "PYTHONDONT"))
    }
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return {
        "UV_CACHE_DIR": str(caches / "uv"),
        **inherited,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(place / "cache"),
        "AIRFLOW__AZUREML__ENVIRONMENTS_DIRECTORY": str(place / "environments"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }


def make_database(place: Path, environment: dict[str, str]) -> Path:
    """Make the database that every page starts with."""
    home = place / "template"
    home.mkdir()
    subprocess.run(
        ["airflow", "db", "migrate"],
        env={**environment, "AIRFLOW_HOME": str(home)},
        cwd=home,
        check=True,
        capture_output=True,
    )
    return home / "airflow.db"


def try_page(path: Path, place: Path, database: Path, environment: dict[str, str]) -> Page:
    """Try the blocks of one page."""
    # Away from what the pages share, whatever they are called.
    home = place / "pages" / path.stem
    home.mkdir(parents=True)
    shutil.copyfile(database, home / database.name)
    page = Page(path, home, {**environment, "AIRFLOW_HOME": str(home)})
    started = time.monotonic()
    page.check()
    print(
        f"{path.relative_to(ROOT)}: {'wrong' if page.problems else 'right'}, {time.monotonic() - started:.0f} s",
        flush=True,
    )
    return page


def try_pages(paths: list[Path]) -> list[str]:
    """Try the blocks of all pages; return what is wrong."""
    with tempfile.TemporaryDirectory(prefix="azureml-docs-", ignore_cleanup_errors=True) as name:
        place = Path(name)
        environment = environment_below(place)
        database = make_database(place, environment)
        # The page that runs most takes longest, so it starts first.
        order = sorted(
            paths, key=lambda path: path.read_text(encoding="utf-8").count("dags test"), reverse=True
        )
        with ThreadPoolExecutor(2) as pool:
            pages = list(pool.map(lambda path: try_page(path, place, database, environment), order))
        problems = [problem for page in pages for problem in page.problems]
        folders = [str(page.home / "dags") for page in pages if (page.home / "dags").is_dir()]
        loaded = subprocess.run(
            [sys.executable, __file__, "--load", *folders],
            env={
                **environment,
                "AIRFLOW_HOME": str(database.parent),
                "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return problems if loaded.returncode == 0 else [*problems, loaded.stdout + loaded.stderr]


def main(arguments: list[str]) -> int:
    """Check the pages and return the exit code."""
    if arguments[:1] == ["--blocks"]:
        run_blocks()
        return 0
    if arguments[:1] == ["--load"]:
        return 1 if load_dags(arguments[1:]) else 0
    pages = [Path(name).resolve() for name in arguments] or [
        ROOT / "README.md",
        *sorted(ROOT.glob("docs/*.md")),
    ]
    problems = [
        f"{page.relative_to(ROOT)}: {problem}"
        for page in pages
        for problem in (*broken_links(page), *crowded_lines(page))
    ]
    problems += try_pages(pages)
    current = subprocess.run(
        [sys.executable, ROOT / "docs/generate.py", "--check"], check=False, capture_output=True, text=True
    )
    problems += [current.stdout] if current.returncode else []
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
