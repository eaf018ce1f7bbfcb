"""How documentation pages are read: ``docs/check.py`` is worth what this is worth."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("documentation_pages", REPOSITORY / "docs/pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_block_knows_its_language_attributes_and_place(pages: ModuleType) -> None:
    (block,) = pages.blocks_of('text\n\n```python title="dags/a b.py" run="a"\nx = 1\n```\n')

    assert (block.line, block.language, block.text) == (3, "python", "x = 1\n")
    assert block.attributes == {"title": "dags/a b.py", "run": "a"}


def test_output_of_the_block_above_is_marked(pages: ModuleType) -> None:
    shown, output = pages.blocks_of("```text\na\n```\n```text output\nb\n```\n")

    assert (shown.is_output, output.is_output) == (False, True)


def test_a_longer_fence_may_hold_a_shorter_one(pages: ModuleType) -> None:
    (block,) = pages.blocks_of("````\n```python\n```\n````\n")

    assert block.text == "```python\n```\n"


def test_a_block_without_an_end_is_an_error(pages: ModuleType) -> None:
    with pytest.raises(pages.Wrong, match="line 2"):
        pages.blocks_of("text\n```python\n")


def test_a_console_block_is_commands_each_with_its_output(pages: ModuleType) -> None:
    assert list(pages.commands_of("$ one \\\n  more\nout\n\nout\n$ two\n")) == [
        ("one \\\n  more", "out\n\nout\n"),
        ("two", ""),
    ]


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ("same\n", "same  \n\n"),
        ("saved 8.4 s", "saved 12 s"),
        (
            "in run manual__2026-11-23T18:24:02.674583+00:00: same",
            "in run manual__2027-01-01T00:00:00+00:00: same",
        ),
        ("id 0ee83b54-36f8-50f0-b897-cd706032c9d8", "id 70f33304-523a-59c7-a5e3-18730c9891cc"),
        ("(f088ddca → ef614dfb)", "(12345abc → 00000000a)"),
        ("rmse 62.37…", "rmse 62.37352477085918"),
        ("step   took\ntrain  0.4 s", "step     took\ntrain  12.4 s"),
        ("12 min old", "45 s old"),
        ("first\n…\nlast", "first\n1\n2\nlast"),
        ("first\n…\nlast", "first\nlast"),
    ],
)
def test_output_fits_where_only_what_varies_differs(pages: ModuleType, expected: str, found: str) -> None:
    assert pages.fits(expected, found)


@pytest.mark.parametrize(
    ("expected", "found"),
    [("one", "two"), ("one", "one\ntwo"), ("one\ntwo", "one"), ("a.c", "abc"), ("rows 442", "rows 443")],
)
def test_output_does_not_fit_where_anything_else_differs(
    pages: ModuleType, expected: str, found: str
) -> None:
    assert not pages.fits(expected, found)


def test_links_to_files_and_headings_are_followed(pages: ModuleType, tmp_path: Path) -> None:
    page, other = tmp_path / "page.md", tmp_path / "other.md"
    other.write_text("# Other `x`, and more\n\n```\n# no heading\n```\n")
    page.write_text(
        "# A page\n[a](#a-page) [b](other.md#other-x-and-more) [web](https://example.com/x)\n"
        "[c](gone.md) [d](other.md#no-heading)\n```\n[e](in-code.md)\n```\n"
    )

    assert pages.broken_links(page) == ["gone.md does not exist", "other.md#no-heading: no such heading"]


def test_headings_of_the_same_words_get_numbered_anchors(pages: ModuleType) -> None:
    assert pages.anchors_of("# Limits\n## Limits\n") == {"limits", "limits-1"}


def test_a_line_holds_one_sentence(pages: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("One. Two.\nOne sentence.\n| a cell. Another |\n```\nOne. Two.\n```\n")

    assert pages.crowded_lines(page) == ["line 1: more than one sentence on a line"]
