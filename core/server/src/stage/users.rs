//! Reads users from files. One line that cannot be read refuses the file: a user who is not there by mistake cannot
//! get in, but one who is there by mistake can.

use std::path::Path;

use postern_config::{HashForm, Problem, ScramBase, UserBase, UserFileForm};
use postern_identity::credentials::{Credential, HashError};
use postern_identity::{PasswordHash, Users};
use serde_json::Value;

use super::bundles::read_file;
use crate::authn::{Passwords, Scram, UserTable};

/// Longest file, in bytes: a million users with a hash of argon2 each are well below it.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Faults of one file that are told.
const FAULTS_MAX: usize = 20;

const MAKE_SCRAM: &str = "`postern hash-password --scram` makes credentials";

/// A fault and where in its file.
type Fault = (String, String);

/// What a file says of one user.
struct Row<'t> {
    name: &'t str,
    hash: &'t str,
    salt: Option<&'t str>,
}

/// All users; none where there is no authentication. Warnings go to `warnings`.
pub(super) fn load(bases: &[UserBase], warnings: &mut Vec<Problem>) -> Result<Option<Passwords>, Vec<Problem>> {
    let mut tables = Vec::new();
    let mut problems = Vec::new();
    for base in bases {
        let mut users = base.users.clone();
        if let Some(file) = &base.file {
            let say = |text| Problem { path: base.path.clone(), at: file.at.clone(), text, hint: None };
            let form = file.value.form;
            let faults = add_file(&file.value.path, |text| match form {
                UserFileForm::Lines => lines(text, &mut users),
                UserFileForm::Csv(form) => csv(text, form, &mut users),
                UserFileForm::Json(form) => json(text, form, &mut users),
            });
            problems.extend(faults.into_iter().map(say));
        }
        warnings.extend(doubts(base, &users));
        tables.push(UserTable { user_id_type: base.user_id_type, users });
    }
    if problems.is_empty() { Ok((!tables.is_empty()).then(|| Passwords::new(tables))) } else { Err(problems) }
}

/// The users of `mechanism = scram`; none where it is not asked for. Warnings go to `warnings`.
pub(super) fn load_scram(base: Option<&ScramBase>, warnings: &mut Vec<Problem>) -> Result<Option<Scram>, Vec<Problem>> {
    let Some(base) = base else { return Ok(None) };
    let mut users = base.users.clone();
    if let Some(file) = &base.file {
        let say = |text| Problem { path: base.path.clone(), at: file.at.clone(), text, hint: None };
        let problems: Vec<_> = add_file(&file.value, |text| lines(text, &mut users)).into_iter().map(say).collect();
        if !problems.is_empty() {
            return Err(problems);
        }
    }
    let doubt = |text: String, hint: &str| Problem {
        path: base.path.clone(),
        at: base.at.clone(),
        text,
        hint: Some(hint.to_owned()),
    };
    if users.is_empty() {
        warnings.push(doubt("it has no users: by it nobody gets in".to_owned(), MAKE_SCRAM));
    }
    let Some(scram) = Scram::new(users, base.iteration_count) else {
        return Err(vec![doubt("the operating system gives no random bytes".to_owned(), "look after that first")]);
    };
    if scram.conspicuous() > 0 {
        let text = format!(
            "{} users have another number of iterations, or another length of salt, than a name that nobody has is \
             shown: that they are users can be found out",
            scram.conspicuous()
        );
        warnings.push(doubt(text, "make all with one number, and let `iteration_count` be that one"));
    }
    Ok(Some(scram))
}

fn doubts(base: &UserBase, users: &Users) -> Option<Problem> {
    let (text, hint) = if users.is_empty() {
        ("it has no users: by it nobody gets in".to_owned(), "`postern hash-password` makes hashes".to_owned())
    } else if users.weak() > 0 {
        let text = format!("{} users have a salted SHA-512 hash, quick to guess from a stolen file", users.weak());
        (text, "make new ones with `postern hash-password`".to_owned())
    } else {
        return None;
    };
    Some(Problem { path: base.path.clone(), at: base.at.clone(), text, hint: Some(hint) })
}

