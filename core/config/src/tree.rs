//! All definitions of all files in their order, substitutions not yet replaced.
//!
//! An included file's definitions stand where the `include` stood. Its substitutions are looked up under the keys
//! around the `include` first, and as they are written second (HOCON, "Include semantics: substitution").

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use hocon::ScalarType;
use hocon::parser::{AstField, AstNode, Pos};

use crate::problem::Problem;
use crate::source::{Brackets, Parsed, Place, Sources, SyntaxError, parse, place};

/// Files within files.
pub(crate) const MAX_INCLUDE_DEPTH: usize = 10;
/// Included files altogether.
pub(crate) const MAX_INCLUDES: usize = 100;

/// Keys within keys, those of dotted keys and of the files around included: what reads the tree recurses.
pub(crate) const MAX_PATH: usize = 96;

/// How an included file is read.
pub(crate) type Include<'a> = &'a mut dyn FnMut(&Path) -> std::io::Result<String>;

/// The keys of an object, each with its definitions in their order.
pub(crate) type Fields = BTreeMap<String, Vec<Definition>>;

/// `key = value`, once.
#[derive(Debug)]
pub(crate) struct Definition {
    /// Rises through the text; what looks back looks at smaller numbers.
    pub(crate) order: u32,
    pub(crate) key_at: Place,
    pub(crate) value: Raw,
}

/// A value as it is written.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) at: Place,
    pub(crate) kind: RawKind,
}

#[derive(Debug)]
pub(crate) enum RawKind {
    Null,
    Bool(bool),
    /// As written: `007` stays `007`.
    Number(String),
    Text(String),
    List(Vec<Raw>),
    Object(Fields),
    /// Values side by side; white space between them is a part of its own.
    Joined(Vec<Part>),
    Reference(Reference),
}

#[derive(Debug)]
pub(crate) enum Part {
    Space(String),
    Value(Raw),
}

/// `${path}` or `${?path}`
#[derive(Debug)]
pub(crate) struct Reference {
    /// Looked up first; only in included files.
    pub(crate) under_include: Option<Vec<String>>,
    pub(crate) path: Vec<String>,
    pub(crate) optional: bool,
}

/// Reads files into one tree.
pub(crate) struct Builder<'a> {
    pub(crate) sources: &'a mut Sources,
    pub(crate) problems: Vec<Problem>,
    include: Include<'a>,
    /// The main file's directory, which includes must not leave.
    root: PathBuf,
    /// The files that include one another just now.
    open: Vec<PathBuf>,
    includes: usize,
    next: u32,
}

/// Where the fields being read belong.
#[derive(Clone, Copy)]
struct Spot<'s> {
    source: u32,
    brackets: &'s Brackets,
    /// The keys around the file's `include`.
    mount: &'s [String],
    /// The keys around these fields, those of `mount` included. Items of lists have a key that nobody can write.
    path: &'s [String],
}

/// Stands in a path for "inside a list"; a key cannot hold it, as `${}` paths cannot either.
const IN_LIST: &str = "\u{0}";

impl<'a> Builder<'a> {
    pub(crate) fn new(sources: &'a mut Sources, file: &Path, include: Include<'a>) -> Self {
        let main = plain(file).unwrap_or_else(|| file.to_owned());
        let root = main.parent().map(Path::to_owned).unwrap_or_default();
        Self { sources, problems: Vec::new(), include, root, open: vec![main], includes: 0, next: 0 }
    }

    /// Adds the definitions of the main file.
    pub(crate) fn file(&mut self, source: u32, text: &str, into: &mut Fields) {
        self.text(source, text, &[], into);
    }

    fn text(&mut self, source: u32, text: &str, mount: &[String], into: &mut Fields) {
        match parse(source, text) {
            Ok(Parsed { fields, brackets }) => {
                let spot = Spot { source, brackets: &brackets, mount, path: mount };
                self.fields(spot, fields, into);
            }
            Err(error) => self.syntax_error(error),
        }
    }

    fn syntax_error(&mut self, error: SyntaxError) {
        let problem = self.sources.problem(error.place, "", error.text, error.hint);
        self.problems.push(problem);
    }

    fn fields(&mut self, spot: Spot<'_>, fields: Vec<AstField>, into: &mut Fields) {
        for field in fields {
            match field.value {
                AstNode::Include { path, pos, .. } if field.key.is_empty() => self.included(spot, &path, &pos, into),
                value => {
                    let at = at(spot, &field.pos);
                    self.field(spot, at, &field.key, field.append, value, into);
                }
            }
        }
    }

