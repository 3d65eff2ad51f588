//! SCRAM-SHA-256 (RFC 5802, RFC 7677), server side: messages in, messages out.
//!
//! ```text
//!   client-first --> ClientFirst::parse --challenge--> Exchange, server-first
//!   client-final --> Exchange::finish --> server-final, or an error value
//! ```
//!
//! There is no channel binding: a client that asks for one is refused, as it must be (RFC 5802 section 6). Names and
//! passwords are printable ASCII, of which `SASLprep` (RFC 4013) changes nothing: what it would do to other characters
//! is not done here, so that nobody gets in by a name that only looks like his.
//!
//! A name that nobody has is challenged like any other, with a salt that stays the same, and is refused with the
//! same words and after the same computation as a wrong password.

mod credential;
mod message;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64ct::{Base64, Encoding};

pub use credential::{Decoy, MIN_ITERATIONS, NotPrepared, ScramCredential, is_prepared};
pub use message::ClientFirst;

use credential::{KEY_BYTES, digest, hmac_sha256};
use message::ClientFinal;

/// Its name among the Authentication Methods of MQTT, and among the mechanisms of SASL.
pub const METHOD: &str = "SCRAM-SHA-256";
/// Longest message of a client, in bytes: the longest name, all of it escaped, and a nonce of a good size.
pub const MESSAGE_BYTES_MAX: usize = 4096;
/// Bytes of randomness in the server's part of the nonce, as much as most clients give.
pub const NONCE_BYTES: usize = 18;

/// Why an exchange fails. Holds no text of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// More than [`MESSAGE_BYTES_MAX`].
    #[error("a message of SCRAM is longer than {MESSAGE_BYTES_MAX} bytes")]
    TooLong,
    /// Not as section 7 of RFC 5802 has it.
    #[error("a message of SCRAM is malformed")]
    Malformed,
    /// Not UTF-8, or not base64.
    #[error("a message of SCRAM has text in a wrong encoding")]
    Encoding,
    /// An escape that there is not, a control character, or nothing at all.
    #[error("the user name in a message of SCRAM is not encoded as it must be")]
    NameEncoding,
    /// GS2 flag `p`.
    #[error("the client demands channel binding, which is not offered")]
    ChannelBinding,
    /// Somebody else's name as authzid.
    #[error("the client asks to act for another user")]
    OtherUser,
    /// `m=`
    #[error("the client demands an extension of SCRAM, and there is none")]
    Extension,
    /// The GS2 header of the second message is not that of the first.
    #[error("the channel binding of the second message is not that of the first")]
    OtherBinding,
    /// The nonce of the second message is not the one that it was given.
    #[error("the nonce is not that of the exchange")]
    OtherNonce,
    /// A wrong password, or no such user: the two are never told apart.
    #[error("there is no user with this name and password")]
    Proof,
}

impl ScramError {
    /// The client's side of it: `e=` with a value of section 7 of RFC 5802.
    pub fn message(self) -> &'static str {
        match self {
            Self::TooLong | Self::Malformed | Self::OtherUser | Self::OtherNonce => "e=other-error",
            Self::Encoding => "e=invalid-encoding",
            Self::NameEncoding => "e=invalid-username-encoding",
            Self::ChannelBinding => "e=channel-binding-not-supported",
            Self::Extension => "e=extensions-not-supported",
            Self::OtherBinding => "e=channel-bindings-dont-match",
            Self::Proof => "e=invalid-proof",
        }
    }
}

/// An exchange whose challenge was made: what the client's answer is held against.
pub struct Exchange {
    credential: ScramCredential,
    /// Whether the credential is a user's.
    is_known: bool,
    gs2_header: Box<str>,
    nonce: Box<str>,
    /// `client-first-message-bare,server-first-message`
    said: String,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(SCRAM exchange)")
    }
}

impl ClientFirst {
    /// The challenge to this client, by the user's credential or, where there is none, by that of `decoy`. `nonce` is
    /// random, and used once.
    pub fn challenge(
        self,
        known: Option<&ScramCredential>,
        decoy: &Decoy,
        nonce: [u8; NONCE_BYTES],
    ) -> (Exchange, String) {
        self.challenge_by(known, decoy, &Base64::encode_string(&nonce))
    }

    fn challenge_by(self, known: Option<&ScramCredential>, decoy: &Decoy, server_nonce: &str) -> (Exchange, String) {
        // Made in any case, so that it takes the same time.
        let invented = decoy.credential(self.name());
        let (is_known, credential) = (known.is_some(), known.cloned().unwrap_or(invented));
        let nonce = format!("{}{server_nonce}", self.nonce);
        let salt = Base64::encode_string(&credential.salt);
        let challenge = format!("r={nonce},s={salt},i={}", credential.iterations);
        let said = format!("{},{challenge}", self.bare);
        let nonce = nonce.into();
        (Exchange { credential, is_known, gs2_header: self.gs2_header, nonce, said }, challenge)
    }
}

