//! Enhanced authentication by SCRAM-SHA-256 (MQTT 5.0, section 4.12): before CONNACK, and again on a live connection.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use postern_identity::scram::{ClientFirst, Decoy, Exchange, METHOD, NONCE_BYTES, ScramCredential, ScramError};
use postern_identity::{Refusal, Stage, Users, Why};
use postern_mqtt::packet::{Auth, AuthenticationData};
use postern_mqtt::reason::ReasonCode;

/// What a listener that knows such users offers.
pub(super) const METHODS: &[&str] = &[METHOD];

/// The users of `mechanism = scram`.
pub(crate) struct Scram {
    users: Users<ScramCredential>,
    decoy: Decoy,
}

/// An exchange, from the first of the client's messages on.
pub(crate) struct Dialogue {
    scram: Arc<Scram>,
    state: State,
}

enum State {
    /// The client has said nothing, or was asked to begin.
    Fresh { was_asked: bool },
    /// It has its challenge.
    Challenged { name: Arc<str>, exchange: Exchange },
    /// Nothing follows.
    Over,
}

/// What the server does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It asks for more.
    Ask(Option<AuthenticationData>),
    /// It knows who the client is.
    Done(Shown),
}

/// Who the client has shown to be, and what shows to it that the server knows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) username: Arc<str>,
    pub(crate) data: AuthenticationData,
}

/// The exchange has failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) refusal: Refusal,
    /// What the method has to say of it.
    pub(crate) data: Option<AuthenticationData>,
}

impl Scram {
    /// `iterations` is what names that nobody has are shown; none for what most users have. Fails where the operating
    /// system gives no random bytes.
    pub(crate) fn new(users: Users<ScramCredential>, iterations: Option<u32>) -> Option<Self> {
        let decoy = Decoy::new(secret()?, &users);
        let decoy = iterations.into_iter().fold(decoy, Decoy::with_iterations);
        Some(Self { users, decoy })
    }

    /// How many users can be told from names that nobody has.
    pub(crate) fn conspicuous(&self) -> usize {
        self.decoy.unlike(&self.users)
    }
}

/// What salts of names that nobody has are made with. One for the process: where users are read again, a salt that became
/// another one would tell that nobody has the name.
fn secret() -> Option<&'static [u8; 32]> {
    static SECRET: OnceLock<[u8; 32]> = OnceLock::new();
    if let Some(secret) = SECRET.get() {
        return Some(secret);
    }
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).ok()?;
    Some(SECRET.get_or_init(|| secret))
}

impl Dialogue {
    pub(crate) fn new(scram: Arc<Scram>) -> Self {
        Self { scram, state: State::Fresh { was_asked: false } }
    }

    /// Takes what the client says.
    pub(crate) fn step(&mut self, data: Option<&AuthenticationData>) -> Result<Step, Failed> {
        match (std::mem::replace(&mut self.state, State::Over), data) {
            // As in SASL, a client may leave the first word to the server (RFC 4422 section 3).
            (State::Fresh { was_asked: false }, None) => {
                self.state = State::Fresh { was_asked: true };
                Ok(Step::Ask(None))
            }
            (State::Fresh { .. }, Some(data)) => self.begin(&data.0),
            (State::Challenged { name, exchange }, Some(data)) => {
                let end = exchange.finish(&data.0).map_err(|error| failed(error, Some(&name)))?;
                Ok(Step::Done(Shown { username: name, data: AuthenticationData(end.into()) }))
            }
            (_, _) => Err(failed(ScramError::Malformed, None)),
        }
    }

    fn begin(&mut self, message: &[u8]) -> Result<Step, Failed> {
        let first = ClientFirst::parse(message).map_err(|error| failed(error, None))?;
        let mut nonce = [0; NONCE_BYTES];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| Failed {
            refusal: Refusal::new(Stage::Connect, Why::Unavailable, "the operating system gives no random bytes"),
            data: None,
        })?;
        let name: Arc<str> = first.name().into();
        let (exchange, challenge) = first.challenge(self.scram.users.get(&name), &self.scram.decoy, nonce);
        self.state = State::Challenged { name, exchange };
        Ok(Step::Ask(Some(AuthenticationData(challenge.into()))))
    }
}

fn failed(error: ScramError, name: Option<&str>) -> Failed {
    let why = match error {
        ScramError::Proof => Why::BadCredentials,
        ScramError::ChannelBinding | ScramError::OtherUser | ScramError::Extension => Why::NotAllowed,
        _ => Why::Protocol,
    };
    let detail = match name {
        Some(name) => format!("{METHOD}: {error}: {}", Refusal::foreign(name)),
        None => format!("{METHOD}: {error}"),
    };
    let data = Some(AuthenticationData(Bytes::from_static(error.message().as_bytes())));
    Failed { refusal: Refusal::new(Stage::Connect, why, detail), data }
}

/// Re-authentication of one connection (4.12.1): of the user that its session belongs to, and by the method of its
/// CONNECT.
pub(crate) struct Reauthentication {
    scram: Arc<Scram>,
    owner: Arc<str>,
    dialogue: Option<Dialogue>,
}

