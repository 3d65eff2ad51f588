//! Drives one admitted connection: reads a buffer, hands all its packets to the realm at once, writes
//! what the realm has for it in as few writes as the socket takes.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use postern_mqtt::Packet;
use postern_mqtt::link::{Link, Sent};
use postern_mqtt::packet::Disconnect;
use postern_mqtt::reason::ReasonCode;
use postern_mqtt::wire::begins_with_publish;
use postern_realm::{ConnId, Departure};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::allowance::Allowance;
use super::mountpoint::Mounted;
use super::outbox::{Contents, Outbox, Will};
use super::output::Output;
use super::realm::{Command, elapsed_ms};
use super::stall::Stall;
use crate::authn::Reauthentication;
use crate::metrics::{RealmMetrics, Tally};
use crate::realms::Mailbox;

/// Read at once, in bytes.
const READ_BYTES: usize = 16 * 1024;

/// Output waiting for the socket, above which no more is taken out of the outbox and nothing more is read from the client.
const OUTPUT_HIGH_BYTES: usize = 64 * 1024;

/// How long the keep-alive of a client is not held against it that was due while nothing was read from it.
const KEEP_ALIVE_GRACE: Duration = Duration::from_secs(1);

/// A farewell must be out by then.
const FAREWELL_WAIT: Duration = Duration::from_secs(2);

/// An admitted connection.
pub(crate) struct Connection<S> {
    pub(crate) conn: ConnId,
    pub(crate) stream: S,
    pub(crate) link: Link,
    /// Bytes that came behind the CONNECT.
    pub(crate) input: BytesMut,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) realm: Mailbox,
    pub(crate) mounted: Mounted,
    pub(crate) allowance: Allowance,
    /// Nothing is taken from the client before this time: it has published more than it may.
    pub(crate) paused_until: Option<Instant>,
    /// None where the CONNECT had no Authentication Method.
    pub(crate) reauthentication: Option<Reauthentication>,
    pub(crate) began: Instant,
    /// Of its namespace.
    pub(crate) metrics: Arc<RealmMetrics>,
    /// Whether the client takes what it is sent.
    pub(crate) stall: Stall,
    /// The stream took bytes that it may not have passed on.
    pub(crate) unflushed: bool,
    /// The outbox had its turn.
    pub(crate) read_first: bool,
}

/// How a connection ended, for the log.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The client said goodbye.
    Goodbye,
    /// The client went away without a word.
    Lost(std::io::Error),
    /// The client broke the protocol or stayed silent too long.
    Broken(String),
    /// The realm or the operator ended it.
    Closed(ReasonCode),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Goodbye => f.write_str("the client disconnected"),
            Self::Lost(error) => write!(f, "connection lost: {error}"),
            Self::Broken(text) => f.write_str(text),
            Self::Closed(reason) => f.write_str(reason.label()),
        }
    }
}

/// What there is to do.
enum Event {
    Read,
    Wrote,
    Outbox,
    Timer,
    Failed(std::io::Error),
}

/// The end that was reached, and what the realm is to be told.
struct End {
    ended: Ended,
    departure: Departure,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Runs the connection to its end and tells the realm.
    pub(crate) async fn drive(mut self) -> Ended {
        let mut output = Output::default();
        let end = match self.live(&mut output).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        let detach = Command::Detach { conn: self.conn, departure: end.departure };
        // A realm that is gone needs no word.
        let _ = self.realm.send(detach).await;
        let _ = tokio::time::timeout(FAREWELL_WAIT, say_farewell(&mut self.stream, &mut output)).await;
        end.ended
    }

    async fn live(&mut self, output: &mut Output) -> Result<std::convert::Infallible, End> {
        let mut timer = pin!(tokio::time::sleep(Duration::MAX));
        self.arm(timer.as_mut());
        self.take(output, timer.as_mut()).await?;
        loop {
            match self.next(output, timer.as_mut()).await {
                Event::Read => self.take(output, timer.as_mut()).await?,
                Event::Wrote => {}
                Event::Outbox => {
                    self.take_outbox(output).await?;
                    // What came behind the CONNECT has waited for the CONNACK.
                    if !self.input.is_empty() {
                        self.take(output, timer.as_mut()).await?;
                    }
                }
                Event::Timer => {
                    self.resume(output, timer.as_mut()).await?;
                    self.check_time(output, timer.as_mut())?;
                }
                Event::Failed(error) => return Err(End { ended: Ended::Lost(error), departure: Departure::Lost }),
            }
        }
    }