/// Adds the users of a file by `add`, and says what is wrong with it.
fn add_file(path: &Path, add: impl FnOnce(&str) -> Vec<Fault>) -> Vec<String> {
    let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let text = match read_text(path) {
        Ok(text) => text,
        Err(text) => return vec![text],
    };
    let faults = add(&text);
    let left_out = faults.len().saturating_sub(FAULTS_MAX);
    let told = faults.into_iter().take(FAULTS_MAX).map(|(at, fault)| format!("{}:{at}: {fault}", shown.display()));
    let more = (left_out > 0).then(|| format!("{}: and {left_out} faults more", shown.display()));
    told.chain(more).collect()
}

fn read_text(path: &Path) -> Result<zeroize::Zeroizing<String>, String> {
    let bytes = read_file(path, FILE_BYTES_MAX)?;
    String::from_utf8(bytes).map(Into::into).map_err(|_| format!("{} is not UTF-8 text", path.display()))
}

/// `NAME:HASH`, as `mosquitto_passwd` writes it, and the same with another mechanism's credential. Empty lines and those that begin with `#` are left out.
fn lines<C: Credential>(text: &str, users: &mut Users<C>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let added = match line.split_once(':') {
            Some((name, hash)) => C::read(hash)
                .map_err(said)
                .and_then(|credential| users.add(name, credential).map_err(|error| error.to_string())),
            None => Err("a line is `NAME:HASH`, and there is no `:` in it".to_owned()),
        };
        faults.extend(added.err().map(|fault| (number.to_string(), fault)));
    }
    faults
}

fn add(row: &Row<'_>, form: HashForm, users: &mut Users) -> Result<(), String> {
    let hash = hash(row, form)?;
    users.add(row.name, hash).map_err(|error| error.to_string())
}

fn hash(row: &Row<'_>, form: HashForm) -> Result<PasswordHash, String> {
    let salt = row.salt.filter(|salt| !salt.is_empty());
    match (form, salt) {
        (HashForm::SelfDescribing, None) => PasswordHash::parse(row.hash).map_err(said),
        (HashForm::SelfDescribing, Some(_)) => Err("argon2 has its salt in the hash, and none beside it".to_owned()),
        (HashForm::Pbkdf2 { .. }, None) => Err("there is no salt".to_owned()),
        (HashForm::Pbkdf2 { digest, iterations, output_bytes }, Some(salt)) => {
            let output = from_hex(row.hash).ok_or("the password's hash is not in hexadecimal digits")?;
            if output_bytes.is_some_and(|bytes| bytes != output.len()) {
                return Err(format!("the password's hash has {} bytes, not those of `dk_length`", output.len()));
            }
            PasswordHash::pbkdf2(digest, iterations, salt.as_bytes().to_vec(), output).map_err(said)
        }
    }
}

