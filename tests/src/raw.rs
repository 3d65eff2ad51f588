//! A connection on which the test decides every byte.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::tls::TlsStream;
use crate::wire::{self, Connect, Packet, V5, kind};

/// How long an answer may take on busy cores.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// "Closed" means: the socket itself, within this time.
pub const CLOSE_WITHIN: Duration = Duration::from_secs(15);

/// A byte stream whose reads can be given a deadline.
pub trait Duplex: Read + Write {
    /// The deadline of each read.
    fn read_deadline(&mut self, within: Duration);
    /// Says that no more bytes follow.
    fn shut_writes(&mut self);
}

impl Duplex for TcpStream {
    fn read_deadline(&mut self, within: Duration) {
        self.set_read_timeout(Some(within.max(Duration::from_millis(1)))).unwrap();
    }

    fn shut_writes(&mut self) {
        // Fails only where the peer has closed already.
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl Duplex for TlsStream {
    fn read_deadline(&mut self, within: Duration) {
        self.sock.read_deadline(within);
    }

    fn shut_writes(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
        self.sock.shut_writes();
    }
}

/// What a connection said before the broker closed it.
#[derive(Debug)]
pub struct Closed {
    /// The packets that came before the end.
    pub packets: Vec<Packet>,
    /// How long the end took.
    pub took: Duration,
}

impl Closed {
    /// The code of the CONNACK, if one came.
    pub fn connack(&self) -> Option<u8> {
        self.packets.iter().find_map(Packet::connack_code)
    }

    /// The code of the DISCONNECT, if one came.
    pub fn disconnect(&self) -> Option<u8> {
        self.packets.iter().find_map(Packet::disconnect_code)
    }
}

/// One connection.
pub struct RawClient<S: Duplex> {
    /// The stream below.
    pub stream: S,
    version: u8,
    /// Packets that came before one that was waited for.
    earlier: VecDeque<Packet>,
}

/// Opens a plain connection.
pub fn dial(address: SocketAddr) -> RawClient<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_write_timeout(Some(ANSWER_WITHIN)).unwrap();
    RawClient::over(stream)
}

/// Opens a plain connection whose kernel takes as little as it can, so that a client which does not read is soon felt.
pub fn dial_narrow(address: SocketAddr) -> RawClient<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    // Before it connects, since the window is agreed on then.
    socket.set_recv_buffer_size(1024).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_write_timeout(Some(ANSWER_WITHIN)).unwrap();
    RawClient::over(stream)
}

/// Opens a plain connection and enters as this client.
pub fn enter(address: SocketAddr, connect: &Connect) -> RawClient<TcpStream> {
    let mut client = dial(address);
    client.enter(connect);
    client
}

impl<S: Duplex> RawClient<S> {
    /// Takes a stream over.
    pub fn over(stream: S) -> Self {
        Self { stream, version: V5, earlier: VecDeque::new() }
    }

    /// The version to read and write by, for a client that has entered already.
    #[must_use]
    pub fn speaking(mut self, version: u8) -> Self {
        self.version = version;
        self
    }

    /// Sends bytes. An error of the socket is no failure here: a peer that closes early is what many
    /// tests are after, and they see it when they read.
    pub fn send(&mut self, bytes: &[u8]) -> &mut Self {
        let _ = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
        self
    }

    /// Sends CONNECT and takes an answer that lets the client in; gives the CONNACK back.
    pub fn enter(&mut self, connect: &Connect) -> Packet {
        self.version = connect.version;
        self.send(&connect.bytes());
        let connack = self.next("CONNACK");
        assert_eq!(connack.connack_code(), Some(0), "{connack:?}");
        connack
    }

    /// Sends CONNECT, takes the refusal and the close, and gives the code back.
    pub fn refused(&mut self, connect: &Connect) -> u8 {
        self.version = connect.version;
        self.send(&connect.bytes());
        let closed = self.closed();
        closed.connack().unwrap_or_else(|| panic!("closed without a CONNACK: {closed:?}"))
    }

    /// The next packet, which must come.
    pub fn next(&mut self, what: &str) -> Packet {
        self.earlier.pop_front().unwrap_or_else(|| self.read(what))
    }

