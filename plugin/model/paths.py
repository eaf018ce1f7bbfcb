"""Places in datastores, as a DAG file declares them, and how they reach a step.

v1 source: ``azureml.data.data_reference`` (DataReference) and ``azureml.data.datapath`` (DataPath,
DataPathComputeBinding).
"""

from __future__ import annotations

import hashlib
import posixpath
from typing import Any

from airflow_azureml.model import names
from airflow_azureml.runtime.exceptions import DefinitionError, UserErrorException

__all__ = [
    "CONSUMPTION_MODES",
    "DATA_PLACEHOLDER",
    "DataPath",
    "DataPathComputeBinding",
    "DataReference",
    "check_choice",
    "datastore_name",
    "relative_path",
]

DATA_PLACEHOLDER = "$AZUREML_DATAREFERENCE_"
"""Starts the text that stands for the path of a PipelineData, DataReference or DataPath inside an argument."""

CONSUMPTION_MODES = ("mount", "download", "direct")
_REFERENCE_MODES = ("mount", "download", "upload")


def datastore_name(owner: str, datastore: object) -> str | None:
    """Return the name of a datastore given as an object, a name or None.

    :param owner: what it was given to, for the message.
    :param datastore: anything with a ``name``, or the name.
    :raises DefinitionError: it is neither.
    """
    if datastore is None:
        return None
    name = datastore if isinstance(datastore, str) else getattr(datastore, "name", None)
    if not isinstance(name, str) or not name:
        raise DefinitionError(
            f"{owner}: argument datastore is {datastore!r}; give a Datastore or the name of one"
        )
    return name


def relative_path(owner: str, argument: str, path: object) -> str:
    """Return a path on a datastore in its one spelling: relative, POSIX, no ``.`` parts, no slash at the end.

    :param owner: what it was given to, for the message.
    :param argument: the argument that holds it, for the message.
    :param path: text or None; a leading ``/`` or ``./`` is dropped as v1 did, None is the datastore's root.
    :raises DefinitionError: it is no text, or leads out of the datastore.
    """
    if path is None:
        return ""
    text = str(path).replace("\\", "/")
    parts = [part for part in text.split("/") if part not in {"", "."}]
    if ".." in parts or "\0" in text:
        raise DefinitionError(f"{owner}: argument {argument} is {path!r}; a path stays inside its datastore")
    return posixpath.join(*parts) if parts else ""


def check_choice(
    owner: str,
    argument: str,
    value: object,
    allowed: tuple[str, ...],
    error: type[UserErrorException] = DefinitionError,
) -> str:
    """Return a word that must be one of a few.

    :param owner: what it was given to, for the message.
    :param argument: the argument that holds it, for the message.
    :param value: the word.
    :param allowed: the words that are possible.
    :param error: class of the error; v1 raised different ones.
    :raises UserErrorException: it is another one.
    """
    if isinstance(value, str) and value in allowed:
        return value
    raise error(f"{owner}: argument {argument} is {value!r}; use one of {', '.join(map(repr, allowed))}")


def _stable_name(datastore: str, path: str) -> str:
    # v1 drew random names here and so made every such step look new; the path says the same each time.
    stem = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in datastore)
    return f"{stem}_{hashlib.sha256(path.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}" if path else stem


