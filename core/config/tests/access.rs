//! `authentication`, `authorization` and `enable_authn`: what is written, and what is said of what is wrong.

mod support;

use postern_config::{EnableAuthn, HashForm, Loaded, UserFileForm, UserIdType};
use postern_identity::acl::{DenyAction, Permission, Principal};
use postern_identity::credentials::Pbkdf2Digest;
use support::{bad, good, lines};

const TCP: &str = "listeners.tcp.a.bind = 1883\n";
/// "password", by argon2's own test vectors.
const HASH: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

fn loads(text: &str) -> Loaded {
    good(&format!("{TCP}{text}"))
}

/// The only problem, without file and line.
#[track_caller]
fn says(text: &str, expect: &str) {
    let problems = bad(&format!("{TCP}{text}"));
    assert_eq!(problems.len(), 1, "{}", lines(&problems));
    let said = problems[0].to_string();
    assert!(said.starts_with("etc/postern.conf:2:"), "{said}");
    let (_, said) = said.split_at(said.find(": ").map_or(0, |at| at + 2));
    assert_eq!(said, expect, "{text}");
}

fn entry(text: &str) -> String {
    format!("authentication = [{{ mechanism = password_based, {text} }}]")
}

fn built_in(text: &str) -> String {
    entry(&format!("backend = built_in_database, {text}"))
}

fn rules(text: &str) -> String {
    format!("authorization.rules = [{text}]")
}

#[test]
fn users_come_from_files_and_from_the_configuration() {
    let config = loads(&entry("backend = file, users = \"etc/users\"")).config;
    let base = &config.authentication.passwords[0];
    assert_eq!((base.path.as_str(), base.user_id_type), ("authentication[0]", UserIdType::Username));
    let file = base.file.as_ref().unwrap();
    assert_eq!((file.value.path.to_str(), file.value.form), (Some("etc/users"), UserFileForm::Lines));
    assert_eq!(file.at.to_string(), "etc/postern.conf:2:73");

    let text = format!("user_id_type = clientid, users = [{{ user_id = dev1, password_hash = \"{HASH}\" }}]");
    let config = loads(&built_in(&text)).config;
    let base = &config.authentication.passwords[0];
    assert_eq!((base.user_id_type, base.users.len(), base.file.is_some()), (UserIdType::ClientId, 1, false));
    assert!(base.users.get("dev1").unwrap().verify(b"password"));
}

#[test]
fn bootstrap_files_are_csv_or_json_with_hashes_of_a_named_kind() {
    let form = |text: &str| loads(&built_in(text)).config.authentication.passwords[0].file.as_ref().unwrap().value.form;
    assert_eq!(form("bootstrap_file = u.csv"), UserFileForm::Csv(HashForm::SelfDescribing));
    assert_eq!(
        form("bootstrap_file = \"u.json\", bootstrap_type = hash, password_hash_algorithm { name = argon2id }"),
        UserFileForm::Json(HashForm::SelfDescribing)
    );
    let algorithm = "password_hash_algorithm { name = pbkdf2, mac_fun = sha256, iterations = 4096, dk_length = 32 }";
    let pbkdf2 = HashForm::Pbkdf2 { digest: Pbkdf2Digest::Sha256, iterations: 4096, output_bytes: Some(32) };
    assert_eq!(form(&format!("bootstrap_file = u.csv, {algorithm}")), UserFileForm::Csv(pbkdf2));
}

#[test]
fn one_entry_needs_no_list_and_a_disabled_one_is_none() {
    let config = loads("authentication { mechanism = password_based, backend = file, users = u }").config;
    assert_eq!(
        (config.authentication.passwords.len(), config.authentication.passwords[0].path.as_str()),
        (1, "authentication")
    );
    assert!(loads(&entry("backend = file, users = u, enable = false")).config.authentication.is_empty());
    assert!(loads("authentication = []").config.authentication.is_empty());
}

