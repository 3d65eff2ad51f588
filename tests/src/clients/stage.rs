//! The stage of a scenario: several clients of one library against one listener.
//!
//! A command is `{"do": …, "client": …, …}`, an event `{"saw": …, "client": …, …}`; `tests/clients/README.md` has
//! them all. Payloads and correlation data are hexadecimal digits.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::alive::unique;
use crate::journal::Journal;

use super::matrix::Version;

/// How long anything that must come may take on busy cores.
const WITHIN: Duration = Duration::from_secs(40);
/// Bytes of a command or an event in the log; payloads are longer.
const LOGGED_BYTES: usize = 400;

/// How a scenario ended where it did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The library does not offer what the scenario is about; why.
    Unspoken(String),
    /// Something else was seen than must be.
    Failed(String),
}

/// What a step of a scenario gives.
pub type Played<T = ()> = Result<T, End>;

/// A failure.
pub fn failed<T>(what: impl Into<String>) -> Played<T> {
    Err(End::Failed(what.into()))
}

/// A library's program and what it is started with.
#[derive(Debug, Clone)]
pub struct Program {
    /// Program and fixed arguments.
    pub words: Vec<String>,
    /// Added to its environment.
    pub env: Vec<(String, String)>,
}

/// One library's program, playing. Dropped, it is killed by its own pid.
pub struct Stage {
    program: Child,
    commands: ChildStdin,
    events: Journal,
    /// The first event that was not taken out of the journal yet.
    next: usize,
    /// Seen, but not asked for yet.
    pending: Vec<Value>,
    /// Where clients connect to, and by which version; every `connect` carries it.
    pub at: Value,
    version: Version,
    tag: String,
    log: File,
}

