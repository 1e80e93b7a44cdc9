"""Where a store must not lie, and what happens to one whose surroundings change."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import optuna
import pytest

from engines.errors import BadInput, StoreUnavailable
from engines.study import adoption, control, sqlite, surroundings
from engines.study.experiments import create_or_extend
from engines.study.location import Location, locate
from engines.study.plain import connect_to_write, data_version
from engines.study.reader import Reader
from engines.study.store import open_storage
from engines.study.surroundings import is_network, mount_of, require_local
from hyperion_tui import cli
from tests.unit.building import asking, experiment_plan, new_store, opened

# -- network file systems ---------------------------------------------------------------------

TABLE = """\
/dev/vda / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
fileserver:/export/home /home nfs4 rw,vers=4.2,addr=10.0.0.1 0 0
/dev/sdb1 /home/ann/scratch xfs rw 0 0
//nas/share /mnt/with\\040space cifs rw 0 0
ann@host:/data /mnt/ssh fuse.sshfs rw 0 0
bucket /mnt/s3 fuse.s3fs rw 0 0
company:/vol /mnt/unheard fuse.ourfs rw 0 0
a:b:c /mnt/merged fuse.mergerfs rw 0 0
/dev/sdc1 /mnt/stick fuseblk rw 0 0
overlay /mnt/rootless fuse.fuse-overlayfs rw 0 0
C:\\134 /mnt/c 9p rw,aname=drvfs;path=C:\\134;uid=1000,trans=fd,rfd=8 0 0
none /sandbox 9p rw,trans=fd,rfdno=4,wfdno=4,aname=/ 0 0
shared /mnt/host 9p rw,trans=virtio,version=9p2000.L 0 0
10.0.0.2@tcp:/scratch /lustre lustre rw 0 0
fileserver:/export/over /mnt/both nfs rw 0 0
tmpfs /mnt/both tmpfs rw 0 0
"""

PLACES = {
    "/var/tmp/s.db": None,
    "/homework/s.db": None,
    "/home/ann/s.db": "nfs4",
    "/home/ann/scratch/deep/s.db": None,
    "/home/ann/scratchy/s.db": "nfs4",
    "/mnt/with space/s.db": "cifs",
    "/mnt/ssh/s.db": "fuse.sshfs",
    "/mnt/s3/s.db": "fuse.s3fs",
    "/mnt/unheard/s.db": "fuse.ourfs",
    "/mnt/stick/s.db": None,
    "/mnt/rootless/s.db": None,
    "/mnt/c/Users/s.db": "9p",
    "/sandbox/s.db": None,
    "/mnt/host/s.db": "9p",
    "/lustre/s.db": "lustre",
    "/mnt/both/s.db": None,
}


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of mounts of the test's own."""
    path = tmp_path / "mounts"
    path.write_text(TABLE)
    monkeypatch.setattr(surroundings, "MOUNTS", path)
    return path


@pytest.mark.parametrize("place", PLACES)
def test_a_store_lies_on_the_innermost_and_latest_mount(place: str, table: Path) -> None:
    mount = mount_of(Path(place))

    assert mount is not None
    assert (mount.kind if is_network(mount) else None) == PLACES[place]


def test_nothing_is_refused_where_mounts_are_not_known(table: Path) -> None:
    table.unlink()

    require_local(Path("/home/ann/s.db"))

    assert mount_of(Path("/home/ann/s.db")) is None


def test_this_machine_s_own_table_is_understood(tmp_path: Path) -> None:
    if not surroundings.MOUNTS.exists():
        pytest.skip("no table of mounts here")

    mount = mount_of(tmp_path)

    assert mount is not None
    assert os.path.ismount(mount.point)
    assert os.stat(mount.point).st_dev == os.stat(tmp_path).st_dev


@pytest.fixture
def on_nfs(tmp_path: Path, table: Path) -> Path:
    """A folder that the table says is served by another machine."""
    folder = tmp_path / "served"
    folder.mkdir()
    table.write_text(f"{TABLE}fileserver:/x {folder} nfs4 rw 0 0\n")
    return folder


