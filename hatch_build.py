"""Metadata that depend on where the repository is: addresses for the package index, and links of its README.

The address is that of the workflow that builds (``GITHUB_SERVER_URL`` and ``GITHUB_REPOSITORY``). A build elsewhere
has neither addresses nor changed links.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class RepositoryHook(MetadataHookInterface):
    """Sets ``readme`` and ``urls``."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Add both to the metadata of pyproject.toml."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        server, repository = os.environ.get("GITHUB_SERVER_URL"), os.environ.get("GITHUB_REPOSITORY")
        metadata["urls"] = {}
        if server and repository:
            address = f"{server}/{repository}"
            text = with_absolute_links(text, address, f"v{metadata['version']}")
            metadata["urls"] = {
                "Repository": address,
                "Documentation": f"{address}/tree/v{metadata['version']}/docs",
                "Changelog": f"{address}/blob/v{metadata['version']}/CHANGELOG.md",
                "Issues": f"{address}/issues",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def with_absolute_links(text: str, address: str, tag: str) -> str:
    """Markdown whose links and images lead to files of the tag."""

    def absolute(link: re.Match[str]) -> str:
        kind = "raw" if link["image"] else "blob"
        return f"{link['image']}[{link['words']}]({address}/{kind}/{tag}/{link['target']})"

    return re.sub(r"(?P<image>!?)\[(?P<words>[^\]]*)\]\((?!\w+:|#|/)(?P<target>[^)\s]+)\)", absolute, text)
