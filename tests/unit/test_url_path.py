"""Names inside the path of a URL that the engine is asked for."""

from __future__ import annotations

import pytest

from backupd.engine import url_path
from backupd.errors import NotFound


@pytest.mark.parametrize("name", ["../containers/web", "a/../b", "..", ".", "", "/etc", "a//b"])
def test_no_name_climbs_out_of_its_place_in_a_url(name: str) -> None:
    with pytest.raises(NotFound):
        url_path(name)


@pytest.mark.parametrize("name", ["web:1", "host:5000/app@sha256:00", "db_data.1", "..data"])
def test_names_of_images_and_volumes_pass(name: str) -> None:
    assert name == url_path(name)


def test_signs_that_mean_something_in_a_url_are_encoded() -> None:
    assert "a%3Fforce%3D1%23" == url_path("a?force=1#")
