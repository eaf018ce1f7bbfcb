"""The git properties of a source directory."""

import shutil
import stat
import subprocess
import time

import pytest

from airflow_azureml.workspace import git
from airflow_azureml.workspace.git import git_properties, redact_url

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

ENVIRON = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}


def run(folder, *arguments):
    environ = ENVIRON | {
        f"GIT_{who}_{what}": "someone@example.com"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=environ, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    root = tmp_path / "checkout"
    (root / "steps").mkdir(parents=True)
    (root / "steps" / "train.py").write_text("x = 1\n")
    (root / "README").write_text("read\n")
    run(root, "init", "-q", "-b", "trunk")
    run(root, "remote", "add", "origin", "https://host.example/team/project.git")
    run(root, "add", ".")
    run(root, "commit", "-q", "-m", "first")
    return root


class TestInACheckout:
    def test_all_of_v1s_properties(self, checkout):
        commit = run(checkout, "rev-parse", "HEAD")
        assert git_properties(checkout / "steps", ENVIRON) == {
            "azureml.git.repository_uri": "https://host.example/team/project.git",
            "mlflow.source.git.repoURL": "https://host.example/team/project.git",
            "azureml.git.branch": "trunk",
            "mlflow.source.git.branch": "trunk",
            "azureml.git.commit": commit,
            "mlflow.source.git.commit": commit,
            "azureml.git.dirty": "False",
        }

    @pytest.mark.parametrize(
        ("path", "dirty"),
        [("steps/train.py", "True"), ("steps/new.py", "True"), ("README", "False"), ("new.txt", "False")],
    )
    def test_only_changes_in_the_directory_make_it_dirty(self, checkout, path, dirty):
        (checkout / path).write_text("changed\n")
        assert git_properties(checkout / "steps", ENVIRON)["azureml.git.dirty"] == dirty

    def test_without_a_branch_there_is_no_branch(self, checkout):
        run(checkout, "checkout", "-q", "--detach")
        found = git_properties(checkout, ENVIRON)
        assert "azureml.git.branch" not in found
        assert "azureml.git.commit" in found

    def test_before_the_first_commit_there_is_no_commit(self, tmp_path):
        run(tmp_path, "init", "-q", "-b", "trunk")
        assert git_properties(tmp_path, ENVIRON) == {
            "azureml.git.branch": "trunk",
            "mlflow.source.git.branch": "trunk",
            "azureml.git.dirty": "False",
        }

    def test_without_a_remote_there_is_no_address(self, checkout):
        run(checkout, "remote", "remove", "origin")
        assert "azureml.git.repository_uri" not in git_properties(checkout, ENVIRON)

    def test_a_worktree_is_one_too(self, checkout, tmp_path):
        run(checkout, "worktree", "add", "-q", "-b", "other", str(tmp_path / "tree"))
        assert git_properties(tmp_path / "tree" / "steps", ENVIRON)["azureml.git.branch"] == "other"

    def test_variables_of_a_git_hook_do_not_lead_elsewhere(self, checkout, tmp_path):
        run(tmp_path, "init", "-q", "-b", "elsewhere")
        found = git_properties(checkout, ENVIRON | {"GIT_DIR": str(tmp_path / ".git")})
        assert found["azureml.git.branch"] == "trunk"

    def test_the_index_stays_as_it_is(self, checkout):
        before = (checkout / ".git" / "index").stat()
        (checkout / "README").touch()
        git_properties(checkout, ENVIRON)
        after = (checkout / ".git" / "index").stat()
        assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)

    def test_no_program_named_by_the_repository_is_started(self, checkout, tmp_path):
        program = tmp_path / "monitor"
        program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
        program.chmod(0o755)
        run(checkout, "config", "core.fsmonitor", str(program))
        git_properties(checkout, ENVIRON)
        assert not (tmp_path / "started").exists()


class TestVariables:
    def test_win_over_git(self, checkout):
        found = git_properties(
            checkout,
            ENVIRON
            | {
                "AZUREML_GIT_REPOSITORY_URI": "https://build:secret@ci.example/project?token=abc",
                "AZUREML_GIT_BRANCH": "release",
                "AZUREML_GIT_COMMIT": "abc123",
                "AZUREML_GIT_DIRTY": "True",
                "AZUREML_GIT_BUILD_ID": "17",
                "AZUREML_GIT_BUILD_URI": "https://u:p@ci.example/17",
            },
        )
        assert found == {
            "azureml.git.repository_uri": "https://ci.example/project",
            "mlflow.source.git.repoURL": "https://ci.example/project",
            "azureml.git.branch": "release",
            "mlflow.source.git.branch": "release",
            "azureml.git.commit": "abc123",
            "mlflow.source.git.commit": "abc123",
            "azureml.git.dirty": "True",
            "azureml.git.build_id": "17",
            "azureml.git.build_uri": "https://ci.example/17",
        }

    def test_are_all_there_is_outside_a_checkout(self, tmp_path):
        assert git_properties(tmp_path, ENVIRON) == {}
        assert git_properties(tmp_path, ENVIRON | {"AZUREML_GIT_BUILD_ID": "17"}) == {
            "azureml.git.build_id": "17"
        }

    def test_are_those_of_this_process_by_default(self, tmp_path, monkeypatch):
        monkeypatch.setenv("AZUREML_GIT_BRANCH", "from here")
        assert git_properties(tmp_path)["azureml.git.branch"] == "from here"

    def test_are_all_there_is_without_git(self, checkout, monkeypatch):
        monkeypatch.setattr(git, "_GIT", ("/nonexistent/git",))
        assert git_properties(checkout, ENVIRON | {"AZUREML_GIT_COMMIT": "abc"}) == {
            "azureml.git.commit": "abc",
            "mlflow.source.git.commit": "abc",
        }


def test_a_slow_git_is_not_waited_for(checkout, tmp_path, monkeypatch):
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(git, "_GIT", (str(program),))
    monkeypatch.setattr(git, "_TIMEOUT_S", 0.1)
    started = time.monotonic()
    assert git_properties(checkout, ENVIRON) == {}
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("https://host/x.git", "https://host/x.git"),
        ("https://user:secret@host:8443/x.git", "https://host:8443/x.git"),
        ("https://ghp_secret@github.com/team/x", "https://github.com/team/x"),
        ("https://user:se@cret@host/x", "https://host/x"),
        ("https://user:se/cret@host/x", "https://host/x"),
        ("https://user:p@host/pkg@v1", "https://host/pkg@v1"),
        ("https://host/pkg@v1", "https://host/pkg@v1"),
        ("https://host:443/pkg@v1", "https://host:443/pkg@v1"),
        ("https://host/x?sig=secret#frag", "https://host/x"),
        ("ssh://git@host/x", "ssh://git@host/x"),
        ("ssh://git:secret@host:22/x", "ssh://git@host:22/x"),
        ("git+ssh://git:secret@host/x", "git+ssh://git@host/x"),
        ("git@github.com:team/x.git", "git@github.com:team/x.git"),
        ("user:secret@host:x.git", "user@host:x.git"),
        ("/srv/git/x.git", "/srv/git/x.git"),
        ("file:///srv/git/x.git", "file:///srv/git/x.git"),
        ("../x", "../x"),
        ("", ""),
    ],
)
def test_credentials_in_addresses_are_not_kept(url, redacted):
    assert redact_url(url) == redacted
