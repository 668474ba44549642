"""Distributions with known mutual information. Each module of this folder registers its tasks."""

from typing import TYPE_CHECKING, Any

from infomax.tasks.base import Task, families, get, names, register

if TYPE_CHECKING:
    from infomax.tasks.trimodal import TriModal, tri_modal

__all__ = ["Task", "TriModal", "families", "get", "names", "register", "tri_modal"]


def __getattr__(name: str) -> Any:
    """Import modules that register tasks on first use."""
    if name in ("TriModal", "tri_modal"):
        from infomax.tasks import trimodal  # noqa: PLC0415

        return getattr(trimodal, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
