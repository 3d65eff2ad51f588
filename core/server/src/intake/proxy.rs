//! The PROXY protocol, versions 1 and 2: the address that a proxy in front saw, and what it says of TLS between the
//! client and itself. Only proxies that the operator trusts are listened to; the caller sees to that, and to the
//! deadline.

use std::net::SocketAddr;

use postern_identity::ProxiedTls;
use proxy_header::{ParseConfig, Protocol, ProxyHeader, SslInfo, Tlv, Tlvs};
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

/// Longest text of a field that is kept, in bytes: a DNS name has no more.
const TEXT_BYTES_MAX: usize = 255;

/// What a header says of the connection behind it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// The client's address.
    pub(crate) source: SocketAddr,
    pub(crate) authority: Option<String>,
    pub(crate) alpn: Option<String>,
    pub(crate) tls: Option<ProxiedTls>,
}

/// Reads exactly the header. None where the proxy speaks for itself (`LOCAL`, `UNKNOWN`): the socket's own
/// address is the peer's then. The error is for the log.
pub(crate) async fn read_header<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<Told>, String> {
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

fn parse(header: &[u8]) -> Result<Option<Told>, String> {
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
    let said = Said::read(parsed.tlvs())?;
    match parsed.proxied_address() {
        None => Ok(None),
        Some(address) if address.protocol == Protocol::Stream => {
            let tls = said.tls.map(|tls| tls.of_client()).transpose()?.flatten();
            Ok(Some(Told { source: address.source, authority: said.authority, alpn: said.alpn, tls }))
        }
        Some(_) => Err("the header speaks of datagrams".to_owned()),
    }
}

/// The fields that are of use, each at most once: of two names nobody could say which one holds.
#[derive(Default)]
struct Said<'h> {
    authority: Option<String>,
    alpn: Option<String>,
    tls: Option<Tls<'h>>,
}

struct Tls<'h>(SslInfo<'h>);

impl<'h> Said<'h> {
    fn read(fields: Tlvs<'h>) -> Result<Self, String> {
        let mut said = Self::default();
        for field in fields {
            match field.map_err(|_| misshapen())? {
                Tlv::Authority(name) => once(&mut said.authority, "authority", text(&name)?)?,
                Tlv::Alpn(name) => {
                    let name = std::str::from_utf8(&name).map_err(|_| "an ALPN protocol that is no text".to_owned())?;
                    once(&mut said.alpn, "ALPN", text(name)?)?;
                }
                Tlv::Ssl(tls) => once(&mut said.tls, "TLS", Tls(tls))?,
                _ => {}
            }
        }
        Ok(said)
    }
}

impl Tls<'_> {
    /// None where the client came to the proxy without TLS.
    fn of_client(&self) -> Result<Option<ProxiedTls>, String> {
        let mut client = ProxiedTls::default();
        for field in self.0.tlvs() {
            match field.map_err(|_| misshapen())? {
                Tlv::SslVersion(version) => once(&mut client.version, "TLS version", text(&version)?)?,
                Tlv::SslCipher(cipher) => once(&mut client.cipher, "cipher", text(&cipher)?)?,
                Tlv::SslCn(name) => once(&mut client.common_name, "common name", text(&name)?)?,
                _ => {}
            }
        }
        let shown = self.0.client_cert_conn() || self.0.client_cert_sess();
        client.verified = shown && self.0.verify() == 0;
        Ok(self.0.client_ssl().then_some(client))
    }
}

fn once<T>(place: &mut Option<T>, what: &str, value: T) -> Result<(), String> {
    if place.replace(value).is_some() { Err(format!("the header says the {what} more than once")) } else { Ok(()) }
}

fn text(text: &str) -> Result<String, String> {
    if text.contains(char::is_control) {
        return Err("a control character in a name of the header".to_owned());
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("a name of more than {TEXT_BYTES_MAX} bytes in the header"));
    }
    Ok(text.to_owned())
}

fn misshapen() -> String {
    "a field of the header is longer than the header, or not what it should be".to_owned()
}

#[cfg(test)]
mod tests {
    use proxy_header::ProxiedAddress;

    use super::*;

    const REST: &[u8] = b"\x10\x0d\x00\x04MQTT";

    /// The address, and whether exactly the header was taken.
    async fn read(header: &[u8]) -> Result<Option<String>, String> {
        let bytes = [header, REST].concat();
        let mut left = bytes.as_slice();
        let found = read_header(&mut left).await?;
        assert_eq!(left, REST, "what comes behind the header is not the header's");
        Ok(found.map(|told| told.source.to_string()))
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

    /// What is told of TLS, with these flags and result of the proxy's verification.
    fn told(conn: bool, sess: bool, verify: u32, names: &[&'static str]) -> Result<Option<ProxiedTls>, String> {
        let address = ProxiedAddress::stream("192.0.2.7:50000".parse().unwrap(), "192.0.2.1:8883".parse().unwrap());
        let mut tls = SslInfo::new(true, conn, sess, verify);
        tls.append_tlv(Tlv::SslVersion("TLSv1.3".into()));
        for name in names {
            tls.append_tlv(Tlv::SslCn((*name).into()));
        }
        let mut header = Vec::new();
        ProxyHeader::with_tlvs(Some(address), [Tlv::Ssl(tls)]).encode_v2(&mut header).unwrap();
        parse(&header).map(|told| told.unwrap().tls)
    }

    #[test]
    fn a_certificate_counts_as_verified_only_where_it_was_shown_and_the_proxy_says_so() {
        for (conn, sess, verify, expect) in
            [(true, true, 0, true), (false, true, 0, true), (true, true, 1, false), (false, false, 0, false)]
        {
            let tls = told(conn, sess, verify, &["device"]).unwrap().unwrap();
            assert_eq!(tls.verified, expect, "{conn} {sess} {verify}");
            assert_eq!((tls.version.as_deref(), tls.common_name.as_deref()), (Some("TLSv1.3"), Some("device")));
        }
    }

    #[test]
    fn a_name_that_is_said_twice_or_in_control_characters_or_without_end_is_refused() {
        let long: &'static str = Box::leak("x".repeat(TEXT_BYTES_MAX + 1).into_boxed_str());
        for names in [&["a", "a"][..], &["a\nb"], &[long]] {
            assert!(told(true, true, 0, names).is_err(), "{names:?}");
        }
        assert!(told(true, true, 0, &[&long[1..]]).is_ok());
        assert_eq!(told(true, true, 0, &[]).unwrap().unwrap().common_name, None);
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
