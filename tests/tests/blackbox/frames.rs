//! A WebSocket client on which the test decides every frame, and which reads and writes MQTT as any stream.

use std::io::{self, Read, Write};
use std::time::Duration;

use postern_tests::raw::Duplex;

/// Binary, whole.
pub(crate) const BINARY: u8 = 0x82;
/// What a client's bytes are masked with: any four bytes do.
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A masked frame with this first byte.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..=0xFFFF => {
            bytes.push(0x80 | 0x7E);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 0x7F);
            bytes.extend(u64::try_from(length).unwrap().to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A request for the upgrade.
pub(crate) fn request(path: &str, host: &str, subprotocol: Option<&str>) -> String {
    let offer = subprotocol.map_or_else(String::new, |name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
    )
}

/// Sends a request and reads the answer's head, byte by byte: frames may follow.
pub(crate) fn ask<S: Duplex>(stream: &mut S, request: &str) -> io::Result<String> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8(head).unwrap())
}

/// What is in the frames.
pub(crate) struct Frames<S: Duplex> {
    /// The stream below, for frames that no library would send.
    pub(crate) stream: S,
    /// Of the frame that is being read.
    rest: Vec<u8>,
    /// The code of the close frame, once it came.
    pub(crate) closed: Option<u16>,
}

impl<S: Duplex> Frames<S> {
    /// Upgrades a connection, which must be let through.
    pub(crate) fn upgrade(mut stream: S, host: &str) -> Self {
        stream.read_deadline(postern_tests::raw::ANSWER_WITHIN);
        let answer = ask(&mut stream, &request("/mqtt", host, Some("mqtt"))).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.to_ascii_lowercase().contains("sec-websocket-protocol: mqtt\r\n"), "{answer}");
        Self { stream, rest: Vec::new(), closed: None }
    }

    /// The next frame: its first byte and its payload.
    pub(crate) fn next(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        assert_eq!(head[1] & 0x80, 0, "a server does not mask");
        let length = match head[1] {
            126 => {
                let mut more = [0; 2];
                self.stream.read_exact(&mut more)?;
                usize::from(u16::from_be_bytes(more))
            }
            127 => panic!("the broker's frames are short"),
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload)?;
        Ok((head[0], payload))
    }
}

impl<S: Duplex> Read for Frames<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.next() {
                Ok((BINARY, payload)) => self.rest = payload,
                Ok((0x88, payload)) => {
                    self.closed = Some(u16::from_be_bytes([payload[0], payload[1]]));
                    return Ok(0);
                }
                Ok((first, _)) => assert_eq!(first, 0x8A, "a pong"),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) => return Err(error),
            }
        }
        let length = self.rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.rest[..length]);
        self.rest.drain(..length);
        Ok(length)
    }
}

impl<S: Duplex> Write for Frames<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write_all(&frame(BINARY, bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl<S: Duplex> Duplex for Frames<S> {
    fn read_deadline(&mut self, within: Duration) {
        self.stream.read_deadline(within);
    }

    fn shut_writes(&mut self) {
        self.stream.shut_writes();
    }
}
