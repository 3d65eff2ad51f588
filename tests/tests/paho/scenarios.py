"""Scenarios that paho-mqtt plays against a broker: scenarios.py SCENARIO VERSION HOST PORT.

VERSION is 3.1.1 or 5. A scenario ends with 0, or with the exception of the step that failed.
"""

import queue
import socket
import ssl
import sys
import time

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

WITHIN_S = 15


class Client(mqtt.Client):
    """paho's client with its callbacks turned into queues, so that a scenario reads in order."""

    def __init__(self, at, name, clean=True, reach=None):
        self.at, self.reach, self.clean = at, reach, clean
        extra = {} if at.five else {"clean_session": clean}
        super().__init__(CallbackAPIVersion.VERSION2, name, protocol=at.protocol, **extra)
        self.connected, self.messages = queue.Queue(), queue.Queue()
        self.done, self.ended = queue.Queue(), queue.Queue()
        self.on_connect = lambda c, u, flags, reason, properties: self.connected.put((flags, reason))
        self.on_message = lambda c, u, message: self.messages.put(message)
        self.on_subscribe = lambda c, u, mid, reasons, properties: self.done.put((mid, reasons))
        self.on_unsubscribe = lambda c, u, mid, reasons, properties: self.done.put((mid, reasons))
        self.on_publish = lambda c, u, mid, reason, properties: self.done.put((mid, reason))
        self.on_disconnect = lambda c, u, flags, reason, properties: self.ended.put(reason)

    def _create_socket_connection(self):
        # The name of the certificate is asked for while the address of the test's broker is dialled.
        return socket.create_connection(self.reach or (self._host, self._port), timeout=WITHIN_S)

    def enter(self, expect=0, host=None):
        extra = {}
        if self.at.five:
            properties = Properties(PacketTypes.CONNECT)
            if not self.clean:
                properties.SessionExpiryInterval = 300
            extra = {"clean_start": self.clean, "properties": properties}
        self.connect(host or self.at.host, self.at.port, keepalive=30, **extra)
        self.loop_start()
        flags, reason = self.connected.get(timeout=WITHIN_S)
        assert reason.value == expect, f"CONNACK {reason}"
        return flags

    def granted(self, filter, qos, **options):
        if self.at.five:
            _, mid = self.subscribe(filter, options=SubscribeOptions(qos=qos, **options))
        else:
            _, mid = self.subscribe(filter, qos)
        done, reasons = self.done.get(timeout=WITHIN_S)
        assert done == mid and reasons[0].value == qos, reasons

    def say(self, topic, payload, qos=0, **extra):
        info = self.publish(topic, payload, qos=qos, **extra)
        info.wait_for_publish(WITHIN_S)
        assert info.is_published(), "not acknowledged"
        self.done.get(timeout=WITHIN_S)

    def hear(self):
        return self.messages.get(timeout=WITHIN_S)

    def heard(self, topic, payload, qos=None, retain=None):
        message = self.hear()
        assert (message.topic, message.payload) == (topic, payload.encode()), (message.topic, message.payload)
        assert qos is None or message.qos == qos, message.qos
        assert retain is None or message.retain == retain, message.retain
        return message

    def leave(self):
        self.disconnect()
        self.ended.get(timeout=WITHIN_S)
        self.loop_stop()

    def vanish(self):
        """The connection ends without goodbye."""
        self.on_disconnect = None
        self.loop_stop()
        self._sock.close()


class At:
    def __init__(self, version, host, port):
        self.five = version == "5"
        self.protocol = MQTTProtocolVersion.MQTTv5 if self.five else MQTTProtocolVersion.MQTTv311
        self.host, self.port = host, int(port)
        self.tag = f"paho-{version}-{time.time_ns()}"


def qos(at):
    subscriber, publisher = Client(at, at.tag + "-s"), Client(at, at.tag + "-p")
    subscriber.enter(), publisher.enter()
    for granted in (0, 1, 2):
        subscriber.granted(f"{at.tag}/{granted}", granted)
        for sent in (0, 1, 2):
            publisher.say(f"{at.tag}/{granted}", f"{sent}", qos=sent)
            subscriber.heard(f"{at.tag}/{granted}", f"{sent}", qos=min(granted, sent), retain=False)
    publisher.leave(), subscriber.leave()


def system(at):
    """The figures are there at once, retained, and come again; nobody gets them by a leading wildcard."""
    watcher, greedy = Client(at, at.tag + "-w"), Client(at, at.tag + "-g")
    watcher.enter(), greedy.enter()
    greedy.granted("#", 0)
    watcher.granted("$SYS/broker/uptime", 0)
    first = watcher.hear()
    assert first.retain and first.payload.endswith(b" seconds"), (first.retain, first.payload)
    again = watcher.hear()
    assert not again.retain and again.payload.endswith(b" seconds"), (again.retain, again.payload)
    watcher.say(at.tag, "fence")
    while (topic := greedy.hear().topic) != at.tag:
        assert not topic.startswith("$"), topic
    watcher.leave(), greedy.leave()


def order(at):
    subscriber, publisher = Client(at, at.tag + "-s"), Client(at, at.tag + "-p")
    subscriber.enter(), publisher.enter()
    subscriber.granted(at.tag, 2)
    # In order within a QoS; what is sent at QoS 2 may be overtaken by what follows at QoS 1.
    for qos in (0, 1, 2):
        for number in range(100):
            publisher.publish(at.tag, f"{qos}: {number}", qos=qos)
        for number in range(100):
            subscriber.heard(at.tag, f"{qos}: {number}", qos=qos)
    publisher.leave(), subscriber.leave()


