//! The plugins of one listener, asked in their order: the first that decides, decides; the first that
//! refuses or fails, refuses. Only `pass` goes on.

use std::sync::Arc;

use postern_identity::{
    Answer, BundleDirectory, CertificateChoice, CertificateQuestion, ClientAuthWish, Decision, Gate, Identity,
    IdentityQuestion, ListenerId, Namespace, NamespaceOutcome, NamespaceQuestion, Peer, Refusal, Stage, Why,
};
use tracing::warn;

use crate::answers::within_reach;
use crate::decisions::Verdict;
use crate::failure::Failure;
use crate::plugin::{OnError, Plugin};
use crate::shape::Hook;

/// The gate of one listener.
pub struct Chain {
    listener: ListenerId,
    directory: Arc<dyn BundleDirectory>,
    namespace: Vec<Plugin>,
    certificate: Vec<Plugin>,
    identity: Vec<Plugin>,
}

impl Chain {
    #[allow(clippy::needless_pass_by_value, reason = "the chain is what keeps the plugins from now on")]
    /// Asks the plugins in this order, each for the hooks that it exports. `directory` is the one that
    /// they were loaded with.
    pub fn new(listener: ListenerId, plugins: Vec<Plugin>, directory: Arc<dyn BundleDirectory>) -> Self {
        let with = |hook| plugins.iter().filter(|plugin| plugin.hooks().contains(&hook)).cloned().collect();
        Self {
            namespace: with(Hook::Namespace),
            certificate: with(Hook::Certificate),
            identity: with(Hook::Identity),
            listener,
            directory,
        }
    }

    /// What a plugin's verdict means for the chain: none where the next one is to be asked.
    fn settle<T>(
        &self,
        at: Stage,
        peer: &Peer,
        plugin: &Plugin,
        verdict: Result<Verdict<T>, Failure>,
    ) -> Option<Result<Decision<T>, Refusal>> {
        let by = Some(plugin.name().clone());
        match verdict {
            Ok(Verdict::Pass) => None,
            Ok(Verdict::Decided(answer)) => Some(Ok(Decision { answer, by })),
            Ok(Verdict::Rejected(rejected)) => {
                Some(Err(Refusal { at, why: rejected.why, detail: rejected.detail, by }))
            }
            Err(failure) => Some(Err(self.failed(at, peer, plugin, &failure))),
        }
    }

    fn failed(&self, at: Stage, peer: &Peer, plugin: &Plugin, failure: &Failure) -> Refusal {
        let (listener, name) = (&self.listener, plugin.name());
        let connection = peer.connection;
        warn!(connection, %listener, peer = %peer.address, plugin = %name, stage = at.label(), %failure, "a plugin failed");
        Refusal { at, why: failure.why(), detail: failure.to_string(), by: Some(name.clone()) }
    }

    /// The listener's default bundle, where the connection may see it.
    fn default_choice(&self, namespace: &Namespace) -> Option<CertificateChoice> {
        let bundle = &self.directory.default_bundle()?.bundle;
        within_reach(&bundle.namespace, namespace)
            .then(|| CertificateChoice { bundle: bundle.clone(), client_auth: ClientAuthWish::None })
    }

    async fn decide_namespace(&self, question: NamespaceQuestion<'_>) -> Result<Decision<NamespaceOutcome>, Refusal> {
        for plugin in &self.namespace {
            let verdict = plugin.namespace(question).await;
            if let Some(settled) = self.settle(Stage::Namespace, question.peer, plugin, verdict) {
                return settled;
            }
        }
        Ok(Decision { answer: NamespaceOutcome::Undecided, by: None })
    }

    async fn decide_certificate(
        &self,
        question: CertificateQuestion<'_>,
    ) -> Result<Decision<CertificateChoice>, Refusal> {
        let default = || self.default_choice(question.namespace);
        for plugin in &self.certificate {
            let verdict = plugin.certificate(question).await;
            let failed = verdict.is_err();
            let Some(settled) = self.settle(Stage::Certificate, question.peer, plugin, verdict) else { continue };
            return match settled {
                Err(refusal) if failed && plugin.on_error() == OnError::DefaultBundle => {
                    default().map(|answer| Decision { answer, by: None }).ok_or(refusal)
                }
                settled => settled,
            };
        }
        default()
            .map(|answer| Decision { answer, by: None })
            .ok_or_else(|| Refusal::new(Stage::Certificate, Why::UnknownName, "no bundle for this connection"))
    }

    async fn decide_identity(&self, question: IdentityQuestion<'_>) -> Result<Decision<Option<Identity>>, Refusal> {
        if self.identity.is_empty() {
            return Ok(Decision { answer: None, by: None });
        }
        for plugin in &self.identity {
            let verdict = plugin.identity(question).await;
            if let Some(settled) = self.settle(Stage::Identity, question.peer, plugin, verdict) {
                return settled.map(|decision| Decision { answer: Some(decision.answer), by: decision.by });
            }
        }
        Err(Refusal::new(Stage::Identity, Why::NotAllowed, "no rule applies"))
    }
}

impl Gate for Chain {
    fn namespace<'a>(&'a self, question: NamespaceQuestion<'a>) -> Answer<'a, NamespaceOutcome> {
        Box::pin(self.decide_namespace(question))
    }

    fn certificate<'a>(&'a self, question: CertificateQuestion<'a>) -> Answer<'a, CertificateChoice> {
        Box::pin(self.decide_certificate(question))
    }

    fn identity<'a>(&'a self, question: IdentityQuestion<'a>) -> Answer<'a, Option<Identity>> {
        Box::pin(self.decide_identity(question))
    }
}
