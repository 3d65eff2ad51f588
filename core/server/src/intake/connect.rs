//! Reads the CONNECT and binds it to the identity.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use postern_identity::certificate::hex;
use postern_identity::{Identity, Principal, Refusal, Stage, Why};
use postern_mqtt::link::Link;
use postern_mqtt::packet::{ConnAck, Connect};
use postern_realm::{Owner, Rights};

use super::upgrade::Carried;
use super::wire::{Turned, Wire};
use super::{Identified, Stream};
use crate::authn::{Dialogue, Proven, Reauthentication};
use crate::drive::mountpoint::Mounted;
use crate::drive::realm::elapsed_ms;
use crate::metrics::Tally;
use crate::policy::ListenerPolicy;
use crate::report::Story;
use crate::revalidation::Credential;

/// In. What is left is to attach it to its realm.
pub(crate) struct Admitted {
    pub(crate) stream: Stream,
    pub(crate) link: Link,
    /// Bytes that came behind the CONNECT.
    pub(crate) input: BytesMut,
    /// What came so far, to be counted.
    pub(crate) arrival: Tally,
    /// What was said so far.
    pub(crate) answers: Tally,
    pub(crate) client: Client,
    /// What its stay depends on.
    pub(crate) credential: Credential,
}

/// A CONNECT and all that was made out of it.
pub(crate) struct Client {
    /// Never without a client identifier.
    pub(crate) connect: Box<Connect>,
    /// What the CONNACK is to say beside what the realm puts into it.
    pub(crate) greeting: Box<ConnAck>,
    /// Who owns the session.
    pub(crate) owner: Owner,
    /// Its user name, where there is one that counts.
    pub(crate) username: Option<Arc<str>>,
    /// What the client may do.
    pub(crate) rights: Rights,
    pub(crate) mounted: Mounted,
    /// None where the CONNECT had no Authentication Method.
    pub(crate) reauthentication: Option<Reauthentication>,
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
        let Self(Identified { stream, identity, common_name, credential }) = self;
        let link = Link::new(policy.link_limits, elapsed_ms(began));
        let mut wire = Wire::new(stream, link, (at, policy.connect_wait), began);
        let bound = match wire.connect().await {
            Ok(connect) => {
                story.client_id = Some(Arc::clone(&connect.client_id));
                admit(connect, identity, common_name.as_deref(), policy, story, &mut wire).await
            }
            Err(turned) => Err(turned),
        };
        match bound {
            Ok(mut client) => {
                let (arrival, answers) = wire.traffic();
                let Wire { stream, link, input, .. } = wire;
                client.greeting = Box::new(link.announce(*client.greeting));
                let version = client.connect.version.to_string();
                story.admitted(client.username.as_deref(), &client.connect.client_id, &version);
                Ok(Admitted { stream, link, input, arrival, answers, client, credential })
            }
            Err(turned) => Err(wire.turn_away(turned).await),
        }
    }
}

/// Binds the CONNECT to the identity, asks for what is not proven yet, and settles what the client may do.
async fn admit(
    mut connect: Box<Connect>,
    identity: Result<Option<Identity>, Refusal>,
    common_name: Option<&str>,
    policy: &ListenerPolicy,
    story: &Story,
    wire: &mut Wire,
) -> Result<Client, Turned> {
    let refuse = |detail: String| Refusal::new(Stage::Connect, Why::NotAllowed, detail);
    let identity = identity?.unwrap_or_default();
    let is_nameless = connect.client_id.is_empty();
    agree(&mut connect, &identity, policy)?;
    let (shown, reauthentication) = match policy.authn.scram(&connect) {
        None => (None, None),
        Some(scram) => {
            let shown = wire.exchange(Dialogue::new(Arc::clone(scram)), connect.authentication_data.take()).await?;
            let again = Reauthentication::new(Arc::clone(scram), Arc::clone(&shown.username));
            (Some(shown), Some(again))
        }
    };
    let by_exchange = shown.as_ref().map(|shown| &shown.username);
    let Proven { owner, username } = policy.authn.prove(&identity, &connect, by_exchange).await?;
    // It has done its work.
    connect.password = None;
    assign_client_id(&mut connect)?;
    let greeting = ConnAck {
        // MQTT-3.2.2-16
        assigned_client_id: is_nameless.then(|| Arc::clone(&connect.client_id)),
        authentication_data: shown.map(|shown| shown.data),
        ..ConnAck::default()
    };
    let greeting = Box::new(greeting);
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
    Ok(Client { connect, greeting, owner, username, rights, mounted, reauthentication })
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
