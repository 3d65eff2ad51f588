"""paho-mqtt, told what to do: see README.md."""

import json
import socket
import ssl
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

VERSIONS = {
    "3.1": MQTTProtocolVersion.MQTTv31,
    "3.1.1": MQTTProtocolVersion.MQTTv311,
    "5.0": MQTTProtocolVersion.MQTTv5,
}
writing = threading.Lock()
clients = {}


def tell(client, saw, **more):
    with writing:
        print(json.dumps({"client": client, "saw": saw, **more}), flush=True)


def properties(kind, **values):
    """Those that are asked for."""
    made = Properties(kind)
    for name, value in values.items():
        if value is not None:
            setattr(made, name, value)
    return made


def of_message(told, kind):
    correlation = told.get("correlation")
    return properties(
        kind,
        UserProperty=[tuple(pair) for pair in told["user"]] if "user" in told else None,
        MessageExpiryInterval=told.get("expiry"),
        ResponseTopic=told.get("response_topic"),
        CorrelationData=bytes.fromhex(correlation) if correlation is not None else None,
        ContentType=told.get("content_type"),
        TopicAlias=told.get("alias"),
    )


class Client(mqtt.Client):
    def __init__(self, name, told):
        self.name, self.at = name, told["at"]
        self.five = self.at["version"] == "5.0"
        web = self.at["transport"] in ("ws", "wss")
        super().__init__(
            CallbackAPIVersion.VERSION2,
            told["id"],
            clean_session=None if self.five else told["clean"],
            protocol=VERSIONS[self.at["version"]],
            transport="websockets" if web else "tcp",
            reconnect_on_failure=False,
        )
        self.max_queued_messages_set(0)
        # What comes back for a burst is counted, not told one by one.
        self.left, self.codes = 0, {}
        if web:
            self.ws_set_options(path="/mqtt")
        if "ca" in self.at:
            context = ssl.create_default_context(cafile=self.at["ca"])
            if "certificate" in self.at:
                context.load_cert_chain(self.at["certificate"], self.at["key"])
            self.tls_set_context(context)
        if "will" in told:
            will = told["will"]
            more = {"properties": of_message(will, PacketTypes.WILLMESSAGE)} if self.five else {}
            self.will_set(will["topic"], bytes.fromhex(will["payload"]), will["qos"], will["retain"], **more)

    def _create_socket_connection(self):
        # Another name may be asked for than the one that is dialled.
        return socket.create_connection((self.at["host"], self.at["port"]), timeout=20)

    def enter(self, told):
        extra = {}
        if self.five:
            extra["clean_start"] = told["clean"]
            extra["properties"] = properties(
                PacketTypes.CONNECT,
                SessionExpiryInterval=told.get("session_expiry"),
                TopicAliasMaximum=told.get("topic_alias_maximum"),
            )
        host = self.at.get("server_name", self.at["host"])
        self.connect(host, self.at["port"], told["keep_alive"], **extra)
        self.loop_start()

    def on_connect(self, _client, _userdata, flags, reason, given):
        keep_alive = getattr(given, "ServerKeepAlive", None) if self.five else None
        tell(
            self.name,
            "connected",
            code=reason.value,
            session_present=flags.session_present,
            server_keep_alive=keep_alive,
        )

    def on_disconnect(self, _client, _userdata, flags, reason, _properties):
        code = reason.value if flags.is_disconnect_packet_from_server else None
        tell(self.name, "closed", code=code)

    def on_subscribe(self, _client, _userdata, _mid, reasons, _properties):
        tell(self.name, "subscribed", code=reasons[0].value)

    def on_unsubscribe(self, _client, _userdata, _mid, _reasons, _properties):
        tell(self.name, "unsubscribed")

    def on_publish(self, _client, _userdata, _mid, reason, _properties):
        if self.left == 0:
            tell(self.name, "published", code=reason.value)
        elif reason.value not in (0, 16):
            tell(self.name, "fault", why=f"a message of the burst is refused: {reason}")
        else:
            self.left -= 1
            if self.left == 0:
                tell(self.name, "burst")

    def on_message(self, _client, _userdata, message):
        seen = {"topic": message.topic, "payload": message.payload.hex(), "qos": message.qos, "retain": message.retain}
        given = message.properties
        if given is not None:
            correlation = getattr(given, "CorrelationData", None)
            seen["user"] = [list(pair) for pair in getattr(given, "UserProperty", [])]
            seen["expiry"] = getattr(given, "MessageExpiryInterval", None)
            seen["response_topic"] = getattr(given, "ResponseTopic", None)
            seen["correlation"] = correlation.hex() if correlation is not None else None
            seen["content_type"] = getattr(given, "ContentType", None)
            seen["identifiers"] = getattr(given, "SubscriptionIdentifier", [])
        tell(self.name, "message", **seen)

    def vanish(self):
        """The connection ends without goodbye."""
        self.on_disconnect = None
        self.loop_stop_now()

    def loop_stop_now(self):
        raw = self._sock
        # Ends the loop's thread, which closes its own end.
        raw = getattr(raw, "_socket", raw)
        # The library forgets its thread as soon as that ends.
        thread = self._thread
        self._thread_terminate = True
        socket.socket.shutdown(raw, socket.SHUT_RDWR)
        if thread is not None:
            thread.join()


def connect(client, told):
    if told.get("topic_alias_maximum"):
        tell(client, "unspoken", why="paho-mqtt does not resolve the topic aliases of a broker")
        return
    clients[client] = Client(client, told)
    clients[client].enter(told)


def subscribe(client, told):
    session = clients[client]
    if not session.five:
        session.subscribe(told["filter"], told["qos"])
        return
    options = SubscribeOptions(
        qos=told["qos"],
        noLocal=told.get("no_local", False),
        retainHandling=told.get("retain_handling", 0),
        retainAsPublished=told.get("retain_as_published", False),
    )
    given = properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=told.get("identifier"))
    session.subscribe(told["filter"], options=options, properties=given)


def unsubscribe(client, told):
    clients[client].unsubscribe(told["filter"])


def publish(client, told):
    session = clients[client]
    given = of_message(told, PacketTypes.PUBLISH) if session.five else None
    session.publish(told["topic"], bytes.fromhex(told["payload"]), told["qos"], told["retain"], given)


def burst(client, told):
    session = clients[client]
    session.left = told["count"]
    for number in range(told["count"]):
        session.publish(told["topic"], str(number), told["qos"])


def disconnect(client, _told):
    clients[client].disconnect()


def vanish(client, _told):
    clients.pop(client).vanish()
    tell(client, "vanished")


def reset(client, _told):
    for session in clients.values():
        session.on_disconnect = None
        session.disconnect()
        session.loop_stop()
    clients.clear()
    tell(client, "reset")


for line in sys.stdin:
    command = json.loads(line)
    try:
        globals()[command["do"]](command["client"], command)
    except Exception as error:
        tell(command["client"], "fault", why=f"{command['do']}: {error!r}")
