"""The live view: what it reads, what it answers, and to whom."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
import urllib.error
import urllib.request

import pytest

import made_runs
from leanthink.cli import main
from leanthink.core.errors import ConfigError, DataError
from leanthink.reporting.live import curves, responses
from leanthink.reporting.live.follow import Followed, dumps
from leanthink.reporting.live.serve import listening, new_token
from leanthink.runs.folder import Run
from timing import is_within
from watching_server import watched

SHAPED = {"acc": 1.0, "unknown": 0.0, "length": 9.0, "truncated": 0.0, "difficulty": "3", "reason": "correct/equal"}


@pytest.fixture
def run(tmp_path):
    return made_runs.write_run(tmp_path / "run", "short", 1, quality=0.7, tokens=20, questions=40)


def keep(run, step, count=3, facts=SHAPED):
    (run / "rollouts" / "shaped").mkdir(parents=True, exist_ok=True)
    dump = [{"input": "q", "output": made_runs.SCRIPT, "gts": "1", "score": 0.8, "uid": str(i)} for i in range(count)]
    (run / "rollouts" / f"{step}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in dump))
    shaped = [
        {"uid": str(i), **facts, "reward": 0.8, "advantage": -0.1, "parts": {"length": -0.2}} for i in range(count)
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


def test_an_unknown_verdict_is_neither_right_nor_wrong(run):
    keep(run, 3, facts={**SHAPED, "acc": 0.0, "unknown": 1.0})
    followed = Followed(run)
    assert {row["verdict"] for row in followed.rollouts("training", 3, "", "", 0)["rows"]} == {"unknown"}
    assert followed.rollouts("training", 3, "wrong", "", 0)["total"] == 0


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


def answer(address, host=None, header=None):
    headers = {**({"Host": host} if host else {}), **({"Authorization": header} if header else {})}
    request = urllib.request.Request(address, headers=headers)
    with urllib.request.urlopen(request, timeout=20) as reply:
        return reply.status, reply.headers, reply.read()


def refused(address, host=None, header=None):
    """The status of a refusal, and what it says."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        answer(address, host, header)
    with caught.value as error:
        return error.code, error.read().decode()


def test_the_server(run):
    keep(run, 3)
    with watched(run) as (address, token):
        for path, kind in (("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")):
            status, headers, content = answer(f"{address}{path}?{token}")
            assert status == 200 and headers["Content-Type"].startswith(kind)
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            assert headers["Referrer-Policy"] == "no-referrer" and "Set-Cookie" not in headers
            if path == "/":
                assert f"/page.js?{token}".encode() in content and f"/page.css?{token}".encode() in content
        content = json.loads(answer(f"{address}/api/rollouts?kind=training&step=3&{token}")[2])
        assert content["rows"][0]["response"] == made_runs.SCRIPT  # data; the page writes it as text
        header = token.replace("=", " ", 1)
        assert json.loads(answer(f"{address}/api/state", header=header)[2])["step"] == 12
        for path, host, code in (("/", "evil.example", 400), ("/api/rollouts?step=x", None, 500), ("/../x", None, 404)):
            assert refused(f"{address}{path}{'&' if '?' in path else '?'}{token}", host)[0] == code
        port = int(address.rpartition(":")[2])
        own = socket.gethostbyname(socket.gethostname())
        if own != "127.0.0.1" and not own.startswith("127."):  # nobody else reaches it
            with pytest.raises(OSError):
                socket.create_connection((own, port), timeout=5).close()


def test_without_the_token_it_says_nothing(run):
    keep(run, 3)
    with watched(run) as (address, token):
        for given in (
            "",
            "token=",
            "token=x",
            token[:-1],
            token + "x",
            token.upper(),
            "token=%ff",
            "Token=" + token[6:],
        ):
            for path in ("/", "/page.js", "/page.css", "/api/state", "/api/rollouts?kind=training&step=3", "/none"):
                code, said = refused(f"{address}{path}{'&' if '?' in path else '?'}{given}")
                assert code == 403 and "Open the whole address" in said
        for header in ("token x", "x", "token", "Bearer " + token[6:]):
            assert refused(f"{address}/api/state", header=header)[0] == 403


def test_each_server_has_a_token_of_its_own():
    assert len({new_token() for _ in range(50)}) == 50


def test_another_users_name_or_a_website_is_told_apart_from_this_machine(run):
    with watched(run) as (address, token):
        for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0", "[::1]", ""):
            if host:
                assert refused(f"{address}/api/state?{token}", host)[0] == 400
        assert answer(f"{address}/api/state?{token}", "localhost:80")[0] == 200


