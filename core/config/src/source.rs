//! Texts, the places in them, and the step from text to syntax tree, behind limits.
//!
//! The grammar is read by the `hocon` library. Its values are not used: they have no places, it has no bound on what a
//! few lines of substitutions grow to, and it drops definitions where substitutions find nothing or an object. The
//! limits below hold before it sees a text.

use std::collections::HashMap;
use std::sync::Arc;

use hocon::parser::{AstField, AstNode, parse_tokens};
use hocon::{Token, TokenKind, tokenize};

use crate::problem::{Origin, Problem};

/// Longest text, in bytes: one file.
pub(crate) const MAX_TEXT_BYTES: usize = 16 << 20;
/// Deepest nesting of `{` and `[`.
pub(crate) const MAX_NESTING: usize = 64;
/// Parts of one dotted key.
pub(crate) const MAX_KEY_PARTS: usize = 32;

/// A place in one of the [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) source: u32,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

#[derive(Debug)]
enum Source {
    File(Arc<str>),
    Environment(Arc<str>),
}

/// The files and variables that were read, by number.
#[derive(Debug, Default)]
pub(crate) struct Sources(Vec<Source>);

impl Sources {
    pub(crate) fn add_file(&mut self, name: &str) -> u32 {
        self.add(Source::File(name.into()))
    }

    pub(crate) fn add_variable(&mut self, name: &str) -> u32 {
        self.add(Source::Environment(name.into()))
    }

    fn add(&mut self, source: Source) -> u32 {
        self.0.push(source);
        u32::try_from(self.0.len() - 1).expect("far fewer sources than 2^32 are read")
    }

    /// The variable's name, where the place is one.
    pub(crate) fn variable(&self, place: Place) -> Option<&str> {
        match &self.0[place.source as usize] {
            Source::File(_) => None,
            Source::Environment(name) => Some(name),
        }
    }

    pub(crate) fn origin(&self, place: Place) -> Origin {
        match &self.0[place.source as usize] {
            Source::File(file) => Origin::File { file: file.clone(), line: place.line, column: place.column },
            Source::Environment(variable) => Origin::Environment { variable: variable.clone() },
        }
    }

    pub(crate) fn problem(&self, place: Place, path: &str, text: impl Into<String>, hint: Option<&str>) -> Problem {
        Problem {
            path: path.to_owned(),
            at: self.origin(place),
            text: text.into(),
            hint: hint.map(std::borrow::ToOwned::to_owned),
        }
    }
}

/// What is wrong with a text, before anything is known of its keys.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) place: Place,
    pub(crate) text: String,
    pub(crate) hint: Option<&'static str>,
}

pub(crate) fn place(source: u32, line: usize, column: usize) -> Place {
    // A text has at most 2^20 bytes, so that neither number is ever cut; the library counts from 1.
    let small = |n: usize| u32::try_from(n.max(1)).unwrap_or(u32::MAX);
    Place { source, line: small(line), column: small(column) }
}

/// Line and column of what follows a bracket, to those of the bracket: the library says of a list or an object where
/// its inside begins, which may be lines below.
pub(crate) type Brackets = HashMap<(usize, usize), (usize, usize)>;

/// A text's outermost fields, and its brackets.
pub(crate) struct Parsed {
    pub(crate) fields: Vec<AstField>,
    pub(crate) brackets: Brackets,
}

/// Text to syntax tree.
pub(crate) fn parse(source: u32, text: &str) -> Result<Parsed, SyntaxError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(SyntaxError {
            place: place(source, 1, 1),
            text: format!("the text has {} bytes, at most {MAX_TEXT_BYTES} are read", text.len()),
            hint: None,
        });
    }
    let tokens = tokenize(text).map_err(|error| in_our_words(source, &error))?;
    check_brackets(source, &tokens)?;
    check_keys(source, &tokens)?;
    let tree = parse_tokens(&tokens).map_err(|error| in_our_words(source, &error))?;
    let fields = match tree {
        AstNode::Object { fields, .. } => fields,
        AstNode::Array { pos, .. } => {
            let text = "the file is a list, but must be an object".to_owned();
            return Err(SyntaxError { place: place(source, pos.line, pos.col), text, hint: None });
        }
        _ => unreachable!("a text is an object or a list"),
    };
    let opens = |token: &Token| matches!(token.kind, TokenKind::LBrace | TokenKind::LBracket);
    let pairs = tokens.windows(2).filter(|pair| opens(&pair[0]));
    let brackets = pairs.map(|pair| ((pair[1].line, pair[1].col), (pair[0].line, pair[0].col))).collect();
    Ok(Parsed { fields, brackets })
}

