//! What a client offered, made safe to compare and to log.
//!
//! What rustls 0.23 makes of the `server_name` extension before it gets here, and what becomes of it then:
//!
//! | the client sends | `Acceptor` | here |
//! |---|---|---|
//! | `HOST.Example.COM` | folds case | `host.example.com` |
//! | `host.example.com.` | keeps the dot | the same name without the dot |
//! | `192.0.2.1`, `::1` | as no name at all (RFC 6066 section 3 forbids literals) | no name |
//! | `127.0.0.1.`, `[::1]`, a number as last label | refuses, alert illegal_parameter | not reached |
//! | empty, ` host`, control characters, bytes outside ASCII, a label over 63 bytes, over 253 bytes | refuses, alert illegal_parameter | not reached |
//! | two names, an unknown name type first | refuses | not reached |
//! | `xn--…`, valid punycode or not | an ordinary name | compared as bytes, never decoded |
//! | `*.example.org` | refuses | not reached |

use postern_identity::{ClientHello, DnsName, Refusal, Stage, Why};

/// Most ALPN entries that are looked at. Browsers send two or three.
pub const MAX_ALPN: usize = 32;
/// Most entries of each list of numbers that are looked at; fewer than 100 are registered in any.
pub const MAX_NUMBERS: usize = 256;

/// The hello as the gate's questions carry it. Lists are cut at [`MAX_ALPN`] and [`MAX_NUMBERS`]. ALPN
/// entries that are not UTF-8 or have control characters are left out: neither plugins nor logs see them,
/// and rustls never selects them.
///
/// # Errors
/// A [`Refusal`] where the server name is not a DNS name as [`DnsName`] has it.
pub fn sanitize_hello(hello: &rustls::server::ClientHello<'_>) -> Result<ClientHello, Refusal> {
    let server_name = hello.server_name().map(server_name).transpose()?;
    let alpn = hello.alpn().into_iter().flatten().take(MAX_ALPN).filter_map(plain_text).collect();
    Ok(ClientHello {
        server_name,
        alpn,
        cipher_suites: numbers(hello.cipher_suites()),
        signature_schemes: numbers(hello.signature_schemes()),
        named_groups: numbers(hello.named_groups().unwrap_or_default()),
    })
}

/// rustls has refused nearly all of what [`DnsName`] refuses; the two lists of rules are kept apart so that
/// a change in theirs cannot open ours.
fn server_name(name: &str) -> Result<DnsName, Refusal> {
    DnsName::new(name).map_err(|error| {
        let detail = format!("the server name \"{}\" is not a DNS name: {error}", Refusal::foreign(name));
        Refusal::new(Stage::Hello, Why::InvalidName, detail)
    })
}

fn plain_text(protocol: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(protocol).ok()?;
    (!text.chars().any(char::is_control)).then(|| text.to_owned())
}

fn numbers<T: Copy + Into<u16>>(list: &[T]) -> Vec<u16> {
    list.iter().take(MAX_NUMBERS).map(|&entry| entry.into()).collect()
}