def knock(address, said=b"GET / HT"):
    """A connection that begins to ask, and waits."""
    sock = socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=20)
    sock.sendall(said)
    return sock


def all_of(sock):
    return b"".join(iter(lambda: sock.recv(4096), b""))


def is_let_go(sock):
    try:
        return sock.recv(1) == b""
    except ConnectionError:
        return True


def test_who_asks_nothing_keeps_nobody_out_and_fills_no_log(run, tmp_path):
    with watched(run, files=128, errors=tmp_path / "errors") as (address, token), contextlib.ExitStack() as stack:
        for _ in range(150):
            stack.enter_context(knock(address))
        for said in (b"\x00 nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"):
            for _ in range(10):
                stack.enter_context(knock(address, said))
        assert answer(f"{address}/api/state?{token}")[0] == 200
    assert (tmp_path / "errors").stat().st_size == 0


@pytest.mark.parametrize("said", [b"", b"GET / HT"])
def test_a_request_has_to_come_in_time(run, said):
    with watched(run, limits=(64, 0.3)) as (address, token), knock(address, said) as sock:
        assert is_let_go(sock)
        assert answer(f"{address}/api/state?{token}")[0] == 200


def test_the_oldest_of_too_many_connections_is_let_go(run):
    with watched(run, limits=(3, 600.0)) as (address, token), contextlib.ExitStack() as stack:
        socks = [stack.enter_context(knock(address)) for _ in range(4)]
        assert is_let_go(socks[0])
        socks[3].sendall(f"TP/1.1\r\nHost: localhost\r\nAuthorization: token {token[6:]}\r\n\r\n".encode())
        assert all_of(socks[3]).startswith(b"HTTP/1.1 200")
        assert answer(f"{address}/api/state?{token}")[0] == 200
        assert not select.select(socks[1:3], [], [], 0)[0]  # these still may ask


