"""Which files of a source directory are left out."""

import shutil
import subprocess

import pytest

from airflow_azureml.runtime.exceptions import SnapshotException
from airflow_azureml.workspace.hashing import hash_tree
from airflow_azureml.workspace.ignore import IgnoreRules, load_rules


def taken(root, files, **ignore_files):
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name, text in ignore_files.items():
        (root / f".{name}").write_text(text)
    found = {file.path for file in hash_tree(root, ignore=load_rules(root)).files}
    return found - {".amlignore", ".gitignore"}


class TestWhichFileCounts:
    FILES = ("train.py", "data.csv", "notes.txt")

    def test_gitignore_where_it_is_alone(self, tmp_path):
        assert taken(tmp_path, self.FILES, gitignore="*.csv\n") == {"train.py", "notes.txt"}

    def test_amlignore_wins_outright(self, tmp_path):
        assert taken(tmp_path, self.FILES, gitignore="*.csv\n", amlignore="*.txt\n") == {
            "train.py",
            "data.csv",
        }

    def test_an_empty_amlignore_wins_too(self, tmp_path):
        assert taken(tmp_path, self.FILES, gitignore="*\n", amlignore="") == set(self.FILES)

    def test_neither_leaves_everything_in(self, tmp_path):
        assert taken(tmp_path, self.FILES) == set(self.FILES)

    def test_nested_ones_do_not_count(self, tmp_path):
        (tmp_path / "lib").mkdir()
        (tmp_path / "lib" / ".amlignore").write_text("*\n")
        (tmp_path / "lib" / ".gitignore").write_text("*\n")
        assert taken(tmp_path, ["lib/a.py"]) == {"lib/a.py", "lib/.amlignore", "lib/.gitignore"}

    def test_they_are_part_of_the_snapshot_themselves(self, tmp_path):
        (tmp_path / ".amlignore").write_text("*.csv\n")
        before = hash_tree(tmp_path, ignore=load_rules(tmp_path))
        (tmp_path / ".amlignore").write_text("*.txt\n")
        assert hash_tree(tmp_path, ignore=load_rules(tmp_path)) != before


class TestWhatIsNeverTaken:
    def test_history_and_what_python_writes_beside_a_script(self, tmp_path):
        files = (
            "a.py",
            ".git/HEAD",
            "sub/.git/HEAD",
            "__pycache__/a.pyc",
            "sub/__pycache__/b.txt",
            "sub/c.pyc",
        )
        assert taken(tmp_path, files, amlignore="!.git/\n!*.pyc\n!__pycache__/**\n") == {"a.py"}

    def test_the_git_file_of_a_worktree(self, tmp_path):
        assert taken(tmp_path, ("a.py", ".git")) == {"a.py"}

    def test_names_that_only_look_like_it(self, tmp_path):
        files = {".github/x", "my__pycache__/a", "a.pycx", "pyc", ".gitkeep"}
        assert taken(tmp_path, files) == files


class TestPatterns:
    @pytest.mark.parametrize(
        ("patterns", "left_out"),
        [
            ("*.csv", {"data.csv", "sub/data.csv"}),
            ("/data.csv", {"data.csv"}),
            ("sub/", {"sub/data.csv", "sub/deep/x.py", "sub/x.py"}),
            ("/sub/*.py", {"sub/x.py"}),
            ("**/deep", {"sub/deep/x.py"}),
            ("x.py/", set()),
            ("*\n!*.py", {"data.csv", "sub/data.csv"}),
            ("sub/\n!sub/deep/x.py", {"sub/data.csv", "sub/x.py"}),
            ("*.py\n!x.py\nsub/deep", {"train.py", "sub/deep/x.py"}),
            ("!train.py\n*.py", {"train.py", "sub/x.py", "sub/deep/x.py"}),
            ("# *.py\n\n   \n\\#x", set()),
            ("[st]*.py", {"train.py"}),
        ],
    )
    @pytest.mark.parametrize("line_end", ["\n", "\r\n"])
    def test_mean_what_git_means_and_files_may_be_brought_back(self, tmp_path, patterns, left_out, line_end):
        files = {"train.py", "data.csv", "sub/data.csv", "sub/x.py", "sub/deep/x.py"}
        text = "\ufeff" + patterns.replace("\n", line_end) + line_end
        (tmp_path / ".amlignore").write_bytes(text.encode())
        assert files - taken(tmp_path, files) == left_out

    @pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
    @pytest.mark.parametrize(
        "patterns",
        ["*.log", "build/", "/build", "a/**/z", "a/*", "**/x.py", "*.py[co]", "foo*bar", "docs/*.txt", "a/b"],
    )
    def test_without_negation_agree_with_git_itself(self, tmp_path, patterns):
        files = {
            "x.log", "build/x", "a/build", "a/b/z", "a/z", "a/b/c/z/q", "x.py", "a/x.py", "x.pyo", "fooxbar",
            "docs/a.txt", "docs/sub/a.txt", "q/a/b", "a/b/x.log",
        }  # fmt: skip
        found = taken(tmp_path, files, gitignore=patterns + "\n")
        subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--others", "--exclude-standard"],
            cwd=tmp_path,
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        assert found == set(listed.split("\0")) - {"", ".gitignore"}

    def test_that_leave_out_a_folder_keep_it_from_being_walked(self):
        rules = IgnoreRules(["*.csv", "!keep.csv", "data/", "/out"])
        assert rules.leaves_out_folder("data")
        assert rules.leaves_out_folder("sub/data")
        assert rules.leaves_out_folder("out")
        assert not rules.leaves_out_folder("sub")

    def test_that_may_bring_something_back_do_not(self):
        rules = IgnoreRules(["data/", "!data/keep.csv"])
        assert not rules.leaves_out_folder("data")
        assert rules.leaves_out_file("data/x.csv")
        assert not rules.leaves_out_file("data/keep.csv")

    def test_that_are_none_are_refused_with_their_line(self, tmp_path):
        (tmp_path / ".amlignore").write_text("*.csv\n!\n")
        with pytest.raises(SnapshotException, match=r"\.amlignore, line 2: '!' isn't a pattern"):
            load_rules(tmp_path)

    def test_in_a_file_that_is_no_text_are_refused(self, tmp_path):
        (tmp_path / ".gitignore").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(SnapshotException, match=r"\.gitignore' cannot be read"):
            load_rules(tmp_path)


def test_rules_with_the_same_lines_have_the_same_key():
    assert IgnoreRules(["a", "b"]).key == IgnoreRules(["a\n", "b\n"]).key
    assert len({IgnoreRules(lines).key for lines in ([], ["a"], ["a", "b"], ["ab"], ["b", "a"])}) == 5
