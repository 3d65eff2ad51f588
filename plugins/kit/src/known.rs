//! What is known of a client's certificate: all of it where the host verified it, the common name where a proxy did
//! whose word the operator takes.

use crate::wit::certificates::Certificate;
use crate::wit::types::Proxied;

/// The client's certificate.
#[derive(Debug, Clone, Copy)]
pub enum Known<'c> {
    /// The host verified it.
    Whole(&'c Certificate),
    /// A trusted proxy verified it and passed its common name on.
    CommonName(&'c str),
}

impl<'c> Known<'c> {
    /// The certificate, and those that issued it, as far as they are known. None where nobody showed one.
    pub fn of(chain: &'c [Certificate], proxied: Option<&'c Proxied>) -> Option<(Self, &'c [Certificate])> {
        if let Some((client, issuers)) = chain.split_first() {
            return Some((Self::Whole(client), issuers));
        }
        let tls = proxied.filter(|said| said.trusted)?.tls.as_ref().filter(|tls| tls.verified)?;
        Some((Self::CommonName(tls.common_name.as_deref()?), &[]))
    }
}

impl<'c> From<&'c Certificate> for Known<'c> {
    fn from(certificate: &'c Certificate) -> Self {
        Self::Whole(certificate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{certificate, proxied};

    fn common_name(said: &Proxied) -> Option<&str> {
        match Known::of(&[], Some(said)) {
            Some((Known::CommonName(name), [])) => Some(name),
            _ => None,
        }
    }

    #[test]
    fn the_word_of_a_proxy_counts_only_where_it_is_trusted_and_says_that_it_verified() {
        assert_eq!(common_name(&proxied(true, true, Some("device"))), Some("device"));
        assert_eq!(common_name(&proxied(false, true, Some("device"))), None);
        assert_eq!(common_name(&proxied(true, false, Some("device"))), None);
        assert_eq!(common_name(&proxied(true, true, None)), None);
    }

    #[test]
    fn what_the_host_verified_goes_before_what_a_proxy_says() {
        let chain = [certificate("real")];
        let said = proxied(true, true, Some("said"));
        assert!(
            matches!(Known::of(&chain, Some(&said)), Some((Known::Whole(client), [])) if client.subject_dn == "CN=real")
        );
    }
}