impl Stage {
    /// Starts the program. `at` says where to connect; what is said goes to the log, the program's own errors too.
    ///
    /// # Panics
    /// Where the program cannot be started or the log not be written.
    pub fn start(program: &Program, version: Version, at: Value, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut child = Command::new(&program.words[0])
            .args(&program.words[1..])
            .envs(program.env.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.try_clone().unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.words[0]));
        let (events, _) = Journal::follow(child.stdout.take().unwrap());
        let commands = child.stdin.take().unwrap();
        let tag = String::new();
        Self { program: child, commands, events, next: 0, pending: Vec::new(), at, version, tag, log }
    }

    /// Plays one scenario, and afterwards ends all clients, however it ended.
    pub fn play(&mut self, name: &str, scenario: fn(&mut Self) -> Played) -> Played {
        self.tag = unique(&format!("{name}-{}", std::process::id()));
        self.note(&format!("== {name}"));
        let played = scenario(self);
        if let Err(end) = &played {
            self.note(&format!("== {name}: {end:?}"));
        }
        self.pending.clear();
        let cleared = self.tell("", "reset", &json!({})).and_then(|()| self.see("", "reset").map(drop));
        self.pending.clear();
        played.and(cleared)
    }

    /// The version that is spoken.
    pub fn version(&self) -> Version {
        self.version
    }

    /// A topic or client identifier that no other scenario uses.
    pub fn name(&self, stem: &str) -> String {
        format!("{}/{stem}", self.tag)
    }

    /// Gives a client a command.
    pub fn tell(&mut self, client: &str, what: &str, more: &Value) -> Played {
        let mut command = json!({ "do": what, "client": client });
        for (key, value) in more.as_object().into_iter().flatten() {
            command[key] = value.clone();
        }
        let line = command.to_string();
        self.note(&format!("> {line}"));
        let written = self.commands.write_all(line.as_bytes()).and_then(|()| self.commands.write_all(b"\n"));
        written.or_else(|error| failed(format!("the client's program has ended: {error}")))
    }

    /// The next event of this kind that this client saw; it must come.
    pub fn see(&mut self, client: &str, what: &str) -> Played<Value> {
        self.see_of(&[client], what)
    }

    /// The next event of this kind that one of these clients saw; it must come.
    pub fn see_of(&mut self, clients: &[&str], what: &str) -> Played<Value> {
        loop {
            let at = self.pending.iter().position(|event| {
                clients.iter().any(|client| event["client"] == *client)
                    && (event["saw"] == what || event["saw"] == "closed")
            });
            if let Some(at) = at {
                let event = self.pending.remove(at);
                return if event["saw"] == what { Ok(event) } else { failed(format!("closed: {event}")) };
            }
            let event = self.take(clients, what)?;
            self.pending.push(event);
        }
    }

    /// The next event of anybody.
    fn take(&mut self, clients: &[&str], what: &str) -> Played<Value> {
        let Some(line) = self.events.find(self.next, WITHIN, |_| true) else {
            let ended = self.program.try_wait().ok().flatten();
            let why = ended.map_or_else(|| format!("not within {WITHIN:?}"), |end| format!("its program ended: {end}"));
            let closed: Vec<String> =
                self.pending.iter().filter(|event| event["saw"] == "closed").map(ToString::to_string).collect();
            return failed(format!("{} did not see `{what}`: {why}{}", clients.join(", "), closed.join(", ")));
        };
        self.next += 1;
        self.note(&format!("< {}", line.raw));
        match line.fields["saw"].as_str() {
            Some("unspoken") => Err(End::Unspoken(line.text("why"))),
            Some("fault") => failed(format!("{}: {}", line.text("client"), line.text("why"))),
            _ => Ok(line.fields),
        }
    }

    fn note(&mut self, line: &str) {
        let mut end = line.len().min(LOGGED_BYTES);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        let more = if end < line.len() { format!(" … {} bytes", line.len()) } else { String::new() };
        // A log that cannot be written is no reason to fail.
        let _ = writeln!(self.log, "{}{more}", &line[..end]);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// What clients do, in the words of the scenarios.
impl Stage {
    /// Connects and gives what the client was told back, whatever it is.
    pub fn ask(&mut self, client: &str, more: &Value) -> Played<Value> {
        let mut options = json!({ "id": self.name(client), "clean": true, "keep_alive": 30, "at": self.at });
        for (key, value) in more.as_object().into_iter().flatten() {
            options[key] = value.clone();
        }
        self.tell(client, "connect", &options)?;
        self.see(client, "connected")
    }

    /// Connects; the client must be let in.
    pub fn enter(&mut self, client: &str, more: &Value) -> Played<Value> {
        let told = self.ask(client, more)?;
        if told["code"] == 0 { Ok(told) } else { failed(format!("{client} is refused: {told}")) }
    }

    /// Connects with a clean session.
    pub fn enter_clean(&mut self, client: &str) -> Played {
        self.enter(client, &json!({})).map(drop)
    }

    /// Subscribes and gives the code of the SUBACK back.
    pub fn subscribe_code(&mut self, client: &str, filter: &str, qos: u8, more: &Value) -> Played<u64> {
        let mut options = json!({ "filter": filter, "qos": qos });
        for (key, value) in more.as_object().into_iter().flatten() {
            options[key] = value.clone();
        }
        self.tell(client, "subscribe", &options)?;
        let told = self.see(client, "subscribed")?;
        told["code"].as_u64().map_or_else(|| failed(format!("no code: {told}")), Ok)
    }

    /// Subscribes; the filter must be granted as asked for.
    pub fn subscribe(&mut self, client: &str, filter: &str, qos: u8) -> Played {
        self.subscribe_with(client, filter, qos, &json!({}))
    }

    /// As [`Stage::subscribe`], with options of 5.0.
    pub fn subscribe_with(&mut self, client: &str, filter: &str, qos: u8, more: &Value) -> Played {
        let code = self.subscribe_code(client, filter, qos, more)?;
        if code == u64::from(qos) { Ok(()) } else { failed(format!("{filter} at {qos} is answered {code}")) }
    }

    /// Publishes, waits until it is acknowledged, and gives the code back.
    pub fn publish_code(&mut self, client: &str, message: &Value) -> Played<u64> {
        self.tell(client, "publish", message)?;
        let told = self.see(client, "published")?;
        told["code"].as_u64().map_or_else(|| failed(format!("no code: {told}")), Ok)
    }

    /// Publishes and waits until it is acknowledged.
    pub fn publish(&mut self, client: &str, message: &Value) -> Played {
        match self.publish_code(client, message)? {
            // 0x10: nobody subscribes.
            0 | 0x10 => Ok(()),
            code => failed(format!("a message of {client} is refused with {code:#04x}")),
        }
    }

    /// The client's next message, which must have what is expected; what is not named may be anything.
    pub fn hears(&mut self, client: &str, expected: &Value) -> Played<Value> {
        let got = self.see(client, "message")?;
        for (key, value) in expected.as_object().into_iter().flatten() {
            if got[key] != *value {
                return failed(format!("{client} heard {key} {}, not {}", short(&got[key]), short(value)));
            }
        }
        Ok(got)
    }

    /// Ends a client with a goodbye.
    pub fn leave(&mut self, client: &str) -> Played {
        self.tell(client, "disconnect", &json!({}))?;
        self.see(client, "closed").map(drop)
    }

    /// Ends a client's connection without a goodbye.
    pub fn vanish(&mut self, client: &str) -> Played {
        self.tell(client, "vanish", &json!({}))?;
        self.see(client, "vanished").map(drop)
    }

    /// Ends the scenario as one that this library cannot play.
    pub fn unspoken<T>(why: &str) -> Played<T> {
        Err(End::Unspoken(why.to_owned()))
    }
}

/// A message in the words of the programs.
pub fn message(topic: &str, payload: impl AsRef<[u8]>, qos: u8) -> Value {
    json!({ "topic": topic, "payload": hex(payload), "qos": qos, "retain": false })
}

/// The same message, retained.
pub fn retained(topic: &str, payload: impl AsRef<[u8]>, qos: u8) -> Value {
    with(message(topic, payload, qos), &json!({ "retain": true }))
}

/// The message with more of it said.
#[must_use]
pub fn with(mut message: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().into_iter().flatten() {
        message[key] = value.clone();
    }
    message
}

/// Hexadecimal digits.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.len() <= 80 { text } else { format!("{}… of {} bytes", &text[..60], text.len()) }
}