    fn field(&mut self, spot: Spot<'_>, at: Place, key: &[String], append: bool, value: AstNode, into: &mut Fields) {
        let Some((name, rest)) = key.split_first() else { return };
        let mut path = spot.path.to_vec();
        path.push(name.clone());
        if path.len() > MAX_PATH {
            let text = format!("keys stand in one another more than {MAX_PATH} deep");
            self.problems.push(self.sources.problem(at, "", text, None));
            return;
        }
        let inner = Spot { path: &path, ..spot };
        if !rest.is_empty() {
            let fields = self.open_object(at, at, name, into);
            // Taken out, as both `self` and the fields are needed; put back below.
            let mut taken = std::mem::take(fields);
            self.field(inner, at, rest, append, value, &mut taken);
            put_back(into, name, taken);
            return;
        }
        match value {
            AstNode::Object { fields, pos } if !append => {
                let taken = self.open_object(at, bracket_at(spot, &pos), name, into);
                let mut taken = std::mem::take(taken);
                self.fields(inner, fields, &mut taken);
                put_back(into, name, taken);
            }
            value => {
                let mut value = self.value(inner, value);
                if append {
                    if let Some(items) = into.get_mut(name).and_then(|all| open_list(all)) {
                        items.push(value);
                        return;
                    }
                    value = appended(&path, value);
                }
                let order = self.order();
                into.entry(name.clone()).or_default().push(Definition { order, key_at: at, value });
            }
        }
    }

    /// The fields of the object that `name` is already, or of a new one: objects that follow one another are one.
    fn open_object<'f>(&mut self, key_at: Place, at: Place, name: &str, into: &'f mut Fields) -> &'f mut Fields {
        let order = self.order();
        let definitions = into.entry(name.to_owned()).or_default();
        if !matches!(definitions.last(), Some(Definition { value: Raw { kind: RawKind::Object(_), .. }, .. })) {
            let value = Raw { at, kind: RawKind::Object(Fields::new()) };
            definitions.push(Definition { order, key_at, value });
        }
        match definitions.last_mut() {
            Some(Definition { value: Raw { kind: RawKind::Object(fields), .. }, .. }) => fields,
            _ => unreachable!("an object was put there just now"),
        }
    }

    fn order(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn value(&mut self, spot: Spot<'_>, node: AstNode) -> Raw {
        match node {
            AstNode::Scalar { value, pos, .. } => {
                let kind = match value.value_type {
                    ScalarType::Null => RawKind::Null,
                    ScalarType::Boolean => RawKind::Bool(value.raw == "true"),
                    ScalarType::Number => RawKind::Number(value.raw),
                    _ => RawKind::Text(value.raw),
                };
                Raw { at: at(spot, &pos), kind }
            }
            AstNode::Array { items, pos } => {
                let mut path = spot.path.to_vec();
                path.push(IN_LIST.to_owned());
                let inner = Spot { path: &path, ..spot };
                let items = items.into_iter().map(|item| self.value(inner, item)).collect();
                Raw { at: bracket_at(spot, &pos), kind: RawKind::List(items) }
            }
            AstNode::Object { fields, pos } => {
                let mut into = Fields::new();
                self.fields(spot, fields, &mut into);
                Raw { at: bracket_at(spot, &pos), kind: RawKind::Object(into) }
            }
            AstNode::Concat { nodes, pos } => {
                let parts = nodes.into_iter().map(|node| self.part(spot, node)).collect();
                Raw { at: at(spot, &pos), kind: RawKind::Joined(parts) }
            }
            AstNode::Substitution { segments, optional, list_suffix, pos, .. } => {
                let at = at(spot, &pos);
                if list_suffix {
                    let text = "`${…[]}` is not supported";
                    let hint = Some("write the list, or set it by one environment variable as `[…]`");
                    self.problems.push(self.sources.problem(at, &spot.path.join("."), text, hint));
                }
                let path: Vec<String> = segments.into_iter().map(|segment| segment.text).collect();
                let under_include = (!spot.mount.is_empty()).then(|| spot.mount.iter().chain(&path).cloned().collect());
                Raw { at, kind: RawKind::Reference(Reference { under_include, path, optional }) }
            }
            AstNode::Include { pos, .. } => Raw { at: at(spot, &pos), kind: RawKind::Null },
        }
    }

    fn part(&mut self, spot: Spot<'_>, node: AstNode) -> Part {
        match node {
            AstNode::Scalar { value, separator: true, .. } => Part::Space(value.raw),
            node => Part::Value(self.value(spot, node)),
        }
    }

    fn included(&mut self, spot: Spot<'_>, written: &str, pos: &Pos, into: &mut Fields) {
        let at = at(spot, pos);
        match self.open_include(written) {
            Ok((path, text)) => {
                let source = self.sources.add_file(&path.display().to_string());
                self.open.push(path);
                let mount: Vec<String> = spot.path.to_vec();
                self.text(source, &text, &mount, into);
                self.open.pop();
            }
            Err((text, hint)) => {
                let text = format!("\"{}\" cannot be included: {text}", written.escape_debug());
                let problem = self.sources.problem(at, "", text, hint);
                self.problems.push(problem);
            }
        }
    }

    fn open_include(&mut self, written: &str) -> Result<(PathBuf, String), (String, Option<&'static str>)> {
        let fail = |text: &str, hint| Err((text.to_owned(), hint));
        if written.contains("://") || written.starts_with("classpath:") {
            return fail("nothing is fetched from the network", Some("write the name of a file"));
        }
        let here = self.open.last().and_then(|file| file.parent()).unwrap_or(Path::new(""));
        let path = match plain(&here.join(written)) {
            Some(path) if is_below(&path, &self.root) => path,
            _ => return fail("it is not under the directory of the configuration file", None),
        };
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("properties")) {
            return fail("Java properties are not read", Some("write it as HOCON"));
        }
        if self.open.contains(&path) {
            return fail("it includes itself", None);
        }
        if self.open.len() > MAX_INCLUDE_DEPTH {
            return Err((format!("files include one another more than {MAX_INCLUDE_DEPTH} deep"), None));
        }
        if self.includes == MAX_INCLUDES {
            return Err((format!("more than {MAX_INCLUDES} files are included"), None));
        }
        self.includes += 1;
        match (self.include)(&path) {
            Ok(text) => Ok((path, text)),
            Err(error) => Err((error.to_string(), None)),
        }
    }
}

