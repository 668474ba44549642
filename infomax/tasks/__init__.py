"""Distributions whose mutual information is known. Every module of this folder registers its own."""

from infomax.tasks.base import Task, families, get, names, register

__all__ = ["Task", "families", "get", "names", "register"]
