"""Snapshots in a workspace: what an upload writes, and what laying out makes of it."""

import hashlib
import json
import os
import stat
import threading
from pathlib import Path

import pytest

from airflow_azureml.runtime.exceptions import SnapshotException
from airflow_azureml.workspace import layout
from airflow_azureml.workspace.hashing import FileDigest, TreeManifest, hash_tree
from airflow_azureml.workspace.local_store import LocalStore
from airflow_azureml.workspace.memory_store import MemoryStore
from airflow_azureml.workspace.snapshots import SnapshotStore, scan_source


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    return LocalStore(tmp_path / "workspace") if request.param == "local" else MemoryStore()


@pytest.fixture
def snapshots(store):
    return SnapshotStore(store)


@pytest.fixture
def steps(tmp_path):
    root = tmp_path / "steps"
    (root / "lib").mkdir(parents=True)
    (root / "train.py").write_text("print('train')\n")
    (root / "lib" / "tools.py").write_text("x = 1\n")
    (root / "lib" / "copy.py").write_text("x = 1\n")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "empty.txt").touch()
    return root


def keys(store, kind=""):
    return [info.key for info in store.list(f"snapshots/{kind}")]


def only(store, kind):
    (key,) = keys(store, kind)
    return key


def overwrite(store, key, change):
    store.put(key, change(store.get(key).data))


