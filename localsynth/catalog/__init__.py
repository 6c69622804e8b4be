"""The catalogue of models: its cards, what fits this machine, what is already here, and how to get the rest."""

from __future__ import annotations

from localsynth.catalog.cards import SOURCE, Backend, Catalogue, GgufSource, ModelCard, Role, load
from localsynth.catalog.hardware import Machine, machine, recommend
from localsynth.catalog.local import LocalModel, LocalServer, local_models, local_servers
from localsynth.catalog.pulling import Progress, pull
from localsynth.catalog.resolving import (
    STARTER,
    STARTER_ENCODER,
    ResolvedModel,
    copy_note,
    encoder_path,
    resolve,
    source_of,
    starter_note,
    starter_path,
)
from localsynth.catalog.shelf import Shelved, shelved

__all__ = [
    "SOURCE",
    "STARTER",
    "STARTER_ENCODER",
    "Backend",
    "Catalogue",
    "GgufSource",
    "LocalModel",
    "LocalServer",
    "Machine",
    "ModelCard",
    "Progress",
    "ResolvedModel",
    "Role",
    "Shelved",
    "copy_note",
    "encoder_path",
    "load",
    "local_models",
    "local_servers",
    "machine",
    "pull",
    "recommend",
    "resolve",
    "shelved",
    "source_of",
    "starter_note",
    "starter_path",
]
