# SPDX-License-Identifier: Apache-2.0
"""The CNI plugin binary and its configuration on the node, and other plugins' files set aside.

Files are written beside their place and renamed into it, so a container runtime never reads half
a file. Blocking; called at start, from the repair round's thread and at uninstall.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from cilium_agent.host.errors import HostError

CONF_NAME = "05-cilium.conflist"
PLUGIN = "cilium-cni"
BACKUP_SUFFIX = ".cilium_bak"
CONF_SUFFIXES = (".conf", ".conflist", ".json")
CONTENT = {"cniVersion": "1.0.0", "name": "cilium", "plugins": [{"type": PLUGIN}]}


def install_plugin(source: Path, directory: Path) -> Path:
    """Copy the static plugin into the runtime's folder. Returns where it is."""
    target = directory / PLUGIN
    directory.mkdir(parents=True, exist_ok=True)
    temporary = directory / f".{PLUGIN}.{os.getpid()}"
    try:
        shutil.copyfile(source, temporary)
        temporary.chmod(0o755)
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise HostError(f"CNI plugin {target} cannot be installed: {error}") from error
    return target


def write_conf(directory: Path, exclusive: bool) -> bool:
    """Put our configuration in place and, when exclusive, set all others aside.

    Returns whether anything had to change.
    """
    target = directory / CONF_NAME
    wanted = (json.dumps(CONTENT, indent=2) + "\n").encode()
    changed = False
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not target.is_file() or target.read_bytes() != wanted:
            temporary = directory / f".{CONF_NAME}.tmp"
            temporary.write_bytes(wanted)
            temporary.chmod(0o600)
            temporary.replace(target)
            changed = True
        if exclusive:
            changed = _set_others_aside(directory) or changed
    except OSError as error:
        raise HostError(f"CNI configuration {target} cannot be written: {error}") from error
    return changed


def remove_conf(directory: Path) -> None:
    """Remove our configuration and put back what was set aside, unless it has been replaced."""
    if not directory.is_dir():
        return
    (directory / CONF_NAME).unlink(missing_ok=True)
    for backup in sorted(directory.glob(f"*{BACKUP_SUFFIX}")):
        original = backup.with_name(backup.name.removesuffix(BACKUP_SUFFIX))
        if not original.exists():
            backup.rename(original)


def remove_plugin(directory: Path) -> None:
    """Remove the plugin binary; absent is not an error."""
    (directory / PLUGIN).unlink(missing_ok=True)


def _set_others_aside(directory: Path) -> bool:
    others = [
        path
        for path in sorted(directory.iterdir())
        if path.suffix in CONF_SUFFIXES and path.name != CONF_NAME and not path.name.startswith(".")
    ]
    for path in others:
        path.rename(path.with_name(path.name + BACKUP_SUFFIX))
    return bool(others)