class TestUpload:
    def test_writes_one_pack_however_many_files(self, snapshots, store, tmp_path):
        for number in range(300):
            (tmp_path / "many").mkdir(exist_ok=True)
            (tmp_path / "many" / f"{number}.py").write_text(str(number))
        record = snapshots.upload(scan_source(tmp_path / "many"))
        assert (record.uploaded_files, record.uploaded_bytes) == (300, 10 + 2 * 90 + 3 * 200)
        assert len(keys(store)) == 3

    def test_writes_equal_contents_once(self, snapshots, store, steps):
        record = snapshots.upload(scan_source(steps))
        assert (record.uploaded_files, record.uploaded_bytes, record.size_bytes) == (4, 31, 37)
        assert store.get(only(store, "packs/")).data == b"".join(
            sorted(
                (b"", b"x = 1\n", b"#!/bin/sh\n", b"print('train')\n"),
                key=lambda content: hashlib.sha256(content).hexdigest(),
            )
        )

    def test_of_a_tree_that_is_there_writes_nothing(self, snapshots, store, steps):
        first = snapshots.upload(scan_source(steps))
        before = [(info.key, info.modified) for info in store.list("")]
        again = SnapshotStore(store).upload(scan_source(steps))
        assert (again.digest, again.uploaded_files, again.uploaded_bytes) == (first.digest, 0, 0)
        assert [(info.key, info.modified) for info in store.list("")] == before

    def test_of_a_changed_tree_writes_what_changed(self, snapshots, steps):
        (steps / "weights.bin").write_bytes(os.urandom(10_000))
        snapshots.upload(scan_source(steps))
        (steps / "train.py").write_text("print('better')\n")
        (steps / "weights.bin").rename(steps / "lib" / "weights.bin")
        record = snapshots.upload(scan_source(steps))
        assert (record.uploaded_files, record.uploaded_bytes) == (1, 16)

    def test_keeps_a_snapshot_together_in_few_packs(self, snapshots, store, steps, tmp_path):
        for number in range(40):
            (steps / f"step{number}.py").write_text(f"# {number} " + "x" * 500)
            digest = snapshots.upload(scan_source(steps)).digest
        assert len(snapshots.snapshot(digest).packs) <= 8
        snapshots.lay_out(digest, tmp_path / "out")
        assert hash_tree(tmp_path / "out").digest == digest

    def test_does_not_refer_to_a_large_pack_for_a_small_part_of_it(self, snapshots, steps):
        (steps / "weights.bin").write_bytes(os.urandom(100_000))
        snapshots.upload(scan_source(steps))
        (steps / "weights.bin").unlink()
        record = snapshots.upload(scan_source(steps))
        assert record.uploaded_bytes == 31

    def test_by_several_at_once_is_as_good_as_by_one(self, store, steps, tmp_path):
        tree, errors = scan_source(steps), []

        def work(number):
            try:
                SnapshotStore(store).upload(tree)
                SnapshotStore(store).lay_out(tree.digest, tmp_path / f"out{number}")
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(keys(store)) == 3

    def test_of_a_file_that_changed_meanwhile_is_refused_and_leaves_no_snapshot(self, snapshots, steps):
        tree = scan_source(steps)
        (steps / "train.py").write_text("print('later')\n")
        with pytest.raises(
            SnapshotException, match=r"train\.py' changed while its directory was being uploaded"
        ):
            snapshots.upload(tree)
        assert not snapshots.exists(tree.digest)

    def test_of_a_file_that_vanished_is_refused(self, snapshots, steps):
        tree = scan_source(steps)
        (steps / "train.py").unlink()
        with pytest.raises(SnapshotException, match=r"train\.py' cannot be read"):
            snapshots.upload(tree)

    def test_says_what_it_does_when_it_is_much(self, snapshots, steps):
        messages = []
        snapshots.upload(scan_source(steps), messages.append)
        assert messages == []
        (steps / "weights.bin").write_bytes(b"x" * (11 << 20))
        snapshots.upload(scan_source(steps), messages.append)
        assert len(messages) == 1
        assert "uploading 1 new or changed files, 11.0 MiB" in messages[0]
        assert "largest: weights.bin (11.0 MiB)" in messages[0]
        assert ".amlignore" in messages[0]

    def test_includes_the_files_of_hash_paths(self, snapshots, steps, store):
        (steps.parent / "pins.txt").write_text("numpy\n")
        tree = scan_source(steps, hash_paths=["../pins.txt"])
        assert snapshots.upload(tree).uploaded_files == 5
        assert b"numpy\n" in store.get(only(store, "packs/")).data
        snapshot = snapshots.snapshot(tree.digest)
        assert [file.path for file in snapshot.watched.files] == ["../pins.txt"]
        assert snapshots.manifest(tree.digest) == tree.manifest

    def test_after_a_crash_begins_again(self, snapshots, store, steps, monkeypatch):
        tree = scan_source(steps)
        put = store.put
        for crash_at in ("indexes", "trees"):

            def crash(key, *args, crash_at=crash_at, **kwargs):
                if f"/{crash_at}/" in key:
                    raise KeyboardInterrupt
                return put(key, *args, **kwargs)

            with monkeypatch.context() as patch:
                patch.setattr(store, "put", crash)
                with pytest.raises(KeyboardInterrupt):
                    snapshots.upload(tree)
            assert not snapshots.exists(tree.digest)
        snapshots.upload(tree)
        assert len(keys(store)) == 3

    def test_does_not_count_on_a_pack_that_is_gone(self, snapshots, store, steps, tmp_path):
        snapshots.upload(scan_source(steps))
        store.delete(only(store, "packs/"))
        (steps / "train.py").write_text("print('better')\n")
        digest = snapshots.upload(scan_source(steps)).digest
        snapshots.lay_out(digest, tmp_path / "out")

    def test_ignores_a_damaged_index(self, snapshots, store, steps):
        snapshots.upload(scan_source(steps))
        overwrite(
            store, only(store, "indexes/"), lambda data: b'{"schema": 1, "kind": "pack", "contents": [1]}'
        )
        (steps / "train.py").write_text("print('better')\n")
        assert snapshots.upload(scan_source(steps)).uploaded_files == 4


