"""Commands typed in this process: to start a program for each takes longer than almost all that they do."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from app.assembly import without_doors
from app.commands.entry import doorlist
from app.settings import Settings, from_environment
from tests.journeys.doorlist import Doorlist, StepFailed


class Typed(Doorlist):
    """One installation. What is served is a program all the same, and so is whatever `program` is told."""

    LOOKS_EVERY = 0.2

    def __init__(self, *, home: Path, port: int, database_url: str | None = None) -> None:
        super().__init__(home=home, port=port, database_url=database_url)
        self.program = Doorlist(home=home, port=port, database_url=database_url)

    def settings(self) -> Settings:
        """As the program reads them."""
        return from_environment(self._environment)

    def run(self, *arguments: str, good: tuple[int, ...] = (0,)) -> str:
        ended = CliRunner().invoke(doorlist, list(arguments), obj=lambda: without_doors(self.settings()))
        if ended.exit_code not in good:
            raise StepFailed(f"`doorlist {' '.join(arguments)}` ended with {ended.exit_code}: {ended.output}")
        return ended.stdout
