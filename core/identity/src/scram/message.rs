//! The messages of the client (RFC 5802 section 7).

use base64ct::{Base64, Encoding};

use super::{MESSAGE_BYTES_MAX, ScramError};

/// `client-first-message`, of a client that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFirst {
    /// `gs2-header`: what is said of channel binding, and for whom the client wants to act.
    pub(super) gs2_header: Box<str>,
    /// `client-first-message-bare`
    pub(super) bare: Box<str>,
    /// The client's part of the nonce.
    pub(super) nonce: Box<str>,
    name: Box<str>,
}

impl ClientFirst {
    /// Reads it.
    pub fn parse(message: &[u8]) -> Result<Self, ScramError> {
        let text = text(message)?;
        let (flag, rest) = text.split_once(',').ok_or(ScramError::Malformed)?;
        match flag {
            // `y`: it could bind, and thinks that this server cannot, which is right.
            "n" | "y" => {}
            _ if flag.starts_with("p=") => return Err(ScramError::ChannelBinding),
            _ => return Err(ScramError::Malformed),
        }
        let (authzid, bare) = rest.split_once(',').ok_or(ScramError::Malformed)?;
        let mut attributes = bare.split(',');
        let mut next = |key: &str| {
            let attribute = attributes.next().ok_or(ScramError::Malformed)?;
            if attribute.starts_with("m=") {
                return Err(ScramError::Extension);
            }
            attribute.strip_prefix(key).ok_or(ScramError::Malformed)
        };
        let name = saslname(next("n=")?)?;
        let nonce = next("r=")?;
        if nonce.is_empty() || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ScramError::Malformed);
        }
        attributes.try_for_each(extension)?;
        if !authzid.is_empty() {
            let other = authzid.strip_prefix("a=").ok_or(ScramError::Malformed)?;
            if saslname(other)? != name {
                return Err(ScramError::OtherUser);
            }
        }
        let gs2_header = text[..text.len() - bare.len()].into();
        Ok(Self { gs2_header, bare: bare.into(), nonce: nonce.into(), name: name.into() })
    }

    /// Who the client says it is.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// `client-final-message`.
pub(super) struct ClientFinal<'m> {
    /// `c=`, decoded.
    pub(super) binding: Vec<u8>,
    pub(super) nonce: &'m str,
    pub(super) proof: Vec<u8>,
    /// `client-final-message-without-proof`
    pub(super) without_proof: &'m str,
}

impl<'m> ClientFinal<'m> {
    pub(super) fn parse(message: &'m [u8]) -> Result<Self, ScramError> {
        let text = text(message)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let mut attributes = without_proof.split(',');
        let mut next = |key: &str| attributes.next().and_then(|a| a.strip_prefix(key)).ok_or(ScramError::Malformed);
        let (binding, nonce) = (next("c=")?, next("r=")?);
        attributes.try_for_each(extension)?;
        let decode = |text| Base64::decode_vec(text).map_err(|_| ScramError::Encoding);
        Ok(Self { binding: decode(binding)?, nonce, proof: decode(proof)?, without_proof })
    }
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(ScramError::TooLong);
    }
    std::str::from_utf8(message).map_err(|_| ScramError::Encoding)
}

/// An attribute that may be there and means nothing here, unless it is the one that demands to be understood.
fn extension(attribute: &str) -> Result<(), ScramError> {
    match attribute.as_bytes() {
        [b'm', b'=', ..] => Err(ScramError::Extension),
        [key, b'=', ..] if key.is_ascii_alphabetic() => Ok(()),
        _ => Err(ScramError::Malformed),
    }
}

/// A name as it is meant: `=2C` is a comma and `=3D` an equals sign.
fn saslname(text: &str) -> Result<String, ScramError> {
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('=') {
        name.push_str(before);
        let (character, after) = match after.get(..2) {
            Some("2C") => (',', &after[2..]),
            Some("3D") => ('=', &after[2..]),
            _ => return Err(ScramError::NameEncoding),
        };
        name.push(character);
        rest = after;
    }
    name.push_str(rest);
    if name.is_empty() || name.contains(char::is_control) { Err(ScramError::NameEncoding) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ClientFirst, ScramError> {
        ClientFirst::parse(text.as_bytes())
    }

    #[test]
    fn a_first_message_says_who_it_is_and_nothing_of_channel_binding() {
        for (text, name) in [
            ("n,,n=user,r=abc", "user"),
            ("y,,n=user,r=abc", "user"),
            ("n,a=user,n=user,r=abc", "user"),
            ("n,a=a=2Cb,n=a=2Cb,r=abc", "a,b"),
            ("n,,n=a=2Cb=3Dc=3D2C,r=a", "a,b=c=2C"),
            ("n,,n=user,r=abc,x=,y=1", "user"),
            ("n,,n=j\u{fc}rgen,r=abc", "j\u{fc}rgen"),
        ] {
            let first = parse(text).unwrap();
            assert_eq!(first.name(), name);
            assert_eq!(format!("{}{}", first.gs2_header, first.bare), text);
        }
    }

    #[test]
    fn a_first_message_that_cannot_be_served_is_told_why() {
        use ScramError::{ChannelBinding, Encoding, Extension, Malformed, NameEncoding, OtherUser, TooLong};
        for (text, error) in [
            ("p=tls-unique,,n=user,r=abc", ChannelBinding),
            ("p=tls-exporter,,n=user,r=abc", ChannelBinding),
            ("n,a=admin,n=user,r=abc", OtherUser),
            ("n,,m=x,n=user,r=abc", Extension),
            ("n,,n=user,m=x,r=abc", Extension),
            ("n,,n=user,r=abc,m=x", Extension),
            ("n,,n=a=2,r=abc", NameEncoding),
            ("n,,n=a=2c,r=abc", NameEncoding),
            ("n,,n=a=,r=abc", NameEncoding),
            ("n,,n=a=\u{fc}\u{fc},r=abc", NameEncoding),
            ("n,,n=,r=abc", NameEncoding),
            ("n,,n=a\u{0},r=abc", NameEncoding),
            ("n,,n=a\nb,r=abc", NameEncoding),
            ("", Malformed),
            ("n", Malformed),
            ("n,", Malformed),
            ("n,,", Malformed),
            ("n,,n=user", Malformed),
            ("n,,n=user,r=", Malformed),
            ("n,,n=user,r=a b", Malformed),
            ("n,,n=user,r=\u{fc}", Malformed),
            ("n,,r=abc,n=user", Malformed),
            ("n,,n=user,r=abc,", Malformed),
            ("n,,n=user,r=abc,xy", Malformed),
            ("n,user,n=user,r=abc", Malformed),
            ("N,,n=user,r=abc", Malformed),
            ("p,,n=user,r=abc", Malformed),
            ("x,,n=user,r=abc", Malformed),
            ("n=user,r=abc", Malformed),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
        assert_eq!(ClientFirst::parse(b"n,,n=\xFF,r=abc"), Err(Encoding));
        let long = |length| parse(&format!("n,,n=u,r={}", "x".repeat(length)));
        assert!(long(MESSAGE_BYTES_MAX - 9).is_ok());
        assert_eq!(long(MESSAGE_BYTES_MAX - 8), Err(TooLong));
    }
}
