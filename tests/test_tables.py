"""Tables come back as text by column, whatever wrote them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrfeat.errors import InputError
from cxrfeat.tables import read_table, write_table


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    columns = {"path": ["a,b.png", 'c "d".png'], "label": ["Pneumonia", ""]}
    write_table(tmp_path / name, columns)
    assert read_table(tmp_path / name) == columns


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs"])).map(str.strip)))
def test_any_text_survives_csv(tmp_path_factory: pytest.TempPathFactory, cells: list[str]) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    columns = {"id": [str(i) for i in range(len(cells))], "text": cells}
    write_table(path, columns)
    assert read_table(path) == columns


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_byte_order_mark_and_separator_are_understood(tmp_path: Path, separator: str) -> None:
    rows = [["path", "label"], ["a.png", "x"]]
    text = "\ufeff" + "\r\n".join(separator.join(row) for row in rows)
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    assert read_table(tmp_path / "t.csv") == {"path": ["a.png"], "label": ["x"]}


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a,b,\n1,2\n3,4,\n5,6,,\n", {"a": ["1", "3", "5"], "b": ["2", "4", "6"]}),
        ("a,b,\n1,2,x\n3,4\n", {"a": ["1", "3"], "b": ["2", "4"], "column 3": ["x", ""]}),
        ("a,b,,\n1,2,,y\n", {"a": ["1"], "b": ["2"], "column 4": ["y"]}),
        (",a,,b\n0,1,,2\n", {"column 1": ["0"], "a": ["1"], "b": ["2"]}),
        ("a,b,\n", {"a": [], "b": []}),
    ],
)
def test_a_column_without_a_name_is_no_fault_of_a_line(
    tmp_path: Path, text: str, columns: dict[str, list[str]]
) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert read_table(tmp_path / "t.csv") == columns


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"a,b\n1\n", "line 2"),
        (b"a,b,\n1,2,3\n1,2,3,4\n", "line 3 has 4 cells"),
        (b"a,b,\n1\n", "line 2 has 1 cells"),
        (b"a,a\n1,2\n", "twice: a"),
        (b"a,b\n\xff\xfe,1\n", "UTF-8"),
    ],
)
def test_a_broken_table_is_refused_with_the_mend(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_table(tmp_path / "t.csv")


def test_a_missing_or_broken_parquet_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no table"):
        read_table(tmp_path / "t.parquet")
    (tmp_path / "t.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match="Parquet"):
        read_table(tmp_path / "t.parquet")
