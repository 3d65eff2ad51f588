//! Asks who the client is, by the certificate that the handshake verified.

use postern_identity::{CertFacts, Gate, Identity, IdentityQuestion, NamespaceOutcome, Refusal, Stage, Why};

use super::choose::ask_namespace;
use super::handshake::Secured;
use super::{Budget, Identified, Stream};
use crate::policy::TlsGate;
use crate::report::Story;
use crate::revalidation::{Credential, Presented, first_end};

impl Secured {
    /// A refusal goes on to the next stage, which tells it to the client as a CONNACK.
    pub(super) async fn authorize(self, tls: &TlsGate, budget: &mut Budget, story: &mut Story) -> Identified {
        let identity = self.identify(tls, budget, story).await;
        let common_name = self.chain.first().and_then(|facts| common_name(facts));
        let credential = Credential { identity_ends_ms: self.identity_end(&identity), certificate: self.presented() };
        Identified { stream: Stream::Tls(self.stream), identity, common_name, credential }
    }

    /// None where the identity lasts as long as the certificate, which ends by itself.
    fn identity_end(&self, identity: &Result<Option<Identity>, Refusal>) -> Option<u64> {
        let certificate = u64::try_from(self.chain.first()?.not_after).ok()?;
        end_of(identity).filter(|end| *end < certificate.saturating_mul(1000))
    }

    /// What the client's certificate is judged again by.
    fn presented(&self) -> Option<Presented> {
        let (leaf, chain) = (self.chain.first()?, self.stream.get_ref().1.peer_certificates()?);
        Some(Presented {
            bundle: self.bundle.name().clone(),
            wish: self.client_auth,
            chain: chain.to_vec(),
            subject: Refusal::foreign(&leaf.subject_dn),
            not_after: first_end(&self.chain),
        })
    }

    async fn identify(
        &self,
        tls: &TlsGate,
        budget: &mut Budget,
        story: &mut Story,
    ) -> Result<Option<Identity>, Refusal> {
        let gate = tls.decisions.gate.as_ref();
        if self.namespace_open {
            self.settle_namespace(gate, budget, story).await?;
        }
        let Some(bundle) = story.bundle.clone() else {
            return Err(Refusal::new(Stage::Identity, Why::Unavailable, "no bundle was chosen"));
        };
        if self.chain.is_empty() {
            return Ok(None);
        }
        let question = IdentityQuestion {
            peer: &story.peer,
            namespace: &story.namespace,
            bundle: Some(&bundle),
            server_name: story.server_name.as_ref(),
            chain: &self.chain,
            tls: story.tls,
        };
        let decision = budget.spend(Stage::Identity, gate.identity(question)).await?;
        story.identity_by = decision.by;
        Ok(decision.answer)
    }

    async fn settle_namespace(&self, gate: &dyn Gate, budget: &mut Budget, story: &mut Story) -> Result<(), Refusal> {
        let decision = ask_namespace(gate, &self.hello, &self.chain, budget, story).await?;
        if decision.answer != NamespaceOutcome::NeedCertificate {
            return Ok(());
        }
        let detail = if self.chain.is_empty() {
            NO_CERTIFICATE
        } else {
            "a plugin asked for the client's certificate again after it had been given"
        };
        Err(Refusal { by: decision.by, ..Refusal::new(Stage::Namespace, Why::NotAllowed, detail) })
    }
}

/// When an identity ends, in milliseconds since the Unix epoch.
pub(super) fn end_of(identity: &Result<Option<Identity>, Refusal>) -> Option<u64> {
    identity.as_ref().ok()?.as_ref()?.expires_at_unix_ms
}

/// Why a plugin that goes by the certificate has nothing to go by.
pub(super) const NO_CERTIFICATE: &str = "the namespace depends on the client's certificate, and the client showed none";

/// Where a certificate has more than one, or one that cannot be read, none is the one.
fn common_name(facts: &CertFacts) -> Option<String> {
    let mut names = facts.subject.iter().filter(|attribute| attribute.short_name == "CN");
    let name = names.next()?;
    if names.next().is_some() { None } else { name.value.clone() }
}
