"""Names of editors: which kind of editor a name means, and how one is made. A new kind is one entry in KINDS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mre.editors.local_editor import EditorOptions
from mre.editors.names import is_images
from mre.editors.repository import is_diffusers
from mre.errors import ModelError
from mre.families import later
from mre.models import known
from mre.models.transformer.about import has_condition

if TYPE_CHECKING:
    from mre.editors.editor import Editor


@dataclass(frozen=True)
class EditorKind:
    """One kind of editor behind its names."""

    form: str                                   # what its names look like, as help shows them
    matches: Callable[[str], bool]
    make: Callable[[str, EditorOptions], Editor]
    by_recipe: bool = False                     # a recipe's word is enough to open it: its names lead to nothing that a visitor chose


OURS = later("mre.editors.pipeline_editor:PipelineEditor")
KINDS = [
    EditorKind(", ".join(name for name in known.KNOWN if not known.is_built(name)), lambda name: name in known.KNOWN,
               OURS, by_recipe=True),
    EditorKind("images:MODEL@URL of a server that speaks OpenAI's images API, or images:MODEL of OpenAI's own", is_images,
               later("mre.editors.images_kind:ImagesEditor")),
    EditorKind("a folder of one of those that was trained with a reward condition", has_condition,
               later("mre.editors.reward_diffusers_kind:RewardDiffusersEditor")),
    EditorKind("a folder or hub id of an editing pipeline of diffusers", is_diffusers,
               later("mre.editors.diffusers_kind:DiffusersEditor")),
    EditorKind("a folder or a hub id", lambda name: True, OURS),
]


def kind_of(name: str) -> EditorKind:
    """The kind that a name means: the first that matches."""
    return next(kind for kind in KINDS if kind.matches(name))


def forms() -> str:
    """What an editor can be called, in words."""
    return "; ".join(kind.form for kind in KINDS)


def make_editor(name: str, **options: Any) -> Editor:
    """An editor by name. Loads nothing. options: fields of EditorOptions. Raises ModelError for an empty name."""
    if not str(name).strip():
        raise ModelError(f"the model has no name; give {forms()}")
    return kind_of(name).make(name, EditorOptions(**options))
