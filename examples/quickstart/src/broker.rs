//! The broker as a child process, known by what it writes to its log.

use std::collections::VecDeque;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Longest log line that is read, in bytes; the rest of a longer one is read as a line of its own.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// Log lines kept to show after a failure.
const LINES_KEPT: usize = 200;

/// Events that may wait between the log's reader and the demonstration. The demonstration causes some
/// dozens; when it is full, the broker waits for its reader like for any slow terminal.
const EVENTS_WAITING_MAX: usize = 4096;

/// First compilation of the plugins included, on a machine that is busy.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// For the lines that explain a failure and were not read yet.
const LAST_LINES_WITHIN: Duration = Duration::from_millis(500);

/// Longer than the broker's own drain.
const STOPPED_WITHIN: Duration = Duration::from_secs(15);

/// One line of the broker's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `TRACE` to `ERROR`.
    pub level: String,
    /// What happened: `admitted`, `refused`, …
    pub message: String,
    fields: Map<String, Value>,
}

impl Event {
    /// Reads a line of the JSON log; none for anything else.
    pub fn parse(line: &str) -> Option<Self> {
        let Value::Object(mut fields) = serde_json::from_str(line).ok()? else { return None };
        let mut take = |name: &str| match fields.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let level = take("level")?.to_uppercase();
        let message = take("message")?;
        take("timestamp");
        take("target");
        Some(Self { level, message, fields })
    }

    /// A field as text; numbers and lists in their JSON form.
    pub fn field(&self, name: &str) -> Option<String> {
        match self.fields.get(name)? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// Whether it is about the connection from this address.
    pub fn is_of(&self, peer: SocketAddr) -> bool {
        self.field("peer").is_some_and(|text| text == peer.to_string())
    }

    fn is_alarming(&self) -> bool {
        matches!(self.level.as_str(), "WARN" | "ERROR")
    }

    /// The event as people read it.
    pub fn readable(&self) -> String {
        let mut text = format!("{} {}", self.level.to_lowercase(), self.message);
        for name in self.fields.keys() {
            if let Some(value) = self.field(name) {
                // Writing to a String cannot fail.
                let _ = write!(text, " {name}={value}");
            }
        }
        crate::screen::one_line(&text, 400)
    }
}

/// Why the broker is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// It could not be started at all.
    #[error("{program}: {source}")]
    Start {
        /// Which program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It ended by itself.
    #[error("the broker ended by itself ({0})")]
    Ended(ExitStatus),
    /// It closed its log.
    #[error("the broker closed its log while {0} was awaited")]
    LogClosed(String),
    /// Something was not in the log in time.
    #[error("the broker's log did not show {what} within {seconds} s")]
    Silent {
        /// What was awaited.
        what: String,
        /// How long.
        seconds: u64,
    },
    /// It says that it listens, but not where.
    #[error("the broker listens nowhere that a client on this machine could reach")]
    NoAddress,
    /// The operating system did not let us wait for it or stop it.
    #[error("waiting for the broker: {0}")]
    System(std::io::Error),
    /// It did not end when it was told to.
    #[error("the broker did not end within {0} s of SIGTERM and was killed")]
    NotStopped(u64),
    /// It ended, but not well.
    #[error("the broker did not end cleanly ({0})")]
    EndedBadly(ExitStatus),
}

/// A running broker. When dropped without [`Broker::stop`] it is killed.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    lines: mpsc::Receiver<String>,
    events: VecDeque<Event>,
    kept: VecDeque<String>,
    /// How long it took from start to ready.
    pub ready_after: Duration,
}

