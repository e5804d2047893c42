"""The web application as it is served, and an HR vendor's API beside it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hr_vendor import Answers, vendor_api
from tests.served import Served, served


@pytest.fixture
def api() -> Iterator[Answers]:
    with vendor_api() as answers:
        yield answers


@pytest.fixture
def there(database_url: str, tmp_path: Path) -> Iterator[Served]:
    with served(database_url, tmp_path) as doorlist:
        yield doorlist