impl Reauthentication {
    pub(crate) fn new(scram: Arc<Scram>, owner: Arc<str>) -> Self {
        Self { scram, owner, dialogue: None }
    }

    /// Answers an AUTH that the link found to be in its turn.
    pub(crate) fn answer(&mut self, auth: &Auth) -> Result<Auth, Refusal> {
        if auth.reason == ReasonCode::RE_AUTHENTICATE {
            self.dialogue = None;
        }
        let scram = &self.scram;
        let dialogue = self.dialogue.get_or_insert_with(|| Dialogue::new(Arc::clone(scram)));
        let (reason, data) = match dialogue.step(auth.data.as_ref()).map_err(|failed| failed.refusal)? {
            Step::Ask(data) => (ReasonCode::CONTINUE_AUTHENTICATION, data),
            Step::Done(shown) if shown.username == self.owner => {
                self.dialogue = None;
                (ReasonCode::SUCCESS, Some(shown.data))
            }
            Step::Done(shown) => {
                let (owner, other) = (Refusal::foreign(&self.owner), Refusal::foreign(&shown.username));
                let detail = format!("{other} has shown who it is on a connection of {owner}");
                return Err(Refusal::new(Stage::Connect, Why::UsernameMismatch, detail));
            }
        };
        Ok(Auth { reason, data, ..Auth::default() })
    }
}

#[cfg(test)]
mod tests {
    use postern_identity::credentials::Credential;

    use super::*;

    /// "pencil", by Python's hashlib and hmac.
    const PENCIL: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    fn scram() -> Arc<Scram> {
        let mut users = Users::default();
        users.add("user", ScramCredential::read(PENCIL).unwrap()).unwrap();
        Arc::new(Scram::new(users, None).unwrap())
    }

    fn data(text: &str) -> AuthenticationData {
        AuthenticationData(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn asked(step: Result<Step, Failed>) -> String {
        let Ok(Step::Ask(Some(data))) = step else { panic!("{step:?}") };
        String::from_utf8(data.0.to_vec()).unwrap()
    }

    /// A challenge without its nonce.
    fn shape(challenge: &str) -> String {
        challenge.split_once(',').unwrap().1.to_owned()
    }

    fn challenge(scram: &Arc<Scram>, name: &str) -> String {
        asked(Dialogue::new(Arc::clone(scram)).step(Some(&data(&format!("n,,n={name},r=abc")))))
    }

    fn ends(dialogue: &mut Dialogue, message: Option<&str>) -> (Why, String, String) {
        let failed = dialogue.step(message.map(data).as_ref()).unwrap_err();
        let said = failed.data.map(|data| String::from_utf8(data.0.to_vec()).unwrap());
        (failed.refusal.why, failed.refusal.detail, said.unwrap_or_default())
    }

    #[test]
    fn a_name_that_nobody_has_is_asked_as_a_user_is_and_refused_in_the_same_words() {
        let scram = scram();
        assert_eq!(shape(&challenge(&scram, "user")), "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let unknown = challenge(&scram, "nobody");
        assert_eq!(shape(&unknown), shape(&challenge(&scram, "nobody")), "the same salt");
        assert_ne!(unknown, challenge(&scram, "nobody"), "another nonce");
        assert_eq!(shape(&unknown).len(), shape(&challenge(&scram, "user")).len());
        assert!(unknown.ends_with(",i=4096"), "{unknown}");
        for name in ["user", "nobody"] {
            let mut dialogue = Dialogue::new(Arc::clone(&scram));
            let challenge = asked(dialogue.step(Some(&data(&format!("n,,n={name},r=abc")))));
            let nonce = challenge.split_once(',').unwrap().0;
            let zeros = "A".repeat(43);
            let end = ends(&mut dialogue, Some(&format!("c=biws,{nonce},p={zeros}=")));
            let detail = format!("SCRAM-SHA-256: there is no user with this name and password: {name}");
            assert_eq!(end, (Why::BadCredentials, detail, "e=invalid-proof".to_owned()));
        }
    }

    #[test]
    fn a_client_may_leave_the_first_word_to_the_server_once() {
        let mut dialogue = Dialogue::new(scram());
        assert_eq!(dialogue.step(None).unwrap(), Step::Ask(None));
        assert!(asked(dialogue.step(Some(&data("n,,n=user,r=abc")))).starts_with("r=abc"));
        let mut dialogue = Dialogue::new(scram());
        dialogue.step(None).unwrap();
        assert_eq!(ends(&mut dialogue, None).0, Why::Protocol);
        assert_eq!(ends(&mut dialogue, Some("n,,n=user,r=abc")).0, Why::Protocol, "it is over");
    }

    #[test]
    fn what_is_wrong_is_told_by_kind() {
        let why = |text: &str| {
            let (why, _, said) = ends(&mut Dialogue::new(scram()), Some(text));
            (why, said)
        };
        let of = |why, said: &str| (why, said.to_owned());
        assert_eq!(why("p=tls-exporter,,n=user,r=a"), of(Why::NotAllowed, "e=channel-binding-not-supported"));
        assert_eq!(why("n,a=root,n=user,r=a"), of(Why::NotAllowed, "e=other-error"));
        assert_eq!(why("user\0pencil"), of(Why::Protocol, "e=other-error"));
    }
}