class TestLayOut:
    @pytest.fixture
    def digest(self, snapshots, steps):
        return snapshots.upload(scan_source(steps)).digest

    def test_makes_the_same_tree(self, snapshots, digest, steps, tmp_path):
        target = tmp_path / "work" / "run 1"
        snapshots.lay_out(digest, target)
        assert hash_tree(target).files == hash_tree(steps).files
        assert (target / "lib" / "copy.py").read_text() == "x = 1\n"

    def test_gives_the_same_permissions_whatever_the_umask(self, snapshots, digest, tmp_path):
        before = os.umask(0o077)
        try:
            snapshots.lay_out(digest, tmp_path / "out")
        finally:
            os.umask(before)
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode)
            for path in (tmp_path / "out").iterdir()
            if path.is_file()
        }
        assert modes == {"train.py": 0o644, "run.sh": 0o755, "empty.txt": 0o644}

    def test_leaves_the_files_of_hash_paths_out(self, snapshots, steps, tmp_path):
        (steps.parent / "pins.txt").write_text("numpy\n")
        tree = scan_source(steps, hash_paths=["../pins.txt"])
        snapshots.upload(tree)
        snapshots.lay_out(tree.digest, tmp_path / "a" / "out")
        assert list((tmp_path / "a").iterdir()) == [tmp_path / "a" / "out"]
        assert hash_tree(tmp_path / "a" / "out") == tree.manifest

    def test_keeps_hostile_names(self, snapshots, steps, tmp_path):
        for name in (
            b"two\nlines",
            b"\xff\xfe",
            b"-rf",
            b" ",
            b"back\\slash",
            "café".encode(),
            b"...",
            b"x" * 255,
        ):
            Path(os.fsdecode(os.fsencode(steps) + b"/" + name)).write_bytes(name)
        tree = scan_source(steps)
        snapshots.upload(tree)
        snapshots.lay_out(tree.digest, tmp_path / "out", tmp_path / "cache")
        assert hash_tree(tmp_path / "out").files == tree.manifest.files

    def test_of_an_empty_directory_makes_one(self, snapshots, tmp_path):
        (tmp_path / "nothing").mkdir()
        tree = scan_source(tmp_path / "nothing")
        snapshots.upload(tree)
        snapshots.lay_out(tree.digest, tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []

    def test_takes_an_empty_folder_and_no_other(self, snapshots, digest, tmp_path):
        (tmp_path / "empty").mkdir()
        snapshots.lay_out(digest, tmp_path / "empty")
        with pytest.raises(SnapshotException, match="already holds files"):
            snapshots.lay_out(digest, tmp_path / "empty")
        (tmp_path / "file").touch()
        with pytest.raises(SnapshotException, match="already holds files"):
            snapshots.lay_out(digest, tmp_path / "file")

    def test_gives_copies_that_a_step_may_write_to(self, snapshots, digest, tmp_path, steps):
        for name in ("one", "two"):
            snapshots.lay_out(digest, tmp_path / name, tmp_path / "cache")
            assert (tmp_path / name / "train.py").read_text() == "print('train')\n"
            with (tmp_path / name / "train.py").open("a") as file:
                file.write("changed by the step")

    def test_fetches_once_into_the_cache(self, steps, tmp_path):
        store = MemoryStore()
        digest = SnapshotStore(store).upload(scan_source(steps)).digest
        SnapshotStore(store).lay_out(digest, tmp_path / "one", tmp_path / "cache")
        for key in keys(store):
            store.delete(key)
        SnapshotStore(store).lay_out(digest, tmp_path / "two", tmp_path / "cache")
        assert hash_tree(tmp_path / "two") == hash_tree(tmp_path / "one")

    @pytest.mark.parametrize("kind", ["packs", "trees"])
    @pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-3] + b"???"])
    def test_fetches_again_what_is_damaged_in_the_cache(self, steps, tmp_path, kind, damage):
        snapshots = SnapshotStore(MemoryStore())
        digest = snapshots.upload(scan_source(steps)).digest
        snapshots.lay_out(digest, tmp_path / "one", tmp_path / "cache")
        (path,) = (path for path in (tmp_path / "cache" / "snapshots" / kind).rglob("*") if path.is_file())
        path.write_bytes(damage(path.read_bytes()))
        snapshots.lay_out(digest, tmp_path / "two", tmp_path / "cache")
        assert hash_tree(tmp_path / "two") == hash_tree(tmp_path / "one")

    def test_puts_nothing_into_the_cache_of_a_workspace_on_this_machine(self, steps, tmp_path):
        snapshots = SnapshotStore(LocalStore(tmp_path / "ws"))
        snapshots.lay_out(snapshots.upload(scan_source(steps)).digest, tmp_path / "out", tmp_path / "cache")
        assert not (tmp_path / "cache").exists()


