//! Who a client is beside its certificate: users and passwords, told or shown to be had.
//!
//! A certificate that says who its holder is needs no password. An unknown user and a wrong password cost the
//! same time and get the same answer. A password that is absent is not an empty one: it is never right.

mod scram;

use std::sync::Arc;
use std::time::Duration;

use postern_config::{EnableAuthn, UserIdType};
use postern_identity::{Identity, PasswordHash, Refusal, Stage, Users, Why};
use postern_mqtt::packet::Connect;
use postern_realm::Owner;
use tokio::sync::Semaphore;

pub(crate) use scram::{Dialogue, Failed, Reauthentication, Scram, Shown, Step};

/// Passwords checked at once, for each processor: one that computes, one that is about to. Each may take the memory
/// that its hash was made to take, by default 19 MiB.
const CHECKS_PER_PROCESSOR: usize = 2;

/// Longest wait for one's turn. Who has waited longer has most often given up, and a queue that only grows helps
/// nobody.
const QUEUE_WAIT: Duration = Duration::from_secs(5);

/// The owner of sessions whose clients have proven their client identifier and no user name. MQTT's texts have no
/// U+0000 [MQTT-1.5.4-2], so that no user is called so.
const OWNER_BY_CLIENT_ID: &str = "\0client-id";

/// What a listener asks of its clients.
#[derive(Clone, Default)]
pub(crate) struct Authn {
    passwords: Option<Arc<Passwords>>,
    scram: Option<Arc<Scram>>,
    quick_deny_anonymous: bool,
}

/// What is proven of a client, or believed where nothing needs to be proven.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Proven {
    /// Who owns its session.
    pub(crate) owner: Owner,
    /// Its user name. Where the listener asks for a proof, what the client merely says is none.
    pub(crate) username: Option<Arc<str>>,
}

impl Authn {
    pub(crate) fn new(enable: EnableAuthn, passwords: Option<&Arc<Passwords>>, scram: Option<&Arc<Scram>>) -> Self {
        Self {
            passwords: passwords.filter(|_| enable != EnableAuthn::No).cloned(),
            scram: scram.filter(|_| enable != EnableAuthn::No).cloned(),
            quick_deny_anonymous: enable == EnableAuthn::QuickDenyAnonymous,
        }
    }

    /// The Authentication Methods that are offered.
    pub(crate) fn methods(&self) -> &'static [&'static str] {
        if self.scram.is_some() { scram::METHODS } else { &[] }
    }

    /// What an exchange is held with, if the CONNECT names the method.
    pub(crate) fn scram(&self, connect: &Connect) -> Option<&Arc<Scram>> {
        self.scram.as_ref().filter(|_| connect.authentication_method.is_some())
    }

    fn asks_for_proof(&self) -> bool {
        self.passwords.is_some() || self.scram.is_some()
    }

    /// `connect` agrees with `identity` already. `shown` is whom an exchange of AUTH packets has shown the client to
    /// be.
    pub(crate) async fn prove(
        &self,
        identity: &Identity,
        connect: &Connect,
        shown: Option<&Arc<str>>,
    ) -> Result<Proven, Refusal> {
        if let Some(user) = shown {
            return same_user(user, identity, connect);
        }
        let by_certificate = identity.username.as_ref().map(|name| Arc::from(name.as_str()));
        if by_certificate.is_some() || identity.client_id.is_some() {
            let believed = connect.username.as_ref().filter(|_| !self.asks_for_proof());
            let username = by_certificate.clone().or_else(|| believed.cloned());
            return Ok(Proven { owner: by_certificate.or_else(|| Some(OWNER_BY_CLIENT_ID.into())), username });
        }
        if self.quick_deny_anonymous && connect.username.as_deref().is_none_or(str::is_empty) {
            return Err(Refusal::new(Stage::Connect, Why::NotAllowed, "the CONNECT has no user name"));
        }
        match &self.passwords {
            Some(passwords) => passwords.prove(connect).await,
            None if self.asks_for_proof() => {
                let detail =
                    "the CONNECT has no authentication method, and there is no certificate that says who it is";
                Err(Refusal::new(Stage::Connect, Why::NotAllowed, detail))
            }
            None => Ok(Proven { owner: None, username: connect.username.clone() }),
        }
    }
}

/// A client that has shown who it is must not be called otherwise by its certificate or its CONNECT.
fn same_user(user: &Arc<str>, identity: &Identity, connect: &Connect) -> Result<Proven, Refusal> {
    let certified = identity.username.as_ref().map(|name| ("certificate", name.as_str()));
    let named = connect.username.as_deref().map(|name| ("CONNECT", name));
    match certified.into_iter().chain(named).find(|(_, name)| *name != &**user) {
        None => Ok(Proven { owner: Some(Arc::clone(user)), username: Some(Arc::clone(user)) }),
        Some((by, other)) => {
            let (user, other) = (Refusal::foreign(user), Refusal::foreign(other));
            let detail = format!("the client has shown to be the user {user}, the {by} names {other}");
            Err(Refusal::new(Stage::Connect, Why::UsernameMismatch, detail))
        }
    }
}

