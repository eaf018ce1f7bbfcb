import pytest

from airflow_azureml.model.status import RunStatus
from airflow_azureml.runtime.exceptions import UserErrorException


def test_the_words_are_those_of_v1():
    assert {status.value for status in RunStatus} == {
        "NotStarted", "Queued", "Preparing", "Running", "Finished", "Failed", "Canceled", "CancelRequested",
    }  # fmt: skip


@pytest.mark.parametrize("status", list(RunStatus))
def test_every_word_parses_to_its_status(status):
    assert RunStatus.parse(status.value) is status


@pytest.mark.parametrize("word", ["finished", "Done", "", "Bypassed"])
def test_an_unknown_word_is_refused_with_the_known_ones(word):
    with pytest.raises(UserErrorException, match="known are NotStarted"):
        RunStatus.parse(word)


def test_only_three_states_are_terminal():
    assert {status for status in RunStatus if status.is_terminal} == {
        RunStatus.FINISHED,
        RunStatus.FAILED,
        RunStatus.CANCELED,
    }
