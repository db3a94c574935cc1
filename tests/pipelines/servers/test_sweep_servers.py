"""``duet sweep --servers`` with imitations of servers: collecting, ranking, resuming, and servers that die or lie."""

import csv
import json

import pytest

from duet_av.pipelines.cli.main import main
from duet_av.pipelines.servers.transport import address_of


@pytest.fixture
def sweep(tmp_path, workflow):
    """Runs a sweep of four seeds on servers."""

    def sweep(servers, *more, takes=4):
        addresses = ",".join(server if isinstance(server, str) else server.address for server in servers)
        options = ["--workflow", workflow, "--servers", addresses, "-n", takes, "--keep", 2, "--patience", 1, *more]
        return main(["sweep", "-o", str(tmp_path / "out"), *map(str, options)])

    return sweep


def rows(tmp_path):
    with (tmp_path / "out" / "takes.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def clips(tmp_path):
    return sorted(path.name for path in (tmp_path / "out").glob(".duet-*/take-*.mp4"))


def test_two_servers_share_the_seeds_and_a_repetition_sends_nothing(fake, sweep, tmp_path, clip_bytes, capsys):
    servers = fake(), fake()
    assert sweep(servers) == 0
    assert sorted(servers[0].seeds + servers[1].seeds) == [0, 1, 2, 3]
    assert servers[0].seeds
    assert servers[1].seeds
    assert clips(tmp_path) == [f"take-{seed}.mp4" for seed in range(4)]
    assert [row["seed"] for row in rows(tmp_path)] == ["0", "1", "2", "3"], "of equal scores the lower seed is first"
    assert (tmp_path / "out" / "best-2.mp4").read_bytes() == clip_bytes
    assert (tmp_path / "out" / "takes.png").stat().st_size > 1000
    assert "best-1.mp4: seed 0, score" in capsys.readouterr().out
    assert sweep(["127.0.0.1:9"]) == 0, "with every clip there no server is needed"
    assert sweep(servers[:1], takes=5) == 0
    assert len(servers[0].seeds + servers[1].seeds) == 5


def test_another_score_measures_the_same_clips(fake, sweep, tmp_path):
    assert sweep([fake()]) == 0
    events = tmp_path / "events.txt"
    events.write_text("0.5: a knock")
    assert sweep(["127.0.0.1:9"], "--by", "plan", "--timed", events) == 0
    assert "plan_hits" in rows(tmp_path)[0]


def test_the_seeds_of_a_dead_server_go_to_another(fake, sweep, tmp_path, capsys):
    dying, good = fake(dies_after=1), fake()
    assert sweep([dying, good]) == 0
    assert clips(tmp_path) == [f"take-{seed}.mp4" for seed in range(4)]
    assert len(rows(tmp_path)) == 4
    assert f"{dying.address} is no longer used: it did not answer for 1 s" in capsys.readouterr().err


def test_when_every_server_is_dead_the_error_says_what_is_finished_and_how_to_go_on(fake, sweep, tmp_path, capsys):
    assert sweep([fake(dies_after=1), fake(dies_after=1)]) == 2
    message = capsys.readouterr().err
    assert "no server is left: 2 of 4 clips" in message
    assert "Repeat the command" in message
    good = fake()
    assert sweep([good]) == 0
    assert len(good.seeds) == 2
    assert len(rows(tmp_path)) == 4


def answer(body, **more):
    return lambda fake, request: fake.reply(request, body, **more)


def saved(**changes):
    """A history whose clip has another entry."""

    def history(fake, request):
        job = request.path.split("/")[2]
        entry = fake.entry(None)
        entry["outputs"]["3"]["images"][0] |= changes
        fake.reply(request, {job: entry})

    return history


def failed(name, **data):
    def history(fake, request):
        status = {"status_str": "error", "completed": False, "messages": [["execution_start", {}], [name, data]]}
        fake.reply(request, {request.path.split("/")[2]: {"outputs": {}, "status": status}})

    return history


NODE_ERROR = {"3": {"class_type": "SaveVideo", "errors": [{"message": "Value not in list", "details": "model: 'x'"}]}}
CASES = {
    "no ComfyUI": ({"system_stats": answer({"hello": 1})}, "not as ComfyUI does"),
    "not an object": ({"history": answer([])}, "not an object"),
    "not JSON": ({"history": answer(b"<html>")}, "not JSON"),
    "too deep": ({"queue": answer(b"[" * 100_000)}, "nested too deeply"),
    "too large": ({"history": answer(b" " * (2**24 + 1))}, "larger than 16777216 bytes"),
    "a redirect": ({"prompt": answer(b"", status=302, headers={"Location": "http://127.0.0.1:9/"})}, "status 302"),
    "no job": ({"prompt": answer({"prompt_id": "../x"})}, "no prompt_id"),
    "refused": ({"prompt": answer({"node_errors": NODE_ERROR, "error": {}}, status=400)}, "node 3 (SaveVideo): Value not"),
    "failing": ({"history": failed("execution_error", node_id="5", node_type="K", exception_message="OOM\x1b[2J")},
                r"node 5 (K) failed: OOM\x1b[2J"),
    "cancelled": ({"history": failed("execution_interrupted")}, "somebody cancelled"),
    "lost job": ({"history": answer({})}, "it lost the job"),
    "no status": ({"history": lambda fake, request: fake.reply(request, {request.path.split("/")[2]: {}})}, "without status"),
    "a name that leaves": ({"history": saved(filename="../../x.mp4")}, "leaves the output folder"),
    "a folder that leaves": ({"history": saved(subfolder="a/../..")}, "leaves the output folder"),
    "an absolute folder": ({"history": saved(subfolder="C:/x")}, "leaves the output folder"),
    "an odd name": ({"history": saved(filename="x" * 300 + ".mp4")}, "filename is"),
    "no clip": ({"view": answer(b"text")}, "a file that is not a clip"),
    "a clip cut short": ({"view": answer(b"text", headers={"Content-Length": "9"})}, "did not answer for 1 s"),
    "a missing clip": ({"view": answer({}, status=404)}, "status 404"),
    "errors": ({"queue": answer({}, status=500)}, "did not answer for 1 s (status 500)"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_server_that_fails_or_lies_is_dropped_and_leaves_nothing(fake, sweep, tmp_path, capsys, name):
    answers, message = CASES[name]
    bad = fake(answers=answers)
    assert sweep([bad], takes=1) == 2
    error = capsys.readouterr().err
    assert f"{bad.address} is no longer used: " in error
    assert message in error
    assert clips(tmp_path) == []
    assert not list(tmp_path.rglob("*.part*"))


def test_a_bad_server_does_not_stop_the_others(fake, sweep, tmp_path):
    assert sweep([fake(answers=CASES["refused"][0]), "127.0.0.1:9", fake()]) == 0
    assert len(rows(tmp_path)) == 4


def test_a_job_that_is_given_up_is_taken_back(fake, sweep, capsys):
    queued = lambda fake, request: fake.reply(request, {"queue_running": [[0, job] for job in fake.jobs]})  # noqa: E731
    slow = fake(answers={"queue": queued, "history": answer({})})
    assert sweep([slow], "--clip-minutes", 0.1, takes=1) == 2
    assert "did not finish a clip within 0.1 minutes" in capsys.readouterr().err
    (job,) = slow.jobs
    assert slow.cancelled == [("queue", {"delete": [job]}), ("interrupt", {"prompt_id": job})]


def test_a_workflow_that_saves_two_clips_needs_the_node(fake, sweep, workflow, tmp_path, capsys):
    graph = json.loads(workflow.read_text())
    workflow.write_text(json.dumps(graph | {"8": graph["3"]}))
    server = fake()
    assert sweep([server]) == 2
    assert "saves several clips (nodes 3, 8)" in capsys.readouterr().err
    assert server.seeds == []
    assert sweep([server], "--output-node", "8", takes=1) == 2
    assert "saves 0 clips (from no node)" in capsys.readouterr().err
    assert sweep([server], "--output-node", "3", takes=1) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "9"], "--steps has no effect with --servers"),
        (["a ball"], "The prompt has no effect with --servers"),
        (["--by", "plan"], "--by plan compares the clips with timed events"),
        (["--output-node", "9"], "--output-node is 9"),
        (["--seed-node", "9"], "--seed-node is 9"),
    ],
)
def test_options_without_effect_are_refused_before_anything_is_sent(sweep, capsys, options, message):
    assert sweep(["127.0.0.1:9"], *options) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "ftp://a", "http://", "http://a:x", "http://me:secret@a", "http://a?x=1", "a:0"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="is not the address of a ComfyUI server"):
        address_of(text)


def test_addresses_are_completed():
    assert address_of(" host:8188 ") == "http://host:8188"
    assert address_of("https://host/comfy/") == "https://host/comfy"
    assert address_of("http://[::1]:8188") == "http://[::1]:8188"


def test_servers_and_workflow_go_together(capsys, tmp_path):
    assert main(["sweep", "--servers", "a", "-o", str(tmp_path)]) == 2
    assert "--servers needs the workflow" in capsys.readouterr().err
    assert main(["sweep", "--workflow", "a.json", "-o", str(tmp_path)]) == 2
    assert "--workflow is run by ComfyUI servers" in capsys.readouterr().err
