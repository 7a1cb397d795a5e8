"""Where the production of each dbt project is in a state store: an owner in, a store of its own out.

artifacts/, history/                             the root: the installation's own project on its own target
projects/<project>/<target>/artifacts/, history/ the same for every other project and target
projects/<project>/<target>-<hash>/              where the name is taken by a project of another source or adapter
…/artifacts/project.json                         whose this is; written once, before the first publication

`<target>` is the name of the output in the dbt profile. Locks and saved runs belong to no project and stay at the root.
What earlier versions published at the root has no project.json. It stays with the project, target and adapter that its
log names, so an upgrade moves nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flow_of_flows.dbt.state import saved_runs
from flow_of_flows.dbt.state.publications import LOG, DamagedError, Identity, Publication, identity
from flow_of_flows.dbt.state.publishing import ATTEMPTS, crowded, read_log, whole
from flow_of_flows.dbt.state.store import Store, Subfolder
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.messages import did_you_mean

MARK = "artifacts/project.json"
MANIFEST = f"artifacts/{saved_runs.MANIFEST}"
FOLDER = "projects"
# How many saved runs tell how long a node takes.
RECENT = 10


class Owner(BaseModel):
    """One dbt project on one target: what has a production of its own."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    project: str
    target: str = Field(description="Name of the output in the profile.")
    adapter: str
    source: str = Field(default="", description="Folder or repository; empty for the installation's own project.")
    is_default: bool = Field(
        default=False, exclude=True, description="The installation's own project on its own target: the root is its."
    )

    @property
    def folder(self) -> str:
        """Where its production is, unless it is at the root."""
        return f"{FOLDER}/{_name(self.project)}/{_name(self.target)}"

    @property
    def own_folder(self) -> str:
        """Where its production is if another source or adapter has the folder."""
        digest = hashlib.sha256(f"{self.source}\0{self.adapter}".encode()).hexdigest()
        return f"{self.folder}-{digest[:8]}"

    def is_same(self, other: Owner) -> bool:
        """Return whether both have the same production."""
        return self.model_dump() == other.model_dump()

    def published(self, publication: Publication) -> bool:
        """Return whether a publication is of this project, adapter and target, whatever its source."""
        return _owner_of(publication).model_copy(update={"source": self.source}).is_same(self)


@dataclass(frozen=True)
class ProjectState:
    """What a state store has of one project on one target.

    Attributes:
        store: the part of the state store with its artifacts and its history.
        folder: where that is in the state store; empty for the root.
        owner: whose it is; None for artifacts that do not say.
    """

    store: Store
    folder: str
    owner: Owner | None

    @property
    def title(self) -> str:
        """Name it for a sentence."""
        if self.owner is None:
            return "a project without a name"
        source = f" ({self.owner.source})" if self.owner.source else ""
        return f"{self.owner.project} on {self.owner.target}{source}"

    @property
    def names(self) -> tuple[str, ...]:
        """What a person may call it, the unambiguous name last."""
        if self.owner is None:
            return (self.folder,)
        project, target = self.owner.project, self.owner.target
        return project, self.owner.source or project, f"{project}/{target}", self.folder or f"{project}/{target}"


def find(store: Store, owner: Owner) -> Store:
    """Return where the production of an owner is, or will be.

    Args:
        store: the whole state store.
        owner: the project and target.
    """
    if _is_root(store, owner):
        return store
    plain = Subfolder(store, owner.folder)
    is_free = plain.look(MARK) is None
    return plain if is_free or _is_of(plain, owner) else Subfolder(store, owner.own_folder)


def claim(store: Store, owner: Owner) -> Store:
    """Return where the production of an owner is, marked as its own.

    Args:
        store: the whole state store.
        owner: the project and target.

    Raises:
        PlatformError: too many others write at the same time.
    """
    for _ in range(ATTEMPTS):
        found = find(store, owner)
        if found.look(MARK) is not None or found.replace(MARK, owner.model_dump_json().encode(), None):
            return found
    raise crowded(store)


def base(store: Store, owner: Owner) -> Store:
    """Return where the artifacts are that a run of an owner compares with.

    They are its own. A target without any is compared with the project's production at the root, else with the
    project's only other target.

    Args:
        store: the whole state store.
        owner: the project and target.
    """
    own = find(store, owner)
    if own.look(LOG) is not None or own.look(MANIFEST) is not None:
        return own
    others = [each for each in listed(store) if each.owner is not None and _is_sibling(each.owner, owner)]
    at_root = [each for each in others if not each.folder]
    candidates = at_root or others
    return candidates[0].store if len(candidates) == 1 else own


