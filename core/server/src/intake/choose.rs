//! Asks whose connection this is and which certificate answers it.

use std::sync::Arc;

use postern_config::UnknownSni;
use postern_identity::{
    BundleRef, CertFacts, CertificateQuestion, ClientAuthWish, ClientHello, Decision, DnsName, Gate, Namespace,
    NamespaceOutcome, NamespaceQuestion, Refusal, Stage, Why,
};
use postern_tls::Bundle;
use tokio::net::TcpStream;
use tokio_rustls::StartHandshake;

use super::Budget;
use super::handshake::send_alert;
use super::hello::Greeted;
use crate::policy::{Decisions, TlsGate};
use crate::report::Story;

/// A certificate has been chosen among those in the listener's reach.
pub(crate) struct Chosen {
    pub(super) start: StartHandshake<TcpStream>,
    pub(super) hello: ClientHello,
    pub(super) bundle: Arc<Bundle>,
    pub(super) client_auth: ClientAuthWish,
    /// The namespace is to be asked for again, with the client's certificate.
    pub(super) namespace_open: bool,
}

impl Greeted {
    /// A refusal is told with a TLS alert.
    pub(super) async fn choose(self, tls: &TlsGate, budget: &mut Budget, story: &mut Story) -> Result<Chosen, Refusal> {
        let Self { mut start, hello } = self;
        match decide(tls, &hello, budget, story).await {
            Ok((bundle, client_auth, namespace_open)) => {
                Ok(Chosen { start, hello, bundle, client_auth, namespace_open })
            }
            Err(refusal) => {
                send_alert(&mut start.io, refusal.why).await;
                Err(refusal)
            }
        }
    }
}

async fn decide(
    tls: &TlsGate,
    hello: &ClientHello,
    budget: &mut Budget,
    story: &mut Story,
) -> Result<(Arc<Bundle>, ClientAuthWish, bool), Refusal> {
    let Decisions { gate, namespace, .. } = &tls.decisions;
    story.namespace.clone_from(namespace);
    let outcome = ask_namespace(gate.as_ref(), hello, &[], budget, story).await?;
    let namespace_open = outcome.answer == NamespaceOutcome::NeedCertificate;

    let question = CertificateQuestion { peer: &story.peer, hello, namespace: &story.namespace };
    let decision = budget.spend(Stage::Certificate, gate.certificate(question)).await?;
    let choice = decision.answer;
    if let Some(name) = unanswered(tls, hello, &choice.bundle, &story.namespace) {
        let detail = format!("no bundle answers to {name}, and `unknown_sni` is `refuse`");
        return Err(Refusal::new(Stage::Certificate, Why::UnknownName, detail));
    }
    let candidates = tls.keyring.candidates(&choice.bundle);
    let bundle = tls.configs.pick(candidates, hello).ok_or_else(|| out_of_reach(&choice.bundle))?;
    story.bundle = Some(bundle.name().clone());
    story.bundle_by = decision.by;
    Ok((Arc::clone(bundle), choice.client_auth, namespace_open))
}

/// The name that was asked for, where the default bundle was to answer it for want of a better one, and must not.
fn unanswered<'h>(
    tls: &TlsGate,
    hello: &'h ClientHello,
    chosen: &BundleRef,
    namespace: &Namespace,
) -> Option<&'h DnsName> {
    let name = hello.server_name.as_ref().filter(|_| tls.unknown_sni == UnknownSni::Refuse)?;
    let default = tls.keyring.first().is_some_and(|bundle| bundle.name() == chosen);
    (default && !tls.keyring.answers(name, namespace)).then_some(name)
}

/// Asks for the namespace, and keeps it in the story where there is one.
pub(super) async fn ask_namespace(
    gate: &dyn Gate,
    hello: &ClientHello,
    chain: &[Arc<CertFacts>],
    budget: &mut Budget,
    story: &mut Story,
) -> Result<Decision<NamespaceOutcome>, Refusal> {
    let question = NamespaceQuestion { peer: &story.peer, hello, chain };
    let decision = budget.spend(Stage::Namespace, gate.namespace(question)).await?;
    if let NamespaceOutcome::Found(namespace) = &decision.answer {
        story.namespace.clone_from(namespace);
        story.namespace_by.clone_from(&decision.by);
    }
    Ok(decision)
}

/// The gate checks its plugins' answers, so this names a fault of the gate.
fn out_of_reach(bundle: &BundleRef) -> Refusal {
    Refusal::new(Stage::Certificate, Why::PluginFailed, format!("the bundle {bundle} is not in the listener's reach"))
}