impl Exchange {
    /// Holds the client's answer against the credential. What comes back proves to the client that the server knows
    /// the credential too.
    pub fn finish(self, answer: &[u8]) -> Result<String, ScramError> {
        let answer = ClientFinal::parse(answer)?;
        if answer.binding != self.gs2_header.as_bytes() {
            return Err(ScramError::OtherBinding);
        }
        if answer.nonce != &*self.nonce {
            return Err(ScramError::OtherNonce);
        }
        let auth_message = format!("{},{}", self.said, answer.without_proof);
        let stored_key = hmac::Key::new(hmac::HMAC_SHA256, &self.credential.stored_key);
        let signature = hmac_sha256(&stored_key, auth_message.as_bytes());
        let proof: [u8; KEY_BYTES] = answer.proof.try_into().map_err(|_| ScramError::Proof)?;
        let mut client_key = proof;
        client_key.iter_mut().zip(signature).for_each(|(byte, mask)| *byte ^= mask);
        let is_right = verify_slices_are_equal(&digest(&client_key), &self.credential.stored_key).is_ok();
        let server_key = hmac::Key::new(hmac::HMAC_SHA256, &self.credential.server_key);
        let verifier = Base64::encode_string(&hmac_sha256(&server_key, auth_message.as_bytes()));
        if is_right && self.is_known { Ok(format!("v={verifier}")) } else { Err(ScramError::Proof) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 3 of RFC 7677: the user "user" with the password "pencil".
    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const CHALLENGE: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const ANSWER: &str =
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const END: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn pencil() -> ScramCredential {
        let salt = Base64::decode_vec("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        ScramCredential::of_password("pencil", salt, MIN_ITERATIONS).unwrap()
    }

    fn decoy() -> Decoy {
        Decoy::new(&[7; 32], &crate::Users::default())
    }

    fn exchange(first: &str) -> Exchange {
        let first = ClientFirst::parse(first.as_bytes()).unwrap();
        first.challenge_by(Some(&pencil()), &decoy(), SERVER_NONCE).0
    }

    #[test]
    fn rfc_7677_section_3_the_example_exchange() {
        let first = ClientFirst::parse(FIRST.as_bytes()).unwrap();
        assert_eq!(first.name(), "user");
        let (exchange, challenge) = first.challenge_by(Some(&pencil()), &decoy(), SERVER_NONCE);
        assert_eq!(challenge, CHALLENGE);
        assert_eq!(exchange.finish(ANSWER.as_bytes()), Ok(END.to_owned()));
    }

    #[test]
    fn one_wrong_bit_anywhere_in_the_answer_is_refused() {
        for index in 0..ANSWER.len() {
            let mut answer = ANSWER.as_bytes().to_vec();
            answer[index] ^= 1;
            assert!(exchange(FIRST).finish(&answer).is_err(), "{index}");
        }
        for (answer, error) in [
            (ANSWER.replace("dHzb", "dHza"), ScramError::Proof),
            (ANSWER.replace("dHzbZapW", ""), ScramError::Proof),
            (ANSWER.replace("p=dHzb", "p=dHzb*"), ScramError::Encoding),
            (ANSWER.replace("biws", "eSws"), ScramError::OtherBinding),
            (ANSWER.replace("biws", ""), ScramError::OtherBinding),
            (ANSWER.replace("k0,p=", "k1,p="), ScramError::OtherNonce),
            // The client's own part of the nonce alone.
            (ANSWER.replace(SERVER_NONCE, ""), ScramError::OtherNonce),
            (ANSWER.replace(",p=", ",m=x,p="), ScramError::Extension),
            (ANSWER.replace("c=biws,", ""), ScramError::Malformed),
            (ANSWER.split(",p=").next().unwrap().to_owned(), ScramError::Malformed),
            (String::new(), ScramError::Malformed),
            (FIRST.to_owned(), ScramError::Malformed),
            (format!("{ANSWER}{}", "A".repeat(MESSAGE_BYTES_MAX)), ScramError::TooLong),
        ] {
            assert_eq!(exchange(FIRST).finish(answer.as_bytes()), Err(error), "{answer}");
        }
    }

    #[test]
    fn an_extension_that_may_be_ignored_is_part_of_what_is_signed() {
        let answer = ANSWER.replace(",p=", ",x=1,p=");
        assert_eq!(exchange(FIRST).finish(answer.as_bytes()), Err(ScramError::Proof));
    }

    #[test]
    fn nobody_gets_in_by_a_credential_that_was_invented() {
        // Even by the right proof for it: as if somebody had found the process's secret.
        let invented = decoy().credential("user");
        let first = ClientFirst::parse(FIRST.as_bytes()).unwrap();
        let (unknown, challenge) = first.challenge_by(None, &decoy(), SERVER_NONCE);
        assert!(challenge.contains(&Base64::encode_string(&invented.salt)));
        let known = Exchange { credential: pencil(), is_known: false, ..exchange(FIRST) };
        assert_eq!(known.finish(ANSWER.as_bytes()), Err(ScramError::Proof));
        assert_eq!(unknown.finish(ANSWER.as_bytes()), Err(ScramError::Proof));
    }

    #[test]
    fn each_challenge_has_a_nonce_of_its_own() {
        let challenge = |nonce| ClientFirst::parse(FIRST.as_bytes()).unwrap().challenge(None, &decoy(), nonce).1;
        let (one, other) = (challenge([1; NONCE_BYTES]), challenge([2; NONCE_BYTES]));
        assert_ne!(one, other);
        assert!(one.starts_with("r=rOprNGfwEbeRWgbNEkqOAQEB"), "{one}");
    }

    #[test]
    fn nothing_secret_is_shown() {
        let shown = format!("{:?} {:?} {:?}", exchange(FIRST), pencil(), decoy());
        assert_eq!(shown, "(SCRAM exchange) (SCRAM credential) (SCRAM decoy)");
    }
}
