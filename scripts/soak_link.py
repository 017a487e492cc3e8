"""The links of `scripts/soak`: each camera reaches the relay over one, which fails when told to, and which notes
what the relay acknowledged."""

import asyncio
import collections
import json
import struct

PIECE = 64 << 10

# What is remembered of a camera: some minutes of its pictures.
REMEMBERED = 4096

HISTORY = 1 << 2


class Frames:
    """Takes WebSocket frames (RFC 6455, 5.2) out of a stream as it comes; `on` gets opcode and payload, of which a
    longer one is cut."""

    KEPT = 1024

    def __init__(self, on):
        self.on, self.head_is_there = on, False
        self.buffer, self.skip = bytearray(), 0

    def take(self, piece):
        if self.skip:
            skipped = min(self.skip, len(piece))
            self.skip -= skipped
            piece = piece[skipped:]
        self.buffer += piece
        while self.step():
            pass

    def step(self):
        buffer = self.buffer
        if not self.head_is_there:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return False
            del buffer[: end + 4]
            self.head_is_there = True
        if len(buffer) < 2:
            return False
        length = buffer[1] & 127
        at = {126: 4, 127: 10}.get(length, 2)
        if len(buffer) < at:
            return False
        if at > 2:
            length = int.from_bytes(buffer[2:at], "big")
        masked = buffer[1] & 128
        payload_at = at + (4 if masked else 0)
        kept = min(length, self.KEPT)
        if len(buffer) < payload_at + kept:
            return False
        payload = bytes(buffer[payload_at : payload_at + kept])
        if masked:
            mask = bytes(buffer[at : at + 4])
            payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload[:32])) + payload[32:]
        self.on(buffer[0] & 15, payload)
        whole = payload_at + length
        self.skip = max(0, whole - len(buffer))
        del buffer[:whole]
        return True


class Ledger:
    """What a camera sent, and what of it the relay acknowledged."""

    def __init__(self, camera):
        self.camera = camera
        self.sent = collections.OrderedDict()
        self.newest = None
        self.acknowledged = self.refused = 0
        self.acknowledged_at = 0.0

    def went(self, opcode, payload):
        if opcode != 2 or len(payload) < 24:
            return
        captured_us, seq, flags = struct.unpack(">qQI", payload[:20])
        if flags & HISTORY:
            return
        self.sent[seq] = captured_us
        self.sent.move_to_end(seq)
        while len(self.sent) > REMEMBERED:
            self.sent.popitem(last=False)

    def came(self, opcode, payload):
        if opcode != 1:
            return
        said = json.loads(payload)
        self.refused += "refused" in said
        captured_us = self.sent.get(said.get("ack"))
        if captured_us is None:
            return
        self.acknowledged += 1
        self.acknowledged_at = asyncio.get_running_loop().time()
        if self.newest is None or captured_us > self.newest[0]:
            self.newest = (captured_us, said["ack"])

    def behind(self, seq):
        """How much older the picture with this number is than the newest acknowledged one, in seconds; None if
        this camera never sent it."""
        captured_us = self.sent.get(seq)
        if captured_us is None or self.newest is None:
            return None
        return max(0, self.newest[0] - captured_us) / 1e6


class Link:
    def __init__(self, camera, relay_port):
        self.ledger, self.relay_port = Ledger(camera), relay_port
        self.refuses = False
        self.carries = asyncio.Event()
        self.carries.set()
        self.open = set()
        self.tasks = set()

    async def start(self):
        self.server = await asyncio.start_server(self.connected, "127.0.0.1", 0, limit=PIECE)
        self.port = self.server.sockets[0].getsockname()[1]

    async def connected(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        if self.refuses:
            writer.close()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.relay_port, limit=PIECE)
        except OSError:
            writer.close()
            return
        both = (writer, back)
        self.open.add(both)
        ledger = self.ledger
        up, down = Frames(ledger.went), Frames(ledger.came)
        try:
            await asyncio.gather(self.carry(reader, back, up), self.carry(there, writer, down))
        finally:
            self.open.discard(both)
            for end in both:
                end.close()

    async def carry(self, reader, writer, frames):
        try:
            while piece := await reader.read(PIECE):
                frames.take(piece)
                await self.carries.wait()
                writer.write(piece)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        # Whichever side ends, a WebSocket is over.
        writer.close()

    async def end(self):
        self.server.close()
        self.carries.set()
        self.cut()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def cut(self):
        for both in list(self.open):
            for end in both:
                end.transport.abort()
