//! Where a value was written, and what is wrong with it in words for people.

use std::fmt;
use std::sync::Arc;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// A place in a file; line and column count from 1, the column in characters.
    File {
        /// The file, as it was named to the reader.
        file: Arc<str>,
        /// Line.
        line: u32,
        /// Column.
        column: u32,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: Arc<str>,
    },
}

impl fmt::Display for Origin {
    /// `postern.conf:12:13`, or `environment POSTERN_NODE__NAME`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Environment { variable } => write!(f, "environment {variable}"),
        }
    }
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub at: Origin,
}

/// Something wrong with the configuration, or, as a warning, something to think about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, for example `listeners.ssl.default.ssl_options.managed_certs[1].sni`; empty where the text as a
    /// whole is meant.
    pub path: String,
    /// Where it was written.
    pub at: Origin,
    /// What is wrong. One or more sentences without the full stop at the end; never a secret.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    /// ``postern.conf:12:13: node.nam: unknown key; did you mean `name`?``
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.at)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.text)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

impl std::error::Error for Problem {}
