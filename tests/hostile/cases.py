"""The table of hostile inputs: how each is made, and the command that must refuse it.

A case is (name of the file, how it is made, arguments); ``{}`` in the arguments becomes the path of the file.
"""

import json
import os
import struct
import wave
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from safetensors.torch import save_file

PROMPT = "a small red ball bounces slowly on the left at night"
GENERATE = ("generate", PROMPT, "-o", "out.mp4")


def late_frame(path):
    """Five frames, the last of them after a million seconds."""
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=16)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        pictures = [av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")] * 5
        packets = [packet for picture in [*pictures, None] for packet in stream.encode(picture)]
        for k, packet in enumerate(packets):
            packet.pts = packet.dts = 16_000_000 if k == 4 else k
            packet.time_base = Fraction(1, 16)
            container.mux(packet)


def sound(path, channels=2, rate=16_000):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(struct.pack("<h", 1000) * channels * 4000)


def png(path, *, width=8, height=8, text=(), pixels=True):
    """A PNG with any claimed size, and text entries of any content."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    data = zlib.compress(bytes((3 * 8 + 1) * 8)) if pixels else b""
    texts = b"".join(chunk(b"iTXt", k.encode() + b"\0\0\0\0\0" + v.encode()) for k, v in text)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + texts + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def written(content):
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


def tensors(content, **metadata):
    return lambda path: save_file(content, path, metadata=metadata or None)


def listed(path, line):
    """A playlist that names a file beside it."""
    sound(path.with_name("other.wav"))
    path.write_text(line)


def text_of(entries):
    return json.dumps(entries)


EVENT = {"when": 0.5, "what": "bell", "where": "left", "heard": True, "seen": True}
MEDIA = {
    "frame after a million seconds": ("late.mkv", late_frame),
    "sample rate of 7 Hz": ("slow.wav", lambda path: sound(path, rate=7)),
    "sample rate of 900 MHz": ("fast.wav", lambda path: sound(path, rate=900_000_000)),
    "random bytes": ("random.mp4", written(bytes(range(256)) * 8)),
    "empty file": ("empty.mp4", written(b"")),
    "header only": ("header.wav", written(b"RIFF\x00\x00\x00\x00WAVE")),
    "text": ("text.mkv", written("\x1b[31mred\x1b[0m")),
    "missing file": ("missing.mp4", lambda path: None),
    "folder": ("folder.mp4", lambda path: path.mkdir()),
    "pipe": ("pipe.mp4", lambda path: os.mkfifo(path)),
    "device": ("zero.mp4", lambda path: path.symlink_to("/dev/zero")),
    "HLS playlist": ("list.m3u8", lambda path: listed(path, "#EXTM3U\n#EXTINF:1,\nother.wav\n#EXT-X-ENDLIST\n")),
    "concat list": ("list.mp4", lambda path: listed(path, "ffconcat version 1.0\nfile other.wav\n")),
    "escape in the name": ("red\x1b[31m.mp4", written(b"no media")),
    "line break in the name": ("a\nduet: error: all is well.mp4", written(b"no media")),
    "bytes in the name": ("b\udcff.mp4", written(b"no media")),
    "zip": ("archive.mp4", written(b"PK\x03\x04" + bytes(100))),
    "SVG": ("drawing.svg", written('<svg xmlns="http://www.w3.org/2000/svg"><image href="other.png"/></svg>')),
    "SDP": ("stream.sdp", written("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=audio 5004 RTP/AVP 0\n")),
}
IMAGES = {
    "claims a terapixel": ("huge.png", lambda path: png(path, width=2**20, height=2**20)),
    "claims 100 megapixels": ("large.png", lambda path: png(path, width=10_000, height=10_000)),
    "without pixels": ("hollow.png", lambda path: png(path, pixels=False)),
    "text": ("text.png", written("no image")),
}
TIMELINES = {
    "deep JSON": "[" * 100_000,
    "deep object": '{"timeline":' * 50_000,
    "list of numbers": "[1, 2]",
    "list of lists": "[[0.5]]",
    "true as a time": text_of([EVENT | {"when": True}]),
    "text as a time": text_of([EVENT | {"when": "0.5"}]),
    "NaN as a time": text_of([EVENT | {"when": float("nan")}]),
    "integer of 400 digits": f'[{{"when": {10**400}, "what": "bell", "where": "left"}}]',
    "list as a place": text_of([EVENT | {"where": ["left"]}]),
    "number as a mark": text_of([EVENT | {"heard": 1}]),
    "list as a mark": text_of([EVENT | {"heard": []}]),
    "unknown entry": text_of([EVENT | {"\x1b[31m": 1}]),
    "missing entry": text_of([{"when": 1}]),
    "plan without seed": text_of({"video": "", "audio": "", "timeline": []}),
    "plan with a fraction as seed": text_of({"video": "", "audio": "", "timeline": [], "seed": 0.5}),
    "plan with a number as prompt": text_of({"video": 7, "audio": "", "timeline": [], "seed": 0}),
    "plan whose timeline is a number": text_of({"video": "", "audio": "", "timeline": 7, "seed": 0}),
    "plan without timeline": text_of({"video": "", "audio": "", "timeline": None, "seed": 0}),
    "two million lines": "0.5 bell left\n" * 2_000_000,
    "ten thousand and one events": "0.5 bell left\n" * 10_001,
    "escape": "0.5 bell\x1b[31m top",
    "forged line": "0.5 bell top\rduet: all is well",
    "bytes": b"\xff\xfe\x00",
    "half JSON": '[{"when": 0.5',
}
PROMPTS = {"bytes": b"\xff\xfe", "empty": b"\n\n", "too many": b"ball\n" * 20_000, "too large": b"ball\n" * 4_000_000}
EMBEDDINGS = {
    "infinite rate": tensors({"a/video": torch.zeros(2)}, encoder="x", fps="inf"),
    "text as rate": tensors({"a/video": torch.zeros(2)}, encoder="x", fps="\x1b[31m"),
    "negative rate": tensors({"a/video": torch.zeros(2)}, encoder="x", fps="-1"),
    "widths differ": tensors({"a/video": torch.zeros(2), "b/video": torch.zeros(3)}, encoder="x"),
    "not finite": tensors({"a/video": torch.full((2,), torch.nan)}, encoder="x"),
    "wrong shape": tensors({"a/video": torch.zeros(2, 2)}, encoder="x"),
    "without encoder": tensors({"a/video": torch.zeros(2)}),
    "other names": tensors({"a": torch.zeros(2)}, encoder="x"),
    "truncated": written(b"\x10\0\0\0\0\0\0\0{"),
    "huge header": written(b"\xff" * 8),
    "missing": lambda path: None,
}
FEATURES = {
    "unpaired": tensors({"x/clips": torch.zeros(2, 2)}),
    "not finite": tensors({"x/clips": torch.full((2, 2), torch.inf), "x/real": torch.zeros(2, 2)}),
    "text": written("no tensors"),
}
DOCTORED = {
    "deep JSON": [("duet", "[" * 100_000)],
    "half JSON": [("duet", "{")],
    "forged line": [("duet", "}\r\nduet: error: \x1b[31mall is well")],
}
NUMBERS = {
    **{f"seed {value[:9]!r}": ("--seed", value) for value in ("-1", "0.5", "", "9" * 400, "nan", "\x1b[31m", "1e3")},
    **{f"steps {value!r}": ("--steps", value) for value in ("0", "-7", "1000000000000")},
    **{f"seconds {value!r}": ("--seconds", value) for value in ("nan", "inf", "-2", "1e308", "0")},
    **{f"cfg {value!r}": ("--cfg", value) for value in ("nan", "inf", "-1", "1e308")},
    **{f"prior seed {value!r}": ("--prior-seed", value) for value in ("-1", str(2**63))},
    **{f"prior temperature {value!r}": ("--prior-temperature", value) for value in ("nan", "-1", "1e9")},
    **{f"start {value!r}": ("--start", value) for value in ("nan", "-1", "inf")},
    **{f"batch {value!r}": ("--batch", value) for value in ("0", "100000")},
    "value is two dashes": ("--seed=--",),
    "unknown option": ("--\x1b[31m",),
}


def _table():
    rows = {}
    for name, (file, create) in MEDIA.items():
        rows[f"measure: {name}"] = (file, create, ("measure", "{}"))
    for name in ("frame after a million seconds", "random bytes", "pipe", "concat list", "escape in the name"):
        rows[f"generate --video: {name}"] = (*MEDIA[name], (*GENERATE, "--video", "{}"))
    for name in ("sample rate of 7 Hz", "text", "HLS playlist", "line break in the name"):
        rows[f"generate --audio: {name}"] = (*MEDIA[name], (*GENERATE, "--audio", "{}"))
    for name, (file, create) in IMAGES.items():
        rows[f"generate --image: {name}"] = (file, create, (*GENERATE, "--image", "{}"))
    for name, content in TIMELINES.items():
        rows[f"generate --plan: {name}"] = ("plan.json", written(content), (*GENERATE, "--plan", "{}"))
    for name, content in PROMPTS.items():
        rows[f"generate --prompts: {name}"] = (
            "words.txt",
            written(content),
            ("generate", "--prompts", "{}", *GENERATE[2:]),
        )
    javisbench = ("bench", "javisbench", "--csv", "table.csv", "--clips", ".", "--model", "pocket")
    for option, cases in (("--embeddings", EMBEDDINGS), ("--features", FEATURES)):
        for name, create in cases.items():
            rows[f"{option}: {name}"] = ("x.safetensors", create, (*javisbench, option, "{}"))
    for name, text in DOCTORED.items():
        rows[f"doctor: {name}"] = ("a.png", lambda path, text=text: png(path, text=text), ("doctor", "{}"))
    rows["doctor: text"] = ("a.png", written("no image"), ("doctor", "{}"))
    rows["doctor: playlist"] = (*MEDIA["HLS playlist"], ("doctor", "{}"))
    rows["csv without the column"] = (
        "b.csv",
        written("a,b\n1,2\n"),
        ("bench", "javisbench", "--csv", "{}", "--clips", "."),
    )
    rows["csv of bytes"] = ("b.csv", written(b"\xff\xfe"), ("bench", "javisbench", "--csv", "{}", "--clips", "."))
    rows["csv is missing"] = ("b.csv", lambda path: None, ("bench", "javisbench", "--csv", "{}", "--clips", "."))
    rows["output is the input"] = ("a.mp4", written("x"), ("generate", PROMPT, "--video", "{}", "-o", "{}"))
    rows["output is a link to the input"] = (
        "a.txt",
        written("0.5 bell left"),
        ("plan", PROMPT, "--edit", "{}", "-o", "{}"),
    )
    rows["output is a device"] = ("o.mp4", lambda path: path.symlink_to("/dev/null"), ("generate", PROMPT, "-o", "{}"))
    rows["output is a loop of links"] = ("o.mp4", lambda path: path.symlink_to(path), ("generate", PROMPT, "-o", "{}"))
    rows["data: a file"] = ("a.txt", written("x"), ("data", "{}", "-o", "o.safetensors"))
    return rows


TABLE = _table()
WITHOUT_FILE = {name: (*GENERATE, *arguments) for name, arguments in NUMBERS.items()}


def prepare(folder: Path, case):
    """The files of ``case`` in ``folder``, and its arguments."""
    file, create, arguments = TABLE[case]
    (folder / "table.csv").write_text("text\nball\n")
    path = folder / file
    create(path)
    return path, [argument.replace("{}", str(path)) for argument in arguments]
