"""What the digest of a folder varies on, what it does not, and what is refused."""

import os
import socket
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_azureml.runtime.exceptions import SnapshotException
from airflow_azureml.workspace import hashing
from airflow_azureml.workspace.hashing import FileDigest, StatCache, TreeManifest, hash_file, hash_tree
from airflow_azureml.workspace.ignore import IgnoreRules


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "steps"
    (root / "lib").mkdir(parents=True)
    (root / "train.py").write_text("print('train')\n")
    (root / "lib" / "tools.py").write_text("x = 1\n")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    return root


def make(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


class TestTheDigest:
    def test_is_pinned(self, folder):
        """Every snapshot and reuse entry ever written holds such numbers: they must not change between versions."""
        manifest = hash_tree(folder)
        assert manifest.to_document() == {
            "schema": 1,
            "kind": "tree",
            "files": [
                [
                    "lib/tools.py",
                    "9e26bf369911c45c243c684147b23fc9e1dcfcf257d299a1c632016a6fcd33f4",
                    6,
                    False,
                ],
                ["run.sh", "a8076d3d28d21e02012b20eaf7dbf75409a6277134439025f282e368e3305abf", 10, True],
                ["train.py", "c7d9b938f2689ecd5aa95521611eaa67d8ea599095dac2d55c9e29b37d4def34", 15, False],
            ],
            "directories": [],
        }
        assert manifest.digest == "1cec80bb1218d9d00e00ecb33dcf31997a325038afd1486f94c79f1fab4582ad"

    def test_of_nothing_is_pinned(self, tmp_path):
        assert (
            hash_tree(tmp_path).digest == "585ae249eef01261aaac2d1b1ea0cc401db72c6952c94784e1b0563030c01b32"
        )

    @pytest.mark.parametrize(
        "change",
        [
            lambda root: (root / "train.py").write_text("print('tRain')\n"),
            lambda root: (root / "train.py").rename(root / "train2.py"),
            lambda root: (root / "train.py").rename(root / "lib" / "train.py"),
            lambda root: (root / "train.py").unlink(),
            lambda root: (root / "new.py").touch(),
            lambda root: (root / "train.py").chmod(0o744),
            lambda root: (root / "run.sh").chmod(0o644),
        ],
        ids=["content", "name", "folder", "removed", "added", "made executable", "no longer executable"],
    )
    @pytest.mark.parametrize("cached", [False, True])
    def test_varies_on(self, folder, tmp_path, change, cached):
        cache = StatCache(tmp_path / "cache") if cached else None
        before = hash_tree(folder, cache=cache).digest
        change(folder)
        assert hash_tree(folder, cache=cache).digest != before

    @pytest.mark.parametrize(
        "change",
        [
            lambda root: os.utime(root / "train.py", (1, 1)),
            lambda root: (root / "train.py").chmod(0o600),
            lambda root: (root / "run.sh").chmod(0o700),
            lambda root: (root / "train.py").write_text("print('train')\n"),
            lambda root: (root / "empty" / "inner").mkdir(parents=True),
            lambda root: root.rename(root.with_name("elsewhere")),
        ],
        ids=["time", "umask", "umask of an executable", "rewritten", "empty folder", "place"],
    )
    def test_does_not_vary_on(self, folder, change):
        before = hash_tree(folder).digest
        change(folder)
        root = folder if folder.exists() else folder.with_name("elsewhere")
        assert hash_tree(root).digest == before

    def test_counts_empty_folders_on_request(self, folder):
        (folder / "a" / "b").mkdir(parents=True)
        manifest = hash_tree(folder, keep_empty_directories=True)
        assert manifest.empty_directories == ("a/b",)
        assert manifest.digest != hash_tree(folder).digest

    def test_names_that_differ_only_in_unicode_form_stay_two_names(self, tmp_path):
        composed, decomposed = (unicodedata.normalize(form, "café.txt") for form in ("NFC", "NFD"))
        one = hash_tree(make(tmp_path / "1", {composed: b""}))
        other = hash_tree(make(tmp_path / "2", {decomposed: b""}))
        assert one.files[0].path == composed
        assert one.digest != other.digest

    def test_names_with_line_breaks_and_bytes_that_are_no_text_are_names_like_others(self, tmp_path):
        (tmp_path / "two\nlines").touch()
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")).write_bytes(b"x")
        (tmp_path / "\\udcff\\udcfe").write_bytes(b"x")
        manifest = hash_tree(tmp_path)
        assert [os.fsencode(file.path) for file in manifest.files] == [
            b"\\udcff\\udcfe",
            b"two\nlines",
            b"\xff\xfe",
        ]
        assert TreeManifest.from_document(manifest.to_document()) == manifest
        assert len({manifest.digest, hash_tree(make(tmp_path / "x", {"a": b""})).digest}) == 2

    def test_depends_on_the_rules(self, folder):
        manifest = hash_tree(folder, ignore=IgnoreRules(["lib/"]))
        assert [file.path for file in manifest.files] == ["run.sh", "train.py"]


class TestFraming:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ({"a": b"bc"}, {"ab": b"c"}),
            ({"a/b": b""}, {"ab": b""}),
            ({"a": b"", "b": b""}, {"a,b": b""}),
            ({"a": b"b", "b": b"a"}, {"a": b"a", "b": b"b"}),
            ({'a"],["b': b""}, {"a": b"", "b": b""}),
        ],
    )
    def test_names_and_contents_do_not_run_into_each_other(self, tmp_path, one, other):
        assert hash_tree(make(tmp_path / "1", one)).digest != hash_tree(make(tmp_path / "2", other)).digest

    PATHS = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=8)
    FILES = st.builds(
        FileDigest,
        PATHS,
        st.text("0123456789abcdef", min_size=64, max_size=64),
        st.integers(0, 1 << 50),
        st.booleans(),
    )
    MANIFESTS = st.builds(
        TreeManifest,
        st.lists(FILES, max_size=6, unique_by=lambda file: file.path),
        st.lists(PATHS, max_size=3, unique=True),
    )

    @settings(deadline=None)  # a busy machine is no failure
    @given(MANIFESTS)
    def test_a_manifest_survives_being_written(self, manifest):
        read = TreeManifest.from_document(manifest.to_document())
        assert (read.files, read.empty_directories, read.digest) == (
            manifest.files,
            manifest.empty_directories,
            manifest.digest,
        )

    @settings(deadline=None)  # a busy machine is no failure
    @given(MANIFESTS, MANIFESTS)
    def test_two_manifests_share_a_digest_only_when_they_are_equal(self, one, other):
        equal = (one.files, one.empty_directories) == (other.files, other.empty_directories)
        assert (one.digest == other.digest) is equal
        assert (one == other) is equal

    @settings(deadline=None)  # a busy machine is no failure
    @given(st.permutations(["a", "B", "a/b", "é", "z"]))
    def test_the_order_of_finding_does_not_matter(self, names):
        files = [FileDigest(name, "0" * 64, 1, False) for name in names]
        assert [file.path for file in TreeManifest(files).files] == ["B", "a", "a/b", "z", "é"]

    def test_a_path_is_named_once(self):
        with pytest.raises(SnapshotException, match=r"names 'a' twice"):
            TreeManifest([FileDigest("a", "0" * 64, 1, False), FileDigest("a", "1" * 64, 1, False)])

    @pytest.mark.parametrize(
        "document",
        [
            None,
            [],
            {"schema": 2, "kind": "tree", "files": [], "directories": []},
            {"schema": 1, "kind": "pack", "files": [], "directories": []},
            {"schema": 1, "kind": "tree", "directories": []},
            {"schema": 1, "kind": "tree", "files": [["a", "00", -1, False]], "directories": []},
            {"schema": 1, "kind": "tree", "files": [["a", "00", True, False]], "directories": []},
            {"schema": 1, "kind": "tree", "files": [["a", "00", 1]], "directories": []},
            {"schema": 1, "kind": "tree", "files": [], "directories": [3]},
        ],
    )
    def test_what_is_no_manifest_is_refused(self, document):
        with pytest.raises(SnapshotException, match="tree manifest"):
            TreeManifest.from_document(document)


