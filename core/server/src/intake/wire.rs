//! MQTT packets of a client that is not let in yet.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use postern_identity::{Refusal, Stage, Why};
use postern_mqtt::Packet;
use postern_mqtt::link::{Link, Sent};
use postern_mqtt::packet::{Auth, AuthenticationData, ConnAck, Connect};
use postern_mqtt::reason::ReasonCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{timeout, timeout_at};

use super::Stream;
use crate::authn::{Dialogue, Failed, Shown, Step};
use crate::drive::connection::say_farewell;
use crate::drive::realm::elapsed_ms;
use crate::metrics::Tally;

/// The last word of a refusal must be out by then.
const FAREWELL_WAIT: Duration = Duration::from_secs(1);

/// A connection up to its CONNACK.
pub(super) struct Wire {
    pub(super) stream: Stream,
    pub(super) link: Link,
    /// Bytes that were read and not yet taken.
    pub(super) input: BytesMut,
    began: Instant,
    /// From the connection's begin to its CONNACK.
    wait: Duration,
    deadline: Instant,
    /// Bytes that were read.
    came: usize,
    heard: Tally,
    said: Tally,
}

/// The client stays out, and this is what it is told.
pub(super) struct Turned {
    pub(super) refusal: Refusal,
    farewell: Option<Packet>,
}

impl From<Refusal> for Turned {
    fn from(refusal: Refusal) -> Self {
        Failed { refusal, data: None }.into()
    }
}

impl From<Failed> for Turned {
    fn from(Failed { refusal, data }: Failed) -> Self {
        let reason = ReasonCode(refusal.why.connack());
        let reason_string = reason.in_words();
        let ack = ConnAck { reason, reason_string, authentication_data: data, ..ConnAck::default() };
        Self { refusal, farewell: Some(Packet::ConnAck(Box::new(ack))) }
    }
}

impl Turned {
    /// Without a word.
    fn silently(why: Why, detail: impl Into<String>) -> Self {
        Self { refusal: Refusal::new(Stage::Connect, why, detail), farewell: None }
    }
}

impl Wire {
    /// A connection that was accepted `at` this time and may be so long without a CONNACK; `began` is when the clock of
    /// links began.
    pub(super) fn new(stream: Stream, link: Link, (at, wait): (Instant, Duration), began: Instant) -> Self {
        let (heard, said) = (Tally::default(), Tally::default());
        Self { stream, link, input: BytesMut::new(), began, wait, deadline: at + wait, came: 0, heard, said }
    }

    /// What was taken and what was said so far, to be counted.
    pub(super) fn traffic(&mut self) -> (Tally, Tally) {
        let mut heard = std::mem::take(&mut self.heard);
        heard.bytes(self.came - self.input.len());
        (heard, std::mem::take(&mut self.said))
    }

    /// Reads until the CONNECT is whole.
    pub(super) async fn connect(&mut self) -> Result<Box<Connect>, Turned> {
        match timeout_at(self.deadline.into(), self.receive("before its CONNECT")).await {
            Err(_late) => {
                let detail = format!("no CONNECT within {:?} of the connection's begin", self.wait);
                Err(Turned::silently(Why::TimedOut, detail))
            }
            Ok(Ok(Packet::Connect(connect))) => Ok(connect),
            Ok(Ok(_)) => Err(Turned::silently(Why::Protocol, "the first packet is no CONNECT")),
            Ok(Err(turned)) => Err(turned),
        }
    }

    /// Lets the client show who it is, by the exchange that its CONNECT began with `data` (4.12). It must be over when
    /// CONNECT had to be there, and no AUTH may take longer than the keep alive allows.
    pub(super) async fn exchange(
        &mut self,
        mut dialogue: Dialogue,
        mut data: Option<AuthenticationData>,
    ) -> Result<Shown, Turned> {
        loop {
            let question = match dialogue.step(data.as_ref())? {
                Step::Done(shown) => return Ok(shown),
                Step::Ask(question) => question,
            };
            let silence = self.link.keep_alive_deadline_ms().map(|ms| self.began + Duration::from_millis(ms));
            let deadline = silence.map_or(self.deadline, |silence| silence.min(self.deadline));
            data = match timeout_at(deadline.into(), self.ask(question)).await {
                Ok(answer) => answer?,
                Err(_late) => {
                    let detail = "the client did not answer the challenge of its authentication in time";
                    return Err(Refusal::new(Stage::Connect, Why::TimedOut, detail).into());
                }
            };
        }
    }

    async fn ask(&mut self, data: Option<AuthenticationData>) -> Result<Option<AuthenticationData>, Turned> {
        let auth = Packet::Auth(Auth { reason: ReasonCode::CONTINUE_AUTHENTICATION, data, ..Auth::default() });
        let mut output = BytesMut::new();
        if self.link.send(&auth, &mut output) != Sent::Written {
            let detail = "the client's Maximum Packet Size has no room for an AUTH";
            return Err(Refusal::new(Stage::Connect, Why::Protocol, detail).into());
        }
        self.said.packet(&auth);
        self.said.bytes(output.len());
        let lost = |error: std::io::Error| Turned::silently(Why::Protocol, error.to_string());
        self.stream.write_all_buf(&mut output).await.map_err(lost)?;
        self.stream.flush().await.map_err(lost)?;
        match self.receive("before it was let in").await? {
            Packet::Auth(auth) => Ok(auth.data),
            _ => Err(Turned::silently(Why::Protocol, "the client gave up before it was let in")),
        }
    }

    /// Reads until a packet is whole.
    async fn receive(&mut self, before: &str) -> Result<Packet, Turned> {
        loop {
            match self.link.receive(elapsed_ms(self.began), &mut self.input) {
                Ok(Some(packet)) => {
                    self.heard.packet(&packet);
                    return Ok(packet);
                }
                Ok(None) => {}
                Err(error) => {
                    let refusal = Refusal::new(Stage::Connect, Why::Protocol, error.to_string());
                    return Err(Turned { refusal, farewell: error.farewell() });
                }
            }
            // The link refuses what is over its limit before it is whole, so this buffer stays small.
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) => {
                    let detail = format!("the client closed the connection {before}");
                    return Err(Turned::silently(Why::Protocol, detail));
                }
                Ok(count) => self.came += count,
                Err(error) => return Err(Turned::silently(Why::Protocol, error.to_string())),
            }
        }
    }

    /// Tells the client, and closes.
    pub(super) async fn turn_away(mut self, turned: Turned) -> Refusal {
        let mut output = BytesMut::new();
        if let Some(farewell) = turned.farewell {
            // What the client's version has no word for stays unsaid.
            let _: Sent = self.link.send(&farewell, &mut output);
        }
        let _ = timeout(FAREWELL_WAIT, say_farewell(&mut self.stream, &mut output)).await;
        turned.refusal
    }
}
