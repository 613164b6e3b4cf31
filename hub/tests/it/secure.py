"""A device in TLS: connects, sends one batch, is acknowledged. Prints what it was told, or the error.

Usage: secure.py URL CA DEVICE TOKEN, or secure.py URL CA DEVICE CERTIFICATE KEY.
"""
import asyncio, json, ssl, sys, time
from websockets.asyncio.client import connect

url, ca, device, *credential = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
headers = {}
if len(credential) == 2:
    context.load_cert_chain(*credential)
else:
    headers["Authorization"] = "Bearer " + credential[0]


async def main():
    async with connect(url + "/v1/device", ssl=context, subprotocols=["telemetry.v1.json"], compression=None,
                       proxy=None, additional_headers=headers) as socket:
        await socket.send(json.dumps({"type": "hello", "device": device, "epoch": "1", "metrics": [{"name": "x"}]}))
        welcome = json.loads(await socket.recv())
        at = time.time_ns() // 1000
        await socket.send(json.dumps({"type": "readings", "seq": 1, "points": [{"at": at, "values": {"x": 1.5}}]}))
        ack = json.loads(await socket.recv())
        print(json.dumps({"welcome": welcome["type"], "ack": ack["seq"], "tls": socket.transport.get_extra_info("ssl_object").version()}))


try:
    asyncio.run(main())
except Exception as error:
    print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