class TestLinks:
    def test_inside_the_folder_are_followed_as_content(self, folder, tmp_path):
        (folder / "alias.py").symlink_to("train.py")
        (folder / "copy").symlink_to(folder / "lib")
        copied = make(
            tmp_path / "copied",
            {
                "alias.py": b"print('train')\n",
                "train.py": b"print('train')\n",
                "lib/tools.py": b"x = 1\n",
                "copy/tools.py": b"x = 1\n",
                "run.sh": b"#!/bin/sh\n",
            },
        )
        (copied / "run.sh").chmod(0o755)
        assert hash_tree(folder).files == hash_tree(copied).files

    @pytest.mark.parametrize(
        "target", ["../outside", "/etc/hostname", "../steps2", "lib/../../outside", "../gone"]
    )
    def test_out_of_the_folder_are_refused_by_name(self, folder, target):
        (folder.parent / "outside").write_text("secret")
        (folder.parent / "steps2").mkdir()
        (folder / "lib" / "link").symlink_to(folder / target)
        with pytest.raises(
            SnapshotException, match=r"'lib/link' in .*steps' is a symbolic link that leaves the folder"
        ):
            hash_tree(folder)

    def test_out_of_the_folder_are_followed_where_that_is_wanted(self, folder):
        (folder.parent / "outside").write_text("data")
        (folder / "link").symlink_to("../outside")
        assert "link" in [file.path for file in hash_tree(folder, follow_links="anywhere").files]

    def test_are_judged_by_where_the_folder_really_is(self, folder, tmp_path):
        (folder / "alias.py").symlink_to(folder / "train.py")
        (tmp_path / "other name").symlink_to(folder)
        assert hash_tree(tmp_path / "other name") == hash_tree(folder)

    @pytest.mark.parametrize("target", [".", "..", "../lib"])
    def test_in_a_circle_are_refused_by_name(self, folder, target):
        (folder / "lib" / "again").symlink_to(target)
        with pytest.raises(SnapshotException, match=r"'lib/again' .*would never end"):
            hash_tree(folder)

    def test_in_a_circle_of_two_are_refused(self, folder):
        (folder / "a").mkdir()
        (folder / "b").mkdir()
        (folder / "a" / "to_b").symlink_to("../b")
        (folder / "b" / "to_a").symlink_to("../a")
        with pytest.raises(SnapshotException, match="would never end"):
            hash_tree(folder)

    def test_to_themselves_are_refused(self, folder):
        (folder / "self").symlink_to("self")
        with pytest.raises(SnapshotException, match=r"'self' .*cannot be followed"):
            hash_tree(folder)

    def test_to_nothing_have_no_content(self, folder):
        before = hash_tree(folder)
        # Editors mark an open file so; the DAG must not break while its author types.
        (folder / ".#train.py").symlink_to("user@host.123:456")
        assert hash_tree(folder) == before

    def test_that_are_left_out_are_not_looked_at(self, folder):
        (folder / "data").symlink_to("/etc")
        assert len(hash_tree(folder, ignore=IgnoreRules(["data"])).files) == 3