def test_a_connection_is_of_one_request_so_none_is_held_by_the_next(run):
    with watched(run) as (address, _), knock(address, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") as sock:
        said = all_of(sock)
        assert said.startswith(b"HTTP/1.1 403") and b"connection: close" in said.lower()


def grow(run, first, last, file="000.jsonl", value=0.5):
    with (run / "attempts" / file).open("a") as out:
        for step in range(first, last + 1):
            data = {"leanthink/accuracy": value, "leanthink/part/length": -0.1, "other": 1.0}
            out.write(json.dumps({"step": step, "data": data}) + "\n")


def accuracy_of(followed):
    return next(curve for curve in followed.state()["curves"] if curve["label"].startswith("accuracy"))["points"]


def test_a_look_reads_what_is_new_and_sends_what_fits_a_screen(run, monkeypatch):
    grow(run, 13, 30_000)
    followed = Followed(run)
    state = followed.state()
    assert state["step"] == 30_000 and len(dumps(state)) < 200_000
    assert all(len(curve["points"]) <= curves.POINTS for curve in state["curves"])
    read = []
    lines_of = curves.lines_of

    def counted(path, **how):
        for line in lines_of(path, **how):
            read.append(line.number)
            yield line

    monkeypatch.setattr(curves, "lines_of", counted)
    assert followed.state()["step"] == 30_000 and not read
    grow(run, 30_001, 30_003)
    assert followed.state()["step"] == 30_003 and len(read) == 3


def test_a_resumed_run_takes_the_place_of_what_was_done_again(run):
    followed = Followed(run)
    assert [step for step, _ in accuracy_of(followed)] == [*range(1, 13)]
    grow(run, 8, 9, "001.jsonl", 0.25)
    assert accuracy_of(followed)[6:] == [[7, pytest.approx(57)], [8, 25.0], [9, 25.0]]
    assert followed.state()["step"] == 9
    assert accuracy_of(Followed(run)) == accuracy_of(followed)  # as if read at once
    rows = followed.run.read_metrics()
    assert [row["step"] for row in rows] == [*range(1, 10)]


@pytest.mark.parametrize("evaluated", ["val-core/data/acc/mean@1", "val/test_score/data", "eval_reward"])
def test_a_resumed_run_that_evaluates_first_keeps_the_step_that_it_goes_on_from(run, evaluated):
    """verl validates where it goes on, too, and says so under the step of the checkpoint."""
    before = Run(folder=run).read_metrics()
    with (run / "attempts" / "001.jsonl").open("w") as out:
        out.write(json.dumps({"step": 7, "data": {evaluated: 0.5}}) + "\n")
    followed = Followed(run)
    assert followed.state()["step"] == 12  # nothing was done again yet
    grow(run, 8, 9, "001.jsonl", 0.25)
    assert accuracy_of(followed)[6:] == [[7, pytest.approx(57)], [8, 25.0], [9, 25.0]]
    assert accuracy_of(Followed(run)) == accuracy_of(followed)
    rows = followed.run.read_metrics()
    assert [row["step"] for row in rows] == [*range(1, 10)]
    assert rows[:6] == before[:6] and rows[6] == {**before[6], evaluated: 0.5}


def test_a_file_that_is_replaced_is_read_anew(run):
    followed = Followed(run)
    followed.state()
    (run / "attempts" / "000.jsonl").unlink()
    grow(run, 1, 2, value=0.75)
    assert accuracy_of(followed) == [[1, 75.0], [2, 75.0]]


def test_a_page_of_responses_is_read_not_the_dump(run, monkeypatch):
    keep(run, 3, count=5000)
    followed = Followed(run)
    first = followed.rollouts("training", 3, "", "", 0)
    assert first["total"] == 5000
    parsed = []
    row_of = responses.row_of
    monkeypatch.setattr(responses, "row_of", lambda *given: parsed.append(1) or row_of(*given))
    again = followed.rollouts("training", 3, "right", "3", 4990)
    assert len(again["rows"]) == 10 and len(parsed) <= 20
    with (run / "rollouts" / "3.jsonl").open("a") as file:
        file.write(json.dumps({"input": "q", "output": "late", "gts": "1", "uid": "x"}) + "\n" + '{"half')
    assert followed.rollouts("training", 3, "unknown", "", 0)["rows"][0]["response"] == "late"


def test_what_the_recipe_made_may_come_later(run):
    keep(run, 3)
    shaped = run / "rollouts" / "shaped" / "3.jsonl"
    text = shaped.read_text()
    shaped.unlink()
    followed = Followed(run)
    assert followed.rollouts("training", 3, "unknown", "", 0)["total"] == 3
    shaped.write_text(text)
    assert followed.rollouts("training", 3, "right", "3", 0)["total"] == 3


def test_long_texts_and_many_steps_are_cut(run):
    (run / "validation" / "13.jsonl").write_text(
        json.dumps({"input": "q" * 10**6, "output": "r" * 10**6, "acc": 1, "difficulty": "d" * 10**6}) + "\n"
    )
    for step in range(100, 2100):
        (run / "validation" / f"{step}.jsonl").touch()
    followed = Followed(run)
    page = followed.rollouts("validation", 13, "", "", 0)
    assert len(dumps(page)) < 100_000 and "characters left out" in page["rows"][0]["response"]
    assert followed.rollouts("validation", 13, "", page["difficulties"][0], 0)["total"] == 1
    steps = followed.state()["rollouts"]["validation"]
    assert len(steps) == 1000 and (steps[0], steps[-1]) == (0, 2099)


def test_many_clients_at_once_read_once(run):
    grow(run, 13, 2000)
    keep(run, 3, count=2000)
    followed = Followed(run)
    found = []

    def look():
        found.append((followed.state()["step"], followed.rollouts("training", 3, "right", "", 0)["total"]))

    threads = [threading.Thread(target=look) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [(2000, 2000)] * 12


def test_a_step_that_is_done_again_keeps_no_figure_of_before(run):
    """No response was wrong this time: the step has no length of wrong ones any more."""
    followed = Followed(run)
    followed.state()
    grow(run, 8, 9, "001.jsonl", 0.25)
    wrong = next(curve for curve in followed.state()["curves"] if "wrong responses" in curve["label"])
    assert [step for step, _ in wrong["points"]] == [*range(1, 8)]
    assert "leanthink/length/wrong" not in followed.run.read_metrics()[7]


def test_a_point_that_stands_for_several_steps_lies_at_the_last_of_them(run):
    grow(run, 13, 1001)
    steps = [step for step, _ in accuracy_of(Followed(run))]
    assert steps == [*range(3, 1001, 3), 1001]


@pytest.mark.parametrize("value", ["x" * 2_000_000, [1] * 500_000, {"a": 1}, float("nan"), 10**290, None])
def test_what_is_no_number_is_not_sent_as_one(run, value):
    (run / "rollouts" / "shaped").mkdir(parents=True)
    name = "p" * 100_000
    parts = {name: 0.5, "odd": value, **{f"{number} {name}": 1 for number in range(200)}}
    (run / "rollouts" / "3.jsonl").write_text('{"input": "q", "output": "o", "uid": "0"}\n')
    shaped = {"uid": "0", "acc": 1, "length": value, "reward": value, "advantage": value, "parts": parts}
    (run / "rollouts" / "shaped" / "3.jsonl").write_text(json.dumps(shaped) + "\n")
    page = Followed(run).rollouts("training", 3, "", "", 0)
    assert len(dumps(page)) < 20_000
    (row,) = page["rows"]
    assert (row["length"], row["reward"], row["advantage"]) == (None, None, None)
    assert "odd" not in row["parts"] and next(iter(row["parts"].items())) == ("p" * 59 + "…", 0.5)
    assert len(row["parts"]) == responses.PARTS and all(len(name) <= responses.NAME for name in row["parts"])


def test_names_of_parts_are_cut_in_the_curves_too(run):
    with (run / "attempts" / "000.jsonl").open("a") as file:
        data = {f"leanthink/part/{number} {'p' * 10**6}": 0.5 for number in range(40)}
        file.write(json.dumps({"step": 13, "data": data}) + "\n")
    state = Followed(run).state()
    assert state["step"] == 13 and len(dumps(state)) < 20_000
    assert sum(curve["label"].startswith("part ") for curve in state["curves"]) == curves.PARTS


def test_the_time_is_linear_in_the_lines_whatever_their_order(run):
    """Each line was put in its place by itself, which moved all those behind it, in every curve."""
    count = 150_000
    lines = (f'{{"step": {20 + count - place}, "data": {{"val-core/acc": 1}}}}\n' for place in range(count))
    (run / "attempts" / "001.jsonl").write_text("".join(lines))
    found = []
    assert is_within(8.0, lambda: found.append(Followed(run).state()))
    assert found[-1]["step"] == 20 + count
    assert found[-1]["curves"] and all(len(curve["points"]) == 1 for curve in found[-1]["curves"])  # of 12 steps


def test_lines_in_any_order_are_those_of_the_run(run):
    """As the report reads them, where a step's later line adds to its earlier one."""
    rows = [(5, {"val-core/acc": 1}), (3, {"leanthink/accuracy": 0.25}), (9, {"leanthink/accuracy": 0.75})]
    rows += [
        (3, {"leanthink/truncated_share": 0.5}),
        (5, {"leanthink/accuracy": 0.5}),
        (3, {"leanthink/accuracy": 1.0}),
    ]
    with (run / "attempts" / "001.jsonl").open("w") as file:
        file.writelines(json.dumps({"step": step, "data": data}) + "\n" for step, data in rows)
    followed = Followed(run)
    assert accuracy_of(followed)[2:] == [[3, 100.0], [5, 50.0], [9, 75.0]]
    told = [[row["step"], 100 * row["leanthink/accuracy"]] for row in followed.run.read_metrics()]
    assert accuracy_of(followed) == told and len(told) == 5
    cut = next(curve for curve in followed.state()["curves"] if curve["label"].startswith("truncated"))["points"]
    assert cut[2:] == [[3, 50.0]]


def test_what_lies_before_a_damaged_line_is_drawn_once_it_is_mended(run):
    attempt = run / "attempts" / "000.jsonl"
    with attempt.open("a") as file:
        file.write('{"step": 13, "data": {"leanthink/accuracy": 0.9}}\n{"step": 1e30, "data": {}}\n')
    followed = Followed(run)
    for _ in range(2):
        with pytest.raises(DataError, match=r"000.jsonl, line 14, step: 1e\+30 is no step"):
            followed.state()
    attempt.write_text(attempt.read_text().replace("1e30", "14  "))
    assert followed.state()["step"] == 14 and accuracy_of(followed)[-1] == [13, 90.0]


def test_values_that_no_mean_can_be_taken_of_are_not_drawn(run):
    grow(run, 13, 2000, value=1e308)
    assert accuracy_of(Followed(run))[-1] == [12, 60.5] and dumps(Followed(run).state())  # the mean of 9 to 12


def test_a_file_that_is_called_by_no_step_is_no_dump(run):
    for name in ("\u00b2", "\u0663", "9" * 200):
        (run / "validation" / f"{name}.jsonl").touch()
    assert Followed(run).state()["rollouts"]["validation"] == [0, 12]