/// One entry of `authentication`.
pub(crate) struct UserTable {
    pub(crate) user_id_type: UserIdType,
    pub(crate) users: Users,
}

impl UserTable {
    /// What of a CONNECT is looked up here.
    fn name<'c>(&self, connect: &'c Connect) -> Option<&'c str> {
        let name = match self.user_id_type {
            UserIdType::Username => connect.username.as_deref(),
            UserIdType::ClientId => Some(&*connect.client_id),
        };
        name.filter(|name| !name.is_empty())
    }
}

/// All users, and a bound on how many of their passwords are checked at once.
pub(crate) struct Passwords {
    /// The first one that knows the user decides.
    tables: Vec<UserTable>,
    decoy: Option<PasswordHash>,
    turns: Arc<Semaphore>,
    queue_wait: Duration,
}

impl Passwords {
    pub(crate) fn new(tables: Vec<UserTable>) -> Self {
        let largest = tables.iter().max_by_key(|table| table.users.len());
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            decoy: largest.and_then(|table| table.users.decoy()),
            tables,
            turns: Arc::new(Semaphore::new(CHECKS_PER_PROCESSOR * processors)),
            queue_wait: QUEUE_WAIT,
        }
    }

    async fn prove(&self, connect: &Connect) -> Result<Proven, Refusal> {
        let refuse = |why, detail: String| Refusal::new(Stage::Connect, why, detail);
        let mut named = None;
        let mut found = None;
        for table in &self.tables {
            let Some(name) = table.name(connect) else { continue };
            named = named.or(Some(name));
            if let Some(hash) = table.users.get(name) {
                named = Some(name);
                found = Some((hash, table.user_id_type));
                break;
            }
        }
        let Some(name) = named else {
            return Err(refuse(Why::NotAllowed, "the CONNECT names no user, and has no certificate that does".into()));
        };
        let name = Refusal::foreign(name);
        let Some(password) = &connect.password else {
            return Err(refuse(Why::BadCredentials, format!("the CONNECT of {name} has no password")));
        };
        let wrong = || refuse(Why::BadCredentials, format!("there is no user {name} with this password"));
        let hash = found.map(|(hash, _)| hash).or(self.decoy.as_ref()).ok_or_else(wrong)?;
        let is_right = self.check(hash.clone(), password.0.clone()).await?;
        match found {
            Some((_, UserIdType::Username)) if is_right => {
                Ok(Proven { owner: connect.username.clone(), username: connect.username.clone() })
            }
            Some((_, UserIdType::ClientId)) if is_right => {
                Ok(Proven { owner: Some(OWNER_BY_CLIENT_ID.into()), username: None })
            }
            _ => Err(wrong()),
        }
    }

    /// Whether this is the password: computed where it keeps no connection waiting but this one.
    async fn check(&self, hash: PasswordHash, password: bytes::Bytes) -> Result<bool, Refusal> {
        let unavailable = |detail: &str| Refusal::new(Stage::Connect, Why::Unavailable, detail);
        let turn = tokio::time::timeout(self.queue_wait, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(unavailable("too many passwords wait to be checked"));
        };
        let checked = tokio::task::spawn_blocking(move || {
            let is_right = hash.verify(&password);
            drop(turn);
            is_right
        });
        checked.await.map_err(|_| unavailable("the check of the password failed"))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use postern_identity::IdentityText;
    use postern_mqtt::packet::{Password, Version};

    use super::*;

    /// "password", by argon2's own test vectors.
    const HASH: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

    fn passwords(user_id_type: UserIdType, names: &[&str]) -> Passwords {
        let mut users = Users::default();
        for name in names {
            users.add(name, PasswordHash::parse(HASH).unwrap()).unwrap();
        }
        Passwords::new(vec![UserTable { user_id_type, users }])
    }

    fn authn(user_id_type: UserIdType, enable: EnableAuthn) -> Authn {
        Authn::new(enable, Some(&Arc::new(passwords(user_id_type, &["alice", "dev1"]))), None)
    }

    fn connect(username: Option<&str>, password: Option<&str>) -> Connect {
        Connect {
            username: username.map(Into::into),
            password: password.map(|text| Password(Bytes::copy_from_slice(text.as_bytes()))),
            ..Connect::new(Version::V5, "dev1")
        }
    }

    async fn prove(authn: &Authn, connect: &Connect) -> Result<Proven, Why> {
        authn.prove(&Identity::default(), connect, None).await.map_err(|refusal| refusal.why)
    }

    fn named(name: &str) -> Proven {
        Proven { owner: Some(name.into()), username: Some(name.into()) }
    }

    #[tokio::test]
    async fn cve_2016_9877_the_right_password_and_nothing_else_gets_in() {
        let authn = authn(UserIdType::Username, EnableAuthn::Yes);
        for (username, password, expect) in [
            (Some("alice"), Some("password"), Ok(named("alice"))),
            (Some("alice"), Some("Password"), Err(Why::BadCredentials)),
            (Some("alice"), Some(""), Err(Why::BadCredentials)),
            (Some("alice"), None, Err(Why::BadCredentials)),
            (Some("Alice"), Some("password"), Err(Why::BadCredentials)),
            (Some("nobody"), Some("password"), Err(Why::BadCredentials)),
            (Some("nobody"), None, Err(Why::BadCredentials)),
            (Some(""), Some("password"), Err(Why::NotAllowed)),
            (None, Some("password"), Err(Why::NotAllowed)),
            (None, None, Err(Why::NotAllowed)),
        ] {
            assert_eq!(prove(&authn, &connect(username, password)).await, expect, "{username:?} {password:?}");
        }
    }

    #[tokio::test]
    async fn a_client_identifier_may_be_what_the_password_is_for_and_proves_no_user_name() {
        let authn = authn(UserIdType::ClientId, EnableAuthn::Yes);
        let proven = prove(&authn, &connect(Some("admin"), Some("password"))).await.unwrap();
        assert_eq!(proven, Proven { owner: Some(OWNER_BY_CLIENT_ID.into()), username: None });
        let other = Connect { client_id: "dev2".into(), ..connect(Some("dev1"), Some("password")) };
        assert_eq!(prove(&authn, &other).await, Err(Why::BadCredentials));
        let nameless = Connect { client_id: "".into(), ..connect(Some("dev1"), Some("password")) };
        assert_eq!(prove(&authn, &nameless).await, Err(Why::NotAllowed));
    }

    #[tokio::test]
    async fn a_certificate_that_says_who_it_is_needs_no_password() {
        let authn = authn(UserIdType::Username, EnableAuthn::QuickDenyAnonymous);
        let text = |name| IdentityText::new(name).ok();
        let by_username = Identity { username: text("carol"), ..Identity::default() };
        assert_eq!(authn.prove(&by_username, &connect(None, None), None).await.unwrap(), named("carol"));
        let by_client_id = Identity { client_id: text("dev1"), ..Identity::default() };
        let proven = authn.prove(&by_client_id, &connect(Some("admin"), None), None).await.unwrap();
        assert_eq!(proven, Proven { owner: Some(OWNER_BY_CLIENT_ID.into()), username: None });
        assert_eq!(prove(&authn, &connect(Some("carol"), None)).await, Err(Why::BadCredentials));
    }

    #[tokio::test]
    async fn a_listener_may_do_without() {
        let believed = Proven { owner: None, username: Some("anybody".into()) };
        for authn in [authn(UserIdType::Username, EnableAuthn::No), Authn::new(EnableAuthn::Yes, None, None)] {
            assert_eq!(prove(&authn, &connect(Some("anybody"), None)).await.as_ref(), Ok(&believed));
            assert!(prove(&authn, &connect(None, None)).await.is_ok());
        }
        let quick = Authn::new(EnableAuthn::QuickDenyAnonymous, None, None);
        assert_eq!(prove(&quick, &connect(None, None)).await, Err(Why::NotAllowed));
        assert_eq!(prove(&quick, &connect(Some("anybody"), None)).await, Ok(believed));
    }

    #[tokio::test]
    async fn the_first_table_that_knows_the_user_decides() {
        let mut tables = passwords(UserIdType::Username, &["alice"]).tables;
        tables.extend(passwords(UserIdType::ClientId, &["dev1"]).tables);
        let authn = Authn::new(EnableAuthn::Yes, Some(&Arc::new(Passwords::new(tables))), None);
        assert_eq!(prove(&authn, &connect(Some("alice"), Some("password"))).await, Ok(named("alice")));
        let by_client_id = prove(&authn, &connect(Some("other"), Some("password"))).await.unwrap();
        assert_eq!(by_client_id.username, None);
    }

    #[tokio::test]
    async fn a_check_that_waits_too_long_is_given_up() {
        let wait = Duration::from_millis(1);
        let passwords = Passwords { queue_wait: wait, ..passwords(UserIdType::Username, &["alice"]) };
        let all = u32::try_from(passwords.turns.available_permits()).unwrap();
        let busy = Arc::clone(&passwords.turns).acquire_many_owned(all).await.unwrap();
        let refusal = passwords.prove(&connect(Some("alice"), Some("password"))).await.unwrap_err();
        assert_eq!(refusal.why, Why::Unavailable);
        drop(busy);
        // A free turn is taken without a wait.
        assert!(passwords.prove(&connect(Some("alice"), Some("password"))).await.is_ok());
    }

    #[tokio::test]
    async fn no_users_let_nobody_in() {
        let authn = Authn::new(EnableAuthn::Yes, Some(&Arc::new(passwords(UserIdType::Username, &[]))), None);
        assert_eq!(prove(&authn, &connect(Some("alice"), Some("password"))).await, Err(Why::BadCredentials));
    }
}