#[test]
fn faults_of_authentication_are_told_by_place() {
    const PASSWORD_BASED: &str = "write `mechanism = password_based` or `mechanism = scram`";
    const BACKENDS: &str = "write `backend = file` or `backend = built_in_database`";
    const HASHES: &str = "write `{ name = argon2id }` or `{ name = pbkdf2, mac_fun = sha256, iterations = … }`";
    let e = "authentication[0]";
    for (text, expect) in [
        ("authentication = true".to_owned(), "authentication: must be a list, `[ … ]`, not true or false".to_owned()),
        (
            "authentication = [{ backend = file, users = u }]".into(),
            format!("{e}: `mechanism` is missing; {PASSWORD_BASED}"),
        ),
        (
            "authentication = [{ mechanism = jwt, backend = file, users = u }]".into(),
            format!("{e}.mechanism: `jwt` is not supported yet by this version of Postern; {PASSWORD_BASED}"),
        ),
        (entry("users = u"), format!("{e}: `backend` is missing; {BACKENDS}")),
        (
            entry("backend = mysql"),
            format!("{e}.backend: `mysql` is not supported yet by this version of Postern; {BACKENDS}"),
        ),
        (entry("backend = fle, users = u"), format!("{e}.backend: `fle` is no backend; {BACKENDS}")),
        (
            entry("backend = file"),
            format!("{e}: `users` is missing; name a file with lines of `NAME:HASH`: `users = \"etc/users\"`"),
        ),
        (entry("backend = file, users = u, usrs = u"), format!("{e}.usrs: unknown key; did you mean `users`?")),
        (
            entry("backend = file, users = u, precondition = x"),
            format!("{e}.precondition: known in EMQX, not supported yet by this version of Postern; remove it"),
        ),
        (
            entry("backend = file, users = u, user_id_type = cn"),
            format!("{e}.user_id_type: `cn` is not one of `username`, `clientid`"),
        ),
        (
            built_in(""),
            format!(
                "{e}: `users` is missing; write `users = [{{ user_id = …, password_hash = … }}]`, or name a `bootstrap_file`"
            ),
        ),
        (
            built_in("bootstrap_file = \"u.txt\""),
            format!(
                "{e}.bootstrap_file: is neither a `.csv` nor a `.json` file; for lines of `NAME:HASH`, use `backend = file`"
            ),
        ),
        (
            built_in("bootstrap_file = u.csv, bootstrap_type = plain"),
            format!(
                "{e}.bootstrap_type: `plain`: passwords are not read, only their hashes; hash them with `postern hash-password`, and remove this key"
            ),
        ),
        (
            built_in("bootstrap_file = u.csv, password_hash_algorithm { name = sha256, salt_position = suffix }"),
            format!("{e}.password_hash_algorithm.name: `sha256` is quick to guess from a stolen file; {HASHES}"),
        ),
        (
            built_in("bootstrap_file = u.csv, password_hash_algorithm { name = pbkdf2, iterations = 1 }"),
            format!("{e}.password_hash_algorithm: `mac_fun` is missing; write `mac_fun = sha`, `sha256` or `sha512`"),
        ),
    ] {
        says(&text, &expect);
    }
}

#[test]
fn faults_of_users_are_told_by_place_and_never_with_the_hash() {
    const MAKE: &str = "`postern hash-password` makes one";
    let users = |text: &str| built_in(&format!("users = [{text}]"));
    let u = "authentication[0].users[0]";
    for (text, expect) in [
        (users("{ user_id = a }"), format!("{u}: `password_hash` is missing; {MAKE}")),
        (
            users("{ user_id = a, password_hash = s3cret }"),
            format!("{u}.password_hash: it is none of `$argon2id$…`, `$7$…` and `$6$…`; {MAKE}"),
        ),
        (
            users("{ user_id = a, password_hash = \"$argon2id$s3cret\" }"),
            format!(
                "{u}.password_hash: it is no argon2 hash in PHC form, `$argon2id$v=19$m=…,t=…,p=…$SALT$HASH`; {MAKE}"
            ),
        ),
        (
            users(&format!("{{ user_id = \"\", password_hash = \"{HASH}\" }}")),
            format!("{u}.user_id: the user's name is missing"),
        ),
        (
            users(&format!(
                "{{ user_id = a, password_hash = \"{HASH}\" }}, {{ user_id = a, password_hash = \"{HASH}\" }}"
            )),
            "authentication[0].users[1].user_id: the user is there already".to_owned(),
        ),
        (
            users(&format!("{{ user_id = a, password_hash = \"{HASH}\", is_superuser = true }}")),
            format!(
                "{u}.is_superuser: known in EMQX, not supported yet by this version of Postern; remove it; only `false` is what Postern does anyway"
            ),
        ),
    ] {
        says(&text, &expect);
    }
    let loaded = loads(&users(&format!("{{ user_id = a, password_hash = \"{HASH}\" }}")));
    assert!(!format!("{:?}", loaded.config).contains("c29t"));
}

