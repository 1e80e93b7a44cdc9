"""What a store must not lie on: file systems on which SQLite's locks or shared memory don't hold.

Read from the kernel's table of mounts; where there is none (macOS) nothing is known and nothing
is refused.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from engines.errors import StoreUnavailable

MOUNTS = Path("/proc/self/mounts")

NETWORK = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "coda", "davfs", "vboxsf"),
        *("prl_fs", "vmhgfs", "drvfs", "lustre", "beegfs", "ceph", "glusterfs", "gpfs", "pvfs2"),
        *("orangefs", "ocfs2", "gfs2", "panfs", "weka", "wekafs"),
    }
)
"""Served by another machine, or shared with one: a lock or a mapping here is not seen there."""

NETWORK_FUSE = frozenset(
    {
        *("sshfs", "rclone", "s3fs", "goofys", "geesefs", "mount-s3", "gcsfuse", "glusterfs"),
        *("ceph", "ceph-fuse", "juicefs", "blobfuse", "blobfuse2", "seaweedfs", "mfs", "lizardfs"),
        *(
            "saunafs",
            "hdfs",
            "alluxio-fuse",
            "curlftpfs",
            "davfs",
            "davfs2",
            "gvfsd-fuse",
            "smbnetfs",
        ),
        *("vmhgfs-fuse", "google-drive-ocamlfuse", "onedriver", "beegfs", "dfuse", "fuse_dfs"),
    }
)

# `host:/path`, `user@host:path`, `//server/share` or a URL as the source of a FUSE file system.
_REMOTE_SOURCE = re.compile(r"//|[a-z0-9+]+://|[^/\s]+:")


class Mount(NamedTuple):
    """A line of the table of mounts."""

    source: str
    point: str
    kind: str
    options: str


def mounts() -> list[Mount]:
    """The table of mounts; empty where there is none."""
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    fields = [line.split(" ") for line in lines]
    return [Mount(*map(_unescaped, words[:4])) for words in fields if len(words) >= 4]


def _unescaped(word: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)


def mount_of(path: Path) -> Mount | None:
    """The mount that a path lies on, or will lie on, or None if it is not known."""
    real = os.path.realpath(path)
    found: Mount | None = None
    for mount in mounts():
        inside = real == mount.point or real.startswith(mount.point.rstrip("/") + "/")
        # Of several on one point the last one covers the others.
        if inside and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    return found


def is_network(mount: Mount) -> bool:
    """Whether other machines may have a hand in a file system, or it keeps its files on one."""
    kind, _, program = mount.kind.partition(".")
    if kind in ("fuse", "fuseblk"):
        return program in NETWORK_FUSE or _REMOTE_SOURCE.match(mount.source) is not None
    if kind == "9p":
        # gVisor's sandboxes have all of their files on one, over a descriptor that is their own;
        # Windows' drives in its Linux, and folders that a virtual machine shares, are not sound.
        options = re.split("[,;]", mount.options)
        return "trans=fd" not in options or "aname=drvfs" in options
    return kind in NETWORK


def require_local(path: Path) -> None:
    """Raise StoreUnavailable for a path on a network file system."""
    mount = mount_of(path)
    if mount is not None and is_network(mount):
        raise StoreUnavailable(
            f"{path} lies on a network file system ({mount.kind} at {mount.point}), where SQLite's "
            "locks do not hold and studies could be lost: name a file on a local disk with "
            "--store, or a PostgreSQL database, --store postgresql://user@host/database."
        )