fn said(error: HashError) -> String {
    format!("the password's hash: {error}")
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

/// A head with the columns' names, then a user on each line (RFC 4180, without line ends in a field).
fn csv(text: &str, form: HashForm, users: &mut Users) -> Vec<Fault> {
    const COLUMNS: [&str; 4] = ["user_id", "password_hash", "salt", "is_superuser"];
    let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let fault = |number: usize, text: String| (number.to_string(), text);
    let Some((number, head)) = lines.next() else {
        return vec![fault(1, "the head is missing: `user_id,password_hash`".to_owned())];
    };
    let head = fields(head.trim_start_matches('\u{FEFF}')).unwrap_or_default();
    let column = |name: &str| head.iter().position(|field| field == name);
    if let Some(unknown) = head.iter().find(|field| !COLUMNS.contains(&field.as_str())) {
        return vec![fault(
            number,
            format!("the column `{}` is not one of {}", unknown.escape_debug(), COLUMNS.join(", ")),
        )];
    }
    let (Some(name_at), Some(hash_at)) = (column("user_id"), column("password_hash")) else {
        return vec![fault(number, "the head must name the columns user_id and password_hash".to_owned())];
    };
    let (salt_at, superuser_at) = (column("salt"), column("is_superuser"));
    let mut faults = Vec::new();
    for (number, line) in lines {
        let added = match fields(line) {
            Some(fields) if fields.len() == head.len() => {
                let field = |at: Option<usize>| at.map(|at| fields[at].as_str());
                let row = Row { name: &fields[name_at], hash: &fields[hash_at], salt: field(salt_at) };
                no_superuser(field(superuser_at).unwrap_or_default()).and_then(|()| add(&row, form, users))
            }
            Some(fields) => Err(format!("{} fields, but the head has {}", fields.len(), head.len())),
            None => Err("a field in quotes has no end, or text behind it".to_owned()),
        };
        faults.extend(added.err().map(|text| fault(number, text)));
    }
    faults
}

fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_field(quoted)?
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            (rest[..end].trim().to_owned(), &rest[end..])
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(fields),
            None => return None,
        }
    }
}

/// The text up to the closing quote, a doubled one being one, and what is behind it.
fn quoted_field(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Some((field, after)),
        }
    }
}

fn no_superuser(text: &str) -> Result<(), String> {
    match text {
        "" | "false" => Ok(()),
        _ => Err("there are no superusers: allow them what they need in `authorization.rules`".to_owned()),
    }
}

/// A list of objects with EMQX's keys.
fn json(text: &str, form: HashForm, users: &mut Users) -> Vec<Fault> {
    let items = match serde_json::from_str(text) {
        Ok(Value::Array(items)) => items,
        Ok(_) => return vec![("1".to_owned(), "must be a list of users".to_owned())],
        Err(error) => return vec![(error.line().to_string(), "it is not JSON".to_owned())],
    };
    let mut faults = Vec::new();
    for (index, item) in items.iter().enumerate() {
        faults.extend(json_user(item, form, users).err().map(|fault| (format!(" [{index}]"), fault)));
    }
    faults
}

fn json_user(item: &Value, form: HashForm, users: &mut Users) -> Result<(), String> {
    let object = item.as_object().ok_or("a user is an object")?;
    let text = |key: &str| match object.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format!("`{key}` is not a text")),
    };
    if let Some(key) =
        object.keys().find(|k| !["user_id", "password_hash", "salt", "is_superuser"].contains(&k.as_str()))
    {
        return Err(format!("the key `{}` is unknown", key.escape_debug()));
    }
    if !matches!(object.get("is_superuser"), None | Some(Value::Bool(false))) {
        no_superuser("true")?;
    }
    let name = text("user_id")?.ok_or("`user_id` is missing")?;
    let hash = text("password_hash")?.ok_or("`password_hash` is missing")?;
    add(&Row { name, hash, salt: text("salt")? }, form, users)
}

#[cfg(test)]
mod tests {
    use postern_identity::credentials::Pbkdf2Digest;

    use super::*;

    const ARGON2: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    const MOSQUITTO: &str = "$7$101$MDEyMzQ1Njc4OWFi$EO/lLlkeUgIiBaS8G8UK0ZMP1u508TA7Tl+AdJ1cEsmlbGyEPAERErpfq84j1kepISs0UzmcdL4ucgZ2uodxfQ==";
    const HEX: &str = "b98633cf8ec6708b2d9eee12d40a10d68054ca105a5b0cf87b50d8e532a79aed";
    const PBKDF2: HashForm =
        HashForm::Pbkdf2 { digest: Pbkdf2Digest::Sha256, iterations: 4096, output_bytes: Some(32) };
    const PLAIN: HashForm = HashForm::SelfDescribing;

    fn knows(users: &Users, name: &str, password: &str) -> bool {
        users.get(name).is_some_and(|hash| hash.verify(password.as_bytes()))
    }

