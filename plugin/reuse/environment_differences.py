"""What changed in the environment of a step, down to packages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from airflow_azureml.model.requirements import package_name
from airflow_azureml.reuse.difference import NOTHING, Difference, changed
from airflow_azureml.reuse.reasons import ReasonCode

Specification = Mapping[str, Any]


def environment_differences(
    before: str, after: str, old: Specification | None, new: Specification | None
) -> list[Difference]:
    """Return what changed in an environment.

    :param before: what the earlier environment is known by.
    :param after: what that of this run is known by.
    :param old: what the earlier one is made of, ``None`` when it didn't count; values of variables are digests.
    :param new: what that of this run is made of.
    """
    if before == after:
        return []
    found = list(_policy(old, new))
    if old is not None and new is not None:
        found += [*_python(old, new), *_packages(old, new), *_rest(old, new)]
    return found or [_unnamed(before, after, new)]


def _unnamed(before: str, after: str, new: Specification | None) -> Difference:
    if new is not None and new["user_managed"]:
        what = f"environment: what is installed beside the interpreter {new['interpreter_path']} changed"
        return Difference(ReasonCode.ENVIRONMENT, what)
    return Difference(
        ReasonCode.ENVIRONMENT, f"the environment changed ({before[:8]} → {after[:8]})", before, after
    )


def _policy(old: Specification | None, new: Specification | None) -> Iterator[Difference]:
    yield from _one("what counts of it (env)", _counting(old), _counting(new))


def _counting(specification: Specification | None) -> str:
    if specification is None:
        return "off"
    return "strict" if "platform" in specification else "declared"


def _python(old: Specification, new: Specification) -> Iterator[Difference]:
    yield from _one("Python", *(item["python_version"] for item in (old, new)))
    yield from _one("interpreter", *(item["interpreter_path"] for item in (old, new)))
    if "platform" in old and "platform" in new:
        yield from _one("platform", old["platform"], new["platform"])


def _packages(old: Specification, new: Specification) -> Iterator[Difference]:
    declared = False
    for field in ("pip", "conda"):
        for item in _lines(old[field], new[field]):
            declared = True
            yield item
    # Exact versions follow from what is declared; they are a reason of their own when that is the same.
    if not declared and "packages" in old and "packages" in new:
        yield from _lines(old["packages"] or (), new["packages"] or ())


def _lines(old: Iterable[str], new: Iterable[str]) -> Iterator[Difference]:
    """Compare requirement lines package by package."""
    before, after = _by_package(old), _by_package(new)
    for name in sorted({*before, *after}):
        if before.get(name) == after.get(name):
            continue
        if name not in before:
            yield _said(f"{after[name]} is new")
        elif name not in after:
            yield _said(f"{before[name]} is gone")
        else:
            yield changed(ReasonCode.ENVIRONMENT, "environment", before[name], after[name])


def _by_package(lines: Iterable[str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for line in lines:
        found.setdefault(package_name(line) or line, []).append(line)
    return {name: ", ".join(sorted(texts)) for name, texts in found.items()}


def _rest(old: Specification, new: Specification) -> Iterator[Difference]:
    before, after = old["environment_variables"], new["environment_variables"]
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            verb = "is new" if name not in before else "is gone" if name not in after else "changed"
            yield _said(f"variable {name} {verb}")
    image, other = old["image"] or {}, new["image"] or {}
    yield from _one("image", image.get("base_image"), other.get("base_image"))
    if image.get("base_dockerfile") != other.get("base_dockerfile"):
        yield _said("the Dockerfile changed")
    yield from _one("conda channels", *(", ".join(item["conda_channels"]) for item in (old, new)))
    for name in sorted({*old["index"], *new["index"]}):
        yield from _one(f"package {name}", *(_text(item["index"].get(name)) for item in (old, new)))


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else "" if value in (None, False) else str(value)


def _one(label: str, before: str | None, after: str | None) -> Iterator[Difference]:
    if before != after:
        yield changed(ReasonCode.ENVIRONMENT, f"environment: {label}", before or NOTHING, after or NOTHING)


def _said(what: str) -> Difference:
    return Difference(ReasonCode.ENVIRONMENT, f"environment: {what}")