    /// Waits until something can be done. Writing goes before reading; while output is stuck, nothing is read.
    async fn next(&mut self, output: &mut Output, mut timer: Pin<&mut Sleep>) -> Event {
        let Self { stream, input, outbox, stall, unflushed, read_first, paused_until, .. } = self;
        *unflushed |= !output.is_empty();
        poll_fn(|cx| {
            if *unflushed {
                match poll_write(Pin::new(stream), cx, output, stall) {
                    Poll::Ready(Ok(())) => {
                        *unflushed = false;
                        return Poll::Ready(Event::Wrote);
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Event::Failed(error)),
                    Poll::Pending => {
                        if !output.is_empty() && stall.is_stuck(output.remaining()) {
                            bring_forward(timer.as_mut(), stall.deadline());
                        }
                    }
                }
            }
            outbox.register(cx.waker());
            let contents = outbox.contents();
            let has_room = output.remaining() < OUTPUT_HIGH_BYTES;
            let outbox_is_due = contents == Contents::Close || (has_room && contents == Contents::Packets);
            // In turn, so that a flood in one direction does not stop the other.
            if outbox_is_due && !*read_first {
                *read_first = true;
                return Poll::Ready(Event::Outbox);
            }
            *read_first = false;
            if has_room && paused_until.is_none() {
                match poll_read(Pin::new(stream), cx, input) {
                    Poll::Ready(Ok(())) => return Poll::Ready(Event::Read),
                    Poll::Ready(Err(error)) => return Poll::Ready(Event::Failed(error)),
                    Poll::Pending => {}
                }
            }
            if outbox_is_due {
                return Poll::Ready(Event::Outbox);
            }
            timer.as_mut().poll(cx).map(|()| Event::Timer)
        })
        .await
    }

    /// Takes what the client may send now, and sees to the rest when its time has come.
    async fn take(&mut self, output: &mut Output, timer: Pin<&mut Sleep>) -> Result<(), End> {
        if self.paused_until.is_some() {
            return Ok(());
        }
        self.take_packets(output).await?;
        if self.paused_until.is_some() {
            self.arm(timer);
        }
        Ok(())
    }

    /// Goes on after a pause. It was not the client that was silent then.
    async fn resume(&mut self, output: &mut Output, timer: Pin<&mut Sleep>) -> Result<(), End> {
        if self.paused_until.is_some_and(|until| until <= Instant::now()) {
            self.paused_until = None;
            self.link.excuse(elapsed_ms(self.began));
            self.take(output, timer).await?;
        }
        Ok(())
    }

    /// Takes whole packets out of the input, as far as the client may publish, and hands them to the realm in one
    /// command.
    async fn take_packets(&mut self, output: &mut Output) -> Result<(), End> {
        let mut packets = Vec::new();
        let mut tally = Tally::default();
        let came = self.input.len();
        let now = elapsed_ms(self.began);
        let end = loop {
            // Who does not publish waits for nobody's rate: acknowledgements and pings of subscribers go on.
            if begins_with_publish(&self.input) {
                self.paused_until = self.allowance.wait();
                if self.paused_until.is_some() {
                    break None;
                }
            }
            let before = self.input.len();
            match self.link.receive(now, &mut self.input) {
                Ok(None) => break None,
                Ok(Some(Packet::PingReq)) => {
                    tally.packet(&Packet::PingReq);
                    self.say(&Packet::PingResp, output);
                }
                Ok(Some(Packet::Auth(auth))) => {
                    let packet = Packet::Auth(auth);
                    tally.packet(&packet);
                    if let Err(end) = self.reauthenticate(&packet, output) {
                        break Some(end);
                    }
                }
                Ok(Some(Packet::Disconnect(disconnect))) => {
                    tally.packet(&Packet::Disconnect(Disconnect::default()));
                    break Some(End { ended: Ended::Goodbye, departure: Departure::Goodbye(disconnect) });
                }
                Ok(Some(mut packet)) => match self.mount(&mut packet) {
                    Ok(()) => {
                        tally.packet(&packet);
                        if matches!(packet, Packet::Publish(_)) {
                            self.allowance.spend(before - self.input.len());
                        }
                        packets.push(packet);
                    }
                    Err(reason) => {
                        break Some(self.broken(output, reason, "a topic does not fit under the mountpoint"));
                    }
                },
                Err(error) => {
                    match error.farewell() {
                        Some(Packet::Disconnect(farewell)) => self.say_last(farewell, output),
                        Some(farewell) => self.say(&farewell, output),
                        None => {}
                    }
                    let ended = Ended::Broken(error.to_string());
                    break Some(End { ended, departure: Departure::Lost });
                }
            }
        };
        tally.bytes(came - self.input.len());
        self.metrics.received.add(&tally);
        if !packets.is_empty() {
            self.tell_realm(Command::Packets { conn: self.conn, packets }, output).await?;
        }
        end.map_or(Ok(()), Err)
    }

