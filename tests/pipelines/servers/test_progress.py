"""Steps over a websocket; without a working one, nothing is known and nothing fails."""

import json
import threading

import pytest

from duet_av.pipelines.servers.progress import Progress

websockets = pytest.importorskip("websockets.sync.server")

MESSAGES = [
    b"\x00preview",
    "not JSON",
    "[1]",
    '{"type": "progress", "data": {"value": "many"}}',
    json.dumps({"type": "progress", "data": {"value": 3, "max": 8}}),
    json.dumps({"type": "execution_success", "data": {}}),
]


def test_steps_and_the_end_are_noted_and_the_rest_is_ignored():
    asked = []

    def serve(socket):
        asked.append(socket.request.path)
        for message in MESSAGES:
            socket.send(message)

    with websockets.serve(serve, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with Progress(f"http://127.0.0.1:{server.socket.getsockname()[1]}", "me") as progress:
            assert progress.ended.wait(10)
        server.shutdown()
        thread.join()
    assert progress.steps == (3, 8)
    assert asked == ["/ws?clientId=me"]


def test_a_server_without_a_websocket_is_polled(fake):
    with Progress(fake().address, "me") as progress:
        assert progress.steps is None
        assert not progress.ended.is_set()
