"""Write the configuration reference from the declared options.

``python docs/generate.py`` writes ``docs/configuration.md``; with ``--check`` it says whether the file is up to date.
"""

import re
import sys
from pathlib import Path

from airflow_azureml.provider_info import OPTIONS

PAGE = Path(__file__).with_name("configuration.md")

INTRODUCTION = """\
<!-- Written by docs/generate.py from plugin/provider_info.py; change it there. -->
# Configuration

Options of the section `[azureml]` of `airflow.cfg`.
Each can also be set as an environment variable, `AIRFLOW__AZUREML__<NAME>`, and has a default that works on one machine.
A process reads an option once; restart Airflow after a change.

| option | type | default |
|---|---|---|
"""


def page() -> str:
    """Return the text of the configuration reference."""
    rows = [
        f"| [`{name}`](#{name}) | {option['type']} | {code(option['default'])} |"
        for name, option in OPTIONS.items()
    ]
    sections = [
        f"\n## {name}\n\n{prose(option['description'])}\n\n"
        f"- Default: {code(option['default'])}\n"
        f"- Example: {code(option['example'])}\n"
        f"- Environment variable: `AIRFLOW__AZUREML__{name.upper()}`\n"
        for name, option in OPTIONS.items()
    ]
    return INTRODUCTION + "\n".join(rows) + "\n" + "".join(sections)


def prose(text: str) -> str:
    """Return a description as Markdown, a sentence to a line."""
    return re.sub(r"([a-z)`][.!?]) (?=[A-Z])", r"\1\n", text.replace("``", "`"))


def code(value: str) -> str:
    """Return a value as Markdown code."""
    return f"`{value}`" if value else "empty"


def main() -> int:
    """Write or check the page; return the exit code."""
    if "--check" in sys.argv[1:]:
        if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page():
            return 0
        print(f"{PAGE} is not up to date; run: make docs")
        return 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