def listed(store: Store) -> tuple[ProjectState, ...]:
    """Return everything that has a production in a state store, the root first."""
    return tuple(_listed(store))


def chosen(store: Store, name: str | None) -> tuple[ProjectState, ...]:
    """Return what a person names, or everything.

    Args:
        store: the whole state store.
        name: a project, `project/target`, or the source of a project; None for everything.

    Raises:
        ConfigurationError: nothing in the store has the name.
    """
    known = listed(store)
    if name is None:
        return known
    found = tuple(each for each in known if name.rstrip("/") in each.names)
    if not found:
        names = [each.names[2] if each.owner else each.folder for each in known]
        raise ConfigurationError(
            f"The state store has nothing of {name}",
            location=store.describe(),
            hint=f"{did_you_mean(name, names)}it has {', '.join(names) or 'no production yet'}",
        )
    return found


def recent_results(store: Store, owner: Owner, target: str) -> Iterator[bytes]:
    """Yield the run_results.json of an owner's production and of the newest saved runs on its target.

    Args:
        store: the whole state store.
        owner: the project and target.
        target: the full name of the target, as saved runs have it.
    """
    production = find(store, owner)
    try:
        current = read_log(production)[0].current
        if current is not None:
            yield whole(production, current, saved_runs.RUN_RESULTS)
    except DamagedError:
        current = None
    written = store.folders("runs")
    names = [name for name in sorted(written, key=lambda name: written[name], reverse=True) if _is_run(name)]
    for run in map(UUID, names[:RECENT]):
        found = saved_runs.read_run(store, run) if current is None or run != current.run else None
        if found is not None and found[0].target == target:
            yield found[1]


def _is_run(name: str) -> bool:
    try:
        return bool(UUID(name))
    except ValueError:
        return False


def _is_root(store: Store, owner: Owner) -> bool:
    """Return whether an owner's production is at the root."""
    mark = _mark(store)
    try:
        current = read_log(store)[0].current
    except DamagedError:
        return mark.is_same(owner) if mark else owner.is_default
    if current is not None:
        return owner.published(current) and (mark is None or mark.source == owner.source)
    if mark is not None:
        return mark.is_same(owner)
    return owner.is_default and _may_be_of(store.read(MANIFEST), owner)


def _may_be_of(manifest: bytes | None, owner: Owner) -> bool:
    """Return whether a manifest that another tool wrote does not name another project or adapter."""
    found = identity(manifest) if manifest is not None else None
    return found is None or (found.project, found.adapter) == (owner.project, owner.adapter)


def _is_of(place: Store, owner: Owner) -> bool:
    mark = _mark(place)
    return mark is not None and mark.is_same(owner)


def _is_sibling(other: Owner, owner: Owner) -> bool:
    return (other.project, other.adapter, other.source) == (owner.project, owner.adapter, owner.source)


def _listed(store: Store) -> Iterator[ProjectState]:
    if store.look(LOG) is not None or store.look(MANIFEST) is not None:
        yield ProjectState(store, "", _owner(store))
    for project in sorted(store.folders(FOLDER)):
        for target in sorted(store.folders(f"{FOLDER}/{project}")):
            folder = f"{FOLDER}/{project}/{target}"
            place = Subfolder(store, folder)
            if place.look(LOG) is not None:
                yield ProjectState(place, folder, _owner(place))


def _owner(place: Store) -> Owner | None:
    """Return whose the artifacts in a place are, as far as they say."""
    mark = _mark(place)
    try:
        current = read_log(place)[0].current
    except DamagedError:
        return mark
    if current is not None:
        named = _owner_of(current)
        return named.model_copy(update={"source": mark.source}) if mark is not None else named
    return mark or _foreign(identity(place.read(MANIFEST) or b""))


def _foreign(found: Identity | None) -> Owner | None:
    """Return the owner of a manifest that another tool wrote: it names no target."""
    return Owner(project=found.project, target="", adapter=found.adapter) if found else None


def _owner_of(publication: Publication) -> Owner:
    """Return the owner that a publication names: the full name of a target begins with that of its output."""
    target = publication.target.partition(" ")[0]
    return Owner(project=publication.project, target=target, adapter=publication.adapter)


def _mark(place: Store) -> Owner | None:
    data = place.read(MARK)
    try:
        return Owner.model_validate_json(data) if data is not None else None
    except ValidationError:
        return None


def _name(text: str) -> str:
    """Return a name as that of one folder."""
    return quote(text, safe="").replace(".", "%2E")