    /// Answers an AUTH; other packets go their way meanwhile (4.12.1).
    fn reauthenticate(&mut self, packet: &Packet, output: &mut Output) -> Result<(), End> {
        // The link hands none out where there was no method.
        let (Packet::Auth(auth), Some(reauthentication)) = (packet, &mut self.reauthentication) else {
            return Ok(());
        };
        match reauthentication.answer(auth) {
            Ok(answer) => match self.send(&Packet::Auth(answer), output) {
                Sent::Written => Ok(()),
                Sent::TooLarge | Sent::NotInThisVersion => {
                    let text = "the client's Maximum Packet Size has no room for an AUTH";
                    Err(self.broken(output, ReasonCode::PACKET_TOO_LARGE, text))
                }
            },
            // MQTT-4.12.1-2. DISCONNECT has no word for a wrong password (table 3-10).
            Err(refusal) => {
                let text = format!("re-authentication refused ({}): {}", refusal.why.label(), refusal.detail);
                Err(self.broken(output, ReasonCode::NOT_AUTHORIZED, text))
            }
        }
    }

    fn mount(&self, packet: &mut Packet) -> Result<(), ReasonCode> {
        if self.mounted.is_empty() { Ok(()) } else { self.mounted.enter(packet) }
    }

    /// Encodes what the realm has, as far as there is room.
    async fn take_outbox(&mut self, output: &mut Output) -> Result<(), End> {
        let taken = self.outbox.take(OUTPUT_HIGH_BYTES.saturating_sub(output.remaining()));
        let mut tally = Tally::default();
        let before = output.remaining();
        for mut packet in taken.packets {
            if !self.mounted.is_empty() {
                self.mounted.leave(&mut packet);
            }
            // The realm gives nothing that is over the client's Maximum Packet Size (MQTT-3.1.2-25): it would hold a
            // place in the window.
            if output.say(&mut self.link, &packet) == Sent::Written {
                tally.packet(&packet);
            }
        }
        tally.bytes(output.remaining() - before);
        self.metrics.sent.add(&tally);
        if let Some(close) = taken.close {
            let reason = close.farewell.as_ref().map_or(ReasonCode::SUCCESS, |farewell| farewell.reason);
            if let Some(farewell) = close.farewell {
                self.say_last(farewell, output);
            }
            let departure = match close.will {
                Will::Publish => Departure::Lost,
                // As if the client had said goodbye.
                Will::Discard => Departure::Goodbye(Disconnect::default()),
            };
            return Err(End { ended: Ended::Closed(reason), departure });
        }
        if taken.resumed {
            self.tell_realm(Command::Resumed { conn: self.conn }, output).await?;
        }
        Ok(())
    }

    async fn tell_realm(&mut self, command: Command, output: &mut Output) -> Result<(), End> {
        let told = self.realm.send(command).await;
        told.map_err(|_| self.broken(output, ReasonCode::SERVER_UNAVAILABLE, "the realm is gone"))
    }

