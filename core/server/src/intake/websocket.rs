//! MQTT in WebSocket frames (RFC 6455; MQTT 5.0 section 6.0) as the byte stream that the link reads: where a
//! frame begins and ends means nothing there [MQTT-6.0.0-2].
//!
//! Bounds: one incoming message of at most the limit, [`READ_BYTES`] read ahead of it, and one outgoing
//! frame of at most [`FRAME_BYTES`] with [`ANSWER_BYTES`] of pongs behind it.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tungstenite::error::{CapacityError, Error, ProtocolError};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Message, Utf8Bytes};

/// Read at once, in bytes.
const READ_BYTES: usize = 4 * 1024;

/// Longest frame that is written, in bytes: that of one TLS record.
const FRAME_BYTES: usize = 16 * 1024;

/// Pongs and the close frame that may wait behind a frame, in bytes. More pongs replace one another.
const ANSWER_BYTES: usize = 1024;

/// Frames without MQTT bytes that are taken in one go, so that a flood of pings leaves room for others.
const EMPTY_FRAMES_MAX: usize = 64;

/// Bytes behind a broken frame that are still read: what is left unread at close makes the kernel send a
/// reset, which can overtake the close frame.
const DRAIN_BYTES: usize = 64 * 1024;

/// How long messages may be, in bytes, and how long a client may be silent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameLimits {
    /// Before CONNECT was accepted.
    pub(crate) stranger_bytes: usize,
    /// Afterwards.
    pub(crate) bytes: usize,
    /// Without a frame.
    pub(crate) idle: Duration,
}

/// The bytes inside the binary frames of one connection.
pub(crate) struct WebSocketBytes<S> {
    inner: S,
    context: WebSocketContext,
    limits: FrameLimits,
    /// Of the message that is being taken.
    rest: Bytes,
    /// After a broken frame: bytes that are still thrown away.
    drain: Option<usize>,
    heard: Instant,
    /// Moves only when it fires: most frames come long before it.
    alarm: Pin<Box<Sleep>>,
}

impl<S> WebSocketBytes<S> {
    /// Goes on behind the upgrade; `early` are bytes that came behind the request.
    pub(super) fn new(inner: S, early: Vec<u8>, limits: FrameLimits) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            // The driver hands over much at once already.
            .write_buffer_size(0)
            .max_write_buffer_size(FRAME_BYTES + ANSWER_BYTES)
            .max_frame_size(Some(limits.stranger_bytes))
            .max_message_size(Some(limits.stranger_bytes))
            .accept_unmasked_frames(false);
        let heard = Instant::now();
        Self {
            inner,
            context: WebSocketContext::from_partially_read(early, Role::Server, Some(config)),
            limits,
            rest: Bytes::new(),
            drain: None,
            heard,
            alarm: Box::pin(tokio::time::sleep_until(heard + limits.idle)),
        }
    }

    /// The client is no stranger any more.
    pub(super) fn accept_long_messages(&mut self) {
        let bytes = self.limits.bytes;
        self.context.set_config(|config| {
            config.max_frame_size = Some(bytes);
            config.max_message_size = Some(bytes);
        });
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketBytes<S> {
    /// The next message that has bytes; none at the end.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        for _ in 0..EMPTY_FRAMES_MAX {
            let message = self.context.read(&mut Blocking { stream: &mut self.inner, cx });
            match message {
                Ok(Message::Binary(bytes)) if !bytes.is_empty() => {
                    self.heard = Instant::now();
                    return Poll::Ready(Ok(Some(bytes)));
                }
                // MQTT 5.0, section 6.0: the connection is closed.
                Ok(Message::Text(_)) => {
                    let text = "a text frame; MQTT is in binary ones [MQTT-6.0.0-1]";
                    return Poll::Ready(Err(self.fail(cx, CloseCode::Unsupported, text)));
                }
                // The library answers pings and the close frame with the next call.
                Ok(_) => self.heard = Instant::now(),
                Err(
                    Error::ConnectionClosed
                    | Error::AlreadyClosed
                    | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake),
                ) => return Poll::Ready(Ok(None)),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return self.poll_alarm(cx),
                Err(Error::Io(error)) => return Poll::Ready(Err(error)),
                Err(Error::Capacity(CapacityError::MessageTooLong { size, max_size })) => {
                    let text = format!("a message of {size} bytes in WebSocket frames, at most {max_size} are taken");
                    return Poll::Ready(Err(self.fail(cx, CloseCode::Size, &text)));
                }
                Err(error) => {
                    return Poll::Ready(Err(self.fail(cx, CloseCode::Protocol, &error.to_string())));
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// There is nothing to read: whether that has lasted too long.
    fn poll_alarm<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        while self.alarm.as_mut().poll(cx).is_ready() {
            let due = self.heard + self.limits.idle;
            if due <= Instant::now() {
                let text = format!("no WebSocket frame within {:?}", self.limits.idle);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)));
            }
            self.alarm.as_mut().reset(due);
        }
        Poll::Pending
    }

    /// Queues the close frame, which goes out when the stream is shut down, and makes the error.
    fn fail(&mut self, cx: &mut Context<'_>, code: CloseCode, text: &str) -> io::Error {
        let close = CloseFrame { code, reason: Utf8Bytes::from_static("") };
        // Where the socket takes no more, the frame waits for the shutdown.
        let _ = self.context.close(&mut Blocking { stream: &mut self.inner, cx }, Some(close));
        self.drain = Some(DRAIN_BYTES);
        io::Error::new(io::ErrorKind::InvalidData, format!("WebSocket: {text}"))
    }

    /// Throws away what comes behind a broken frame, to the end or the bound.
    fn poll_drain(&mut self, cx: &mut Context<'_>, mut left: usize) -> Poll<io::Result<()>> {
        let mut scratch = [0; 1024];
        while left > 0 {
            let mut buffer = ReadBuf::new(&mut scratch);
            let read = Pin::new(&mut self.inner).poll_read(cx, &mut buffer);
            let taken = buffer.filled().len();
            match read {
                Poll::Ready(Ok(())) if taken > 0 => left = left.saturating_sub(taken),
                Poll::Ready(_) => left = 0,
                Poll::Pending => break,
            }
        }
        self.drain = Some(left);
        if left == 0 { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Waits until every frame is out.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        settled(self.context.flush(&mut Blocking { stream: &mut self.inner, cx }))
    }
}

