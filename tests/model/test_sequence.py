import pytest

from airflow_azureml.model.sequence import StepSequence
from airflow_azureml.runtime.exceptions import DefinitionError


class Step:
    def __init__(self, name):
        self.name = name


A, B, C, D, E = (Step(name) for name in "abcde")


def pairs(sequence):
    return {before.name + after.name for before, after in sequence.pairs()}


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (None, set()),
        ([], set()),
        ([A], set()),
        ([A, B, C], {"ab", "bc"}),
        ([A, [B, C], D], {"ab", "ac", "bd", "cd"}),
        ([[A, B], [C, D]], {"ac", "ad", "bc", "bd"}),
        ([A, [], B], {"ab"}),
        ([[], A], set()),
        ([A, [B, [C, D]], E], {"ab", "ac", "ad", "be", "ce", "de"}),
        ([A, StepSequence([B, C]), D], {"ab", "bc", "cd"}),
        ([A, [StepSequence([B, C]), D], E], {"ab", "ad", "bc", "ce", "de"}),
        ([StepSequence([]), A, B], {"ab"}),
        ((A, B), {"ab"}),
    ],
)
def test_every_item_runs_after_all_of_the_one_before(items, expected):
    assert pairs(StepSequence(items)) == expected


def test_the_caller_may_link_steps_in_its_own_way():
    links = []
    StepSequence([A, B]).connect(lambda before, after: links.append((before, after)))
    assert links == [(A, B)]


def test_its_steps_are_listed_in_order_each_once():
    assert StepSequence([A, [B, StepSequence([C, A])], D, B]).steps == [A, B, C, D]


def test_it_can_be_iterated_like_the_list_it_was_made_of():
    group = [B, C]
    assert list(StepSequence([A, group])) == [A, group]


@pytest.mark.parametrize("steps", ["ab", {"a": 1}, 5, A])
def test_steps_are_a_list(steps):
    with pytest.raises(DefinitionError, match=r"StepSequence: argument steps is an? "):
        StepSequence(steps)


@pytest.mark.parametrize("item", [None, "a", {}, set()])
def test_what_cannot_be_a_step_is_refused_with_its_place(item):
    with pytest.raises(DefinitionError, match=r"argument steps\[1\]"):
        StepSequence([A, item])
