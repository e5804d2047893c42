"""What a benchmark started does not go on eating the core of the next one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.waiting import until

_BENCHMARK = """
import signal, sys, time
from pathlib import Path
from tests.ending import end_in_order
from tests.benchmarks.scim.served import started

signal.signal(signal.SIGINT, signal.SIG_IGN)
end_in_order()
folder, port = Path(sys.argv[1]), int(sys.argv[2])
server = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
with started(server, port=port, log=folder / "log", core=None) as process:
    (folder / "new").write_text(str(process.pid))
    (folder / "new").rename(folder / "pid")
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_broken_off_it_ends_its_server(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-c", _BENCHMARK, str(tmp_path), str(free_port())], stderr=subprocess.DEVNULL)
    try:
        assert until((tmp_path / "pid").exists, within=60)
        process.send_signal(number)
        process.wait(60)
    finally:
        process.kill()
        process.wait()

    with pytest.raises(ProcessLookupError):
        # Where it was left behind it goes here, with the failure.
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
