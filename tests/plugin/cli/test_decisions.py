"""``airflow azureml reuse plan``, ``explain`` and ``stats``, and what all commands have in common."""

import json
import re
import shutil
import sys
from textwrap import dedent

import pytest
import yaml

from airflow_azureml import config
from airflow_azureml.compute.identity import StepIdentity
from airflow_azureml.compute.records import finish, new_pipeline_record, new_step_record
from airflow_azureml.model.status import RunStatus
from airflow_azureml.reuse.entries import EntryStore

# What the libraries under Airflow warn of while a script runs is not ours.
pytestmark = pytest.mark.filterwarnings("ignore")

FIRST, SECOND = "manual__2026-11-22T09:14:00+00:00", "manual__2026-11-22T09:20:00+00:00"
"""The runs of the pipeline."""


def lines(text: str) -> str:
    return dedent(text).strip()


def test_a_plan_says_what_is_reused_and_what_runs(terminal):
    terminal.change_script("train.py")
    assert terminal.told("plan", "diabetes") == lines("""
        step     decision  because                           would take  saves
        prepare  reuse     same code, inputs and parameters  –           <s>
        train    run       diabetes_steps/train.py changed   ~<s>      –
        1 of 2 steps reused, about <s> instead of <s>
    """)


def test_a_plan_takes_values_of_parameters(terminal):
    assert terminal.told("plan", "diabetes", "alpha=0.9").splitlines()[2] == (
        "train    run       parameter alpha: 0.7 → 0.9        ~<s>      –"
    )
    assert terminal.told("plan", "diabetes", "alpha=0.70").splitlines()[-1] == (
        "2 of 2 steps reused, about <s> instead of <s>"
    )


def test_a_plan_of_a_pipeline_that_never_ran_has_no_times(terminal):
    shutil.rmtree(terminal.home / "workspace")
    assert terminal.told("plan", "diabetes") == lines("""
        step     decision  because                                                           would take  saves
        prepare  run       ran for the first time                                            ?           –
        train    depends   prepare has to run first; reused if it writes the same as before  ?           –
        0 of 2 steps reused; how long 2 steps would take is not known
    """)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--regenerate", "all"], ["run", "run"]),
        (["--regenerate", "train"], ["reuse", "run"]),
        (["--regenerate", "prepare"], ["run", "depends"]),
        (["--regenerate", "prepare", "--downstream"], ["run", "run"]),
        (["--max-staleness", "0s"], ["run", "depends"]),
        (["--max-staleness", "7d"], ["reuse", "reuse"]),
        (["--reuse", "off"], ["run", "run"]),
    ],
)
def test_a_plan_takes_the_controls_of_a_run(terminal, options, expected):
    planned = terminal.json("plan", "diabetes", *options)
    assert [step["decision"] for step in planned["steps"]] == expected


def test_a_pipeline_in_a_file_of_its_own_can_be_planned(terminal, tmp_path):
    shutil.copytree(terminal.dags, tmp_path / "elsewhere")
    (terminal.dags / "diabetes.py").unlink()
    code, said = terminal.fails("plan", "diabetes")
    assert (code, said) == (
        1,
        "error: there is no pipeline 'diabetes' in the DAG bundles of this Airflow (pipelines)\n",
    )
    file = str(tmp_path / "elsewhere" / "diabetes.py")
    assert "2 of 2 steps reused" in terminal("plan", "diabetes", "--dagfile-path", file)


