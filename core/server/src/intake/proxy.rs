//! The PROXY protocol, versions 1 and 2: the address that a proxy in front saw. Only proxies that the
//! operator trusts are listened to; the caller sees to that, and to the deadline.
//!
//! What a version 2 header tells of TLS between client and proxy is read for its form alone. A certificate
//! that somebody else verified is not one that was verified here.

use std::net::SocketAddr;

use proxy_header::{ParseConfig, Protocol, ProxyHeader, Tlv, Tlvs};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The first bytes of version 2.
const SIGNATURE: &[u8] = b"\r\n\r\n\x00\r\nQUIT\n";

/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;

/// Longest version 2 header, in bytes: room for the client's certificate, which some proxies add.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Longest version 1 header, in bytes, by its standard.
const LINE_BYTES_MAX: usize = 107;

/// The shortest line, `PROXY UNKNOWN` with its end.
const LINE_BYTES_MIN: usize = 15;

/// Reads exactly the header. None where the proxy speaks for itself (`LOCAL`, `UNKNOWN`): the socket's own
/// address is the peer's then. The error is for the log.
pub(crate) async fn read_header<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<SocketAddr>, String> {
    let mut header = vec![read_byte(stream).await?];
    match header[0] {
        b'P' => read_line(stream, &mut header).await?,
        b'\r' => read_binary(stream, &mut header).await?,
        _ => return Err("the first bytes are no PROXY header".to_owned()),
    }
    parse(&header)
}

async fn read_byte<S: AsyncRead + Unpin>(stream: &mut S) -> Result<u8, String> {
    stream.read_u8().await.map_err(|_| "closed in the middle of its header".to_owned())
}

async fn read_more<S: AsyncRead + Unpin>(stream: &mut S, header: &mut Vec<u8>, length: usize) -> Result<(), String> {
    let from = header.len();
    header.resize(length, 0);
    stream.read_exact(&mut header[from..]).await.map_err(|_| "closed in the middle of its header".to_owned())?;
    Ok(())
}

/// Behind the shortest length there is only one way to know the end: byte by byte.
async fn read_line<S: AsyncRead + Unpin>(stream: &mut S, header: &mut Vec<u8>) -> Result<(), String> {
    read_more(stream, header, LINE_BYTES_MIN).await?;
    while !header.ends_with(b"\r\n") {
        if header.len() >= LINE_BYTES_MAX {
            return Err(format!("a version 1 header of more than {LINE_BYTES_MAX} bytes"));
        }
        header.push(read_byte(stream).await?);
    }
    Ok(())
}

async fn read_binary<S: AsyncRead + Unpin>(stream: &mut S, header: &mut Vec<u8>) -> Result<(), String> {
    read_more(stream, header, FIXED_BYTES).await?;
    if !header.starts_with(SIGNATURE) {
        return Err("the first bytes are no PROXY header".to_owned());
    }
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([header[14], header[15]]));
    if length > HEADER_BYTES_MAX {
        return Err(format!("a version 2 header of {length} bytes, at most {HEADER_BYTES_MAX} are read"));
    }
    read_more(stream, header, length).await
}

fn parse(header: &[u8]) -> Result<Option<SocketAddr>, String> {
    // A proxy's own connection: whatever else the header holds is to be passed over (section 2.2 of the standard).
    if header.starts_with(SIGNATURE) && header[SIGNATURE.len()] == 0x20 {
        return Ok(None);
    }
    if header.starts_with(b"PROXY") && !header.starts_with(b"PROXY ") {
        return Err("no space behind PROXY".to_owned());
    }
    // It was read to its end: what seems too short announces more than it holds.
    let (parsed, length) = ProxyHeader::parse(header, ParseConfig::default()).map_err(|error| error.to_string())?;
    if length != header.len() {
        return Err("bytes behind the header's end".to_owned());
    }
    check(parsed.tlvs(), true)?;
    match parsed.proxied_address() {
        None => Ok(None),
        Some(address) if address.protocol == Protocol::Stream => Ok(Some(address.source)),
        Some(_) => Err("the header speaks of datagrams".to_owned()),
    }
}

