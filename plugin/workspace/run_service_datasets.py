"""``dataset.*``: definitions of datasets and their names."""

from __future__ import annotations

from typing import Any

from airflow_azureml.runtime.dataset.resolve import files_document
from airflow_azureml.runtime.exceptions import AzureMLException
from airflow_azureml.workspace.dataset_content import DatasetContent, save_content
from airflow_azureml.workspace.run_service_base import Family, document

Document = dict[str, Any]


class DatasetMethods(Family):
    """Methods on datasets; definitions are documents of ``airflow_azureml.runtime.dataset``."""

    def files(self, definition: dict[str, Any], fetch: bool = True, first: int | None = None) -> Document:
        """Return the files a definition means, as they lie on this machine.

        :param fetch: whether remote ones are brought here; else only what their stores say of them counts.
        :param first: only so many, and none that is empty.
        """
        # Private to its owner: what is written there is somebody's data.
        scratch = str(self._state.staging.folder("datasets"))
        return files_document(definition, self._context.data, scratch, fetch=fetch, first=first)

    def save(self, definition: dict[str, Any]) -> str:
        """Keep a definition and return its id."""
        return self._workspace.datasets.save(definition)

    def get(self, id: str) -> Document:  # noqa: A002 - the parameter's name on the wire, v1's word
        """Return the definition of that id."""
        return self._workspace.datasets.get(id)

    def get_by_name(self, name: str, version: int | None = None) -> Document:
        """Return a version of a registered dataset; the newest when none is named."""
        return document(self._workspace.datasets.get_by_name(name, version, self._context.viewer))

    def list(self) -> Any:
        """Return the newest version of every registered dataset."""
        return [document(record) for record in self._workspace.datasets.list(self._context.viewer)]

    def versions(self, name: str) -> Any:
        """Return all versions of a registered dataset, oldest first."""
        return [document(record) for record in self._workspace.datasets.versions(name, self._context.viewer)]

    def register(
        self,
        name: str,
        definition: dict[str, Any],
        description: str | None = None,
        tags: dict[str, Any] | None = None,
        create_new_version: bool = False,
    ) -> Document:
        """Give a definition a name, with a digest of what its files contain now."""
        record = self._workspace.datasets.register(
            name,
            definition,
            fingerprint=self._fingerprint(definition),
            description=description,
            tags=tags,
            create_new_version=create_new_version,
            pending_run=self._state.pending_run,
        )
        self._state.add_registration("dataset", record.name, record.version, record.id)
        return document(record)

    def update(
        self,
        name: str,
        version: int | None = None,
        description: str | None = None,
        tags: dict[str, Any] | None = None,
        add_tags: dict[str, Any] | None = None,
        remove_tags: Any = (),
    ) -> Document:
        """Change description and tags of a version."""
        record = self._workspace.datasets.update(
            name,
            version,
            description=description,
            tags=tags,
            add_tags=add_tags,
            remove_tags=[str(tag) for tag in remove_tags],
            viewer_run=self._context.viewer,
        )
        return document(record)

    def unregister(self, name: str) -> None:
        """Forget all versions of a name; data and saved definitions stay."""
        self._workspace.datasets.unregister(name)

    def _fingerprint(self, definition: Document) -> str | None:
        try:
            content = DatasetContent.of(self._context.data.list_files(definition))
        except (AzureMLException, OSError):
            # Registering doesn't need the data: it may be out of reach, or not be there yet.
            return None
        return save_content(self._workspace.store, content)