class DataReference:
    """A file or folder in a datastore, as a step input.

    :param datastore: Datastore object or name.
    :param data_reference_name: name of the input port; without it one is made from datastore and path.
    :param path_on_datastore: relative path, None for the whole datastore.
    :param mode: ``mount`` or ``download`` (v1's ``upload`` is accepted here and refused as a step input).
    :param path_on_compute: where the script finds it, None for a place of the run's choosing.
    :param overwrite: whether files already at ``path_on_compute`` are replaced.
    :raises UserErrorException: unknown mode. v1 source: ``azureml.data.data_reference.DataReference``.
    """

    def __init__(
        self,
        datastore: object,
        data_reference_name: str | None = None,
        path_on_datastore: str | None = None,
        mode: str = "mount",
        path_on_compute: str | None = None,
        overwrite: bool = False,
    ) -> None:
        name = datastore_name("DataReference", datastore)
        if name is None:
            raise DefinitionError(
                "DataReference: argument datastore is None; give a Datastore or the name of one"
            )
        self.datastore = datastore
        self.datastore_name = name
        self.path_on_datastore = relative_path("DataReference", "path_on_datastore", path_on_datastore)
        self.has_generated_name = data_reference_name is None
        if data_reference_name is None:
            data_reference_name = _stable_name(name, self.path_on_datastore)
        self.data_reference_name = names.check_output_name(
            "DataReference", "data_reference_name", data_reference_name
        )
        self.mode = check_choice("DataReference", "mode", mode, _REFERENCE_MODES, UserErrorException)
        self.path_on_compute = path_on_compute
        self.overwrite = overwrite

    @property
    def name(self) -> str:
        """Name of the input port."""
        return self.data_reference_name

    @property
    def arg_val(self) -> str:
        """Text that a step replaces by the local path, alone or inside a longer argument."""
        return DATA_PLACEHOLDER + self.data_reference_name

    def path(self, path: str | None = None, data_reference_name: str | None = None) -> DataReference:
        """Return a reference to something below this one.

        :param path: relative to this reference.
        :param data_reference_name: name of the new port.
        """
        below = "/".join(part for part in (self.path_on_datastore, path) if part)
        return DataReference(self.datastore, data_reference_name, below or None, mode=self.mode)

    def as_mount(self) -> DataReference:
        """Return a copy that is mounted."""
        return self._copy(mode="mount")

    def as_download(self, path_on_compute: str | None = None, overwrite: bool = False) -> DataReference:
        """Return a copy that is downloaded.

        :param path_on_compute: where to.
        :param overwrite: whether files already there are replaced (v1 dropped this in silence).
        """
        return self._copy(mode="download", path_on_compute=path_on_compute, overwrite=overwrite)

    def as_upload(self, path_on_compute: str | None = None, overwrite: bool = False) -> DataReference:
        """Return a copy in upload mode, for code that passes it on; a step refuses it as an input.

        :param path_on_compute: where the script writes.
        :param overwrite: whether files in the datastore are replaced.
        """
        return self._copy(mode="upload", path_on_compute=path_on_compute, overwrite=overwrite)

    def _copy(
        self, *, mode: str, path_on_compute: str | None = None, overwrite: bool | None = None
    ) -> DataReference:
        copy = DataReference(
            self.datastore,
            self.data_reference_name,
            self.path_on_datastore or None,
            mode,
            self.path_on_compute if path_on_compute is None else path_on_compute,
            self.overwrite if overwrite is None else overwrite,
        )
        copy.has_generated_name = self.has_generated_name
        return copy

    def __str__(self) -> str:
        """Return :attr:`arg_val`, so that text formatting works on it."""
        return self.arg_val


class DataPath:
    """A path in a datastore: the value of a PipelineParameter, or one half of an input.

    :param datastore: Datastore object or name.
    :param path_on_datastore: relative path.
    :param name: name of the input port; without it one is made from datastore and path.
    :raises DefinitionError: no datastore. v1 source: ``azureml.data.datapath.DataPath``.
    """

    def __init__(
        self, datastore: object = None, path_on_datastore: str | None = None, name: str | None = None
    ) -> None:
        store = datastore_name("DataPath", datastore)
        if store is None:
            raise DefinitionError("DataPath: argument datastore is None; give a Datastore or the name of one")
        self.datastore_name = store
        self.path_on_datastore = relative_path("DataPath", "path_on_datastore", path_on_datastore)
        self.has_generated_name = name is None
        self.name = names.check_output_name(
            "DataPath", "name", _stable_name(store, self.path_on_datastore) if name is None else name
        )

    def to_document(self) -> dict[str, str]:
        """Return what a parameter of this type has as its value: ``{"datastore", "path"}``."""
        return {"datastore": self.datastore_name, "path": self.path_on_datastore}

    @staticmethod
    def from_document(document: dict[str, Any]) -> DataPath:
        """Return the path that a parameter value stands for.

        :param document: as written by :meth:`to_document`.
        """
        return DataPath(document["datastore"], document["path"])

    def __str__(self) -> str:
        """Return the placeholder of its port; a step input is the pair of it and a DataPathComputeBinding."""
        return DATA_PLACEHOLDER + self.name


class DataPathComputeBinding:
    """How a DataPath reaches the compute; the second half of the pair in a step's ``inputs``.

    :param mode: ``mount``, ``download`` or ``direct``.
    :param path_on_compute: where the script finds it.
    :param overwrite: whether files already there are replaced.
    :raises DefinitionError: unknown mode. v1 source: ``azureml.data.datapath.DataPathComputeBinding``.
    """

    def __init__(
        self, mode: str = "mount", path_on_compute: str | None = None, overwrite: bool = False
    ) -> None:
        self.mode = check_choice("DataPathComputeBinding", "mode", mode, CONSUMPTION_MODES)
        self.path_on_compute = path_on_compute
        self.overwrite = overwrite