    #[test]
    fn lines_of_names_and_hashes() {
        let mut users = Users::default();
        let text = format!("# people\n\nalice:{ARGON2}\r\nbob:{MOSQUITTO}\nünï code:{ARGON2}\n");
        assert_eq!(lines(&text, &mut users), []);
        assert!(knows(&users, "alice", "password") && knows(&users, "bob", "secret") && users.len() == 3);
        assert!(!knows(&users, "alice", "secret") && !knows(&users, "# people", ""));
    }

    #[test]
    fn cve_2018_12551_a_malformed_line_is_told_by_its_number() {
        let text = format!("alice:{ARGON2}\nbob\ncarol:\n:{ARGON2}\ndave:plain\nalice:{ARGON2}\n\neve:$7$1$x\n");
        let faults = lines(&text, &mut Users::<PasswordHash>::default());
        let at: Vec<&str> = faults.iter().map(|(at, _)| at.as_str()).collect();
        assert_eq!(at, ["2", "3", "4", "5", "6", "8"]);
        assert_eq!(faults[0].1, "a line is `NAME:HASH`, and there is no `:` in it");
        assert_eq!(faults[2].1, "the user's name is missing");
        assert_eq!(faults[3].1, "the password's hash: it is none of `$argon2id$…`, `$7$…` and `$6$…`");
        assert_eq!(faults[4].1, "the user is there already");
    }

    /// A file of SCRAM credentials: what is told of it, and whether it can be used.
    fn scram(text: &str, iteration_count: Option<u32>) -> (bool, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        std::fs::write(&path, text).unwrap();
        let at = postern_config::load(Path::new("c"), "listeners.tcp.a.bind = 1", &[], &mut |_| unreachable!());
        let at = at.unwrap().config.listeners[0].at.clone();
        let file = Some(postern_config::Spanned { value: path, at: at.clone() });
        let base = ScramBase { path: "authentication".to_owned(), at, iteration_count, users: Users::default(), file };
        let mut warnings = Vec::new();
        let (loaded, told) = match load_scram(Some(&base), &mut warnings) {
            Ok(scram) => (scram.is_some(), warnings),
            Err(problems) => (false, problems),
        };
        (loaded, told.into_iter().map(|problem| problem.text).collect())
    }

    #[test]
    fn a_file_of_scram_credentials_is_read_and_its_oddities_are_told() {
        let keys = "W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
        let of = |iterations: u32| format!("SCRAM-SHA-256${iterations}:{keys}");
        let two = format!("# people\nalice:{0}\nbob:{0}\n", of(4096));
        assert_eq!(scram(&two, None), (true, Vec::new()));
        assert_eq!(scram("", None), (true, vec!["it has no users: by it nobody gets in".to_owned()]));
        let (loaded, told) = scram(&format!("{two}carol:{}\n", of(5000)), None);
        assert!(loaded && told.len() == 1 && told[0].starts_with("1 users have another number"), "{told:?}");
        let (loaded, told) = scram(&two, Some(5000));
        assert!(loaded && told.len() == 1 && told[0].starts_with("2 users have another number"), "{told:?}");
        let (loaded, told) = scram(&format!("{two}carol:{ARGON2}\nd\u{e4}ve:{}\nalice:{0}\n", of(4096)), None);
        let at = |line: usize| format!("users:{line}: ");
        assert!(!loaded && told.len() == 3, "{told:?}");
        assert!(told[0].contains(&at(4)) && told[0].ends_with("SERVERKEY`"), "{told:?}");
        assert!(told[1].contains(&at(5)) && told[1].contains("printable ASCII"), "{told:?}");
        assert!(told[2].contains(&at(6)) && told[2].ends_with("the user is there already"), "{told:?}");
    }

