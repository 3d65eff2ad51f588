"""mosquitto_pub and mosquitto_sub, told what to do: see README.md.

A client is a mosquitto_sub from its first subscription on; each message goes by a mosquitto_pub of its own, whose client
identifier is another one then. What the broker answers is read from what the programs say with `-d`.
"""

import json
import re
import subprocess
import sys
import threading

VERSIONS = {"3.1": "mqttv31", "3.1.1": "mqttv311", "5.0": "mqttv5"}
writing = threading.Lock()
clients = {}
# What a session subscribes to; mosquitto_sub will not start without a filter.
filters = {}


def tell(client, saw, **more):
    with writing:
        print(json.dumps({"client": client, "saw": saw, **more}), flush=True)


class Unspoken(Exception):
    pass


class Client:
    def __init__(self, name, told):
        self.name, self.told, self.at = name, told, told["at"]
        self.five = self.at["version"] == "5.0"
        self.program, self.quiet, self.filter = None, False, None
        if told.get("topic_alias_maximum"):
            raise Unspoken("mosquitto_sub does not resolve the topic aliases of a broker")
        # Shorter ones are refused by the program itself.
        self.told = {**told, "keep_alive": max(told["keep_alive"], 5)}

    def common(self, identifier):
        at = self.at
        words = ["-h", at["host"], "-p", str(at["port"]), "-V", VERSIONS[at["version"]], "-i", identifier, "-d"]
        if "ca" in at:
            words += ["--cafile", at["ca"]]
        if "certificate" in at:
            words += ["--cert", at["certificate"], "--key", at["key"]]
        return words

    def subscribe(self, told):
        if self.program:
            raise Unspoken("mosquitto_sub takes filters only when it starts")
        words = ["-t", told["filter"], "-q", str(told["qos"])]
        if told.get("no_local") or told.get("retain_handling") == 2:
            # Its one option for this is another handling than what is asked for.
            raise Unspoken("mosquitto_sub has no option for this subscription option")
        if "identifier" in told:
            words += ["-D", "subscribe", "subscription-identifier", str(told["identifier"])]
        self.start(words)

    def start(self, words):
        told = self.told
        words = self.common(told["id"]) + words + ["-k", str(told["keep_alive"])]
        # The payload in digits, its bytes may be anything.
        words += ["-F", FORMAT_OF[self.five]]
        if not told["clean"]:
            words.append("-c")
        if "session_expiry" in told:
            words += ["-x", str(told["session_expiry"])]
        if "will" in told:
            will = told["will"]
            words += ["--will-topic", will["topic"], "--will-qos", str(will["qos"])]
            words += ["--will-payload", bytes.fromhex(will["payload"]).decode()]
            words += ["--will-retain"] if will["retain"] else []
        self.program = subprocess.Popen(
            ["stdbuf", "-oL", "mosquitto_sub", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.reader = threading.Thread(target=self.read, args=(self.program,), daemon=True)
        self.reader.start()

    def read(self, program):
        for line in program.stdout:
            line = line.rstrip("\n")
            if line.startswith("MESSAGE "):
                tell(self.name, "message", **message_of(line, self.five))
            elif match := re.match(r"Subscribed \(mid: \d+\): (\d+)", line):
                tell(self.name, "subscribed", code=int(match[1]))
            elif not re.match(r"Client \S+ (sending|received)|All subscription requests", line):
                print(line, file=sys.stderr)
        program.wait()
        if not self.quiet:
            tell(self.name, "closed", code=None)

    def publish(self, told, source=None):
        identifier = self.told["id"] if not self.program else self.told["id"] + "-out"
        words = self.common(identifier) + ["-t", told["topic"], "-q", str(told["qos"])]
        if not told["topic"]:
            raise Unspoken("mosquitto_pub sends one message a connection: its second message has no alias to use")
        for key, name in (
            ("expiry", "message-expiry-interval"),
            ("response_topic", "response-topic"),
            ("content_type", "content-type"),
            ("alias", "topic-alias"),
        ):
            if key in told:
                words += ["-D", "publish", name, str(told[key])]
        if "correlation" in told:
            try:
                data = bytes.fromhex(told["correlation"]).decode()
                assert "\0" not in data
            except (UnicodeDecodeError, AssertionError):
                raise Unspoken("mosquitto_pub takes correlation data from its command line: no NUL, UTF-8 alone")
            words += ["-D", "publish", "correlation-data", data]
        for key, value in told.get("user", []):
            words += ["-D", "publish", "user-property", key, value]
        words += ["-r"] if told.get("retain") else []
        payload = bytes.fromhex(told.get("payload", ""))
        words += ["-l"] if source is not None else ["-s"] if payload else ["-n"]
        ran = subprocess.run(
            ["mosquitto_pub", *words],
            input=source if source is not None else payload,
            capture_output=True,
            timeout=60,
        )
        text = (ran.stdout + ran.stderr).decode(errors="replace")
        refused = re.search(r"received PUB(?:ACK|REC) \(Mid: \d+, RC:(\d+)\)", text)
        code = int(refused[1]) if refused else 0
        if ran.returncode and not code:
            raise RuntimeError(f"mosquitto_pub {words}: {ran.returncode}: {text}")
        return code

    def stop(self, how):
        if how == "disconnect" and self.five and "will" in self.told:
            raise Unspoken("mosquitto_sub asks for its will when it is told to end (DISCONNECT 0x04)")
        if self.program:
            self.quiet = True
            # Told to end at the wrong moment, mosquitto_sub may miss it: only a scenario's own goodbye is asked for.
            (self.program.terminate if how == "disconnect" else self.program.kill)()
            self.program.wait()
            self.reader.join()
            self.program = None


# %x is the payload in digits.
PARTS = ["%t", "%q", "%r", "%x"]
PARTS_OF_FIVE = ["%E", "%R", "%D", "%C", "%S", "%P"]
FORMAT_OF = {
    False: "MESSAGE " + "\x1f".join(PARTS),
    True: "MESSAGE " + "\x1f".join(PARTS + PARTS_OF_FIVE),
}


def message_of(line, five):
    parts = line.removeprefix("MESSAGE ").split("\x1f")
    topic, qos, retain, payload = parts[:4]
    seen = {"topic": topic, "payload": payload, "qos": int(qos), "retain": retain == "1"}
    if five:
        expiry, response, correlation, kind, identifiers, user = parts[4:]
        seen["expiry"] = int(expiry) if expiry else None
        seen["response_topic"] = response or None
        seen["correlation"] = correlation.encode().hex() if correlation else None
        seen["content_type"] = kind or None
        seen["identifiers"] = [int(number) for number in identifiers.split()]
        seen["user"] = [pair.split(":", 1) for pair in user.split()]
    return seen


def connect(client, told):
    if any(other.told["id"] == told["id"] for other in clients.values()):
        raise Unspoken("mosquitto_sub comes back by itself when another takes its place")
    session = Client(client, told)
    clients[client] = session
    if told["clean"]:
        filters.pop(told["id"], None)
    elif told["id"] in filters:
        session.start(filters[told["id"]])
    # The programs connect when there is something to do; one that is refused says so then.
    tell(client, "connected", code=0, keep_alive=session.told["keep_alive"])


def subscribe(client, told):
    session = clients[client]
    session.subscribe(told)
    if not session.told["clean"]:
        filters[session.told["id"]] = ["-t", told["filter"], "-q", str(told["qos"])]


def unsubscribe(_client, _told):
    raise Unspoken("mosquitto_sub unsubscribes only before it subscribes")


def publish(client, told):
    tell(client, "published", code=clients[client].publish(told))


def burst(client, told):
    # A line each.
    lines = "".join(f"{number}\n" for number in range(told["count"])).encode()
    clients[client].publish(told, lines)
    tell(client, "burst")


def disconnect(client, _told):
    clients.pop(client).stop("disconnect")
    tell(client, "closed", code=None)


def vanish(client, _told):
    clients.pop(client).stop("vanish")
    tell(client, "vanished")


def reset(client, _told):
    for session in clients.values():
        session.stop("reset")
    clients.clear()
    tell(client, "reset")


for line in sys.stdin:
    command = json.loads(line)
    try:
        globals()[command["do"]](command["client"], command)
    except Unspoken as why:
        tell(command["client"], "unspoken", why=str(why))
    except Exception as error:
        tell(command["client"], "fault", why=f"{command['do']}: {error!r}")
