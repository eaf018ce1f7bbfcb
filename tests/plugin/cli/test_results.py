"""``airflow azureml reuse list``, ``show``, ``invalidate``, ``verify`` and ``gc``."""

from dataclasses import replace
from textwrap import dedent

import pytest

from airflow_azureml.cli.collecting import parse_size
from airflow_azureml.reuse.entries import EntryStore

# What the libraries under Airflow warn of while a script runs is not ours.
pytestmark = pytest.mark.filterwarnings("ignore")

FIRST, SECOND = "manual__2026-11-22T09:14:00+00:00", "manual__2026-11-22T09:20:00+00:00"
"""The runs of the pipeline."""


def lines(text: str) -> str:
    return dedent(text).strip()


def test_results_are_listed_newest_first(terminal):
    assert terminal.told("list") == lines(f"""
        key           step        pipeline  run                                finished (UTC)       took   size  state  written by
        <begin>  train.py    diabetes  {SECOND}  <a day and a time>  <s>  18 B  live   lab
        <begin>  train.py    diabetes  {FIRST}  <a day and a time>  <s>  18 B  live   lab
        <begin>  prepare.py  diabetes  {FIRST}  <a day and a time>  <s>  0 B   live   lab
        3 results
    """)


def test_lists_are_narrowed(terminal):
    assert len(terminal.json("list", "--step", "train")) == 2
    assert len(terminal.json("list", "--step", "train.py", "--limit", "1")) == 1
    assert "the newest 1 of 2 results; --limit shows more" in terminal(
        "list", "--step", "train", "--limit", "1"
    )
    assert terminal.json("list", "--dag", "other") == []
    assert terminal("list", "--state", "quarantined") == "no results\n"
    terminal("invalidate", terminal.keys()["prepare.py"], "--reason", "wrong labels")
    assert [item["state_reason"] for item in terminal.json("list", "--state", "invalidated")] == [
        "wrong labels"
    ]


def test_a_result_is_shown_by_the_beginning_of_its_key(terminal):
    key = terminal.keys()["prepare.py"]
    shown = terminal.told("show", key[:12], "--users")
    assert shown.startswith(
        lines(f"""
        key         <key>
        state       live
        step        prepare.py of diabetes
        run         {FIRST}
        written by  lab
        finished    <a day and a time> UTC
        took        <s>
        size        0 B
        generation  1
        step run    <step run>

        outputs:
    """)
    )
    assert "  script       prepare.py" in shown
    assert shown.endswith(f"reused by:\n  diabetes  prepare.py  {SECOND}")


def test_a_shown_result_is_a_document(terminal):
    key = terminal.keys()["train.py"]
    document = terminal.json("show", key)
    assert document["key"] == key
    assert document["entry"]["step_name"] == "train.py"
    assert document["action"]["parameters"]["alpha"]["value"] == "0.7"
    assert [entry["generation"] for entry in document["generations"]] == [1]
    assert "reused_by" not in document


def test_a_key_has_to_be_told_from_others(terminal):
    entries = EntryStore(terminal.workspace.store)
    entry = entries.find(terminal.keys()["train.py"])
    for end in ("0", "1"):
        entries.remember(replace(entry, key=f"{entry.key[:-1]}{end}"), replaces=None)
    code, said = terminal.fails("show", entry.key[:20])
    assert code == 1
    assert "keys begin with" in said


def test_an_invalidated_result_is_computed_again(terminal):
    said = terminal.told("invalidate", "--dag", "diabetes", "--step", "prepare", "--reason", "wrong labels")
    assert said.endswith("1 result invalidated; the next run that needs one computes it again")
    assert (
        terminal.told("plan", "diabetes")
        .splitlines()[1]
        .startswith(
            f"prepare  run       the result of run {FIRST} was invalidated by ada at lab: wrong labels"
        )
    )
    key = terminal.keys()["prepare.py"]
    assert terminal("invalidate", key, "--reason", "again") == "it was invalidated before\n"


def test_what_came_out_of_a_result_goes_with_it(terminal):
    key = terminal.keys()["prepare.py"]
    found = terminal.json("invalidate", key, "--downstream", "--reason", "wrong labels")
    assert [(item["step_name"], item["because_of"]) for item in found] == [
        ("prepare.py", None),
        ("train.py", key),
        ("train.py", key),
    ]


def test_outputs_are_verified(terminal):
    assert terminal.told("verify") == "3 results looked at (digest, 36 B): 3 good"
    assert terminal.told("verify", "--full", terminal.keys()["train.py"][:12]) == (
        "1 result looked at (every byte, 18 B): 1 good"
    )
    terminal.damage("train.py")
    assert terminal.told("verify", "--level", "size") == lines(f"""
        key           step      pipeline  run                                problem                                set aside
        <begin>  train.py  diabetes  {SECOND}  output scored is not what was written  yes
        3 results looked at (size, 36 B): 2 good, 1 not what was written, 1 set aside
    """)
    assert "2 results looked at (digest, 18 B): 2 good; 1 don't count anyway" in terminal("verify")
    assert [item["state"] for item in terminal.json("list", "--state", "quarantined")] == ["quarantined"]


def test_garbage_is_shown_and_stays_until_it_is_to_be_deleted(terminal):
    assert terminal.told("gc") == "nothing to delete; 3 results (36 B) would stay"
    key = terminal.keys()["train.py"]
    terminal("invalidate", key, "--reason", "wrong labels")
    ages = ["--keep-runs", "0s", "--grace", "0s"]
    shown = terminal("gc", *ages)
    assert "would be deleted; 2 results (18 B) would stay; nothing was changed, --delete does it" in shown
    assert "it was invalidated" in shown
    assert terminal("gc", *ages, "--dry-run") == shown
    assert key in terminal.keys().values()
    assert "deleted" in terminal("gc", *ages, "--delete").splitlines()[-1]
    assert key not in terminal.keys().values()
    assert "2 of 2 steps reused" in terminal("plan", "diabetes")


def test_a_quota_takes_results(terminal):
    ages = ["--keep-runs", "0s", "--grace", "0s"]
    document = terminal.json("gc", *ages, "--quota", "20B")
    assert document["kinds"]["entry"]["count"] == 1
    assert document["limits"]["quota_bytes"] == 20


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("1024", 1024), ("50GB", 50 * 10**9), ("1.5 GiB", 3 * 2**29), ("7k", 7000), ("2TB", 2 * 10**12)],
)
def test_sizes_are_read(text, size_bytes):
    assert parse_size(text) == size_bytes