    #[test]
    fn tables_in_emqxs_form() {
        let mut users = Users::default();
        let text = format!("user_id,password_hash,salt,is_superuser\nalice,{HEX},e378187547bf2d6f,false\n");
        assert_eq!(csv(&text, PBKDF2, &mut users), []);
        assert!(knows(&users, "alice", "secret") && !knows(&users, "alice", "Secret"));
        let text = format!("password_hash,user_id\r\n\"{ARGON2}\",\"b \"\"x\"\", c\"\r\n");
        assert_eq!(csv(&text, PLAIN, &mut users), []);
        assert!(knows(&users, "b \"x\", c", "password"));
    }

    #[test]
    fn faults_of_tables_are_told_by_line() {
        let of = |text: &str, form| csv(text, form, &mut Users::default());
        let one = |at: &str, text: &str| vec![(at.to_owned(), text.to_owned())];
        assert_eq!(of("", PLAIN), one("1", "the head is missing: `user_id,password_hash`"));
        assert_eq!(of("user_id,salt\n", PLAIN), one("1", "the head must name the columns user_id and password_hash"));
        assert!(of("user_id,password\n", PLAIN)[0].1.starts_with("the column `password` is not one of user_id,"));
        let head = "user_id,password_hash,salt,is_superuser";
        for (line, form, text) in [
            ("a,b", PBKDF2, "2 fields, but the head has 4"),
            ("\"a,b,c,d", PBKDF2, "a field in quotes has no end, or text behind it"),
            (&*format!("a,{HEX},,"), PBKDF2, "there is no salt"),
            (&*format!("a,{}x,s,", &HEX[1..]), PBKDF2, "the password's hash is not in hexadecimal digits"),
            (&*format!("a,{},s,", &HEX[2..]), PBKDF2, "the password's hash has 31 bytes, not those of `dk_length`"),
            (
                &*format!("a,{HEX},s,true"),
                PBKDF2,
                "there are no superusers: allow them what they need in `authorization.rules`",
            ),
            (&*format!("a,\"{ARGON2}\",s,"), PLAIN, "argon2 has its salt in the hash, and none beside it"),
        ] {
            assert_eq!(of(&format!("{head}\n\n{line}\n"), form), one("3", text), "{line}");
        }
    }

    #[test]
    fn lists_in_emqxs_form() {
        let mut users = Users::default();
        let text = format!(r#"[{{"user_id": "a", "password_hash": "{ARGON2}", "is_superuser": false}}]"#);
        assert_eq!(json(&text, PLAIN, &mut users), []);
        assert!(knows(&users, "a", "password"));
        for (text, at, fault) in [
            ("{}", "1", "must be a list of users"),
            ("[\n{\n]", "3", "it is not JSON"),
            ("[7]", " [0]", "a user is an object"),
            (r#"[{"user_id": "b"}]"#, " [0]", "`password_hash` is missing"),
            (r#"[{"user_id": 5, "password_hash": "x"}]"#, " [0]", "`user_id` is not a text"),
            (r#"[{"user_id": "b", "pasword_hash": "x"}]"#, " [0]", "the key `pasword_hash` is unknown"),
            (
                r#"[{"user_id": "b", "password_hash": "x", "is_superuser": true}]"#,
                " [0]",
                "there are no superusers: allow them what they need in `authorization.rules`",
            ),
        ] {
            assert_eq!(json(text, PLAIN, &mut users), [(at.to_owned(), fault.to_owned())], "{text}");
        }
    }

    #[test]
    fn a_file_with_a_fault_is_told_with_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        std::fs::write(&path, "alice:secret\n".repeat(30)).unwrap();
        let add = |path: &Path| add_file(path, |text| lines(text, &mut Users::<PasswordHash>::default()));
        let told = add(&path);
        assert!(told[0].starts_with(&format!("{}:1: the password's hash: ", path.display())), "{}", told[0]);
        assert!(told[20].ends_with("users: and 10 faults more") && told.len() == 21);
        assert!(told.iter().all(|text| !text.contains("secret")));
        assert!(add(&directory.path().join("nothing"))[0].starts_with("there is no file "));
    }
}