def test_why_a_pipeline_cannot_be_read_is_said(terminal):
    (terminal.dags / "diabetes_steps" / "train.py").unlink()
    code, said = terminal.fails("plan", "diabetes")
    assert code == 1
    assert said.startswith("error: pipeline 'diabetes' cannot be read: ")
    assert "script 'train.py' is not in the source directory" in said


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["plan", "diabetes", "alpah=0.7"], 1, "parameter 'alpah' is not one of: alpha (float, default 0.5)"),
        (["plan", "diabetes", "alpha=much"], 1, "parameter 'alpha' is 'much' (str); expected a finite float"),
        (
            ["plan", "diabetes", "alpha"],
            2,
            "'alpha' is no value of a parameter; write name=value, such as alpha=0.7",
        ),
        (["plan", "diabetes", "alpha=1", "alpha=2"], 2, "parameter 'alpha' is given twice"),
        (
            ["plan", "diabetes", "--downstream"],
            2,
            "--downstream says more about --regenerate, which is missing",
        ),
        (["plan", "diabetes", "--regenerate", "tran"], 1, "has no step 'tran' to regenerate"),
        (["plan", "diabetes", "--max-staleness", "soon"], 1, "max_staleness: 'soon' is no time span"),
        (["plan", "diabetes", "-B", "other"], 2, "there is no DAG bundle 'other'; there are pipelines"),
        (["plan", "diabetes", "-f", "nowhere.py"], 2, "there is no file 'nowhere.py'"),
        (
            ["explain", "diabetes", "never", "train"],
            1,
            "the workspace knows no run 'never' of pipeline 'diabetes'",
        ),
        (
            ["explain", "diabetes", FIRST, "tran"],
            1,
            "no step 'tran' has started in that run; started have prepare, train",
        ),
        (["show", "zz"], 1, "'zz' is no key; `airflow azureml reuse list` shows the keys"),
        (["show", "0" * 64], 1, "no result has a key that begins with"),
        (["invalidate", "--reason", "x"], 2, "give the key of a result, or --dag and --step"),
        (["invalidate", "ab", "--dag", "d", "--reason", "x"], 2, "give a key, or --dag and --step, not both"),
        (
            ["invalidate", "--dag", "d", "--step", "s", "--reason", "x"],
            1,
            "step 's' of pipeline 'd' has no live result",
        ),
        (["gc", "--delete", "--dry-run"], 2, "--delete and --dry-run say the opposite of each other"),
        (["gc", "--quota", "much"], 2, "'much' is no size; write 50GB, 50GiB or a number of bytes"),
        (["stats", "--since", "soon"], 1, "'soon' is no time span"),
        (["list", "--workspace", "s3://nowhere"], 1, "s3://nowhere"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(terminal, words, code, said):
    ended, error = terminal.fails(*words)
    assert ended == code
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error


@pytest.mark.parametrize(
    "words", [["plan"], ["invalidate", "ab"], ["list", "--limit", "0"], ["list", "--state", "new"]]
)
def test_wrong_usage_is_2(terminal, words):
    assert terminal.fails(*words)[0] == 2


def test_what_nobody_expected_is_said_in_one_sentence_too(terminal, monkeypatch):
    def broken(*_: object) -> None:
        raise KeyError("outputs")

    monkeypatch.setattr(EntryStore, "look", broken)
    assert terminal.fails("list") == (1, "error: KeyError: 'outputs'; --verbose shows where\n")
    with pytest.raises(KeyError):
        terminal("list", "--verbose")


def test_why_a_step_ran_is_explained(terminal):
    assert terminal.told("explain", "diabetes", SECOND, "train") == lines(f"""
        train in run {SECOND}: ran again because parameter alpha: 0.5 → 0.7 (last used in run {FIRST})

        decision  run
        reasons   parameter
        key       <key>
        step run  <step run>

        differences from the nearest earlier run:
          parameter  parameter alpha: 0.5 → 0.7
    """)


def test_where_a_reused_result_is_from_is_explained(terminal):
    for step in ("prepare", "prepare.py"):
        assert terminal.told("explain", "diabetes", SECOND, step) == lines(f"""
            prepare in run {SECOND}: reused the result of run {FIRST}: same code, inputs and parameters; saved <s>

            decision    reuse
            reasons     hit
            key         <key>
            origin      run {FIRST} of diabetes, <a day and a time>
            written by  lab
            saved       <s>
            step run    <step run>
        """)


def test_changed_files_are_named(terminal):
    terminal.change_script("train.py")
    terminal.run("later", alpha=0.7)
    shown = terminal("explain", "diabetes", "later", "train")
    assert "    changed: diabetes_steps/train.py" in re.sub(" {4,}", "    ", shown)


def test_runs_of_another_airflow_are_found_by_its_name(terminal, azureml_options):
    azureml_options.setenv("AIRFLOW__AZUREML__DEPLOYMENT", "laptop")
    config.forget()
    assert terminal.fails("explain", "diabetes", SECOND, "train")[0] == 1
    assert "parameter alpha" in terminal("explain", "diabetes", SECOND, "train", "--deployment", "lab")


def test_a_step_that_ended_before_a_decision_is_no_puzzle(terminal):
    identity = StepIdentity(
        "lab", "diabetes", "broken", "train", -1, 2, "train", "PythonScriptStep", "diabetes"
    )
    terminal.workspace.runs.create_pipeline_run(new_pipeline_record(identity, {}, None))
    record = new_step_record(identity)
    finish(record, RunStatus.FAILED, "input missing")
    terminal.workspace.runs.write_step(record)
    assert terminal("explain", "diabetes", "broken", "train").strip() == (
        "train in run broken, try 2: nothing was decided, the step ended before (Failed)"
    )


def test_what_reuse_has_brought_is_counted(terminal):
    assert terminal.told("stats") == lines("""
        pipeline  step        reused  ran  share  saved  waited  ran for  bytes  differed  ran because
        diabetes  prepare.py  1       1    50%    <s>  <s>   <s>    0 B    0         new 1
        diabetes  train.py    0       2    0%     <s>  <s>   <s>    0 B    0         new 1, parameter 1
        1 of 4 step runs reused (25%), <s> and 0 B saved, <s> waited
    """)
    assert list(terminal.json("stats", "--step", "train")["steps"][0].values())[:2] == [
        "diabetes",
        "train.py",
    ]
    assert terminal("stats", "--dag", "other") == "no step has run in that time\n"
    assert terminal("stats", "--since", "0s") == "no step has run in that time\n"


COMMANDS = [
    ["plan", "diabetes"],
    ["explain", "diabetes", SECOND, "train"],
    ["list"],
    ["show", "KEY"],
    ["invalidate", "KEY", "--reason", "x"],
    ["verify"],
    ["gc"],
    ["stats"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
@pytest.mark.parametrize("output", ["json", "yaml", "plain", "table"])
def test_every_command_has_every_form(terminal, words, output):
    key = terminal.keys()["train.py"]
    printed = terminal(*(key if word == "KEY" else word for word in words), "--output", output)
    if output in ("json", "yaml"):
        assert (json.loads if output == "json" else yaml.safe_load)(printed)
    elif output == "plain" and words[0] not in ("verify", "gc"):
        # One table and nothing else.
        assert len(printed.splitlines()) >= 2
        assert "steps reused" not in printed


def test_at_a_terminal_long_cells_are_wrapped(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    printed = terminal("plan", "diabetes", "alpha=0.9")
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in printed.splitlines()[:-1]) <= 60
