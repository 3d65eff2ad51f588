//! Reads the CONNECT and binds it to the identity.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use postern_identity::certificate::hex;
use postern_identity::{Identity, Principal, Refusal, Stage, Why};
use postern_mqtt::Packet;
use postern_mqtt::link::{Link, Sent};
use postern_mqtt::packet::{ConnAck, Connect};
use postern_mqtt::reason::ReasonCode;
use postern_realm::{Owner, Rights};
use tokio::io::AsyncReadExt;

use super::upgrade::Carried;
use super::{Identified, Stream};
use crate::authn::Proven;
use crate::drive::connection::say_farewell;
use crate::drive::mountpoint::Mounted;
use crate::drive::realm::elapsed_ms;
use crate::metrics::Tally;
use crate::policy::ListenerPolicy;
use crate::report::Story;

/// In. What is left is to attach it to its realm.
pub(crate) struct Admitted {
    pub(crate) stream: Stream,
    pub(crate) link: Link,
    /// Bytes that came behind the CONNECT.
    pub(crate) input: BytesMut,
    /// Never without a client identifier.
    pub(crate) connect: Box<Connect>,
    /// What came so far, to be counted.
    pub(crate) arrival: Tally,
    /// What the CONNACK is to say beside what the realm puts into it.
    pub(crate) greeting: Box<ConnAck>,
    /// Who owns the session.
    pub(crate) owner: Owner,
    /// Its user name, where there is one that counts.
    pub(crate) username: Option<Arc<str>>,
    /// What the client may do.
    pub(crate) rights: Rights,
    pub(crate) mounted: Mounted,
}

impl Carried {
    /// Whatever is wrong is told as a CONNACK where the client's version has a word for it.
    pub(super) async fn read_connect(
        self,
        policy: &ListenerPolicy,
        at: Instant,
        began: Instant,
        story: &mut Story,
    ) -> Result<Admitted, Refusal> {
        let Self(Identified { mut stream, identity, common_name }) = self;
        let mut link = Link::new(policy.link_limits, elapsed_ms(began));
        let (mut input, mut came) = (BytesMut::new(), 0);
        let deadline = tokio::time::Instant::from_std(at + policy.connect_wait);
        let reading = receive(&mut stream, &mut link, (&mut input, &mut came), began);
        let received = tokio::time::timeout_at(deadline, reading).await;
        let outcome = match received {
            Err(_late) => {
                let detail = format!("no CONNECT within {:?} of the connection's begin", policy.connect_wait);
                Err((Refusal::new(Stage::Connect, Why::TimedOut, detail), None))
            }
            Ok(Err(failed)) => Err(failed),
            Ok(Ok(connect)) => {
                story.client_id = Some(Arc::clone(&connect.client_id));
                let admitted = admit(connect, identity, common_name.as_deref(), policy, story).await;
                admitted.map_err(|refusal| {
                    let reason = ReasonCode(refusal.why.connack());
                    (
                        refusal,
                        Some(Packet::ConnAck(Box::new(ConnAck {
                            reason,
                            reason_string: reason.in_words(),
                            ..ConnAck::default()
                        }))),
                    )
                })
            }
        };
        match outcome {
            Ok(Bound { connect, greeting, owner, username, rights, mounted }) => {
                let greeting = Box::new(link.announce(greeting));
                let mut arrival = Tally::default();
                arrival.connect();
                arrival.bytes(came - input.len());
                let version = connect.version.to_string();
                story.admitted(username.as_deref(), &connect.client_id, &version);
                Ok(Admitted { stream, link, input, connect, arrival, greeting, owner, username, rights, mounted })
            }
            Err((refusal, farewell)) => {
                let mut output = BytesMut::new();
                if let Some(farewell) = farewell {
                    // What the client's version has no word for stays unsaid.
                    let _: Sent = link.send(&farewell, &mut output);
                }
                let wait = tokio::time::Duration::from_secs(1);
                let _ = tokio::time::timeout(wait, say_farewell(&mut stream, &mut output)).await;
                Err(refusal)
            }
        }
    }
}

/// Reads until the CONNECT is whole. The error comes with what to tell the client.
async fn receive(
    stream: &mut Stream,
    link: &mut Link,
    (input, came): (&mut BytesMut, &mut usize),
    began: Instant,
) -> Result<Box<Connect>, (Refusal, Option<Packet>)> {
    let protocol = |detail: String| Refusal::new(Stage::Connect, Why::Protocol, detail);
    loop {
        match link.receive(elapsed_ms(began), input) {
            Ok(Some(Packet::Connect(connect))) => return Ok(connect),
            Ok(Some(_)) => return Err((protocol("the first packet is no CONNECT".to_owned()), None)),
            Ok(None) => {}
            Err(error) => return Err((protocol(error.to_string()), error.farewell())),
        }
        // The link refuses what is over its limit before it is whole, so this buffer stays small.
        match stream.read_buf(input).await {
            Ok(0) => return Err((protocol("the client closed the connection before its CONNECT".to_owned()), None)),
            Ok(count) => *came += count,
            Err(error) => return Err((protocol(error.to_string()), None)),
        }
    }
}

