//! A connection without TLS: what the plugins make of it, and of what a proxy says that ended TLS in front.
//!
//! There is no handshake to end with an alert: each refusal goes on to the next stage, which tells it as a CONNACK.

use postern_identity::{ClientHello, DnsName, Identity, IdentityQuestion, NamespaceOutcome, Refusal, Stage, Why};
use tokio::net::TcpStream;

use super::authorize::{NO_CERTIFICATE, end_of};
use super::choose::ask_namespace;
use super::{Budget, Identified, Stream};
use crate::policy::PlainGate;
use crate::report::Story;
use crate::revalidation::Credential;

/// Asks whose connection this is and who the client is.
pub(super) async fn identify(socket: TcpStream, gate: &PlainGate, story: &mut Story) -> Identified {
    let identity = decide(gate, story).await;
    let verified = story.peer.proxied.as_ref().and_then(|said| said.verified());
    let common_name = verified.and_then(|certificate| certificate.common_name.clone());
    let credential = Credential { certificate: None, identity_ends_ms: end_of(&identity) };
    Identified { stream: Stream::Plain(socket), identity, common_name, credential }
}

async fn decide(plain: &PlainGate, story: &mut Story) -> Result<Option<Identity>, Refusal> {
    let gate = plain.decisions.gate.as_ref();
    let mut budget = Budget(plain.decisions.budget);
    story.namespace.clone_from(&plain.decisions.namespace);
    let hello = passed_on(story)?;
    story.server_name.clone_from(&hello.server_name);
    let decision = ask_namespace(gate, &hello, &[], &mut budget, story).await?;
    if decision.answer == NamespaceOutcome::NeedCertificate {
        let refusal = Refusal::new(Stage::Namespace, Why::NotAllowed, NO_CERTIFICATE);
        return Err(Refusal { by: decision.by, ..refusal });
    }
    if story.peer.proxied.as_ref().and_then(|said| said.verified()).is_none() {
        if plain.certificate_required {
            let detail = "the proxy says of no client certificate that it verified it";
            return Err(Refusal::new(Stage::Identity, Why::NotAllowed, detail));
        }
        return Ok(None);
    }
    let question = IdentityQuestion {
        peer: &story.peer,
        namespace: &story.namespace,
        bundle: None,
        server_name: story.server_name.as_ref(),
        chain: &[],
        tls: None,
    };
    let decision = budget.spend(Stage::Identity, gate.identity(question)).await?;
    story.identity_by = decision.by;
    Ok(decision.answer)
}

/// What a trusted proxy passed on of the client's own words.
fn passed_on(story: &Story) -> Result<ClientHello, Refusal> {
    let Some(said) = story.peer.proxied.as_ref().filter(|said| said.trusted) else { return Ok(ClientHello::default()) };
    let name = said.authority.as_deref().map(|name| {
        let detail = |error| format!("the name that the proxy passed on: {error}");
        DnsName::new(name).map_err(|error| Refusal::new(Stage::Proxy, Why::UnknownName, detail(error)))
    });
    Ok(ClientHello {
        server_name: name.transpose()?,
        alpn: said.alpn.iter().cloned().collect(),
        ..ClientHello::default()
    })
}
