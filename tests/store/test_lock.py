"""Who may write a file, and what is said to whom it is refused."""

from __future__ import annotations

import ast
import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cxrfeat
from cxrfeat.errors import InputError, LockedError, StorageError
from cxrfeat.store import FileLock, load, merge, verify
from tests.store.conftest import fill, writer_for

HOLD = """
import sys, time
from pathlib import Path
from cxrfeat.store import FileLock

with FileLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(120)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tiny.h5"


@pytest.fixture
def holder(file: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of `file`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def lock_file(file: Path) -> Path:
    return file.with_name(file.name + ".lock")


def one_line(text: str) -> str:
    assert "\n" not in text
    assert ": " in text
    return text


def test_a_second_process_is_told_which_one_has_the_file(
    file: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(LockedError) as caught:
        FileLock(file)
    told = one_line(str(caught.value))
    assert f"is being written by process {holder.pid} of " in told
    assert "wait for it, or end that process" in told
    assert "on another machine" not in told


def test_the_lock_of_a_process_that_was_killed_is_taken_over(
    file: Path, holder: subprocess.Popen[str]
) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert json.loads(lock_file(file).read_text())["pid"] == holder.pid
    with FileLock(file) as lock:
        assert lock.taken_over == ""
        assert json.loads(lock_file(file).read_text())["pid"] == os.getpid()
    assert not lock_file(file).exists()


def test_a_worker_that_outlives_its_killed_parent_does_not_keep_the_lock(
    file: Path, tmp_path: Path
) -> None:
    script = HOLD.replace(
        'print("held", flush=True)',
        'import os\n    worker = os.fork()\n    if worker: print("held", worker, flush=True)',
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(file)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    worker = int(process.stdout.readline().split()[1])
    try:
        process.kill()
        process.wait()
        os.kill(worker, 0)  # it lives
        FileLock(file).release()
    finally:
        os.kill(worker, signal.SIGKILL)
        process.stdout.close()


def test_a_forked_child_does_not_give_the_lock_of_its_parent_away(file: Path) -> None:
    with FileLock(file) as lock:
        child = os.fork()
        if not child:
            lock.release()
            os._exit(0)
        os.waitpid(child, 0)
        assert lock_file(file).exists()
        with pytest.raises(LockedError):
            FileLock(file)


def test_a_second_writer_of_this_process_is_told_so(file: Path) -> None:
    with FileLock(file), pytest.raises(LockedError, match="this process: close that writer first"):
        FileLock(file)
    FileLock(file).release()


@pytest.mark.parametrize("through", ["a link to the file", "a link to the folder"])
def test_two_names_of_one_file_are_one_lock(file: Path, tmp_path: Path, through: str) -> None:
    if through == "a link to the file":
        other = tmp_path / "other.h5"
        other.symlink_to(file)
    else:
        (tmp_path / "elsewhere").symlink_to(tmp_path)
        other = tmp_path / "elsewhere" / file.name
    with FileLock(file), pytest.raises(LockedError):
        FileLock(other)


def other_machine(**changes: object) -> str:
    record = {"host": "elsewhere", "boot": "x", "pid": 12, "user": "ann", "since": "now"}
    return "\n" + json.dumps({**record, **changes})


def test_a_record_of_another_machine_is_a_hint_where_the_lock_itself_is_free(file: Path) -> None:
    lock_file(file).write_text(other_machine())
    with FileLock(file) as lock:
        assert lock.taken_over == "process 12 of ann on elsewhere since now"
        assert json.loads(lock_file(file).read_text())["pid"] == os.getpid()
    assert not lock_file(file).exists()


def test_a_writer_on_another_machine_is_named_as_such(
    file: Path, holder: subprocess.Popen[str]
) -> None:
    lock_file(file).write_text(other_machine())  # who has the lock says it is elsewhere
    with pytest.raises(LockedError) as caught:
        FileLock(file)
    told = one_line(str(caught.value))
    assert "process 12 of ann on elsewhere since now" in told
    assert "wait for it, or end that process on elsewhere" in told


@pytest.mark.parametrize(
    "content", ["", '\n{"host"', "\n[1]", "\xff\xfe\0", "\n{}", '\n{"pid": {}}']
)
def test_a_damaged_record_does_not_matter_where_the_lock_is_free(file: Path, content: str) -> None:
    lock_file(file).write_text(content, "latin-1")
    with FileLock(file) as lock:
        assert lock.taken_over == ""
    assert not lock_file(file).exists()


def test_a_damaged_record_is_said_where_the_lock_is_not_free(
    file: Path, holder: subprocess.Popen[str]
) -> None:
    lock_file(file).write_bytes(b"\n{\xff")
    with pytest.raises(LockedError) as caught:
        FileLock(file)
    told = one_line(str(caught.value))
    assert "is being written by a process that 'tiny.h5.lock' does not name" in told


def test_a_record_longer_than_the_next_one_leaves_nothing_behind(file: Path) -> None:
    lock_file(file).write_text(other_machine(user="a" * 3000))
    with FileLock(file):
        assert json.loads(lock_file(file).read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_a_file_system_without_locks_is_said(
    file: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(StorageError) as caught:
        FileLock(file)
    told = one_line(str(caught.value))
    assert f"lies on a file system that cannot lock files ({os.strerror(code)})" in told
    assert "choose a folder on a local disk" in told
    assert not lock_file(file).exists()


def refuse_to_open(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    plain = os.open

    def refuse(path: object, *options: object, **named: object) -> int:
        if str(path).endswith(".lock"):
            raise OSError(code, os.strerror(code), str(path))
        return plain(path, *options, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)


def test_a_read_only_file_system_is_said(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_to_open(monkeypatch, errno.EROFS)
    with pytest.raises(StorageError) as caught:
        FileLock(file)
    told = one_line(str(caught.value))
    assert "is read-only" in told
    assert "choose another folder" in told


def as_nobody(do: Callable[[], str]) -> str:
    """What a user without rights is told; root would be refused nothing."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        os.write(writing, do().encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as told:
        return told.read()


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """A folder that every user can reach."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(folder.stat().st_mode | 0o055)
    return tmp_path


def refusal(file: Path) -> Callable[[], str]:
    def attempt() -> str:
        try:
            FileLock(file)
        except StorageError as error:
            return str(error)
        return "no error"

    return attempt


def test_a_folder_that_may_not_be_written_is_said(public: Path) -> None:
    folder = public / "closed"
    folder.mkdir(mode=0o555)
    told = one_line(as_nobody(refusal(folder / "tiny.h5")))
    assert f"this user may not write in '{folder}'" in told
    assert "choose another folder, or ask its owner" in told


def test_a_lock_file_of_another_user_is_said(public: Path) -> None:
    folder = public / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    lock_file(folder / "tiny.h5").write_text(other_machine(host="here"))
    lock_file(folder / "tiny.h5").chmod(0o444)
    told = one_line(as_nobody(refusal(folder / "tiny.h5")))
    assert "'tiny.h5.lock', which this user may not write, names process 12 of ann on here" in told
    assert "delete 'tiny.h5.lock' if that process is gone" in told


@pytest.mark.parametrize("made", ["folder", "link"])
def test_what_is_no_lock_file_is_said(file: Path, tmp_path: Path, made: str) -> None:
    if made == "folder":
        lock_file(file).mkdir()
    else:
        (tmp_path / "target").write_text("keep me")
        lock_file(file).symlink_to(tmp_path / "target")
    with pytest.raises(StorageError) as caught:
        FileLock(file)
    told = one_line(str(caught.value))
    assert f"'{lock_file(file)}' is a {made}, not a lock file: delete it" in told
    if made == "link":
        assert (tmp_path / "target").read_text() == "keep me"


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot make the folder"):
        FileLock(tmp_path / "file" / "below" / "tiny.h5")


def test_folders_made_for_a_lock_go_with_it_where_nothing_was_written(tmp_path: Path) -> None:
    path = tmp_path / "one" / "two" / "tiny.h5"
    with FileLock(path):
        assert path.parent.is_dir()
    assert list(tmp_path.iterdir()) == []
    with FileLock(path):
        path.touch()
    assert path.exists()


def test_a_lock_is_given_to_the_writer_which_gives_it_back(file: Path) -> None:
    with FileLock(file) as lock:
        with writer_for(file, ["1"], lock=lock) as writer:
            fill(writer)
            with pytest.raises(LockedError):
                writer_for(file, ["1"])
        FileLock(file).release()  # the writer gave it back


def test_a_lock_of_another_file_is_not_taken_for_this_one(file: Path, tmp_path: Path) -> None:
    with FileLock(tmp_path / "other.h5") as lock:
        with pytest.raises(InputError, match=r"other\.h5"):
            writer_for(file, ["1"], lock=lock)
        lock.release()
        with pytest.raises(InputError, match="given back"):
            writer_for(tmp_path / "other.h5", ["1"], lock=lock)
    assert not file.exists()


def test_of_many_threads_one_at_a_time_has_the_lock(file: Path) -> None:
    """Every release removes the lock file while others are opening it."""
    inside, most, taken = [], [], []

    def take_and_give_back() -> None:
        for _ in range(15):
            while True:
                try:
                    lock = FileLock(file)
                except LockedError:
                    continue
                break
            inside.append(1)
            most.append(len(inside))
            taken.append(1)
            inside.pop()
            lock.release()

    threads = [threading.Thread(target=take_and_give_back) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (max(most), len(taken)) == (1, 60)
    assert not lock_file(file).exists()


def test_a_merge_waits_for_nobody_and_reads_nothing_before_it_has_its_place(
    file: Path, tmp_path: Path
) -> None:
    for name in "ab":
        with writer_for(tmp_path / f"{name}.h5", [name]) as writer:
            fill(writer)
    parts = [tmp_path / "a.h5", tmp_path / "b.h5"]
    with FileLock(file), pytest.raises(LockedError):
        merge([*parts, tmp_path / "missing.h5"], file)
    merge(parts, file)
    assert not lock_file(file).exists()
    with load(file) as e:
        assert e.ids == ["a", "b"]


def test_repair_is_refused_while_the_file_is_written(
    file: Path, holder: subprocess.Popen[str]
) -> None:
    file.touch()
    with pytest.raises(LockedError):
        verify(file, repair=True)


def test_a_lock_needs_no_room_for_its_record(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    FileLock(file).release()


def test_the_old_file_is_closed_before_the_new_one_takes_its_place(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows does not replace a file that is open."""
    with writer_for(file, ["1"]) as writer:
        fill(writer)
    plain, open_then = os.replace, []

    def replace(new: Path, old: Path) -> None:
        for descriptor in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                open_then.append(descriptor.readlink())
        plain(new, old)

    monkeypatch.setattr(os, "replace", replace)
    with writer_for(file, ["1", "2"]) as writer:
        assert writer.changes.rewritten
    assert open_then
    assert file not in open_then
    assert file.with_name("tiny.h5.new") not in open_then


POSIX_ONLY = {"fcntl", "grp", "posix", "pwd", "resource", "termios"}


def test_no_module_imports_what_windows_lacks() -> None:
    for path in Path(cxrfeat.__path__[0]).rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not POSIX_ONLY & set(names), path


def test_the_store_opens_where_there_is_no_fcntl() -> None:
    """As far as it can be tried here: the lock of Windows is the library's own."""
    script = (
        f"import sys\nsys.modules.update(dict.fromkeys({sorted(POSIX_ONLY - {'posix'})}))\n"
        "import warnings; warnings.simplefilter('ignore')\n"  # Linux without fcntl has no lock
        "import cxrfeat.cli, cxrfeat.store, cxrfeat.images, cxrfeat.inputs"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