/// The library's results in the words of tokio.
fn settled(result: Result<(), Error>) -> Poll<io::Result<()>> {
    Poll::Ready(match result {
        Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => Ok(()),
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
        Err(Error::Io(error)) => Err(error),
        Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
    })
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocketBytes<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(left) = this.drain {
            return this.poll_drain(cx, left);
        }
        if this.rest.is_empty() {
            match ready!(this.poll_message(cx))? {
                Some(bytes) => this.rest = bytes,
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = this.rest.len().min(buf.remaining());
        buf.put_slice(&this.rest[..length]);
        this.rest.advance(length);
        if this.rest.is_empty() {
            // It would keep the message's memory.
            this.rest = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocketBytes<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // The frame before must be out: what waits here is never more than one.
        ready!(this.poll_out(cx))?;
        let length = buf.len().min(FRAME_BYTES);
        let frame = Message::Binary(Bytes::copy_from_slice(&buf[..length]));
        let written = this.context.write(&mut Blocking { stream: &mut this.inner, cx }, frame);
        match settled(written) {
            // Taken over; the next call goes on with it.
            Poll::Pending | Poll::Ready(Ok(())) => Poll::Ready(Ok(length)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_out(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let close = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::from_static("") };
        // Only the first close frame counts; later calls go on writing it.
        ready!(settled(this.context.close(&mut Blocking { stream: &mut this.inner, cx }, Some(close))))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

/// An asynchronous stream in the shape that the library asks for: what is not ready would block.
struct Blocking<'a, 'c, S> {
    stream: &'a mut S,
    cx: &'a mut Context<'c>,
}

fn or_would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl<S: AsyncRead + Unpin> Read for Blocking<'_, '_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buf);
        or_would_block(Pin::new(&mut *self.stream).poll_read(self.cx, &mut buffer))?;
        Ok(buffer.filled().len())
    }
}

impl<S: AsyncWrite + Unpin> Write for Blocking<'_, '_, S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut *self.stream).poll_write(self.cx, buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        or_would_block(Pin::new(&mut *self.stream).poll_flush(self.cx))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const LIMITS: FrameLimits = FrameLimits { stranger_bytes: 1024, bytes: 4096, idle: Duration::from_mins(1) };

    fn pair() -> (DuplexStream, WebSocketBytes<DuplexStream>) {
        let (client, server) = duplex(64 * 1024);
        (client, WebSocketBytes::new(server, Vec::new(), LIMITS))
    }

    /// A masked frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        const MASK: [u8; 4] = [0x1F, 0x2E, 0x3D, 0x4C];
        let mut bytes = vec![first];
        match u8::try_from(payload.len()) {
            Ok(length) if length < 126 => bytes.push(0x80 | length),
            _ => {
                bytes.push(0x80 | 0x7E);
                bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
            }
        }
        bytes.extend(MASK);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    async fn read(stream: &mut WebSocketBytes<DuplexStream>, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    #[tokio::test]
    async fn frames_and_fragments_are_one_stream_of_bytes() {
        let (mut client, mut server) = pair();
        for part in [frame(0x82, b"ab"), frame(0x02, b"c"), frame(0x89, b"ping"), frame(0x00, b"d"), frame(0x80, b"e")]
        {
            client.write_all(&part).await.unwrap();
        }
        assert_eq!(read(&mut server, 5).await, b"abcde");
        server.flush().await.unwrap();
        let mut pong = [0; 6];
        client.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, b"\x8A\x04ping");
    }

    #[tokio::test]
    async fn each_write_is_one_binary_frame_and_long_ones_are_cut() {
        let (mut client, mut server) = pair();
        server.write_all(b"xyz").await.unwrap();
        assert_eq!(server.write(&vec![7; FRAME_BYTES + 1]).await.unwrap(), FRAME_BYTES);
        server.flush().await.unwrap();
        let mut first = [0; 5];
        client.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"\x82\x03xyz");
        let mut head = [0; 4];
        client.read_exact(&mut head).await.unwrap();
        assert_eq!(head, [0x82, 126, 0x40, 0x00]);
    }

    /// What a client is told, and what the reader is.
    async fn broken_by(bytes: &[u8]) -> (u16, String) {
        let (mut client, mut server) = pair();
        client.write_all(bytes).await.unwrap();
        let error = server.read_u8().await.unwrap_err();
        server.shutdown().await.unwrap();
        let mut close = [0; 4];
        client.read_exact(&mut close).await.unwrap();
        assert_eq!(&close[..2], &[0x88, 2]);
        (u16::from_be_bytes([close[2], close[3]]), error.to_string())
    }

    #[tokio::test]
    async fn a_19_what_is_no_masked_binary_frame_ends_the_connection() {
        let (code, text) = broken_by(&frame(0x81, b"text")).await;
        assert_eq!(code, 1003);
        assert!(text.contains("MQTT-6.0.0-1"), "{text}");
        assert_eq!(broken_by(b"\x82\x03abc").await.0, 1002, "unmasked");
        assert_eq!(broken_by(&frame(0xC2, b"deflated")).await.0, 1002, "a reserved bit");
        assert_eq!(broken_by(&frame(0x80, b"of nothing")).await.0, 1002, "a continuation of nothing");
        assert_eq!(broken_by(&frame(0x82, &[0; 1025])).await.0, 1009, "too long");
        let pieces = [frame(0x02, &[0; 1000]), frame(0x80, &[0; 25])].concat();
        assert_eq!(broken_by(&pieces).await.0, 1009, "too long in pieces");
        // The announcement alone is enough.
        assert_eq!(broken_by(b"\x82\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x00\x00\x00\x00").await.0, 1009);
    }

    #[tokio::test]
    async fn long_messages_are_taken_once_the_client_is_known() {
        let (mut client, mut server) = pair();
        server.accept_long_messages();
        client.write_all(&frame(0x82, &[9; 4096])).await.unwrap();
        assert_eq!(read(&mut server, 4096).await, vec![9; 4096]);
        client.write_all(&frame(0x82, &[9; 4097])).await.unwrap();
        assert!(server.read_u8().await.is_err());
    }

    #[tokio::test]
    async fn a_close_frame_is_answered_and_is_the_end() {
        let (mut client, mut server) = pair();
        client.write_all(&[frame(0x82, b"a"), frame(0x88, &[0x03, 0xE8])].concat()).await.unwrap();
        assert_eq!(read(&mut server, 1).await, b"a");
        assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 0);
        let mut close = [0; 4];
        client.read_exact(&mut close).await.unwrap();
        assert_eq!(close, [0x88, 2, 0x03, 0xE8]);
    }

    #[tokio::test]
    async fn a_client_that_pings_and_reads_nothing_is_not_remembered() {
        let (mut client, server) = duplex(64);
        let mut server = WebSocketBytes::new(server, Vec::new(), LIMITS);
        let flood = frame(0x89, &[1; 100]).repeat(10_000);
        let reader = tokio::spawn(async move {
            let end = server.read(&mut [0; 1]).await;
            (end.map_err(|error| error.kind()), server)
        });
        client.write_all(&flood).await.unwrap();
        client.write_all(&frame(0x82, b"still here")).await.unwrap();
        let (end, server) = reader.await.unwrap();
        assert_eq!(end, Ok(1));
        let debug = format!("{:?}", server.context);
        assert!(debug.len() < 64 * 1024, "the pongs that nobody reads are kept: {} characters", debug.len());
    }

    #[tokio::test]
    async fn a_silent_client_is_cut_off() {
        let (mut client, server) = duplex(64);
        let limits = FrameLimits { idle: Duration::from_millis(50), ..LIMITS };
        let mut server = WebSocketBytes::new(server, Vec::new(), limits);
        let began = Instant::now();
        client.write_all(&frame(0x89, b"")).await.unwrap();
        assert_eq!(server.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= limits.idle);
    }
}
