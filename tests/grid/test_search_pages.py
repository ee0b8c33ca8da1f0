"""The searches of a spec beside its grid: which records are read, and where an export puts them."""

from __future__ import annotations

import copy
from pathlib import Path

from grid.places import document_name
from grid.search_pages import export_searches, readable_searches
from grid.store import Store
from tests.analysis import search_lab


def test_a_damaged_record_of_a_search_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    store, said = Store(str(tmp_path)), list[str]()
    whole = search_lab.record(12) | {"experiment": "orl_search", "name": "whole"}
    broken = copy.deepcopy(whole) | {"name": "broken", "front": ["t9999"]}
    del broken["trials"][3]["coefficients"]
    for document in (whole, broken):
        store.write_document(f"searches/{document['name']}.json", document)
    found = readable_searches(store, "orl_search", said.append)
    assert [document["name"] for document in found] == ["whole"]
    assert len(said) == 1
    for text in ("search broken", "damaged", "trials[3].coefficients"):
        assert text in said[0]
    assert readable_searches(store, "another", said.append) == []


def test_an_export_leaves_no_second_record_where_an_earlier_version_put_it(tmp_path: Path) -> None:
    document = search_lab.record(12) | {"experiment": "orl_search", "name": "mine", "picks": []}
    del document["measured_by"]
    target = Store(str(tmp_path / "records"))
    for copy_of in ("", ".copy"):
        target.write_document(f"{document_name('search-mine')}{copy_of}", document)
    export_searches([document], Store(str(tmp_path / "store")), tmp_path / "records")
    assert [path.name for path in (tmp_path / "records" / "searches").iterdir()] == ["mine.json"]
    assert list((tmp_path / "records" / "grids").iterdir()) == []
