//! What is kept of a password for SCRAM: enough to know its owner, not enough to be him.

use std::collections::HashMap;
use std::num::NonZeroU32;

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN};
use aws_lc_rs::{hmac, pbkdf2};
use base64ct::{Base64, Encoding};

use super::METHOD;
use crate::credentials::{Credential, HashError, MAX_PBKDF2_ITERATIONS, MAX_SALT_BYTES, SALT_BYTES, UserError, Users};

/// Bytes of a key.
pub(super) const KEY_BYTES: usize = SHA256_OUTPUT_LEN;
/// Fewest iterations (RFC 7677 section 4).
pub const MIN_ITERATIONS: u32 = 4096;

/// A name or password that `SASLprep` (RFC 4013) might change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "SCRAM takes printable ASCII characters alone: what RFC 4013 makes of others is done by some clients and not by \
     others, so that such a name or password would fit today and not tomorrow"
)]
pub struct NotPrepared;

/// Whether it is one that `SASLprep` leaves as it is, and that no client gets wrong.
pub fn is_prepared(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// A user's `StoredKey` and `ServerKey` (RFC 5802 section 3). Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramCredential {
    pub(super) iterations: u32,
    pub(super) salt: Box<[u8]>,
    pub(super) stored_key: [u8; KEY_BYTES],
    pub(super) server_key: [u8; KEY_BYTES],
}

impl std::fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(SCRAM credential)")
    }
}

impl Credential for ScramCredential {
    const MADE_BY: &'static str = "postern hash-password --scram";

    /// `SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY`, the last three in base64, as RFC 5803 writes it.
    fn read(text: &str) -> Result<Self, HashError> {
        Self::parse(text)
    }

    fn fits(name: &str) -> Result<(), UserError> {
        if is_prepared(name) { Ok(()) } else { Err(NotPrepared.into()) }
    }
}

impl ScramCredential {
    fn parse(text: &str) -> Result<Self, HashError> {
        let rest = text.strip_prefix(METHOD).and_then(|rest| rest.strip_prefix('$')).ok_or(HashError::Scram)?;
        let (cost, keys) = rest.split_once('$').ok_or(HashError::Scram)?;
        let (iterations, salt) = cost.split_once(':').ok_or(HashError::Scram)?;
        let (stored_key, server_key) = keys.split_once(':').ok_or(HashError::Scram)?;
        let iterations = iterations.parse().map_err(|_| HashError::Scram)?;
        let decode = |text| Base64::decode_vec(text).map_err(|_| HashError::Scram);
        let key = |text| decode(text)?.try_into().map_err(|_| HashError::Scram);
        Self::checked(iterations, decode(salt)?, key(stored_key)?, key(server_key)?)
    }

    /// What is to be kept of a password.
    pub fn of_password(password: &str, salt: Vec<u8>, iterations: u32) -> Result<Self, NotPrepared> {
        if !is_prepared(password) {
            return Err(NotPrepared);
        }
        let mut salted = [0; KEY_BYTES];
        let rounds = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &mut salted);
        let salted = hmac::Key::new(hmac::HMAC_SHA256, &salted);
        let stored_key = digest(&hmac_sha256(&salted, b"Client Key"));
        let server_key = hmac_sha256(&salted, b"Server Key");
        Ok(Self { iterations, salt: salt.into(), stored_key, server_key })
    }

    fn checked(
        iterations: u32,
        salt: Vec<u8>,
        stored_key: [u8; KEY_BYTES],
        server_key: [u8; KEY_BYTES],
    ) -> Result<Self, HashError> {
        if !(MIN_ITERATIONS..=MAX_PBKDF2_ITERATIONS).contains(&iterations) {
            return Err(HashError::Iterations);
        }
        if !(1..=MAX_SALT_BYTES).contains(&salt.len()) {
            return Err(HashError::Length);
        }
        Ok(Self { iterations, salt: salt.into(), stored_key, server_key })
    }

    /// The text that it is read from again: for the file of users, and nowhere else.
    pub fn to_line(&self) -> String {
        let [salt, stored, server] = [&self.salt[..], &self.stored_key, &self.server_key].map(Base64::encode_string);
        format!("{METHOD}${}:{salt}${stored}:{server}", self.iterations)
    }

    fn shape(&self) -> Shape {
        Shape { iterations: self.iterations, salt_bytes: self.salt.len() }
    }
}

