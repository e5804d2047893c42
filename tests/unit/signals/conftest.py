"""A stage for tests of signals: an application with a company, and a network in which only what is put there answers."""

from collections.abc import Iterator

import pytest
import responses
from flask import Flask

from tests.company import new_company
from tests.unit.signals.stage import Stage
from tests.unit.signals.waiting import POLL, Queue


@pytest.fixture
def stage(installed: Flask) -> Iterator[Stage]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as outside:
        yield Stage(app=installed, http=installed.test_client(), outside=outside, company=new_company())


@pytest.fixture
def queue(stage: Stage) -> Queue:
    waiting = Queue()
    stage.outside.add_callback("POST", POLL, callback=waiting)
    return waiting