class TestWhatHasNoContent:
    def test_pipes_and_sockets_are_passed_over(self, folder, monkeypatch, caplog):
        before = hash_tree(folder)
        os.mkfifo(folder / "pipe")
        monkeypatch.chdir(folder)
        with socket.socket(socket.AF_UNIX) as server, caplog.at_level("INFO"):
            server.bind("socket")
            assert hash_tree(folder) == before
        assert sorted(record.args[0] for record in caplog.records) == ["pipe", "socket"]


class TestRefusals:
    def test_a_missing_folder(self, tmp_path):
        with pytest.raises(SnapshotException, match=r"there is no folder '.*gone'"):
            hash_tree(tmp_path / "gone")

    def test_too_much_names_the_largest_files_and_the_remedy(self, tmp_path):
        make(tmp_path, {f"data/{size}.bin": b"x" * (size << 20) for size in (1, 3, 2)})
        with pytest.raises(SnapshotException) as caught:
            hash_tree(tmp_path, limit_bytes=5 << 20)
        assert "6.0 MiB in 3 files, more than the 5.0 MiB allowed" in str(caught.value)
        assert "Largest: data/3.bin (3.0 MiB), data/2.bin (2.0 MiB), data/1.bin (1.0 MiB)" in str(
            caught.value
        )
        assert ".amlignore" in str(caught.value)

    def test_too_much_is_refused_before_it_is_read(self, tmp_path):
        with (tmp_path / "sparse").open("wb") as file:
            file.truncate(1 << 40)
        with pytest.raises(SnapshotException, match=r"sparse \(1048576.0 MiB\)"):
            hash_tree(tmp_path, limit_bytes=300 << 20)

    def test_too_much_is_refused_again_when_nothing_changed(self, tmp_path):
        root, cache = make(tmp_path / "steps", {"a": b"12", "b": b"3"}), StatCache(tmp_path / "cache")
        for path in root.iterdir():
            os.utime(path, (1, 1))
        hash_tree(root, cache=cache)
        with pytest.raises(SnapshotException, match="Largest: a "):
            hash_tree(root, cache=cache, limit_bytes=2)

    def test_files_that_cannot_be_read_are_named(self, folder, monkeypatch):
        real = os.open

        def refuse(path, *args, **kwargs):
            if str(path).endswith(".py"):
                raise PermissionError(13, "Permission denied")
            return real(path, *args, **kwargs)

        monkeypatch.setattr(hashing.os, "open", refuse)
        with pytest.raises(SnapshotException) as caught:
            hash_tree(folder)
        assert "lib/tools.py: Permission denied" in str(caught.value)
        assert "train.py: Permission denied" in str(caught.value)

    def test_folders_that_cannot_be_read_are_named(self, folder, monkeypatch):
        real = os.scandir

        def refuse(path):
            if str(path).endswith("lib"):
                raise PermissionError(13, "Permission denied")
            return real(path)

        monkeypatch.setattr(os, "scandir", refuse)
        with pytest.raises(SnapshotException, match=r"'lib' in .* cannot be read: Permission denied"):
            hash_tree(folder)

    def test_a_file_that_vanishes_while_we_look_was_not_there(self, folder, monkeypatch):
        real = os.open

        def vanish(path, *args, **kwargs):
            if str(path).endswith("train.py"):
                raise FileNotFoundError(2, "No such file or directory")
            return real(path, *args, **kwargs)

        monkeypatch.setattr(hashing.os, "open", vanish)
        assert [file.path for file in hash_tree(folder).files] == ["lib/tools.py", "run.sh"]


class TestSingleFiles:
    def test_have_the_digest_they_have_in_a_folder(self, folder):
        assert hash_file(folder / "run.sh") == hash_tree(folder).files[1]

    def test_may_be_links(self, folder):
        (folder / "alias").symlink_to("train.py")
        assert hash_file(folder / "alias").sha256 == hash_file(folder / "train.py").sha256

    @pytest.mark.parametrize("name", ["gone", "."])
    def test_are_files(self, folder, name):
        with pytest.raises(SnapshotException, match=r"cannot be read: No such file|is not a file"):
            hash_file(folder / name)


def test_many_large_files_are_read_by_several_threads_with_the_same_result(tmp_path):
    files = {f"{number}.bin": bytes([number]) * ((1 << 20) + number) for number in range(6)}
    whole = hash_tree(make(tmp_path, files))
    assert [hash_file(tmp_path / file.path) for file in whole.files] == list(whole.files)
