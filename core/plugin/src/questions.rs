//! The three questions as they are put to a guest: what goes in, which inputs an answer may depend on,
//! and the check of what comes out.

use std::time::Duration;

use postern_identity::{
    BundleDirectory, CertificateChoice, CertificateQuestion, Identity, IdentityQuestion, NamespaceOutcome,
    NamespaceQuestion,
};

use crate::answers;
use crate::bindings::exports::postern::gate::client_authorizer::Request;
use crate::decisions::{Fresh, Inputs, Vary};
use crate::failure::Failure;
use crate::instance::Live;
use crate::words;

/// A question to one plugin.
pub(crate) trait Ask: Sync {
    /// The checked answer.
    type Answer: Clone + Send + Sync;

    /// What an answer may depend on.
    fn inputs(&self) -> Inputs<'_>;

    /// Calls the guest and checks its answer.
    fn put(
        &self,
        live: &mut Live,
        directory: &dyn BundleDirectory,
        cpu: Duration,
    ) -> impl Future<Output = Result<Fresh<Self::Answer>, Failure>> + Send;
}

/// A plugin is asked only for hooks that it exports.
fn absent() -> Failure {
    Failure::Trapped("it does not export the hook".to_owned())
}

impl Ask for NamespaceQuestion<'_> {
    type Answer = NamespaceOutcome;

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            server_name: self.hello.server_name.as_ref(),
            hello: Some(self.hello),
            peer_ip: self.peer.address.ip(),
            chain: self.chain,
            namespace: None,
            bundle: None,
            proxied: self.peer.proxied.as_deref(),
            tls: None,
        }
    }

    async fn put(
        &self,
        live: &mut Live,
        directory: &dyn BundleDirectory,
        cpu: Duration,
    ) -> Result<Fresh<NamespaceOutcome>, Failure> {
        let guest = live.namespace.clone().ok_or_else(absent)?;
        let (conn, hello) = (words::connection(self.peer), words::client_hello(self.hello));
        let chain = words::chain(self.chain);
        let answer = live
            .enter(cpu, |store| async move { guest.call_lookup(store, &conn, &hello, &chain).await })
            .await?
            .map_err(|failure| words::failure(&failure))?;
        // An answer that was given with a certificate in view is not for those who have shown none.
        let floor = if self.chain.is_empty() { Vary::NOTHING } else { Vary::CERTIFICATE };
        answers::namespace(answer, directory).map(|fresh| fresh.at_least(floor).until_end_of(self.chain))
    }
}

impl Ask for CertificateQuestion<'_> {
    type Answer = CertificateChoice;

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            server_name: self.hello.server_name.as_ref(),
            hello: Some(self.hello),
            peer_ip: self.peer.address.ip(),
            chain: &[],
            namespace: Some(self.namespace),
            bundle: None,
            proxied: self.peer.proxied.as_deref(),
            tls: None,
        }
    }

    async fn put(
        &self,
        live: &mut Live,
        directory: &dyn BundleDirectory,
        cpu: Duration,
    ) -> Result<Fresh<CertificateChoice>, Failure> {
        let guest = live.certificate.clone().ok_or_else(absent)?;
        let (conn, hello) = (words::connection(self.peer), words::client_hello(self.hello));
        let namespace = words::namespace(self.namespace);
        let answer = live
            .enter(cpu, |store| async move { guest.call_resolve(store, &conn, &hello, namespace.as_deref()).await })
            .await?
            .map_err(|failure| words::failure(&failure))?;
        // Whether a bundle is within reach was checked for this namespace only.
        answers::certificate(answer, self.namespace, directory).map(|fresh| fresh.at_least(Vary::NAMESPACE))
    }
}

impl Ask for IdentityQuestion<'_> {
    type Answer = Identity;

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            server_name: self.server_name,
            hello: None,
            peer_ip: self.peer.address.ip(),
            chain: self.chain,
            namespace: Some(self.namespace),
            bundle: self.bundle,
            proxied: self.peer.proxied.as_deref(),
            tls: self.tls,
        }
    }

    async fn put(&self, live: &mut Live, _: &dyn BundleDirectory, cpu: Duration) -> Result<Fresh<Identity>, Failure> {
        let guest = live.identity.clone().ok_or_else(absent)?;
        let conn = words::connection(self.peer);
        let request = Request {
            namespace: words::namespace(self.namespace),
            bundle: self.bundle.map(words::bundle_ref),
            server_name: self.server_name.map(ToString::to_string),
            chain: words::chain(self.chain),
            tls: self.tls.map(words::tls_session),
        };
        let answer = live
            .enter(cpu, |store| async move { guest.call_authorize(store, &conn, &request).await })
            .await?
            .map_err(|failure| words::failure(&failure))?;
        // An identity is never shared between certificates or namespaces, whatever the plugin says.
        let floor = Vary::CERTIFICATE.and(Vary::NAMESPACE);
        answers::identity(answer, self.chain).map(|fresh| fresh.at_least(floor).until_end_of(self.chain))
    }
}