/// A CONNECT and all that was made out of it.
struct Bound {
    connect: Box<Connect>,
    greeting: ConnAck,
    owner: Owner,
    username: Option<Arc<str>>,
    rights: Rights,
    mounted: Mounted,
}

/// Binds the CONNECT to the identity, asks for what is not proven yet, and settles what the client may do.
async fn admit(
    mut connect: Box<Connect>,
    identity: Result<Option<Identity>, Refusal>,
    common_name: Option<&str>,
    policy: &ListenerPolicy,
    story: &Story,
) -> Result<Bound, Refusal> {
    let refuse = |detail: String| Refusal::new(Stage::Connect, Why::NotAllowed, detail);
    let identity = identity?.unwrap_or_default();
    let is_nameless = connect.client_id.is_empty();
    agree(&mut connect, &identity, policy)?;
    let Proven { owner, username } = policy.authn.prove(&identity, &connect).await?;
    // It has done its work.
    connect.password = None;
    assign_client_id(&mut connect)?;
    // MQTT-3.2.2-16
    let assigned_client_id = is_nameless.then(|| Arc::clone(&connect.client_id));
    let greeting = ConnAck { assigned_client_id, ..ConnAck::default() };
    let mounted = policy
        .mountpoint
        .mount(&connect.client_id, username.as_deref(), &story.namespace)
        .map_err(|error| refuse(error.to_string()))?;
    if !mounted.is_empty() {
        mounted
            .enter_connect(&mut connect)
            .map_err(|_| refuse("the will's topic does not fit under the mountpoint".to_owned()))?;
    }
    let rights = match &policy.access {
        None => None,
        Some(rules) => {
            let principal = Principal {
                username: username.as_deref(),
                client_id: &connect.client_id,
                cert_common_name: common_name,
                namespace: story.namespace.name().map(AsRef::as_ref),
                address: story.peer.address.ip(),
            };
            let acl = rules.of(&principal, mounted.prefix()).map_err(|error| refuse(error.to_string()))?;
            Some(Arc::new(acl))
        }
    };
    Ok(Bound { connect, greeting, owner, username, rights, mounted })
}

/// Gives a client that has no identifier one of 128 random bits, in hexadecimal (MQTT-3.1.3-6, MQTT-3.1.3-7): nobody
/// guesses it, and it is nobody's already. A 3.1.1 client that wants to be remembered has been refused by the link.
fn assign_client_id(connect: &mut Connect) -> Result<(), Refusal> {
    if !connect.client_id.is_empty() {
        return Ok(());
    }
    let mut bits = [0; 16];
    aws_lc_rs::rand::fill(&mut bits).map_err(|_| {
        Refusal::new(Stage::Connect, Why::Unavailable, "the operating system gives no random bytes for an identifier")
    })?;
    connect.client_id = hex(&bits).into();
    Ok(())
}

/// The user name must be absent or the certificate's, a fixed client identifier must be absent or the same. Where the
/// user name is to be the client identifier, it takes the place of one that the certificate did not fix.
fn agree(connect: &mut Connect, identity: &Identity, policy: &ListenerPolicy) -> Result<(), Refusal> {
    if let (Some(ours), Some(theirs)) = (&identity.username, &connect.username)
        && *ours.as_str() != **theirs
    {
        let detail = format!("the CONNECT names the user {}, the certificate {ours}", Refusal::foreign(theirs));
        return Err(Refusal::new(Stage::Connect, Why::UsernameMismatch, detail));
    }
    if let Some(fixed) = &identity.client_id {
        if !connect.client_id.is_empty() && *connect.client_id != *fixed.as_str() {
            let detail = format!(
                "the CONNECT has the client identifier {}, the certificate {fixed}",
                Refusal::foreign(&connect.client_id)
            );
            return Err(Refusal::new(Stage::Connect, Why::ClientIdMismatch, detail));
        }
        connect.client_id = Arc::from(fixed.as_str());
    } else if policy.username_as_client_id {
        let username = identity.username.as_ref().map(|name| Arc::from(name.as_str())).or(connect.username.clone());
        if let Some(username) = username.filter(|username| !username.is_empty()) {
            if username.len() > policy.link_limits.client_id_bytes {
                let detail = "the user name is to be the client identifier, and longer than mqtt.max_clientid_len";
                return Err(Refusal::new(Stage::Connect, Why::ClientIdMismatch, detail));
            }
            connect.client_id = username;
        }
    }
    Ok(())
}