/// What a challenge shows of a credential beside the salt itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Shape {
    iterations: u32,
    salt_bytes: usize,
}

/// Invents credentials for names that nobody has, each name the same one as long as the process lives.
pub struct Decoy {
    secret: hmac::Key,
    shape: Shape,
}

impl std::fmt::Debug for Decoy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(SCRAM decoy)")
    }
}

impl Decoy {
    /// What it invents looks like what most of the users have. `secret` is random and told to nobody.
    pub fn new(secret: &[u8; 32], users: &Users<ScramCredential>) -> Self {
        let mut counts: HashMap<Shape, usize> = HashMap::new();
        for credential in users.credentials() {
            *counts.entry(credential.shape()).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|&(shape, count)| (count, shape)).map(|(shape, _)| shape);
        let shape = most.unwrap_or(Shape { iterations: MIN_ITERATIONS, salt_bytes: SALT_BYTES });
        Self { secret: hmac::Key::new(hmac::HMAC_SHA256, secret), shape }
    }

    /// The same with so many iterations.
    #[must_use]
    pub fn with_iterations(self, iterations: u32) -> Self {
        Self { shape: Shape { iterations, ..self.shape }, ..self }
    }

    /// How many of the users can be told from a name that nobody has, by the shape of their challenge.
    pub fn unlike(&self, users: &Users<ScramCredential>) -> usize {
        users.credentials().filter(|credential| credential.shape() != self.shape).count()
    }

    /// The credential of a name that nobody has.
    pub(super) fn credential(&self, name: &str) -> ScramCredential {
        let invent = |what: u8| {
            let mut context = hmac::Context::with_key(&self.secret);
            context.update(&[what]);
            context.update(name.as_bytes());
            bytes(&context.sign())
        };
        let salt = [invent(0), invent(1)].concat();
        ScramCredential {
            iterations: self.shape.iterations,
            salt: salt.into_iter().take(self.shape.salt_bytes).collect(),
            stored_key: invent(2),
            server_key: invent(3),
        }
    }
}

pub(super) fn hmac_sha256(key: &hmac::Key, message: &[u8]) -> [u8; KEY_BYTES] {
    bytes(&hmac::sign(key, message))
}

fn bytes(tag: &hmac::Tag) -> [u8; KEY_BYTES] {
    tag.as_ref().try_into().expect("a tag of HMAC-SHA-256 has 32 bytes")
}

pub(super) fn digest(message: &[u8]) -> [u8; KEY_BYTES] {
    let digest = aws_lc_rs::digest::digest(&SHA256, message);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(salt_bytes: usize, iterations: u32) -> ScramCredential {
        ScramCredential::of_password("pencil", vec![1; salt_bytes], iterations).unwrap()
    }

    fn users_of(credentials: impl IntoIterator<Item = ScramCredential>) -> Users<ScramCredential> {
        let mut users = Users::default();
        for (index, credential) in credentials.into_iter().enumerate() {
            users.add(&index.to_string(), credential).unwrap();
        }
        users
    }

    #[test]
    fn a_name_that_nobody_has_gets_the_same_salt_again_and_no_other_name_has_it() {
        let decoy = Decoy::new(&[1; 32], &Users::default());
        let one = decoy.credential("alice");
        assert!(one == decoy.credential("alice"));
        let salts =
            [one, decoy.credential("bob"), Decoy::new(&[2; 32], &Users::default()).credential("alice")].map(|c| c.salt);
        assert!(salts[0] != salts[1] && salts[0] != salts[2] && salts[1] != salts[2]);
    }

    #[test]
    fn what_is_invented_looks_like_what_most_users_have() {
        let of = |decoy: &Decoy| {
            let invented = decoy.credential("x");
            (invented.salt.len(), invented.iterations)
        };
        assert_eq!(of(&Decoy::new(&[1; 32], &Users::default())), (SALT_BYTES, MIN_ITERATIONS));
        let users = users_of([credential(20, 5000), credential(12, 4096), credential(20, 5000)]);
        let decoy = Decoy::new(&[1; 32], &users);
        assert_eq!((of(&decoy), decoy.unlike(&users)), ((20, 5000), 1));
        assert_eq!(of(&decoy.with_iterations(9000)), (20, 9000));
        let long = Decoy::new(&[1; 32], &users_of([credential(MAX_SALT_BYTES, 4096)]));
        assert_eq!(of(&long), (MAX_SALT_BYTES, 4096));
    }
}