def wildcards(at):
    client = Client(at, at.tag)
    client.enter()
    client.granted(f"{at.tag}/+/state", 0)
    client.granted(f"{at.tag}/deep/#", 0)
    for topic in ("a/state", "deep", "deep/er/still"):
        client.say(f"{at.tag}/{topic}", topic)
        client.heard(f"{at.tag}/{topic}", topic)
    for topic in ("state", "a/b/state", "a/states"):
        client.say(f"{at.tag}/{topic}", "must not come")
    client.unsubscribe(f"{at.tag}/+/state")
    client.done.get(timeout=WITHIN_S)
    client.say(f"{at.tag}/a/state", "must not come")
    client.say(f"{at.tag}/deep/fence", "fence")
    client.heard(f"{at.tag}/deep/fence", "fence")
    client.leave()


def retained(at):
    publisher = Client(at, at.tag + "-p")
    publisher.enter()
    publisher.say(f"{at.tag}/kept", "first", qos=1, retain=True)
    publisher.say(f"{at.tag}/kept", "second", qos=1, retain=True)
    publisher.say(f"{at.tag}/cleared", "gone", qos=1, retain=True)
    publisher.say(f"{at.tag}/cleared", "", qos=1, retain=True)
    late = Client(at, at.tag + "-s")
    late.enter()
    late.granted(f"{at.tag}/#", 1)
    late.heard(f"{at.tag}/kept", "second", qos=1, retain=True)
    publisher.say(f"{at.tag}/kept", "live", qos=0)
    late.heard(f"{at.tag}/kept", "live", qos=0, retain=False)
    publisher.say(f"{at.tag}/kept", "", qos=1, retain=True)
    publisher.leave(), late.leave()


def will(at):
    witness = Client(at, at.tag + "-w")
    witness.enter()
    witness.granted(f"{at.tag}/will", 1)
    polite = Client(at, at.tag + "-polite")
    polite.will_set(f"{at.tag}/will", "must not come", qos=1)
    polite.enter()
    polite.leave()
    lost = Client(at, at.tag + "-lost")
    lost.will_set(f"{at.tag}/will", "lost", qos=1)
    lost.enter()
    lost.vanish()
    witness.heard(f"{at.tag}/will", "lost", qos=1)
    witness.leave()


def session(at):
    publisher = Client(at, at.tag + "-p")
    publisher.enter()
    first = Client(at, at.tag, clean=False)
    assert not first.enter().session_present
    first.granted(f"{at.tag}/#", 2)
    first.leave()
    for qos in (1, 2):
        publisher.say(f"{at.tag}/{qos}", "while away", qos=qos)
    second = Client(at, at.tag, clean=False)
    assert second.enter().session_present
    for qos in (1, 2):
        second.heard(f"{at.tag}/{qos}", "while away", qos=qos)
    second.leave()
    clean = Client(at, at.tag, clean=True)
    assert not clean.enter().session_present
    clean.leave()
    assert not Client(at, at.tag, clean=False).enter().session_present
    publisher.leave()


def takeover(at):
    first = Client(at, at.tag)
    first.reconnect_delay_set(60, 60)
    first.enter()
    second = Client(at, at.tag)
    second.enter()
    reason = first.ended.get(timeout=WITHIN_S)
    assert not at.five or reason.value == 0x8E, reason
    second.leave()
    first.loop_stop()


def options(at):
    """Subscription options and properties that only 5.0 has."""
    assert at.five
    client, other = Client(at, at.tag + "-a"), Client(at, at.tag + "-b")
    client.enter(), other.enter()
    client.granted(f"{at.tag}/nolocal", 1, noLocal=True)
    client.say(f"{at.tag}/nolocal", "own", qos=1)
    other.say(f"{at.tag}/nolocal", "other's", qos=1)
    client.heard(f"{at.tag}/nolocal", "other's")
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = [("a", "1"), ("b", "2"), ("a", "3")]
    properties.ContentType = "text/plain"
    properties.ResponseTopic = "answers/here"
    properties.CorrelationData = b"\x00\x01\xff"
    client.granted(f"{at.tag}/properties", 1)
    other.say(f"{at.tag}/properties", "x", qos=1, properties=properties)
    got = client.heard(f"{at.tag}/properties", "x").properties
    assert got.UserProperty == properties.UserProperty, got
    assert (got.ContentType, got.ResponseTopic, got.CorrelationData) == ("text/plain", "answers/here", b"\x00\x01\xff")
    other.say(f"{at.tag}/kept", "kept", qos=1, retain=True)
    client.granted(f"{at.tag}/kept", 1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
    client.say(f"{at.tag}/kept", "live", qos=1)
    client.heard(f"{at.tag}/kept", "live", retain=False)
    other.say(f"{at.tag}/kept", "", qos=1, retain=True)
    client.leave(), other.leave()


def tenants(at, authority, acme_cert, acme_key, globex_cert, globex_key):
    """Two tenants by the names that they ask for, with the same client identifier and the same topic."""

    def member(name, certificate, key):
        client = Client(at, at.tag, reach=(at.host, at.port))
        context = ssl.create_default_context(cafile=authority)
        context.load_cert_chain(certificate, key)
        client.tls_set_context(context)
        client.enter(host=name)
        client.granted("state", 1)
        return client

    acme = member("mqtt.acme.example.org", acme_cert, acme_key)
    globex = member("mqtt.globex.example.org", globex_cert, globex_key)
    acme.say("state", "acme's", qos=1)
    globex.say("state", "globex's", qos=1)
    acme.heard("state", "acme's")
    globex.heard("state", "globex's")
    assert acme.messages.empty() and globex.messages.empty()
    assert acme.ended.empty() and globex.ended.empty()
    acme.leave(), globex.leave()


if __name__ == "__main__":
    globals()[sys.argv[1]](At(*sys.argv[2:5]), *sys.argv[5:])
