"""A client of the relay in another language than the relay's, written from docs/protocol.md.

stillwatch.py upload HOST:PORT PASSWORD JPEG…   uploads each over one WebSocket, prints the answers
stillwatch.py watch HOST:PORT COUNT             prints number and length of COUNT frames
stillwatch.py snapshot URL                      one picture of an MJPEG stream, found as Home
                                                Assistant does it: from SOI to EOI; its length
"""

import asyncio
import json
import struct
import sys
import time

import requests
import websockets

HEAD = struct.Struct(">qQII")
SUBPROTOCOL = "stillwatch.v1"


async def upload(address, password, paths):
    options = {
        "subprotocols": [SUBPROTOCOL],
        "extra_headers": {"Authorization": f"Bearer {password}"},
    }
    async with websockets.connect(f"ws://{address}/upload.ws", **options) as socket:
        for number, path in enumerate(paths, 1):
            with open(path, "rb") as file:
                jpeg = file.read()
            await socket.send(HEAD.pack(time.time_ns() // 1000, number, 0, 0) + jpeg)
            print(await socket.recv(), flush=True)


async def watch(address, count):
    options = {"subprotocols": [SUBPROTOCOL], "max_size": 16 << 20}
    async with websockets.connect(f"ws://{address}/live.ws", **options) as socket:
        while count:
            message = await socket.recv()
            if isinstance(message, str):
                assert json.loads(message)["state"]
                continue
            captured_us, number, _flags, _reserved = HEAD.unpack(message[: HEAD.size])
            jpeg = message[HEAD.size :]
            assert jpeg.startswith(b"\xff\xd8") and captured_us > 0
            print(number, len(jpeg), flush=True)
            await socket.send(json.dumps({"ready": number}))
            count -= 1


def snapshot(url):
    data = b""
    with requests.get(url, stream=True, timeout=10) as answer:
        for chunk in answer.iter_content(102400):
            data += chunk
            end = data.find(b"\xff\xd9")
            start = data.find(b"\xff\xd8")
            if start != -1 and end != -1:
                print(len(data[start : end + 2]))
                return


match sys.argv[1:]:
    case ["upload", address, password, *paths]:
        asyncio.run(upload(address, password, paths))
    case ["watch", address, count]:
        asyncio.run(watch(address, int(count)))
    case ["snapshot", url]:
        snapshot(url)
    case _:
        sys.exit(__doc__)
