//! Reads the CONNECT and binds it to the identity.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use postern_identity::{Identity, Refusal, Stage, Why};
use postern_mqtt::Packet;
use postern_mqtt::link::{Link, Sent};
use postern_mqtt::packet::{ConnAck, Connect};
use postern_mqtt::reason::ReasonCode;
use postern_realm::{Owner, Rights};
use tokio::io::AsyncReadExt;

use super::{CONNECT_WAIT, Identified, Stream};
use crate::drive::connection::say_farewell;
use crate::drive::mountpoint::Mounted;
use crate::drive::realm::elapsed_ms;
use crate::policy::ListenerPolicy;
use crate::report::Story;

/// In. What is left is to attach it to its realm.
pub(crate) struct Admitted {
    pub(crate) stream: Stream,
    pub(crate) link: Link,
    /// Bytes that came behind the CONNECT.
    pub(crate) input: BytesMut,
    pub(crate) connect: Box<Connect>,
    /// Who owns the session.
    pub(crate) owner: Owner,
    /// What the client may do.
    pub(crate) rights: Rights,
    pub(crate) mounted: Mounted,
}

impl Identified {
    /// Whatever is wrong is told as a CONNACK where the client's version has a word for it.
    pub(super) async fn read_connect(
        self,
        policy: &ListenerPolicy,
        at: Instant,
        began: Instant,
        story: &mut Story,
    ) -> Result<Admitted, Refusal> {
        let Self { mut stream, identity } = self;
        let mut link = Link::new(policy.link_limits, elapsed_ms(began));
        let mut input = BytesMut::new();
        let deadline = tokio::time::Instant::from_std(at + CONNECT_WAIT);
        let received = tokio::time::timeout_at(deadline, receive(&mut stream, &mut link, &mut input, began)).await;
        let outcome = match received {
            Err(_late) => {
                let detail = format!("no CONNECT within {CONNECT_WAIT:?} of the connection's begin");
                Err((Refusal::new(Stage::Connect, Why::TimedOut, detail), None))
            }
            Ok(Err(failed)) => Err(failed),
            Ok(Ok(connect)) => admit(connect, identity, policy, story).map_err(|refusal| {
                let reason = ReasonCode(refusal.why.connack());
                (refusal, Some(Packet::ConnAck(Box::new(ConnAck { reason, ..ConnAck::default() }))))
            }),
        };
        match outcome {
            Ok((connect, owner, mounted)) => {
                let version = connect.version.to_string();
                story.admitted(owner.as_deref().or(connect.username.as_deref()), &connect.client_id, &version);
                Ok(Admitted { stream, link, input, connect, owner, rights: None, mounted })
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
    input: &mut BytesMut,
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
            Ok(_) => {}
            Err(error) => return Err((protocol(error.to_string()), None)),
        }
    }
}

type Bound = (Box<Connect>, Owner, Mounted);

/// Binds the CONNECT to the identity: the user name must be absent or the same, a fixed client
/// identifier must be absent or the same.
fn admit(
    mut connect: Box<Connect>,
    identity: Result<Option<Identity>, Refusal>,
    policy: &ListenerPolicy,
    story: &Story,
) -> Result<Bound, Refusal> {
    let identity = identity?.unwrap_or_default();
    let owner: Owner = identity.username.as_ref().map(|name| Arc::from(name.as_str()));
    if let (Some(ours), Some(theirs)) = (&owner, &connect.username)
        && ours != theirs
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
    }
    let username = owner.as_deref().or(connect.username.as_deref());
    let mounted = policy
        .mountpoint
        .mount(&connect.client_id, username, &story.namespace)
        .map_err(|error| Refusal::new(Stage::Connect, Why::NotAllowed, error.to_string()))?;
    if !mounted.is_empty() {
        mounted.enter_connect(&mut connect).map_err(|_| {
            Refusal::new(Stage::Connect, Why::NotAllowed, "the will's topic does not fit under the mountpoint")
        })?;
    }
    Ok((connect, owner, mounted))
}