fn at(spot: Spot<'_>, pos: &Pos) -> Place {
    place(spot.source, pos.line, pos.col)
}

/// The place of a list or an object.
fn bracket_at(spot: Spot<'_>, pos: &Pos) -> Place {
    let (line, column) = spot.brackets.get(&(pos.line, pos.col)).copied().unwrap_or((pos.line, pos.col));
    place(spot.source, line, column)
}

fn put_back(into: &mut Fields, name: &str, taken: Fields) {
    if let Some(Definition { value: Raw { kind: RawKind::Object(fields), .. }, .. }) =
        into.get_mut(name).and_then(|definitions| definitions.last_mut())
    {
        *fields = taken;
    }
}

/// The list that a further `+=` adds to: the last definition is a list, or ends with one that `+=` began.
fn open_list(definitions: &mut [Definition]) -> Option<&mut Vec<Raw>> {
    match &mut definitions.last_mut()?.value.kind {
        RawKind::List(items) => Some(items),
        RawKind::Joined(parts) => match parts.last_mut()? {
            Part::Value(Raw { kind: RawKind::List(items), .. }) => Some(items),
            _ => None,
        },
        _ => None,
    }
}

/// `key += value` is `key = ${?key} [value]` (HOCON, "The `+=` field separator").
fn appended(path: &[String], value: Raw) -> Raw {
    let at = value.at;
    let before = Reference { under_include: None, path: path.to_vec(), optional: true };
    let list = Raw { at, kind: RawKind::List(vec![value]) };
    let parts = vec![Part::Value(Raw { at, kind: RawKind::Reference(before) }), Part::Value(list)];
    Raw { at, kind: RawKind::Joined(parts) }
}

/// By its name alone: where links lead is for those to see who have a file system.
fn is_below(path: &Path, root: &Path) -> bool {
    let rest = path.strip_prefix(root).ok();
    rest.and_then(|rest| rest.components().next()).is_some_and(|first| matches!(first, Component::Normal(_)))
}

/// The path without `.` and `..`; none where `..` climbs out of it.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                // `../conf/postern.conf` keeps its leading `..`; only names are taken back.
                match out.components().next_back() {
                    Some(Component::Normal(_)) => _ = out.pop(),
                    None | Some(Component::ParentDir) => out.push(".."),
                    _ => return None,
                }
            }
            other => out.push(other),
        }
    }
    Some(out)
}

/// The value of an environment variable: HOCON where it is a list, an object or a text in quotes, else what the
/// whole text means as one word. Nothing in it is a comment or a substitution, so that no password is cut short.
pub(crate) fn value_of_text(sources: &mut Sources, source: u32, text: &str) -> Raw {
    let at = place(source, 1, 1);
    let text = text.trim();
    if text.starts_with(['[', '{', '"']) {
        let mut nothing = |_: &Path| Err(std::io::Error::other("an environment variable includes nothing"));
        let mut builder = Builder::new(sources, Path::new(""), &mut nothing);
        let mut fields = Fields::new();
        builder.file(source, &format!("value = {text}"), &mut fields);
        let whole = builder.problems.is_empty() && fields.len() == 1;
        if let Some(definition) =
            fields.remove("value").filter(|all| whole && all.len() == 1).and_then(|mut all| all.pop())
        {
            return definition.value;
        }
    }
    let kind = match text {
        "true" => RawKind::Bool(true),
        "false" => RawKind::Bool(false),
        "null" => RawKind::Null,
        _ if text.parse::<f64>().is_ok() && text.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
            RawKind::Number(text.to_owned())
        }
        _ => RawKind::Text(text.to_owned()),
    };
    Raw { at, kind }
}
