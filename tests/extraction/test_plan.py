"""The plan: every row that is lacking, once, and no other."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cxrfeat.extraction.plan import WorkItem, plan
from cxrfeat.extraction.sources import FileSource

IDS = [f"{number}.png" for number in range(8)]
ids = st.lists(st.sampled_from(IDS), unique=True)


@given(
    there=ids,
    pending=st.dictionaries(st.sampled_from(["a", "b", "c"]), st.lists(st.sampled_from(IDS))),
)
def test_every_pending_row_of_an_image_that_is_there_is_planned_once_and_no_other(
    there: list[str], pending: dict[str, list[str]]
) -> None:
    items = plan({id_: FileSource(id_, Path(id_)) for id_ in there}, pending)
    planned = Counter((item.source.id, name) for item in items for name in item.lacking)
    wanted = {(id_, name) for name, lacks in pending.items() for id_ in lacks if id_ in there}
    assert planned == Counter(dict.fromkeys(wanted, 1))
    found = [item.source.id for item in items]
    assert found == [id_ for id_ in there if id_ in found]
    assert len(set(found)) == len(found)


def test_a_plan_goes_to_another_process_as_it_is() -> None:
    source = FileSource("0.png", Path("0.png"))
    items = [*plan({"0.png": source}, {"vgg16": ["0.png"], "vgg19": ["0.png"]})]
    assert items == [WorkItem(FileSource("0.png", Path("0.png")), ("vgg16", "vgg19"))]
    assert pickle.loads(pickle.dumps(items)) == items