/// "pencil", by Python's hashlib and hmac.
const CREDENTIAL: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

fn scram(text: &str) -> String {
    format!("authentication = [{{ mechanism = scram, {text} }}]")
}

#[test]
fn users_of_scram_come_from_a_file_or_from_the_configuration() {
    let config = loads(&scram("backend = file, users = \"etc/users\", algorithm = sha256")).config;
    let base = config.authentication.scram.as_ref().unwrap();
    assert_eq!((base.path.as_str(), base.iteration_count, base.users.len()), ("authentication[0]", None, 0));
    assert_eq!(base.file.as_ref().unwrap().value.to_str(), Some("etc/users"));
    assert!(config.authenticates(&config.listeners[0]));

    let users = format!("users = [{{ user_id = u, password_hash = \"{CREDENTIAL}\" }}]");
    let loaded = loads(&scram(&format!("backend = built_in_database, iteration_count = 5000, {users}")));
    let base = loaded.config.authentication.scram.as_ref().unwrap();
    assert_eq!((base.iteration_count, base.users.len(), base.file.is_some()), (Some(5000), 1, false));
    let shown = format!("{:?}", loaded.config);
    assert!(!shown.contains("W22Z") && !shown.contains("WG5d") && !shown.contains("wfPL"), "{shown}");

    assert!(loads(&scram("backend = file, users = u, enable = false")).config.authentication.is_empty());
    let both = "authentication = [{ mechanism = scram, backend = file, users = u }\n\
                { mechanism = password_based, backend = file, users = v }]";
    let both = loads(both).config.authentication;
    assert!(both.scram.is_some() && both.passwords.len() == 1);
}

#[test]
fn faults_of_scram_are_told_by_place() {
    const MAKE: &str = "`postern hash-password --scram` makes one";
    let e = "authentication[0]";
    for (text, expect) in [
        (
            scram("backend = file, users = u, algorithm = sha512"),
            format!(
                "{e}.algorithm: SCRAM-SHA-512 is not offered: no RFC has it, and few clients know it; write `algorithm = sha256` and make the users' credentials anew: they hold for one algorithm"
            ),
        ),
        (
            scram("backend = file, users = u, algorithm = md5"),
            format!("{e}.algorithm: `md5` is no algorithm; write `sha256`"),
        ),
        (
            scram("backend = file, users = u, iteration_count = 1000"),
            format!("{e}.iteration_count: `1000` is not a whole number from 4096 to 10000000"),
        ),
        (
            scram("backend = file, users = u, user_id_type = username"),
            format!("{e}.user_id_type: unknown key"),
        ),
        (
            scram("backend = built_in_database, users = [{ user_id = u, password_hash = \"$argon2id$x\" }]"),
            format!(
                "{e}.users[0].password_hash: it is no SCRAM credential, `SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY`; {MAKE}"
            ),
        ),
        (
            "authentication = [{ mechanism = scram, backend = file, users = u }, { mechanism = scram, backend = file, users = v }]".into(),
            "authentication[1]: there is an entry for scram already; write all its users into one".to_owned(),
        ),
    ] {
        says(&text, &expect);
    }
    let said = lines(&bad(&format!("{TCP}{}", scram("backend = built_in_database"))));
    assert!(said.contains("`users` is missing") && said.contains("--scram"), "{said}");
    let name = format!("users = [{{ user_id = \"p\u{e4}ul\", password_hash = \"{CREDENTIAL}\" }}]");
    let said = lines(&bad(&format!("{TCP}{}", scram(&format!("backend = built_in_database, {name}")))));
    assert!(said.contains("users[0].user_id: SCRAM takes printable ASCII characters alone"), "{said}");
}