class TestAllOrNothing:
    @pytest.fixture
    def digest(self, snapshots, steps):
        return snapshots.upload(scan_source(steps)).digest

    @pytest.fixture
    def area(self, tmp_path):
        (tmp_path / "area").mkdir()
        return tmp_path / "area"

    def test_unknown_snapshots(self, snapshots, area):
        with pytest.raises(SnapshotException, match="isn't in the workspace; run the step once"):
            snapshots.lay_out("0" * 64, area / "out")
        with pytest.raises(SnapshotException, match="isn't in the workspace"):
            snapshots.manifest("0" * 64)
        assert list(area.iterdir()) == []

    @pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
    def test_what_is_no_digest(self, snapshots, area, digest):
        with pytest.raises(SnapshotException, match="isn't the digest of a snapshot"):
            snapshots.lay_out(digest, area / "out")

    @pytest.mark.parametrize(
        "damage", [lambda data: b"", lambda data: data[:-1], lambda data: bytes(len(data))]
    )
    def test_damaged_packs_are_named_and_mended(self, snapshots, store, digest, steps, area, damage):
        key = only(store, "packs/")
        overwrite(store, key, damage)
        with pytest.raises(SnapshotException, match=f"is damaged in object '{key}'"):
            snapshots.lay_out(digest, area / "out")
        assert list(area.iterdir()) == []
        snapshots.upload(scan_source(steps), repair=True)
        snapshots.lay_out(digest, area / "out")

    def test_missing_packs_are_named_and_mended(self, snapshots, store, digest, steps, area):
        store.delete(only(store, "packs/"))
        with pytest.raises(SnapshotException, match="of the workspace is gone"):
            snapshots.lay_out(digest, area / "out")
        assert list(area.iterdir()) == []
        snapshots.upload(scan_source(steps), repair=True)
        snapshots.lay_out(digest, area / "out")

    @pytest.mark.parametrize(
        "change",
        [
            lambda document: b"",
            lambda document: b"[]",
            lambda document: json.dumps(document | {"schema": 2}).encode(),
            lambda document: json.dumps(document | {"places": []}).encode(),
            lambda document: json.dumps(document | {"places": [[9, 0]] * 4}).encode(),
            lambda document: json.dumps(document | {"places": [[0, -1]] * 4}).encode(),
            lambda document: json.dumps(document | {"packs": ["../../../etc/passwd"]}).encode(),
            lambda document: json.dumps(document | {"hash_paths": document["tree"]}).encode(),
            lambda document: json.dumps(document | {"tree": None}).encode(),
        ],
    )
    def test_damaged_documents_are_refused(self, snapshots, store, digest, area, change):
        overwrite(store, only(store, "trees/"), lambda data: change(json.loads(data)))
        with pytest.raises(SnapshotException, match=f"snapshot {digest} (is damaged|holds another tree)"):
            snapshots.lay_out(digest, area / "out")
        assert list(area.iterdir()) == []

    def test_a_full_disk_leaves_nothing(self, snapshots, digest, area, monkeypatch):
        def full(descriptor, data):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(layout.os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            snapshots.lay_out(digest, area / "out")
        assert list(area.iterdir()) == []

    def test_short_writes_are_continued(self, snapshots, digest, area, monkeypatch):
        real = os.write
        monkeypatch.setattr(layout.os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:3]))
        snapshots.lay_out(digest, area / "out")
        assert hash_tree(area / "out").digest == digest


class TestHostileManifests:
    """A manifest may come from a store that others write to."""

    def lay_out(self, tmp_path, names, folders=()):
        content, folder = b"x", tmp_path / "in"
        folder.mkdir()
        (folder / "file").write_bytes(content)
        store = MemoryStore()
        snapshots = SnapshotStore(store)
        snapshots.upload(scan_source(folder))
        document = json.loads(store.get(only(store, "trees/")).data)
        sha256 = document["tree"]["files"][0][1]
        manifest = TreeManifest([FileDigest(name, sha256, 1, False) for name in names], folders)
        key = f"snapshots/trees/{manifest.digest[:2]}/{manifest.digest}.json"
        store.put(key, json.dumps(document | {"tree": manifest.to_document()}).encode())
        (tmp_path / "area").mkdir()
        snapshots.lay_out(manifest.digest, tmp_path / "area" / "out")

    @pytest.mark.parametrize(
        "name", ["../evil", "/tmp/evil", "a/../../evil", "", ".", "..", "a//b", "a/", "./a", "nul\0", "a/./b"]
    )
    def test_paths_that_leave_the_folder_are_refused(self, tmp_path, name):
        with pytest.raises(SnapshotException, match="may leave the folder"):
            self.lay_out(tmp_path, ["fine", name])
        assert list((tmp_path / "area").iterdir()) == []
        with pytest.raises(SnapshotException, match="may leave the folder"):
            self.lay_out(tmp_path / "area", ["fine"], [name])

    @pytest.mark.parametrize("names", [["a", "a/b"], ["a/b/c", "a/b"]])
    def test_a_path_cannot_be_file_and_folder(self, tmp_path, names):
        with pytest.raises(SnapshotException, match="both a file and a folder"):
            self.lay_out(tmp_path, names)
        assert list((tmp_path / "area").iterdir()) == []