/// A field that is longer than what is left would be read past its end by a careless reader.
fn check(fields: Tlvs<'_>, outer: bool) -> Result<(), String> {
    for field in fields {
        match field {
            Ok(Tlv::Ssl(ssl)) if outer => check(ssl.tlvs(), false)?,
            Ok(Tlv::Authority(name)) if name.contains(char::is_control) => {
                return Err("a control character in the name that the client asked for".to_owned());
            }
            Ok(_) => {}
            Err(_) => {
                return Err("a field of the header is longer than the header, or not what it should be".to_owned());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proxy_header::{ProxiedAddress, SslInfo};

    use super::*;

    const REST: &[u8] = b"\x10\x0d\x00\x04MQTT";

    /// The address, and whether exactly the header was taken.
    async fn read(header: &[u8]) -> Result<Option<String>, String> {
        let bytes = [header, REST].concat();
        let mut left = bytes.as_slice();
        let found = read_header(&mut left).await?;
        assert_eq!(left, REST, "what comes behind the header is not the header's");
        Ok(found.map(|address| address.to_string()))
    }

    /// Version 2 with this command, family and content.
    fn binary(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, content].concat()
    }

    /// 192.0.2.7:50000 to 198.51.100.1:8883.
    const ADDRESSES: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0xC3, 0x50, 0x22, 0xB3];

    #[tokio::test]
    async fn version_1_is_read_to_its_end() {
        for (line, expect) in [
            ("PROXY TCP4 192.0.2.7 198.51.100.1 50000 8883\r\n", Some("192.0.2.7:50000")),
            ("PROXY TCP6 2001:db8::7 2001:db8::1 50000 8883\r\n", Some("[2001:db8::7]:50000")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff:: ffff:: 1 2\r\n", None),
        ] {
            assert_eq!(read(line.as_bytes()).await, Ok(expect.map(str::to_owned)), "{line}");
        }
    }

    #[tokio::test]
    async fn version_2_is_read_to_its_end() {
        let expect = Ok(Some("192.0.2.7:50000".to_owned()));
        assert_eq!(read(&binary(0x21, 0x11, ADDRESSES)).await, expect);
        let source: SocketAddr = "[2001:db8::7]:50000".parse().unwrap();
        let address = ProxiedAddress::stream(source, "[2001:db8::1]:8883".parse().unwrap());
        let mut tls = SslInfo::new(true, true, true, 0);
        tls.append_tlv(Tlv::SslCn("device".into()));
        let mut header = Vec::new();
        let fields = [Tlv::Authority("mqtt.example.org".into()), Tlv::Ssl(tls), Tlv::Noop(3)];
        ProxyHeader::with_tlvs(Some(address), fields).encode_v2(&mut header).unwrap();
        assert_eq!(read(&header).await, Ok(Some(source.to_string())));
    }

    #[tokio::test]
    async fn a_proxy_that_speaks_for_itself_keeps_its_address() {
        assert_eq!(read(&binary(0x20, 0x00, b"")).await, Ok(None));
        assert_eq!(read(&binary(0x20, 0x11, ADDRESSES)).await, Ok(None));
        assert_eq!(read(&binary(0x20, 0x11, b"anything")).await, Ok(None));
        assert_eq!(read(&binary(0x21, 0x00, b"")).await, Ok(None));
    }

    #[tokio::test]
    async fn a_20_a_field_longer_than_the_header_is_refused() {
        let with = |field: &[u8]| binary(0x21, 0x11, &[ADDRESSES, field].concat());
        assert!(read(&with(b"\x02\x00\x04name")).await.is_ok());
        let long_tls = b"\x20\x00\x0A\x01\x00\x00\x00\x00\x22\x00\xFFcn";
        for field in [&b"\x02\x00\x05name"[..], b"\x02\xFF\xFFname", b"\x02\x00", b"\x20\x00\x01\x01", long_tls] {
            assert!(read(&with(field)).await.is_err(), "{field:?}");
        }
        assert!(read(&with(b"\x02\x00\x03a\nb")).await.is_err(), "F-19: a control character");
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        for header in [
            &b"\x10\x0d\x00\x04MQTT"[..],
            b"PROXYxTCP4 192.0.2.7 198.51.100.1 50000 8883\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 50000\r\n",
            b"PROXY TCP4 192.0.2.700 198.51.100.1 50000 8883\r\n",
            b"PROXY TCP4 2001:db8::7 198.51.100.1 50000 8883\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 70000 8883\r\n",
            b"POST / HTTP/1.1\r\n\r\n",
        ] {
            assert!(read(header).await.is_err(), "{}", header.escape_ascii());
        }
        assert!(read(&[b"PROXY TCP4 ", "1".repeat(200).as_bytes()].concat()).await.is_err(), "a line without end");
        assert!(read(&binary(0x31, 0x11, ADDRESSES)).await.is_err(), "version 3");
        assert!(read(&binary(0x22, 0x11, ADDRESSES)).await.is_err(), "an unknown command");
        assert!(read(&binary(0x21, 0x12, ADDRESSES)).await.is_err(), "datagrams");
        assert!(read(&binary(0x21, 0x11, &ADDRESSES[..8])).await.is_err(), "addresses cut short");
        assert!(read(&binary(0x21, 0x11, &vec![0; HEADER_BYTES_MAX])).await.is_err(), "too long");
    }
}
