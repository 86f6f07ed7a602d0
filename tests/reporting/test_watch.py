"""The live view: what it reads, what it answers, and to whom."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request

import pytest

import made_runs
from leanthink.cli import main
from leanthink.core.errors import ConfigError
from leanthink.reporting.live.follow import Followed, dumps
from leanthink.reporting.live.serve import listening
from watching_server import watched

SHAPED = {"acc": 1.0, "unknown": 0.0, "length": 9.0, "truncated": 0.0, "difficulty": "3", "reason": "correct/equal"}


@pytest.fixture
def run(tmp_path):
    return made_runs.write_run(tmp_path / "run", "short", 1, quality=0.7, tokens=20, questions=40)


def keep(run, step, count=3):
    (run / "rollouts" / "shaped").mkdir(parents=True, exist_ok=True)
    dump = [{"input": "q", "output": made_runs.SCRIPT, "gts": "1", "score": 0.8, "uid": str(i)} for i in range(count)]
    (run / "rollouts" / f"{step}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in dump))
    shaped = [
        {"uid": str(i), **SHAPED, "reward": 0.8, "advantage": -0.1, "parts": {"length": -0.2}} for i in range(count)
    ]
    (run / "rollouts" / "shaped" / f"{step}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in shaped))


def test_state_grows_with_the_run(run):
    followed = Followed(run)
    state = followed.state()
    assert (state["step"], state["finished"]) == (12, True)
    assert state["rollouts"] == {"training": [], "validation": [0, 12]}
    accuracy = next(curve for curve in state["curves"] if curve["label"].startswith("accuracy"))
    assert accuracy["points"][0] == [1, 51.0]
    assert any(curve["label"] == "part length, mean" for curve in state["curves"])
    with (run / "attempts" / "000.jsonl").open("a") as file:
        file.write(json.dumps({"step": 13, "data": {"leanthink/accuracy": 0.9}}) + "\n" + '{"step": 14, "da')
    assert followed.state()["step"] == 13  # the line that is still being written waits


def test_filters(run):
    followed = Followed(run)
    every = followed.rollouts("validation", 12, "", "", 0)
    assert (every["total"], len(every["rows"]), every["difficulties"]) == (80, 50, ["2", "3", "4"])
    right = followed.rollouts("validation", 12, "right", "3", 0)
    assert right["rows"] and all(row["verdict"] == "right" and row["difficulty"] == "3" for row in right["rows"])
    wrong = followed.rollouts("validation", 12, "wrong", "", 0)["total"]
    assert wrong + followed.rollouts("validation", 12, "right", "", 0)["total"] == 80
    assert followed.rollouts("training", 5, "", "", 0)["rows"] == []


def test_training_rollouts_with_their_parts(run):
    keep(run, 3)
    row = Followed(run).rollouts("training", 3, "", "", 0)["rows"][0]
    assert (row["verdict"], row["reward"], row["advantage"], row["parts"]) == ("right", 0.8, -0.1, {"length": -0.2})
    (run / "rollouts" / "shaped" / "3.jsonl").unlink()
    assert Followed(run).rollouts("training", 3, "", "", 0)["rows"][0]["verdict"] == "unknown"


def test_numbers_that_json_lacks():
    assert dumps({"a": [float("nan"), 1.0]}) == b'{"a": [null, 1.0]}'


def test_a_folder_without_a_run(tmp_path, capsys):
    assert main(["watch", str(tmp_path)]) == 1
    assert "holds no run; give the folder" in capsys.readouterr().err


def test_ports():
    with listening(0) as sock:
        assert sock.getsockname()[0] == "127.0.0.1"
        with pytest.raises(ConfigError, match="give another"):
            listening(sock.getsockname()[1])
    with pytest.raises(ConfigError, match="to 65535"):
        listening(70000)


def answer(address, host=None):
    request = urllib.request.Request(address, headers={"Host": host} if host else {})
    with urllib.request.urlopen(request, timeout=20) as reply:
        return reply.status, reply.headers, reply.read()


def test_the_server(run):
    keep(run, 3)
    with watched(run) as address:
        for path, kind in (("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")):
            status, headers, _ = answer(address + path)
            assert status == 200 and headers["Content-Type"].startswith(kind)
            assert "default-src 'none'" in headers["Content-Security-Policy"]
        content = json.loads(answer(f"{address}/api/rollouts?kind=training&step=3")[2])
        assert content["rows"][0]["response"] == made_runs.SCRIPT  # data; the page writes it as text
        for path, host, code in (("/", "evil.example", 400), ("/api/rollouts?step=x", None, 500), ("/../x", None, 404)):
            with pytest.raises(urllib.error.HTTPError) as error:
                answer(address + path, host)
            assert error.value.code == code
            error.value.close()
        port = int(address.rpartition(":")[2])
        own = socket.gethostbyname(socket.gethostname())
        if own != "127.0.0.1" and not own.startswith("127."):  # nobody else reaches it
            with pytest.raises(OSError):
                socket.create_connection((own, port), timeout=5).close()