    fn check_time(&mut self, output: &mut Output, timer: Pin<&mut Sleep>) -> Result<(), End> {
        if self.stall.is_over(output.remaining(), Instant::now()) {
            self.metrics.closed_as_slow();
            let text = self.stall.verdict();
            return Err(self.broken(output, ReasonCode::QUOTA_EXCEEDED, text));
        }
        let now = elapsed_ms(self.began);
        let is_read = output.remaining() < OUTPUT_HIGH_BYTES && self.paused_until.is_none();
        if is_read && self.link.keep_alive_deadline_ms().is_some_and(|deadline| deadline <= now) {
            return Err(self.broken(
                output,
                ReasonCode::KEEP_ALIVE_TIMEOUT,
                "no packet within one and a half keep-alive intervals",
            ));
        }
        self.arm(timer);
        Ok(())
    }

    /// The timer only moves when it fires, and when output gets stuck: most packets come long before it.
    fn arm(&self, mut timer: Pin<&mut Sleep>) {
        let now = Instant::now();
        let keep_alive = || match self.link.keep_alive_deadline_ms().map(|ms| self.began + Duration::from_millis(ms)) {
            None => now + Duration::from_hours(24),
            // We did not read: what the client said meanwhile is to be read first.
            Some(passed) if passed <= now => now + KEEP_ALIVE_GRACE,
            Some(at) => at,
        };
        let deadline = self.paused_until.unwrap_or_else(keep_alive);
        timer.as_mut().reset(tokio::time::Instant::from_std(deadline));
        bring_forward(timer, self.stall.deadline());
    }

    /// What the client's version has no word for stays unsaid.
    fn say(&mut self, packet: &Packet, output: &mut Output) {
        let _: Sent = self.send(packet, output);
    }

    fn send(&mut self, packet: &Packet, output: &mut Output) -> Sent {
        let before = output.remaining();
        let sent = output.say(&mut self.link, packet);
        if sent == Sent::Written {
            let mut tally = Tally::default();
            tally.packet(packet);
            tally.bytes(output.remaining() - before);
            self.metrics.sent.add(&tally);
        }
        sent
    }

    fn say_last(&mut self, farewell: Disconnect, output: &mut Output) {
        self.say(&Packet::Disconnect(farewell.in_words()), output);
    }

    fn broken(&mut self, output: &mut Output, reason: ReasonCode, text: impl Into<String>) -> End {
        self.say_last(Disconnect::new(reason), output);
        End { ended: Ended::Broken(text.into()), departure: Departure::Lost }
    }
}

/// Sets the timer to `deadline` if that is earlier.
fn bring_forward(timer: Pin<&mut Sleep>, deadline: Option<Instant>) {
    if let Some(deadline) = deadline.map(tokio::time::Instant::from_std).filter(|at| *at < timer.deadline()) {
        timer.reset(deadline);
    }
}

/// Writes as much of `output` as the stream takes, then flushes.
fn poll_write<S: AsyncWrite>(
    mut stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    output: &mut Output,
    stall: &mut Stall,
) -> Poll<std::io::Result<()>> {
    while !output.is_empty() {
        match stream.as_mut().poll_write(cx, output.chunk()) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(written)) => {
                output.advance(written);
                stall.took(written);
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
    }
    stall.flows();
    stream.poll_flush(cx)
}

/// One read into the spare room of `input`.
fn poll_read<S: AsyncRead>(
    stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    input: &mut BytesMut,
) -> Poll<std::io::Result<()>> {
    let mut scratch = [std::mem::MaybeUninit::uninit(); READ_BYTES];
    let mut buffer = ReadBuf::uninit(&mut scratch);
    match stream.poll_read(cx, &mut buffer) {
        Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(Err(std::io::ErrorKind::UnexpectedEof.into())),
        Poll::Ready(Ok(())) => {
            input.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(()))
        }
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    }
}

/// Writes the last words and closes the sending side, so that they arrive before the end.
pub(crate) async fn say_farewell<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, output: &mut impl Buf) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    if stream.write_all_buf(output).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    // Unread input at close makes the kernel send a reset, which can overtake the last words.
    let mut rest = [0; 1024];
    let mut left: usize = 64;
    while left > 0 && stream.read(&mut rest).await.is_ok_and(|n| n > 0) {
        left -= 1;
    }
}

#[cfg(test)]
mod tests;
