"""Images in an object store stand for the folder that they were uploaded from.

moto's S3 server runs in a thread of the test: ``ThreadedMotoServer().start()``, no program of its
own and no network.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cxrfeat
from cxrfeat import inputs
from cxrfeat.errors import ImageError, InputError, MissingExtraError
from cxrfeat.extraction.sources import RemoteSource, sources_of
from cxrfeat.inputs.remote_images import remote_folder
from tests.commands.test_archives import files_of, folder, of_images
from tests.commands.test_shards import QUICK

__all__ = ["folder"]  # a fixture
URL = "s3://hospital/images"


class Store:
    """A bucket of a server on this machine."""

    def __init__(self, client: Any) -> None:
        self._client = client
        client.create_bucket(Bucket="hospital")

    def put(self, below: str, data: bytes) -> None:
        self._client.put_object(Bucket="hospital", Key=f"images/{below}", Body=data)

    def delete(self, below: str) -> None:
        self._client.delete_object(Bucket="hospital", Key=f"images/{below}")

    def upload(self, folder: Path) -> None:
        for file in files_of(folder):
            self.put(file.relative_to(folder).as_posix(), file.read_bytes())


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    moto_server = pytest.importorskip(
        "moto.server", reason="needs the S3 server of moto: pip install 'moto[s3]' flask flask-cors"
    )
    pytest.importorskip("s3fs", reason="needs s3fs: pip install 'cxrfeat[cloud]'")
    running = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def store(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    import boto3
    import s3fs
    from botocore.config import Config

    for name, value in {
        "AWS_ACCESS_KEY_ID": "of-a-test",
        "AWS_SECRET_ACCESS_KEY": "of-a-test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": server,
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3", config=Config(proxies={}))
    yield Store(client)
    for one in client.list_objects_v2(Bucket="hospital").get("Contents", []):
        client.delete_object(Bucket="hospital", Key=one["Key"])
    client.delete_bucket(Bucket="hospital")
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_bucket_gives_the_file_of_the_folder_that_was_uploaded(store, folder, tmp_path) -> None:
    store.upload(folder)
    store.put("opaque/", b"")  # how some programs write a folder
    loose = cxrfeat.extract(folder, out=tmp_path / "loose", **QUICK)
    result = cxrfeat.extract(URL, out=tmp_path / "e", **QUICK)
    assert result.images == loose.images == 11
    assert result.notes == loose.notes
    assert of_images(result.files[0].path) == of_images(loose.files[0].path)
    assert [(f.id, f.code) for f in result.failures] == [("opaque/broken.png", "truncated")]


def test_only_what_was_changed_is_read_again(store, folder, tmp_path) -> None:
    store.upload(folder)
    cxrfeat.extract(URL, out=tmp_path / "e", **QUICK)
    path = folder / "clear" / "0.png"
    Image.fromarray(np.full((40, 40), 7, np.uint8)).save(path)
    store.put("clear/0.png", path.read_bytes())
    store.delete("clear/1.png")
    result = cxrfeat.extract(URL + "/", out=tmp_path / "e", **QUICK)
    changes = result.files[0].changes
    assert (result.read, changes.changed, changes.gone) == (1, 1, 1)


def test_a_table_names_images_of_a_bucket(store, folder, tmp_path) -> None:
    store.upload(folder)
    table = tmp_path / "labels.csv"
    rows = [("clear/0.png", "a"), ("images/clear/1.png", "b"), ("opaque/2.png", "a")]
    table.write_text("path,label\n" + "".join(f"{path},{label}\n" for path, label in rows))
    loose, found = inputs.find(folder, table), inputs.find(URL, table)
    assert found.ids == loose.ids == ["clear/0.png", "clear/1.png", "opaque/2.png"]
    np.testing.assert_array_equal(found.labels, loose.labels)
    table.write_text("path,label\n0.png,a\n")
    with pytest.raises(InputError, match=r"could be 'clear/0\.png' or 'opaque/0\.png'"):
        inputs.find(URL, table)


def test_what_is_gone_or_changed_since_the_listing_is_an_error_of_that_image(store, folder) -> None:
    store.upload(folder)
    sources = sources_of(inputs.find(URL))
    store.delete("clear/0.png")
    store.put("clear/1.png", b"short")
    for id_, code in (("clear/0.png", "missing"), ("clear/1.png", "unreadable")):
        assert sources[id_].sha256() == ""
        with pytest.raises(ImageError) as caught:
            sources[id_].read(10**6)
        assert caught.value.code == code
    with pytest.raises(ImageError, match="too_large"):
        sources["clear/2.png"].read(10)
    again = pickle.loads(pickle.dumps(sources["clear/2.png"]))
    assert again.read(10**6) == (folder / "clear" / "2.png").read_bytes()
    with again.open() as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://nobody/images", "cannot be listed|nothing lies"),
        ("s3://hospital/other", "nothing lies at 's3://hospital/other'"),
        ("nonsense://hospital/images", "cannot be listed .*nonsense"),
    ],
)
def test_an_address_that_is_none_is_one_clear_line(store, url: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        inputs.find(url)
    assert "\n" not in str(caught.value)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", refuse)
    with pytest.raises(MissingExtraError, match=r"cxrfeat\[cloud\]"):
        inputs.find("s3://hospital/images")


def test_other_stores_are_read_by_the_same_rules(folder: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for file in files_of(folder):
        memory.pipe(f"/hospital/{file.relative_to(folder).as_posix()}", file.read_bytes())
    try:
        found, loose = inputs.find("memory://hospital"), inputs.find(folder)
        assert (found.ids, found.classes, found.notes) == (loose.ids, loose.classes, loose.notes)
        for id_, source in sources_of(found).items():
            assert isinstance(source, RemoteSource)
            assert source.read(10**6) == (folder / id_).read_bytes()
            assert source.stamp().size == (folder / id_).stat().st_size
    finally:
        memory.rm("/hospital", recursive=True)


@pytest.mark.parametrize("path", ["images", "./s3:/images", r"C:\images", "s3:images", "://images"])
def test_what_is_no_address_is_a_path(path: str) -> None:
    assert remote_folder(path) is None
    assert remote_folder(Path(path)) is None
    assert remote_folder("s3://b/images//") == remote_folder("s3://b/images")
