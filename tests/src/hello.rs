//! A ClientHello out of bytes (RFC 5246 section 7.4.1.2, RFC 8446 section 4.1.2), for names and shapes that
//! no TLS library would send. It offers TLS 1.2 alone, where the server's certificate comes in the clear.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};

use crate::raw::{self, Duplex, RawClient};

/// What the server said to a ClientHello.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// It chose this leaf.
    Served(Vec<u8>),
    /// It ended the handshake with this alert, by its number.
    Alert(u8),
    /// It closed without a word.
    Closed,
}

/// A ClientHello in the making.
#[derive(Clone, Default)]
pub struct Hello {
    /// The host_name in the server_name extension.
    pub server_name: Option<Vec<u8>>,
    /// Bytes of a padding extension (RFC 7685).
    pub padding: usize,
}

/// A hello that asks for these bytes.
pub fn naming(name: impl AsRef<[u8]>) -> Hello {
    Hello { server_name: Some(name.as_ref().to_vec()), padding: 0 }
}

fn sized(width: usize, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&length[4 - width..], content].concat()
}

fn extension(number: u16, content: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes()[..], &sized(2, content)].concat()
}

impl Hello {
    /// The handshake message, without a record around it.
    pub fn message(&self) -> Vec<u8> {
        let mut extensions = Vec::new();
        if let Some(name) = &self.server_name {
            let entry = [&[0][..], &sized(2, name)].concat();
            extensions.extend(extension(0, &sized(2, &entry)));
        }
        extensions.extend(extension(10, &sized(2, &[0x00, 0x1D, 0x00, 0x17])));
        extensions.extend(extension(11, &sized(1, &[0])));
        extensions.extend(extension(13, &sized(2, &[0x04, 0x03, 0x05, 0x03, 0x08, 0x04, 0x04, 0x01, 0x08, 0x07])));
        extensions.extend(extension(23, &[]));
        extensions.extend(extension(0xFF01, &[0]));
        if self.padding > 0 {
            extensions.extend(extension(21, &vec![0; self.padding]));
        }
        let suites = [0xC0, 0x2B, 0xC0, 0x2F, 0xC0, 0x2C, 0xC0, 0x30, 0xCC, 0xA9, 0xCC, 0xA8];
        let mut body = vec![0x03, 0x03];
        body.extend([0x42; 32]);
        body.extend(sized(1, &[]));
        body.extend(sized(2, &suites));
        body.extend(sized(1, &[0]));
        body.extend(sized(2, &extensions));
        [&[1][..], &sized(3, &body)].concat()
    }

    /// The message in records of at most so many bytes.
    pub fn records(&self, fragment: usize) -> Vec<u8> {
        self.message().chunks(fragment).flat_map(record).collect()
    }

    /// Sends the hello in one record, or as few as it takes, and reads the answer.
    pub fn ask(&self, address: SocketAddr) -> Answer {
        let mut client = raw::dial(address);
        client.send(&self.records(16_384));
        answer(&mut client)
    }
}

/// One handshake record.
pub fn record(content: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &sized(2, content)].concat()
}

/// Reads the server's first flight up to its certificate.
pub fn answer(client: &mut RawClient<TcpStream>) -> Answer {
    client.stream.read_deadline(raw::ANSWER_WITHIN);
    let mut handshake = Vec::new();
    loop {
        let mut header = [0; 5];
        if let Err(error) = client.stream.read_exact(&mut header) {
            assert!(!raw::timed_out(&error), "no answer to the ClientHello");
            return Answer::Closed;
        }
        let mut content = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        client.stream.read_exact(&mut content).unwrap();
        match header[0] {
            21 => return Answer::Alert(content[1]),
            22 => handshake.extend(content),
            other => panic!("a record of type {other} in the first flight"),
        }
        if let Some(leaf) = leaf_of(&handshake) {
            return Answer::Served(leaf);
        }
    }
}

fn leaf_of(mut messages: &[u8]) -> Option<Vec<u8>> {
    const CERTIFICATE: u8 = 11;
    while messages.len() >= 4 {
        let length = length24(&messages[1..]);
        let body = messages.get(4..4 + length)?;
        if messages[0] == CERTIFICATE {
            return Some(body[6..6 + length24(&body[3..])].to_vec());
        }
        messages = &messages[4 + length..];
    }
    None
}

fn length24(bytes: &[u8]) -> usize {
    bytes[..3].iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte))
}