def test_a_store_on_a_network_file_system_is_refused_and_nothing_is_written(
    on_nfs: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = cli.main(
        ["run", "ridge", "--data", "diabetes", "--detach", "--store", str(on_nfs / "s.db")]
    )

    error = capfd.readouterr().err
    assert code == 4
    assert error.count("\n") == 1
    assert f"{on_nfs}/s.db lies on a network file system (nfs4 at {on_nfs})" in error
    assert "--store postgresql://user@host/database" in error
    assert list(on_nfs.iterdir()) == []


def test_a_store_at_rest_on_a_network_file_system_can_be_looked_at_only(
    on_nfs: Path, table: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    network = table.read_text()
    table.write_text(TABLE)
    location = new_store(on_nfs / "s.db")
    with opened(location) as storage:
        create_or_extend(storage, experiment_plan())
    table.write_text(network)
    before = {p.name: p.stat().st_mtime_ns for p in on_nfs.iterdir()}

    assert cli.main(["list", "--store", str(location.path)]) == 0
    out, error = capfd.readouterr()
    assert "e " in out
    assert "is only looked at: it lies on a network file system (nfs4)" in error
    assert cli.main(["pause", "e", "--store", str(location.path)]) == 4
    assert "lies on a network file system" in capfd.readouterr().err
    with pytest.raises(StoreUnavailable, match="lies on a network file system"):
        open_storage(location)
    assert {p.name: p.stat().st_mtime_ns for p in on_nfs.iterdir()} == before

    (on_nfs / "s.db-wal").write_bytes(b"x" * 100)
    with pytest.raises(StoreUnavailable, match="lies on a network file system"):
        Reader(location)


# -- links ------------------------------------------------------------------------------------


def test_a_link_is_the_file_that_it_leads_to(tmp_path: Path) -> None:
    location = new_store(tmp_path / "real" / "s.db")
    link, chain = tmp_path / "link.db", tmp_path / "chain.db"
    link.symlink_to(location.path)
    chain.symlink_to(link)

    assert locate(str(link)) == locate(str(chain)) == location
    assert locate(str(link)).side == location.side


def test_a_link_to_nothing_yet_is_where_the_store_will_be(tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "deep" / "s.db")

    open_storage(str(link)).close()

    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "home") == ["deep", "link.db"]
    assert link.is_symlink()
    assert (tmp_path / "deep" / "s.db").is_file()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("given", ["link", "file"])
def test_a_link_of_somebody_else_or_to_their_file_is_refused(tmp_path: Path, given: str) -> None:
    location = new_store(tmp_path / "s.db")
    link = tmp_path / "link.db"
    link.symlink_to(location.path)
    os.lchown(link if given == "link" else location.path, 65534, 65534)

    with pytest.raises(BadInput, match=f"is a link to .*/s.db, and the {given} belongs to nobody"):
        locate(str(link))

    assert locate(str(location.path)) == location


def test_a_link_in_a_circle_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "a.db"
    link.symlink_to(tmp_path / "b.db")
    (tmp_path / "b.db").symlink_to(link)

    with pytest.raises(BadInput, match="--store .*; name another file"):
        locate(str(link))


@pytest.mark.parametrize("name", ["x" * 250 + ".db", "/".join(["d" * 100] * 6) + "/s.db"])
def test_a_name_that_leaves_no_room_for_the_files_beside_it_is_refused(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(BadInput, match="File name too long; name another"):
        locate(str(tmp_path / name))

    assert list(tmp_path.iterdir()) == []


def test_the_longest_name_works(tmp_path: Path) -> None:
    location = locate(str(tmp_path / ("x" * 247)))

    with opened(location) as storage:
        create_or_extend(storage, experiment_plan())
    with asking(location) as reader:
        assert len(reader.experiments()) == 1


# -- what is no file, or half of one ------------------------------------------------------------


def test_a_pipe_or_a_device_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.db")

    for path in (tmp_path / "pipe.db", Path("/dev/null")):
        for opening in (open_storage, Reader):
            with pytest.raises(StoreUnavailable, match="is a device or a pipe, not a store"):
                opening(Location(path))


def order(location: Location) -> None:
    control.forgive(location, 1)


def test_a_file_cut_anywhere_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    whole = new_store(tmp_path / "whole.db")
    with opened(whole) as storage:
        create_or_extend(storage, experiment_plan())
    content = whole.path.read_bytes()
    for size in (1, 100, 511, 512, 600, 4096, 5000, 40_960, len(content) - 4096, len(content) - 1):
        cut = Location(tmp_path / f"{size}.db")
        cut.path.write_bytes(content[:size])

        for opening in (open_storage, Reader, order):
            with pytest.raises(StoreUnavailable, match="is not a store, or it is damaged"):
                opening(cut)
        assert cut.path.read_bytes() == content[:size]


# -- a file that goes away while it is used -----------------------------------------------------


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_file_that_is_deleted_or_replaced_is_missed(tmp_path: Path, how: str) -> None:
    location, other = new_store(tmp_path / "s.db"), new_store(tmp_path / "other.db")
    with asking(location) as reader, contextlib.closing(connect_to_write(location)) as connection:
        assert reader.data_version() == reader.data_version()
        assert data_version(connection) == data_version(connection)

        if how == "deleted":
            location.path.unlink()
        else:
            other.path.replace(location.path)

        with pytest.raises(StoreUnavailable, match=r"s\.db was deleted or replaced while"):
            reader.data_version()
        with pytest.raises(StoreUnavailable, match=r"s\.db was deleted or replaced while"):
            data_version(connection)
    assert location.path.exists() == (how == "replaced")


def test_a_copy_in_memory_says_when_it_is_old(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(uri: str) -> sqlite.ReadConnection:
        raise sqlite3.OperationalError("unable to open database file")

    with opened(location) as storage:
        create_or_extend(storage, experiment_plan(name="first"))
        monkeypatch.setattr(sqlite, "_open_read_only", refuse)
        with asking(location) as reader:
            assert [e.name for e in reader.experiments()] == ["first"]
            assert "is read from a private copy, as it was when opened" in str(reader.note)
            assert reader.data_version() == reader.data_version()

            create_or_extend(storage, experiment_plan(name="second"))

            assert len(reader.experiments()) == 1
            with pytest.raises(StoreUnavailable, match="has changed since it was opened"):
                reader.data_version()
        with asking(location) as reader:
            assert len(reader.experiments()) == 2


# -- files of Optuna's --------------------------------------------------------------------------


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A file that stock Optuna made, with one study."""
    path = tmp_path / "theirs.db"
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    study = optuna.create_study(storage=storage, study_name="theirs")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    storage.engine.dispose()
    return path


def test_an_optuna_file_is_named_when_looked_at_and_when_taken_up(theirs: Path) -> None:
    with pytest.raises(StoreUnavailable, match="is Optuna's, and Hyperion has not used it yet"):
        Reader(Location(theirs))

    (notice,) = adoption.notices(Location(theirs))
    open_storage(str(theirs)).close()

    assert "is Optuna's and holds 1 study: Hyperion's tables are added" in notice
    assert adoption.notices(Location(theirs)) == []
    assert adoption.times_notice(Location(theirs)) is None
    assert adoption.notices(Location(theirs.with_name("none.db"))) == []


def test_an_optuna_4_file_s_local_times_are_told_and_not_touched(theirs: Path) -> None:
    with contextlib.closing(sqlite3.connect(theirs)) as connection:
        # All that tells the versions apart: the tables are the same, and the stamp of them.
        connection.execute("UPDATE version_info SET library_version = '4.5.0'")
        connection.commit()
        before = connection.execute("SELECT * FROM trials").fetchall()

    notices = adoption.notices(Location(theirs))
    open_storage(str(theirs)).close()

    assert "made by Optuna 4.5.0, which notes local times, and Optuna 5 reads them" in notices[1]
    assert "4.5.0" in str(adoption.times_notice(Location(theirs)))
    with contextlib.closing(sqlite3.connect(theirs)) as connection:
        assert connection.execute("SELECT * FROM trials").fetchall() == before


def test_an_order_to_what_was_deleted_makes_no_new_file(location: Location) -> None:
    location.path.unlink()

    with pytest.raises(StoreUnavailable, match="No store at"):
        control.forgive(location, 1)

    assert not location.path.exists()
