"""A viewer written from docs/protocol.md alone: follows the metric `count`, which counts by one, to its last value.

Usage: viewer.py URL TOKEN LAST. Reconnects with `since` every few hundred readings. Ends with an error at any hole,
duplicate or omission.
"""
import asyncio, json, sys
from websockets.asyncio.client import connect

url, token, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
options = {"subprotocols": ["telemetry.v1.json"], "additional_headers": {"Authorization": "Bearer " + token},
           "compression": None, "proxy": None, "max_size": 4 << 20}


async def hear(ws, kind):
    while (message := json.loads(await asyncio.wait_for(ws.recv(), 20)))["type"] != kind:
        assert message["type"] != "error", message
    return message


async def session(since, value):
    """Follows for a while. Returns the position and value to go on after."""
    async with connect(url + "/v1/viewer", **options) as ws:
        assert ws.subprotocol == "telemetry.v1.json"
        assert json.loads(await ws.recv())["type"] == "welcome"
        devices = await hear(ws, "devices")
        assert devices["snapshot"] and [device["id"] for device in devices["devices"]] == ["pump"]
        (series,) = [m["series"] for m in devices["devices"][0]["metrics"] if m["name"] == "count"]
        subscribe = {"type": "subscribe", "id": 1, "select": {"metrics": ["count"]}, "max_hz": 60}
        if since is not None:
            subscribe["since"] = since
        await ws.send(json.dumps(subscribe))
        subscribed = await hear(ws, "subscribed")
        assert subscribed["series"] == 1 and subscribed["resumed"] == (since is not None), subscribed
        begin = value
        while value is None or begin is None or value < min(begin + 400, last):
            readings = await hear(ws, "readings")
            assert "omitted" not in readings, readings
            assert readings.get("snapshot", False) == (value is None), readings
            for one in readings["series"]:
                assert one["series"] == series
                for at, number in one["points"]:
                    assert value is None or number == value + 1, f"{number} after {value}"
                    value = number
            since = readings["position"]
            begin = value if begin is None else begin
        return since, value


async def main():
    since, value = None, None
    while value is None or value < last:
        since, value = await session(since, value)
    print(json.dumps({"last": int(value), "position": since}))


asyncio.run(main())