    fn read(&mut self, what: &str) -> Packet {
        self.stream.read_deadline(ANSWER_WITHIN);
        match wire::read_packet(&mut self.stream) {
            Ok(Some(packet)) => packet,
            Ok(None) => panic!("closed where {what} was due"),
            Err(error) => panic!("{error} where {what} was due"),
        }
    }

    /// The next packet, which must be of this kind.
    pub fn expect(&mut self, kind: u8) -> Packet {
        let packet = self.next(&format!("a packet of kind {kind}"));
        assert_eq!(packet.kind(), kind, "{packet:?}");
        packet
    }

    /// The next packet of this kind. Others that come before it are kept for later.
    pub fn await_kind(&mut self, kind: u8) -> Packet {
        if let Some(at) = self.earlier.iter().position(|packet| packet.kind() == kind) {
            return self.earlier.remove(at).unwrap();
        }
        loop {
            let packet = self.read(&format!("a packet of kind {kind}"));
            if packet.kind() == kind {
                return packet;
            }
            self.earlier.push_back(packet);
        }
    }

    /// Sends a SUBSCRIBE or UNSUBSCRIBE and gives the codes of its answer back.
    pub fn codes(&mut self, request: &[u8]) -> Vec<u8> {
        let answer = if request[0] == 0x82 { kind::SUBACK } else { kind::UNSUBACK };
        self.send(request);
        self.await_kind(answer).codes(self.version)
    }

    /// Subscribes; the filter must be granted.
    pub fn subscribe(&mut self, filter: &str, qos: u8) -> &mut Self {
        let request = wire::subscribe(self.version, 0x5151, filter, qos);
        self.send(&request);
        let suback = self.expect(kind::SUBACK);
        assert_eq!(suback.body.last(), Some(&qos), "{suback:?}");
        self
    }

    /// Publishes with QoS 1 and takes the PUBACK. Messages that come before it are kept for later.
    pub fn publish(&mut self, topic: &str, payload: &str) -> &mut Self {
        let publish = wire::publish(self.version, topic, 1, 0x1111, payload);
        self.send(&publish);
        assert_eq!(self.await_kind(kind::PUBACK).id(), 0x1111);
        self
    }

    /// The next packet must be a PUBLISH; QoS 1 is acknowledged. Gives topic and payload back.
    pub fn message(&mut self) -> (String, String) {
        let packet = self.expect(kind::PUBLISH);
        let (topic, id, payload) = packet.published(self.version);
        if packet.qos() == 1 {
            self.send(&wire::acknowledge(kind::PUBACK, id));
        }
        (topic, String::from_utf8(payload).unwrap())
    }

    /// PINGREQ and PINGRESP; gives the time between them back.
    pub fn ping(&mut self) -> Duration {
        let began = Instant::now();
        self.send(&wire::PINGREQ);
        self.expect(kind::PINGRESP);
        began.elapsed()
    }

    /// Says goodbye.
    pub fn leave(mut self) {
        self.send(&wire::DISCONNECT);
        self.closed();
    }

    /// Reads to the end of the connection, which must come.
    pub fn closed(&mut self) -> Closed {
        let within = CLOSE_WITHIN;
        self.closed_within(within)
            .unwrap_or_else(|packets| panic!("not closed within {within:?}; it said {packets:02x?}"))
    }

    /// Reads to the end of the connection; `Err` with what was said where it does not come in time.
    pub fn closed_within(&mut self, within: Duration) -> Result<Closed, Vec<Packet>> {
        let began = Instant::now();
        let mut packets = Vec::from(std::mem::take(&mut self.earlier));
        loop {
            let left = within.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Err(packets);
            }
            self.stream.read_deadline(left);
            match wire::read_packet(&mut self.stream) {
                Ok(Some(packet)) => packets.push(packet),
                Err(error) if timed_out(&error) => return Err(packets),
                Ok(None) | Err(_) => return Ok(Closed { packets, took: began.elapsed() }),
            }
        }
    }
}

/// Whether a read ended by its deadline, not by the peer.
pub fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
