"""The web application as it is served, an HR vendor's API beside it, and a company in which somebody has a number."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.company import Company, new_company
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


@pytest.fixture
def company(installed: Flask) -> Company:
    return new_company()


@pytest.fixture
def mara(company: Company) -> str:
    return company.joins("mara@x.example", "E-1").person_id