impl Broker {
    /// Starts `postern serve` in the working directory and waits until it is ready.
    ///
    /// # Errors
    /// [`StartFailure`], which carries the log as far as it came.
    pub async fn start(program: &Path, config: &Path) -> Result<Self, StartFailure> {
        let started = Instant::now();
        let mut child = Command::new(program)
            .args(["serve", "--log-format", "json", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // A group of its own: Ctrl-C reaches us alone, and we tell the broker once.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| StartFailure {
                error: BrokerError::Start { program: program.display().to_string(), source },
                log: Vec::new(),
            })?;
        let stderr = child.stderr.take().expect("stderr was asked for as a pipe");
        let (sender, lines) = mpsc::channel(EVENTS_WAITING_MAX);
        tokio::spawn(forward(stderr, sender));
        let mut broker =
            Self { child, lines, events: VecDeque::new(), kept: VecDeque::new(), ready_after: Duration::ZERO };
        match broker.wait_for("\"ready\"", READY_WITHIN, |event| event.message == "ready").await {
            Ok(_) => {
                broker.ready_after = started.elapsed();
                Ok(broker)
            }
            Err(error) => Err(broker.into_failure(error).await),
        }
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Where a listener can be reached from this machine.
    pub fn address_of(&self, listener: &str) -> Result<SocketAddr, BrokerError> {
        self.events
            .iter()
            .filter(|event| event.message == "listening" && event.field("listener").as_deref() == Some(listener))
            .find_map(|event| event.field("address")?.parse().ok())
            .map(reachable)
            .ok_or(BrokerError::NoAddress)
    }

    /// What it decided about the connection from `peer`: the event `admitted` or `refused`.
    pub async fn decision_on(&mut self, peer: SocketAddr, within: Duration) -> Result<Event, BrokerError> {
        let what = format!("a decision on the connection from {peer}");
        self.wait_for(&what, within, |event| {
            event.is_of(peer) && matches!(event.message.as_str(), "admitted" | "refused")
        })
        .await
    }

    /// The first event that `wanted` accepts, an earlier one included.
    pub async fn wait_for(
        &mut self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Event, BrokerError> {
        if let Some(event) = self.events.iter().find(|event| wanted(event)) {
            return Ok(event.clone());
        }
        let deadline = Instant::now() + within;
        loop {
            let line = timeout_at(deadline, self.lines.recv())
                .await
                .map_err(|_| BrokerError::Silent { what: what.to_owned(), seconds: within.as_secs() })?;
            let Some(line) = line else {
                return Err(match timeout_at(deadline, self.child.wait()).await {
                    Ok(Ok(status)) => BrokerError::Ended(status),
                    _ => BrokerError::LogClosed(what.to_owned()),
                });
            };
            if let Some(event) = self.take(line)
                && wanted(&event)
            {
                return Ok(event);
            }
        }
    }

    /// Waits for the next line of the log; none when the broker has closed it.
    pub async fn next_line(&mut self) -> Option<String> {
        let line = self.lines.recv().await?;
        self.take(line.clone());
        Some(line)
    }

    /// The warnings so far, as people read them; refusals are left out, for they are what the gate is for.
    pub fn warnings(&self) -> Vec<String> {
        self.events
            .iter()
            .filter(|event| event.is_alarming() && event.message != "refused")
            .map(Event::readable)
            .collect()
    }

    /// The newest lines of the log, oldest first, with those that are just being written.
    pub async fn last_lines(&mut self, count: usize) -> Vec<String> {
        let deadline = Instant::now() + LAST_LINES_WITHIN;
        while let Ok(Some(line)) = timeout_at(deadline, self.lines.recv()).await {
            self.take(line);
        }
        self.kept_lines(count)
    }

    fn kept_lines(&self, count: usize) -> Vec<String> {
        let skip = self.kept.len().saturating_sub(count);
        self.kept.iter().skip(skip).map(|line| readable(line)).collect()
    }

    /// Sends SIGTERM and waits. The broker must end with 0.
    pub async fn stop(mut self) -> Result<(), BrokerError> {
        if let Some(pid) = self.child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.try_into().ok()?)) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)
                .map_err(|error| BrokerError::System(error.into()))?;
        }
        let deadline = Instant::now() + STOPPED_WITHIN;
        // The log is read on, or a broker with much to say would wait for us for ever.
        while let Ok(Some(line)) = timeout_at(deadline, self.lines.recv()).await {
            self.take(line);
        }
        match timeout_at(deadline, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(BrokerError::EndedBadly(status)),
            Ok(Err(error)) => Err(BrokerError::System(error)),
            Err(_) => {
                self.child.kill().await.map_err(BrokerError::System)?;
                Err(BrokerError::NotStopped(STOPPED_WITHIN.as_secs()))
            }
        }
    }

    /// How it ended, once its log is closed.
    pub async fn ended(&mut self) -> BrokerError {
        match self.child.wait().await {
            Ok(status) => BrokerError::Ended(status),
            Err(error) => BrokerError::System(error),
        }
    }

    fn take(&mut self, line: String) -> Option<Event> {
        let event = Event::parse(&line);
        if self.kept.len() == LINES_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(line);
        if let Some(event) = &event {
            if self.events.len() == EVENTS_WAITING_MAX {
                self.events.pop_front();
            }
            self.events.push_back(event.clone());
        }
        event
    }

    async fn into_failure(mut self, error: BrokerError) -> StartFailure {
        // Killed before the log is read to its end, or a broker that hangs would keep us.
        let _ = self.child.kill().await;
        while let Some(line) = self.lines.recv().await {
            self.take(line);
        }
        StartFailure { error, log: self.kept_lines(LINES_KEPT) }
    }
}

/// The broker did not become ready.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct StartFailure {
    /// Why.
    #[source]
    pub error: BrokerError,
    /// The log as far as it came, oldest first.
    pub log: Vec<String>,
}