#[test]
fn a_listener_may_do_without_or_want_a_user_name_at_once() {
    let of = |value: &str| {
        good(&format!("listeners.tcp.a {{ bind = 1, enable_authn = {value} }}")).config.listeners[0].enable_authn
    };
    assert_eq!(of("true"), EnableAuthn::Yes);
    assert_eq!(of("false"), EnableAuthn::No);
    assert_eq!(of("quick_deny_anonymous"), EnableAuthn::QuickDenyAnonymous);
    assert_eq!(loads("").config.listeners[0].enable_authn, EnableAuthn::Yes);
    let said = lines(&bad("listeners.tcp.a { bind = 1, enable_authn = maybe }"));
    assert!(said.contains("enable_authn: `maybe` is not one of `true`, `false`, `quick_deny_anonymous`"), "{said}");
    let said = lines(&bad("listeners.tcp.a { bind = 1, authentication = [{ mechanism = password_based }] }"));
    assert!(said.contains("listeners.tcp.a.authentication: a listener has no users of its own yet"), "{said}");
}

#[test]
fn a_listener_with_authentication_is_not_open() {
    const SSL: &str = "listeners.ssl.s { bind = 2, ssl_options { certfile = c, keyfile = k } }\n";
    let users = entry("backend = file, users = u");
    assert_eq!(lines(&loads(&format!("{SSL}{users}")).warnings), "");
    for open in ["authentication = []", "", &entry("backend = file, users = u, enable = false")] {
        assert_eq!(loads(&format!("{SSL}{open}")).warnings.len(), 2, "{open}");
    }
    let some = good(&format!("{SSL}listeners.tcp.a {{ bind = 1, enable_authn = false }}\n{users}"));
    assert!(
        lines(&some.warnings).contains("anyone who can reach it is let in, in clear text: `enable_authn` is false")
    );
    assert_eq!(some.warnings.len(), 1);
}

fn may_publish(text: &str, topic: &str) -> bool {
    let principal = Principal {
        username: Some("alice"),
        client_id: "dev1",
        cert_common_name: Some("CN 1"),
        namespace: Some("acme"),
        address: [10, 1, 2, 3].into(),
    };
    let rules = loads(text).config.authorization.expect("rules");
    rules.of(&principal, "").expect("plain names").may_publish(topic, 1, false)
}

#[test]
fn e10_without_rules_all_is_allowed_and_with_an_empty_list_nothing() {
    assert!(loads("").config.authorization.is_none());
    for (text, allowed) in [
        ("authorization {}", true),
        ("authorization.deny_action = ignore", true),
        ("authorization.no_match = deny", false),
        ("authorization.rules = []", false),
        ("authorization { rules = [], no_match = allow }", true),
        ("authorization.rules = [{ permission = allow, topics = [a] }]", false),
        ("authorization { no_match = allow, rules = [{ permission = deny, topics = [a] }] }", true),
    ] {
        assert_eq!(may_publish(text, "x"), allowed, "{text}");
    }
}

