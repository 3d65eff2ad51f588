//! `authentication` and `authorization` as the rest of Postern sees them.

use std::path::PathBuf;

use postern_identity::Users;
use postern_identity::credentials::Pbkdf2Digest;
use postern_identity::scram::ScramCredential;

use crate::problem::{Origin, Spanned};

/// Users with passwords, and where more of them are.
#[derive(Debug, Clone)]
pub struct UserBase {
    /// Where it stands among the entries, for messages: `authentication[0]`.
    pub path: String,
    /// Where it was written.
    pub at: Origin,
    /// What of a CONNECT names the user.
    pub user_id_type: UserIdType,
    /// Those in the configuration itself.
    pub users: Users,
    /// The file with the others.
    pub file: Option<Spanned<UserFile>>,
}

/// `authentication`: the enabled entries.
#[derive(Debug, Clone, Default)]
pub struct Authentication {
    /// Those with `mechanism = password_based`, in their order.
    pub passwords: Vec<UserBase>,
    /// The one with `mechanism = scram`.
    pub scram: Option<ScramBase>,
}

impl Authentication {
    /// Whether nobody has to show who he is.
    pub fn is_empty(&self) -> bool {
        self.passwords.is_empty() && self.scram.is_none()
    }
}

/// Users who show by SCRAM-SHA-256 who they are (MQTT 5.0, section 4.12).
#[derive(Debug, Clone)]
pub struct ScramBase {
    /// Where it stands among the entries, for messages: `authentication[0]`.
    pub path: String,
    /// Where it was written.
    pub at: Origin,
    /// What a name that nobody has is shown; none for what most users have.
    pub iteration_count: Option<u32>,
    /// Those in the configuration itself.
    pub users: Users<ScramCredential>,
    /// The file with the others, lines of `NAME:CREDENTIAL`; a relative path is meant from the working directory.
    pub file: Option<Spanned<PathBuf>>,
}

/// What of a CONNECT names the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UserIdType {
    /// The user name.
    #[default]
    Username,
    /// The client identifier.
    ClientId,
}

/// A file with users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserFile {
    /// A relative path is meant from the working directory.
    pub path: PathBuf,
    /// How it is written.
    pub form: UserFileForm,
}

/// How a file with users is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserFileForm {
    /// Lines of `NAME:HASH`.
    Lines,
    /// EMQX's table with a head, its hashes in this form.
    Csv(HashForm),
    /// EMQX's list of objects, their hashes in this form.
    Json(HashForm),
}

/// What a `password_hash` of EMQX's bootstrap files is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashForm {
    /// A text that says itself what it is: `$argon2id$…`, `$7$…`, `$6$…`.
    SelfDescribing,
    /// Hexadecimal digits, beside a `salt`.
    Pbkdf2 {
        /// The digest.
        digest: Pbkdf2Digest,
        /// How often.
        iterations: u32,
        /// Bytes of the result; none for those of the digest.
        output_bytes: Option<usize>,
    },
}

/// `enable_authn` of a listener: whether `authentication` holds for its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EnableAuthn {
    /// A client shows a certificate that says who it is, or a password.
    #[default]
    Yes,
    /// It need not.
    No,
    /// As `Yes`, and a client without certificate and user name is refused at once, even where there is no
    /// `authentication`.
    QuickDenyAnonymous,
}
