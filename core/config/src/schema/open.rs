//! Which listeners let clients in without knowing who they are. Nobody should have one by accident.

use crate::model::{ClientAuth, Config, Listener, PeerCert};
use crate::problem::Problem;
use crate::reader::Reader;

/// One warning for each enabled listener on which a client chooses its own name, or has none.
pub(crate) fn warn(reader: &mut Reader<'_>, config: &Config) {
    for listener in config.listeners.iter().filter(|listener| listener.enable) {
        if config.authenticates(listener) {
            continue;
        }
        let unasked =
            if config.authentication.is_empty() { "there is no `authentication`" } else { "`enable_authn` is false" };
        if let Some((text, hint)) = open(listener, unasked) {
            let path = format!("listeners.{}.{}", listener.kind.word(), listener.name);
            let problem = Problem { path, at: listener.at.clone(), text, hint: Some(hint.to_owned()) };
            reader.warnings.push(problem);
        }
    }
}

/// `unasked` says why nobody is asked for a password.
fn open(listener: &Listener, unasked: &str) -> Option<(String, &'static str)> {
    const MUTUAL: &str = "ask for certificates (`verify = verify_peer`, `fail_if_no_peer_cert = true`, and a plugin or \
                          `peer_cert_as_username` that says who they are), or open it to people you trust alone";
    let Some(tls) = &listener.tls else {
        return Some((
            format!("anyone who can reach it is let in, in clear text: {unasked}, and TCP has no certificates"),
            if listener.bind.value.ip().is_loopback() {
                "only programs on this machine can reach it; if they are not all yours, set `authentication`"
            } else {
                "use an `ssl` or `wss` listener, set `authentication`, or bind it to 127.0.0.1"
            },
        ));
    };
    let mapped = listener.plugins.as_ref().map_or(
        listener.peer_cert_as_username != PeerCert::Disabled || listener.peer_cert_as_clientid != PeerCert::Disabled,
        |plugins| !plugins.is_empty(),
    );
    match (tls.client_auth, mapped) {
        (ClientAuth::Off, _) => Some((
            format!("anyone who can reach it is let in: {unasked}, and clients are not asked for a certificate"),
            MUTUAL,
        )),
        (ClientAuth::Optional, _) => Some((
            format!("a client without a certificate is let in: {unasked}, and `fail_if_no_peer_cert` is false"),
            MUTUAL,
        )),
        (ClientAuth::Required, false) => Some((
            "a client with any certificate of the CA chooses its own user name: nothing maps the certificate to one"
                .to_owned(),
            "set `peer_cert_as_username`, or list an identity plugin in `plugins`",
        )),
        (ClientAuth::Required, true) => None,
    }
}
