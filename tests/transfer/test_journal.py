"""What transfers have done, kept between them."""

import pytest

from airflow_azureml.transfer import journal as module
from airflow_azureml.transfer.journal import Journal, JournalEntry
from airflow_azureml.workspace.memory_store import MemoryStore


def entry(path: str, target: str = "t1") -> JournalEntry:
    return JournalEntry(path, "s1", target, None)


def test_entries_come_back_in_the_order_of_their_writing() -> None:
    store = MemoryStore()
    Journal(store, "transfers/k").append([entry("b"), entry("a", "old")])
    Journal(store, "transfers/k").append([entry("a", "new")])

    assert list(Journal(store, "transfers/k").read()) == [entry("b"), entry("a", "old"), entry("a", "new")]


def test_journals_of_other_transfers_are_not_read() -> None:
    store = MemoryStore()
    Journal(store, "transfers/k").append([entry("a")])

    assert list(Journal(store, "transfers/kk").read()) == []


def test_many_entries_become_several_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENTRIES_PER_OBJECT", 10)
    store = MemoryStore()
    Journal(store, "j").append(entry(str(number)) for number in range(25))

    assert len(list(store.list("j/"))) == 3
    assert [found.path for found in Journal(store, "j").read()] == [str(number) for number in range(25)]


def test_many_small_objects_are_gathered_into_one() -> None:
    store = MemoryStore()
    journal = Journal(store, "j")
    for number in range(20):
        journal.append([entry(str(number))])

    journal.gather([entry("1"), entry("2")], 2)

    assert [found.path for found in journal.read()] == ["1", "2"]
    assert len(list(store.list("j/"))) == 1


def test_few_objects_are_left_as_they_are() -> None:
    store = MemoryStore()
    journal = Journal(store, "j")
    journal.append([entry("a")])
    journal.gather([entry("a")], 1)

    assert len(list(store.list("j/"))) == 1


def test_a_damaged_line_costs_only_itself() -> None:
    store = MemoryStore()
    journal = Journal(store, "j")
    journal.append([entry("a")])
    store.put("j/99999999999999999999-x", b'["b", "s1"\n["c", "s1", "t1", null]\n[1]\n"text"\n')

    assert [found.path for found in journal.read()] == ["a", "c"]


def test_a_name_that_is_not_unicode_is_kept() -> None:
    journal = Journal(MemoryStore(), "j")
    journal.append([entry("bad\udcff")])

    assert [found.path for found in journal.read()] == ["bad\udcff"]
