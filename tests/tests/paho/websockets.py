"""A round trip of paho-mqtt over WebSocket: websockets.py VERSION HOST PORT [CA CERTIFICATE KEY].

VERSION is 3.1.1 or 5. With files it is secure WebSocket. Ends with 0, or with the exception of what failed.
"""

import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

WITHIN_S = 15


def main(version, host, port, *files):
    protocol = MQTTProtocolVersion.MQTTv5 if version == "5" else MQTTProtocolVersion.MQTTv311
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "", protocol=protocol, transport="websockets")
    client.ws_set_options(path="/mqtt")
    if files:
        ca, certificate, key = files
        client.tls_set(ca, certificate, key)
    connected, subscribed, messages = queue.Queue(), queue.Queue(), queue.Queue()
    client.on_connect = lambda c, u, flags, reason, properties: connected.put(reason)
    client.on_subscribe = lambda c, u, mid, reasons, properties: subscribed.put(reasons)
    client.on_message = lambda c, u, message: messages.put(message)
    client.connect(host, int(port), keepalive=30)
    client.loop_start()
    reason = connected.get(timeout=WITHIN_S)
    assert reason.value == 0, reason
    client.subscribe("paho/websockets/#", 2)
    subscribed.get(timeout=WITHIN_S)
    # A small one, one that needs the 16-bit length and one that needs the 64-bit length of a frame.
    for qos, size in ((0, 10), (1, 1000), (2, 200_000)):
        payload = bytes(range(256)) * (size // 256 + 1)
        client.publish(f"paho/websockets/{qos}", payload, qos)
        message = messages.get(timeout=WITHIN_S)
        assert (message.topic, message.payload) == (f"paho/websockets/{qos}", payload)
    client.disconnect()
    client.loop_stop()


main(*sys.argv[1:])
