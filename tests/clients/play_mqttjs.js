// mqtt.js, told what to do: see README.md.
"use strict";

const fs = require("node:fs");
const readline = require("node:readline");
const mqtt = require("mqtt");

const VERSIONS = { "3.1": 3, "3.1.1": 4, "5.0": 5 };
const SCHEMES = { tcp: "mqtt", ssl: "mqtts", ws: "ws", wss: "wss" };
const clients = new Map();

class Unspoken extends Error {}

function tell(client, saw, more = {}) {
  process.stdout.write(JSON.stringify({ client, saw, ...more }) + "\n");
}

// Without what is not asked for.
function given(values) {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined && value !== null));
}

// The library keeps user properties by name; the values of a name that comes again are a list.
function userOf(pairs) {
  if (!pairs) return undefined;
  const names = {};
  for (const [name, value] of pairs) (names[name] ??= []).push(value);
  const kept = Object.entries(names).flatMap(([name, values]) => values.map((value) => [name, value]));
  if (JSON.stringify(kept) !== JSON.stringify(pairs)) {
    throw new Unspoken("mqtt.js keeps user properties by name: their order is lost where a name comes again");
  }
  return names;
}

function propertiesOf(told) {
  return given({
    userProperties: userOf(told.user),
    messageExpiryInterval: told.expiry,
    responseTopic: told.response_topic,
    correlationData: told.correlation === undefined ? undefined : Buffer.from(told.correlation, "hex"),
    contentType: told.content_type,
    topicAlias: told.alias,
  });
}

function messageOf(packet) {
  const properties = packet.properties ?? {};
  const user = [];
  for (const [name, values] of Object.entries(properties.userProperties ?? {})) {
    for (const value of [values].flat()) user.push([name, value]);
  }
  const identifiers = properties.subscriptionIdentifier;
  return {
    topic: packet.topic,
    payload: Buffer.from(packet.payload).toString("hex"),
    qos: packet.qos,
    retain: packet.retain,
    user,
    expiry: properties.messageExpiryInterval ?? null,
    response_topic: properties.responseTopic ?? null,
    correlation: properties.correlationData?.toString("hex") ?? null,
    content_type: properties.contentType ?? null,
    identifiers: identifiers === undefined ? [] : [identifiers].flat(),
  };
}

const commands = {
  connect(client, told) {
    const { at } = told;
    const five = at.version === "5.0";
    const options = {
      clientId: told.id,
      clean: told.clean,
      keepalive: told.keep_alive,
      protocolVersion: VERSIONS[at.version],
      protocolId: at.version === "3.1" ? "MQIsdp" : "MQTT",
      reconnectPeriod: 0,
      connectTimeout: 20_000,
      resubscribe: false,
      ...given({ servername: at.server_name }),
    };
    if (at.ca) options.ca = fs.readFileSync(at.ca);
    if (at.certificate) {
      options.cert = fs.readFileSync(at.certificate);
      options.key = fs.readFileSync(at.key);
    }
    if (five) {
      options.properties = given({
        sessionExpiryInterval: told.session_expiry,
        topicAliasMaximum: told.topic_alias_maximum,
      });
    }
    if (told.will) {
      const { topic, payload, qos, retain } = told.will;
      options.will = { topic, payload: Buffer.from(payload, "hex"), qos, retain };
    }
    const web = at.transport.startsWith("ws");
    const session = mqtt.connect(`${SCHEMES[at.transport]}://${at.host}:${at.port}${web ? "/mqtt" : ""}`, options);
    clients.set(client, session);
    let entered = false;
    let code = null;
    session.on("connect", (packet) => {
      entered = true;
      session.receiveMaximum = packet.properties?.receiveMaximum ?? 65_535;
      tell(client, "connected", {
        code: packet.reasonCode ?? packet.returnCode,
        session_present: packet.sessionPresent,
        server_keep_alive: packet.properties?.serverKeepAlive ?? null,
      });
    });
    session.on("error", (error) => {
      // The library may still write while it ends its WebSocket.
      if (session.silent || session.disconnecting) return;
      if (entered) tell(client, "fault", { why: String(error) });
      else tell(client, "connected", { code: error.code ?? -1, why: String(error) });
    });
    session.on("disconnect", (packet) => (code = packet.reasonCode));
    // The topic as the library resolved it: the packet of a topic alias has none.
    session.on("message", (topic, _payload, packet) => tell(client, "message", messageOf({ ...packet, topic })));
    session.on("close", () => {
      if (entered && !session.silent) tell(client, "closed", { code });
      entered = false;
    });
  },

  subscribe(client, told) {
    const options = given({
      qos: told.qos,
      nl: told.no_local,
      rh: told.retain_handling,
      rap: told.retain_as_published,
    });
    if (told.identifier) options.properties = { subscriptionIdentifier: told.identifier };
    clients.get(client).subscribe(told.filter, options, (error, granted, packet) => {
      // A refusal is an error here; the code is in the packet.
      const code = packet?.granted?.[0] ?? granted?.[0]?.qos;
      if (code === undefined) tell(client, "fault", { why: `subscribe: ${error}` });
      else tell(client, "subscribed", { code });
    });
  },

  unsubscribe(client, told) {
    clients.get(client).unsubscribe(told.filter, () => tell(client, "unsubscribed"));
  },

  publish(client, told) {
    const options = { qos: told.qos, retain: told.retain };
    const properties = propertiesOf(told);
    if (Object.keys(properties).length > 0) options.properties = properties;
    clients.get(client).publish(told.topic, Buffer.from(told.payload, "hex"), options, (error, packet) => {
      const code = error ? error.code : (packet?.reasonCode ?? 0);
      if (typeof code === "number") tell(client, "published", { code });
      else tell(client, "fault", { why: `publish: ${error}` });
    });
  },

  burst(client, told) {
    const session = clients.get(client);
    let next = 0;
    let left = told.count;
    const more = () => {
      if (next === told.count) return;
      session.publish(told.topic, String(next++), { qos: told.qos }, (error) => {
        if (error) tell(client, "fault", { why: `burst: ${error}` });
        left -= 1;
        if (left === 0) tell(client, "burst");
        more();
      });
    };
    // The library does not hold back what is beyond the broker's Receive Maximum: that is left to its user.
    for (let number = Math.min(told.count, session.receiveMaximum); number > 0; number--) more();
  },

  disconnect(client) {
    clients.get(client).end();
    clients.delete(client);
  },

  vanish(client) {
    const session = clients.get(client);
    clients.delete(client);
    session.silent = true;
    session.once("close", () => tell(client, "vanished"));
    session.stream.destroy();
  },

  reset(client) {
    const open = [...clients.values()];
    clients.clear();
    for (const session of open) session.silent = true;
    Promise.all(open.map((session) => session.endAsync())).then(() => tell(client, "reset"));
  },
};

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const command = JSON.parse(line);
  try {
    commands[command.do](command.client, command);
  } catch (error) {
    if (error instanceof Unspoken) tell(command.client, "unspoken", { why: error.message });
    else tell(command.client, "fault", { why: `${command.do}: ${error.stack}` });
  }
}).on("close", () => process.exit(0));