impl StartFailure {
    /// Whether another program has the port.
    pub fn port_is_taken(&self) -> bool {
        self.log.iter().any(|line| line.contains("ddress already in use") || line.contains("ddress in use"))
    }
}

async fn forward(stderr: ChildStderr, sender: mpsc::Sender<String>) {
    let mut reader = BufReader::new(stderr);
    loop {
        let mut line = Vec::new();
        match (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(text).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn readable(line: &str) -> String {
    Event::parse(line).map_or_else(|| crate::screen::one_line(line, 400), |event| event.readable())
}

/// A wildcard address is reached by the loopback address of its family.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const ADMITTED: &str = r#"{"timestamp":"2026-01-01T00:00:00Z","level":"INFO","target":"postern_server","message":"admitted","connection":7,"peer":"127.0.0.1:40000","namespace":"acme","username":"sensor-1"}"#;

    #[test]
    fn a_log_line_becomes_an_event_and_other_text_does_not() {
        let event = Event::parse(ADMITTED).unwrap();
        assert_eq!((event.level.as_str(), event.message.as_str()), ("INFO", "admitted"));
        assert_eq!(event.field("username").as_deref(), Some("sensor-1"));
        assert_eq!(event.field("connection").as_deref(), Some("7"));
        assert_eq!(event.field("bundle"), None);
        assert!(event.is_of("127.0.0.1:40000".parse().unwrap()));
        assert!(!event.is_of("127.0.0.1:4000".parse().unwrap()));
        for other in ["thread 'main' panicked", "[]", "{}", r#"{"level":"INFO"}"#] {
            assert_eq!(Event::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_readable_event_names_every_field_and_no_target() {
        let text = Event::parse(ADMITTED).unwrap().readable();
        assert!(text.starts_with("info admitted"), "{text}");
        assert!(text.contains("username=sensor-1") && !text.contains("postern_server"), "{text}");
    }

    #[test]
    fn a_wildcard_address_is_reached_by_loopback() {
        assert_eq!(reachable("0.0.0.0:8883".parse().unwrap()).to_string(), "127.0.0.1:8883");
        assert_eq!(reachable("[::]:8883".parse().unwrap()).to_string(), "[::1]:8883");
        assert_eq!(reachable("192.0.2.1:8883".parse().unwrap()).to_string(), "192.0.2.1:8883");
    }

    /// A shell script in the broker's place.
    fn script(body: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("postern");
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        (directory, path)
    }

    /// Starts a script. While another test of this process starts a program of its own, that one may for a moment hold the
    /// script open for writing, and the system does not run such a file.
    async fn start(program: &Path) -> Result<Broker, StartFailure> {
        let until = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            match Broker::start(program, Path::new("none")).await {
                Err(StartFailure { error: BrokerError::Start { source, .. }, .. })
                    if source.kind() == std::io::ErrorKind::ExecutableFileBusy
                        && tokio::time::Instant::now() < until =>
                {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                started => return started,
            }
        }
    }

    const READY: &str = r#"echo '{"level":"INFO","message":"listening","listener":"ssl:default","address":"0.0.0.0:18883"}' >&2
echo '{"level":"INFO","message":"ready"}' >&2"#;

    #[tokio::test]
    async fn a_broker_that_is_ready_is_stopped_by_sigterm_and_must_end_with_0() {
        let (_keep, program) = script(&format!("trap 'exit 0' TERM\n{READY}\nwhile :; do sleep 0.05; done"));
        let broker = start(&program).await.unwrap();
        assert_eq!(broker.address_of("ssl:default").unwrap().to_string(), "127.0.0.1:18883");
        assert!(broker.address_of("ssl:other").is_err());
        broker.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_broker_that_ends_with_another_code_is_not_taken_for_a_clean_end() {
        let (_keep, program) = script(&format!("trap 'exit 3' TERM\n{READY}\nwhile :; do sleep 0.05; done"));
        let broker = start(&program).await.unwrap();
        assert!(matches!(broker.stop().await, Err(BrokerError::EndedBadly(_))));
    }

    #[tokio::test]
    async fn a_broker_that_cannot_bind_is_reported_with_its_log() {
        let (_keep, program) =
            script("echo 'binding 127.0.0.1:8883: Address already in use (os error 98)' >&2; exit 1");
        let failure = start(&program).await.unwrap_err();
        assert!(matches!(failure.error, BrokerError::Ended(_)));
        assert!(failure.port_is_taken());
        assert_eq!(failure.log.len(), 1);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let failure = Broker::start(Path::new("/nonexistent/postern"), Path::new("none")).await.unwrap_err();
        assert!(failure.to_string().starts_with("/nonexistent/postern"), "{failure}");
    }
}
