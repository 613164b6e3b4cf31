"""Twelve steps of a client on Python's `websockets`, written from docs/protocol.md alone: connect, authenticate, publish, ack,
subscribe, receive a command, ping, large frame, bad frame, revoke, close, resume.

Usage: twelve.py URL TOKEN NEXT_TOKEN OPERATOR_TOKEN DEVICE. TOKEN and NEXT_TOKEN are both the device's. Prints a line of JSON for
each step; after {"wants": "revocation"} whoever started it revokes TOKEN.
"""
import asyncio, json, sys, time
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

url, token, next_token, operator_token, device = sys.argv[1:]
START = 1_767_225_600_000_000
EPOCH = f"py-{time.time_ns():x}"
COMMANDS = [{"name": "set_led", "params": [{"name": "on", "kind": "bool", "required": True}]}]
readings = 0


def line(path, token):
    return connect(url + path, subprotocols=["telemetry.v1.json"], compression=None, proxy=None, max_size=4 << 20,
                   ping_interval=None, additional_headers={"Authorization": "Bearer " + token})


def step(number, name, **more):
    print(json.dumps({"step": number, "name": name, **more}), flush=True)


async def say(ws, **message):
    await ws.send(json.dumps(message))


async def hear(ws, kind):
    """The next message of this type; others but errors are passed over."""
    while (message := json.loads(await asyncio.wait_for(ws.recv(), 20)))["type"] != kind:
        assert message["type"] not in ("error", "refuse"), message
    return message


async def closed(ws):
    """The code with which the hub closes."""
    try:
        while True:
            await asyncio.wait_for(ws.recv(), 20)
    except ConnectionClosed as error:
        return error.rcvd.code


async def welcomed(token, epoch=EPOCH):
    ws = await line("/v1/device", token)
    await say(ws, type="hello", device=device, epoch=epoch, metrics=[{"name": "count"}], commands=COMMANDS)
    return ws, await hear(ws, "welcome")


async def batch(ws, seq, count=1):
    global readings
    at = START + seq * 10_000_000
    points = [{"at": at + n, "values": {"count": seq * 10_000 + n}} for n in range(count)]
    await say(ws, type="readings", seq=seq, points=points)
    readings += count


async def acked(ws, seq):
    last = 0
    while last < seq:
        ack = await hear(ws, "ack")
        assert ack["seq"] >= last, ack
        last = ack["seq"]
    assert last == seq, last


async def operator():
    ws = await line("/v1/viewer", operator_token)
    welcome = await hear(ws, "welcome")
    assert welcome["role"] == "operator", welcome
    devices, more = [], True
    while more:
        part = await hear(ws, "devices")
        assert part["snapshot"], part
        devices, more = devices + part["devices"], part.get("more", False)
    (ours,) = [one for one in devices if one["id"] == device]
    (series,) = [metric["series"] for metric in ours["metrics"] if metric["name"] == "count"]
    return ws, series


async def main():
    global readings
    try:
        await line("/v1/device", "device_" + "0" * 64)
        raise SystemExit("a wrong token was let in")
    except InvalidStatus as error:
        assert error.response.status_code == 401, error
        assert "error" in json.loads(error.response.body), error.response.body
    ws = await line("/v1/device", token)
    step(1, "connect")

    assert ws.subprotocol == "telemetry.v1.json" and not ws.protocol.extensions
    await say(ws, type="hello", device=device, epoch=EPOCH, metrics=[{"name": "count"}], commands=COMMANDS)
    welcome = await hear(ws, "welcome")
    assert welcome["acked_seq"] == 0, welcome
    step(2, "authenticate")

    for seq in range(1, 101):
        await batch(ws, seq, 10)
    step(3, "publish", readings=readings)
    await acked(ws, 100)
    step(4, "ack")

    viewer, series = await operator()
    await say(viewer, type="subscribe", id=1, select={"devices": [device]}, max_hz=60)
    subscribed = await hear(viewer, "subscribed")
    assert subscribed["series"] == 1 and not subscribed["resumed"], subscribed
    snapshot = await hear(viewer, "readings")
    assert snapshot["snapshot"] and snapshot["series"][0]["points"] == [[START + 100 * 10_000_000 + 9, 1_000_009]], snapshot
    await batch(ws, 101)
    await acked(ws, 101)
    live = await hear(viewer, "readings")
    assert live["series"] == [{"series": series, "points": [[START + 101 * 10_000_000, 1_010_000]]}], live
    step(5, "subscribe")

    await say(viewer, type="send_command", id=2, device=device, name="set_led", args={"on": True})
    command = await hear(ws, "command")
    assert (command["name"], command["args"], command["attempt"]) == ("set_led", {"on": True}, 1), command
    for answer in ({"state": "received"}, {"state": "running"}, {"state": "succeeded", "result": {"led": True}}):
        await say(ws, type="command_update", id=command["id"], **answer)
    while (said := (await hear(viewer, "command"))["command"])["state"] != "succeeded":
        assert said["id"] == command["id"], said
    assert said["result"] == {"led": True}, said
    step(6, "command")

    await asyncio.wait_for(await ws.ping(b"are you there?"), 20)
    # Longer than three of the hub's pings: the library has answered them.
    await asyncio.sleep(4.5)
    await batch(ws, 102)
    await acked(ws, 102)
    step(7, "ping")

    await batch(ws, 103, 4096)
    await acked(ws, 103)
    await ws.send(" " * (welcome["limits"]["message_bytes"] + 1))
    assert await closed(ws) == 1009
    ws, welcome = await welcomed(token)
    assert welcome["acked_seq"] == 103, welcome
    step(8, "large frame")

    await ws.send("this is not JSON")
    error = json.loads(await asyncio.wait_for(ws.recv(), 20))
    assert (error["type"], error["code"]) == ("error", "malformed"), error
    ws.transport.write(b"\x83\x80\0\0\0\0")  # an opcode that RFC 6455 reserves
    assert await closed(ws) == 1002
    ws, welcome = await welcomed(token)
    step(9, "bad frame")

    print(json.dumps({"wants": "revocation"}), flush=True)
    assert await closed(ws) == 4003
    try:
        await line("/v1/device", token)
        raise SystemExit("a revoked token was let in")
    except InvalidStatus as error:
        assert error.response.status_code == 401, error
    step(10, "revoke")

    ws, welcome = await welcomed(next_token)
    assert welcome["acked_seq"] == 103, welcome
    await batch(ws, 104)
    await acked(ws, 104)
    await ws.close(1000, "done")
    assert ws.close_code == 1000, ws.close_code
    step(11, "close")

    while (live := await hear(viewer, "readings"))["series"][-1]["points"][-1][1] != 1_040_000:
        pass
    await viewer.close()
    ws, welcome = await welcomed(next_token)
    assert welcome["acked_seq"] == 104, welcome
    await batch(ws, 104)  # again: harmless
    readings -= 1
    await batch(ws, 105)
    await acked(ws, 105)
    viewer, series = await operator()
    await say(viewer, type="subscribe", id=1, select={"devices": [device]}, since=live["position"])
    assert (await hear(viewer, "subscribed"))["resumed"]
    missed = await hear(viewer, "readings")
    assert missed["series"] == [{"series": series, "points": [[START + 105 * 10_000_000, 1_050_000]]}], missed
    other, welcome = await welcomed(next_token, EPOCH + "-2")
    assert welcome["acked_seq"] == 0, welcome
    assert await closed(ws) == 4000, "the newer connection wins"
    await other.close()
    await viewer.close()
    step(12, "resume", readings=readings)


asyncio.run(main())