#[test]
fn rules_are_read_with_all_they_have() {
    for (rule, allowed) in [
        ("{ permission = allow }", true),
        ("{ permission = allow, topics = all }", true),
        ("{ permission = allow, topics = \"devices/+\" }", true),
        ("{ permission = allow, topics = [\"x\", \"devices/${clientid}\"] }", true),
        ("{ permission = allow, topics = [\"${username}/x\"] }", false),
        ("{ permission = allow, action = publish }", true),
        ("{ permission = allow, action = subscribe }", false),
        ("{ permission = allow, username = alice, clientid = [dev0, dev1], namespace = acme }", true),
        ("{ permission = allow, username = [bob] }", false),
        ("{ permission = allow, ipaddr = [\"192.0.2.1\", \"10.0.0.0/8\"] }", true),
        ("{ permission = allow, ipaddr = \"192.0.2.0/24\" }", false),
        ("{ permission = allow, qos = [1, 2], retain = false }", true),
        ("{ permission = allow, qos = 0 }", false),
        ("{ permission = allow, retain = true }", false),
        ("{ permission = allow, retain = all }", true),
        ("{ permission = deny, topics = [\"devices/#\"] }, { permission = allow }", false),
    ] {
        assert_eq!(may_publish(&rules(rule), "devices/dev1"), allowed, "{rule}");
    }
    let deny_action = |text: &str| loads(text).config.authorization.unwrap().deny_action;
    assert_eq!(deny_action("authorization.deny_action = disconnect"), DenyAction::Disconnect);
    assert_eq!(deny_action("authorization {}"), DenyAction::Ignore);
    assert_eq!(loads("authorization {}").config.authorization.unwrap().no_match, Permission::Allow);
}

#[test]
fn faults_of_authorization_are_told_by_place() {
    const PLACEHOLDERS: &str = "use `${clientid}`, `${username}`, `${cert_common_name}` or `${namespace}`";
    let r = "authorization.rules[0]";
    for (text, expect) in [
        ("authorization = deny".to_owned(), "authorization: must be an object, `{ … }`, not a text".to_owned()),
        ("authorization.no_match = ignore".into(), "authorization.no_match: `ignore` is not one of `allow`, `deny`".into()),
        ("authorization.rulse = []".into(), "authorization.rulse: unknown key; did you mean `rules`?".into()),
        (
            "authorization.sources = [{ type = file }]".into(),
            "authorization.sources: known in EMQX, not supported yet by this version of Postern; remove it; only `[]` is what Postern does anyway".into(),
        ),
        (rules("{ topics = [a] }"), format!("{r}: `permission` is missing; write `permission = allow` or `permission = deny`")),
        (rules("{ permission = alow }"), format!("{r}.permission: `alow` is not one of `allow`, `deny`; did you mean `allow`?")),
        (rules("{ permission = allow, topic = a }"), format!("{r}.topic: unknown key; did you mean `topics`?")),
        (
            rules("{ permission = allow, topics = [\"a/${client_id}\"] }"),
            format!("{r}.topics[0]: `a/${{client_id}}`: `${{client_id}}` is no placeholder here; {PLACEHOLDERS}"),
        ),
        (
            rules("{ permission = allow, topics = [\"a\", \"b/c#\"] }"),
            format!("{r}.topics[1]: `b/c#`: a wildcard must fill its level, and `#` must be the last one"),
        ),
        (
            rules("{ permission = allow, topics = [\"$share/g/a\"] }"),
            format!("{r}.topics[0]: `$share/g/a`: the rule for a shared subscription is the one for its filter: leave out `$share/NAME/`"),
        ),
        (
            rules("{ permission = deny, topics = [] }"),
            format!("{r}.topics: an empty list fits nothing, and the rule would never apply; remove the key or the rule"),
        ),
        (
            rules("{ permission = deny, ipaddr = \"10.0.0.1/8\" }"),
            format!("{r}.ipaddr: `10.0.0.1/8` is not an address or network: the address has bits beyond the prefix; the network is 10.0.0.0/8; write `10.0.0.7` or `10.0.0.0/8`"),
        ),
        (rules("{ permission = deny, qos = 3 }"), format!("{r}.qos: `3` is not a whole number from 0 to 2")),
        (
            rules("{ permission = deny, action = subscribe, retain = true }"),
            format!("{r}.retain: only publishing has a `retain`; remove it"),
        ),
    ] {
        says(&text, &expect);
    }
    let warned = loads("authorization.cache { enable = true }");
    assert!(
        lines(&warned.warnings)
            .contains("authorization.cache: accepted, but without effect: each decision is made anew")
    );
}
