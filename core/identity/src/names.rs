//! Names that are valid by construction.
//!
//! Bundle and namespace names become directory names, so their alphabet is strict; identity texts become
//! parts of topics and log lines, so control and bidirectional characters have no place in them.

use std::fmt;
use std::sync::Arc;

/// Why a text is not a name of the kind it was meant for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// Longer than the bound of its kind.
    #[error("it has {len} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes found.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A character outside the alphabet of its kind.
    #[error("the character {character:?} is not allowed; {alphabet}")]
    Character {
        /// The first character at fault.
        character: char,
        /// What is allowed, in words.
        alphabet: &'static str,
    },
    /// The characters are right, the form is not.
    #[error("{0}")]
    Form(&'static str),
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type!(
    /// The name of a tenant's namespace: a letter or digit, then letters, digits, `-`, `_` and `.`; at most 128 bytes.
    NamespaceName
);
name_type!(
    /// The name of a certificate bundle, as EMQX allows it: a letter or digit, then letters, digits, `-` and `_`;
    /// at most 254 bytes.
    BundleName
);
name_type!(
    /// A DNS name as the gate compares it: A-labels, lower case, no trailing dot, at most 253 bytes (RFC 5890, RFC 6066).
    DnsName
);
name_type!(
    /// A user name, client identifier or attribute that came out of a certificate: 1 to 256 bytes, no control
    /// characters, no bidirectional controls, no byte order mark. `Display` is safe for logs.
    IdentityText
);
name_type!(
    /// A listener as `TYPE:NAME`, for example `ssl:default`.
    ListenerId
);
name_type!(
    /// A plugin as logs name it: the file name without its extension.
    PluginName
);

impl NamespaceName {
    /// Longest name, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// Checks and takes a name.
    pub fn new(text: &str) -> Result<Self, NameError> {
        checked_label(text, Self::MAX_BYTES, "letters, digits, '-', '_' and '.' are", |c| {
            c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
        })
        .map(Self)
    }
}

impl BundleName {
    /// Longest name, in bytes.
    pub const MAX_BYTES: usize = 254;

    /// Checks and takes a name.
    pub fn new(text: &str) -> Result<Self, NameError> {
        checked_label(text, Self::MAX_BYTES, "letters, digits, '-' and '_' are", |c| {
            c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
        })
        .map(Self)
    }
}

fn checked_label(
    text: &str,
    max: usize,
    alphabet: &'static str,
    allowed: impl Fn(char) -> bool,
) -> Result<Arc<str>, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > max {
        return Err(NameError::TooLong { len: text.len(), max });
    }
    if let Some(character) = text.chars().find(|&c| !allowed(c)) {
        return Err(NameError::Character { character, alphabet });
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(NameError::Form("it must begin with a letter or a digit"));
    }
    Ok(text.into())
}

impl DnsName {
    /// Longest name, in bytes, without the trailing dot (RFC 1035 section 2.3.4).
    pub const MAX_BYTES: usize = 253;

    /// Folds case, takes one trailing dot off and checks the labels: 1 to 63 letters, digits, `-` or `_`,
    /// no hyphen at either end. IP literals and wildcards are not names.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(NameError::TooLong { len: text.len(), max: Self::MAX_BYTES });
        }
        for label in text.split('.') {
            check_dns_label(label)?;
        }
        // A last label of digits only would make an IPv4 literal (or its look-alike) a name.
        if text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
            return Err(NameError::Form("it is an IP address, not a DNS name"));
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

fn check_dns_label(label: &str) -> Result<(), NameError> {
    const ALPHABET: &str = "letters, digits, '-', '_' and '.' are (international names as A-labels, xn--…)";
    if label.is_empty() {
        return Err(NameError::Form("it has an empty label"));
    }
    if label.len() > 63 {
        return Err(NameError::Form("a label has more than 63 bytes"));
    }
    if let Some(character) = label.chars().find(|&c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))) {
        return Err(NameError::Character { character, alphabet: ALPHABET });
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(NameError::Form("a label begins or ends with a hyphen"));
    }
    Ok(())
}

impl IdentityText {
    /// Longest text, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// Checks and takes a text.
    pub fn new(text: &str) -> Result<Self, NameError> {
        const ALPHABET: &str = "control characters, bidirectional controls and byte order marks are refused";
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(NameError::TooLong { len: text.len(), max: Self::MAX_BYTES });
        }
        if let Some(character) = text.chars().find(|&c| is_treacherous(c)) {
            return Err(NameError::Character { character, alphabet: ALPHABET });
        }
        if text.chars().all(char::is_whitespace) {
            return Err(NameError::Form("it has nothing but white space"));
        }
        Ok(Self(text.into()))
    }
}

/// Characters that make a text look like another one or break a log line.
pub(crate) fn is_treacherous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{FFFE}' | '\u{FFFF}')
}

impl ListenerId {
    /// `kind` is the type in the configuration (`tcp`, `ssl`), `name` the listener's own.
    pub fn new(kind: &str, name: &str) -> Self {
        Self(format!("{kind}:{name}").into())
    }
}

impl PluginName {
    /// Takes the name; characters other than letters, digits, `-`, `_` and `.` become `_`.
    pub fn new(text: &str) -> Self {
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
        Self(text.chars().take(128).map(plain).collect::<String>().into())
    }
}

/// Whose a connection, a topic, a session or a bundle is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Namespace {
    /// Nobody's in particular: the operator's own.
    Global,
    /// A tenant's.
    Tenant(NamespaceName),
}

impl Namespace {
    /// The tenant's name; none for the global namespace.
    pub fn name(&self) -> Option<&NamespaceName> {
        match self {
            Self::Global => None,
            Self::Tenant(name) => Some(name),
        }
    }

    /// From the form in which configuration and WIT write it: no name is the global namespace.
    pub fn from_option(name: Option<&str>) -> Result<Self, NameError> {
        name.map_or(Ok(Self::Global), |text| NamespaceName::new(text).map(Self::Tenant))
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("(global)"),
            Self::Tenant(name) => f.write_str(name.as_str()),
        }
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A bundle's full name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BundleRef {
    /// Its owner.
    pub namespace: Namespace,
    /// Its name there.
    pub name: BundleName,
}

impl fmt::Display for BundleRef {
    /// `acme/mqtt`, or `(global)/default`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for BundleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