/// Brackets match, and not too many are open at once: the library's parser recurses.
fn check_brackets(source: u32, tokens: &[Token]) -> Result<(), SyntaxError> {
    let fail = |token: &Token, text: String| {
        Err(SyntaxError { place: place(source, token.line, token.col), text, hint: None })
    };
    let mut open: Vec<&Token> = Vec::new();
    for token in tokens {
        let opener = match token.kind {
            TokenKind::LBrace | TokenKind::LBracket => {
                if open.len() == MAX_NESTING {
                    return fail(token, format!("nested deeper than {MAX_NESTING} levels"));
                }
                open.push(token);
                continue;
            }
            TokenKind::RBrace => TokenKind::LBrace,
            TokenKind::RBracket => TokenKind::LBracket,
            _ => continue,
        };
        let sign = if opener == TokenKind::LBrace { '}' } else { ']' };
        match open.pop() {
            None => return fail(token, format!("this `{sign}` closes nothing")),
            Some(begin) if begin.kind == opener => {}
            Some(begin) => {
                let other = if begin.kind == TokenKind::LBrace { '{' } else { '[' };
                let text = format!("this `{sign}` cannot close the `{other}` of {}:{}", begin.line, begin.col);
                return fail(token, text);
            }
        }
    }
    open.last().map_or(Ok(()), |begin| {
        let sign = if begin.kind == TokenKind::LBrace { '{' } else { '[' };
        fail(begin, format!("this `{sign}` is never closed"))
    })
}

/// The library's time for a dotted key grows with the square of its parts and more.
fn check_keys(source: u32, tokens: &[Token]) -> Result<(), SyntaxError> {
    let fail = |line, column| {
        let text = format!("a key with more than {MAX_KEY_PARTS} parts");
        Err(SyntaxError { place: place(source, line, column), text, hint: None })
    };
    // Dots of tokens that follow one another without a line end or sign between them: they may be one key.
    let mut parts = 0;
    for token in tokens {
        match (&token.kind, &token.subst) {
            (TokenKind::Substitution, Some(subst)) if subst.segments.len() > MAX_KEY_PARTS => {
                return fail(token.line, token.col);
            }
            (TokenKind::Unquoted, _) => parts += token.value.matches('.').count(),
            (TokenKind::QuotedString, _) => {}
            (kind, _) => {
                let is_key =
                    matches!(kind, TokenKind::Equals | TokenKind::Colon | TokenKind::PlusEquals | TokenKind::LBrace);
                if is_key && parts >= MAX_KEY_PARTS {
                    return fail(token.line, token.col);
                }
                parts = 0;
            }
        }
    }
    Ok(())
}

/// The library speaks of its own tokens; the reader of the message has a file.
fn in_our_words(source: u32, error: &hocon::ParseError) -> SyntaxError {
    const WORDS: [(&str, &str, Option<&str>); 9] = [
        (
            "unexpected token after key",
            "`=`, `:` or `{` is missing after the key",
            Some("a text over several words or lines must stand in quotes"),
        ),
        (
            "expected value",
            "a value is missing here",
            Some("a text that begins with `:` or another sign must stand in quotes"),
        ),
        ("expected key", "a key is missing here", None),
        ("unterminated", "a text in quotes has no end", None),
        (
            "expected include path",
            "cannot be included",
            Some("write `include \"FILE\"`; nothing is fetched from the network"),
        ),
        ("include package", "cannot be included", Some("write `include \"FILE\"`")),
        ("'include' is reserved", "`include` is no key", Some("write it in quotes if it is meant as one")),
        ("unexpected token after", "text after the end of the configuration", None),
        ("expected closing ')'", "a `)` is missing", None),
    ];
    let place = place(source, error.line, error.col);
    let lower = error.message.to_ascii_lowercase();
    for (begin, text, hint) in WORDS {
        if lower.starts_with(begin) {
            return SyntaxError { place, text: text.to_owned(), hint };
        }
    }
    let text = error.message.split(" (HOCON.md").next().unwrap_or_default().to_owned();
    SyntaxError { place, text, hint: None }
}
