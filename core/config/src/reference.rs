//! The keys of a listener's `ssl_options`, each with its type, its default and its meaning: the one place where they
//! stand. The reader takes no key of these sections that is not here, and `REFERENCE.md` is written from here.
//!
//! Whoever adds a key to the reader adds its entry below and writes the page anew (`cargo xtask reference`).
//! `core/config/tests/reference.rs` holds each entry against the reader: that there is such a key, that its type is
//! that one, and that its default is what holds without it.

use std::fmt::Write as _;

use crate::emqx::{self, Foreign, Same};

/// What a key takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `true` or `false`.
    Switch,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A duration between these two.
    Duration(&'static str, &'static str),
    /// A whole number between these two.
    Number(u64, u64),
    /// In words, and a value that is accepted.
    Other(&'static str, &'static str),
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What holds without it, as one would write it; none where nothing can be written that means the same.
    pub default: Option<&'static str>,
    /// What it does, in sentences without a full stop at the end.
    pub meaning: &'static str,
}

/// The keys of one section.
pub struct Chapter {
    /// Where it stands in a listener: `ssl_options.ocsp`; with `[]` behind the key of a list.
    pub path: &'static str,
    /// What the section is for.
    pub about: &'static str,
    /// The keys that are acted on, in the order of the page.
    pub keys: &'static [Key],
    /// EMQX's others.
    foreign: &'static [Foreign],
}

const fn key(name: &'static str, kind: Kind, default: Option<&'static str>, meaning: &'static str) -> Key {
    Key { name, kind, default, meaning }
}

impl std::fmt::Debug for Chapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.path)
    }
}

const PEM: Kind = Kind::Other("path or PEM", "\"server.pem\"");

/// All of them.
pub const CHAPTERS: &[&Chapter] = &[&SSL_OPTIONS, &MANAGED_CERTS, &ADDITIONAL_CERTS, &CRL, &OCSP];

pub(crate) const SSL_OPTIONS: Chapter = Chapter {
    path: "ssl_options",
    about: "TLS of a listener. The certificate comes from `certfile` and `keyfile`, or from `managed_certs`; one of the \
            two must be there.",
    keys: &[
        key("certfile", PEM, None, "The server's certificate, then each one's issuer"),
        key(
            "keyfile",
            PEM,
            None,
            "The private key of the first certificate of `certfile`: PKCS#8, PKCS#1 or SEC1, also encrypted; RSA of 2048 \
             to 8192 bits, ECDSA on P-256 or P-384, or Ed25519",
        ),
        key(
            "password",
            Kind::Other("text or `file://PATH`", "\"file:///etc/postern/key-password\""),
            None,
            "Opens `keyfile` where it is encrypted: by PBES2, or, with a warning, in the older ways (PBES1 with DES or \
             triple DES, `Proc-Type: 4,ENCRYPTED`). A file's line end is not part of the password. A managed bundle's \
             stands in its `key-password`",
        ),
        key(
            "additional_certs",
            Kind::Other("list of objects", "[{ certfile = a, keyfile = b }]"),
            None,
            "Certificates with keys of other types, which answer in place of `certfile` where a client can use these \
             alone; see below",
        ),
        key(
            "cacertfile",
            PEM,
            None,
            "The CAs whose client certificates are trusted. Must be given with `certfile` and `verify_peer`; each managed \
             bundle brings its own `ca.pem`, and trusts no other's",
        ),
        key(
            "managed_certs",
            Kind::Other("object, or list of objects", "{ bundle_name = x }"),
            None,
            "Bundles under `node.data_dir`, chosen by the name that a client asks for; see below. `certfile`, `keyfile` \
             and `password` have no effect beside it",
        ),
        key(
            "unknown_sni",
            Kind::Word(&["default", "refuse"]),
            Some("default"),
            "What a client gets that asks for a name which no bundle in its reach answers to: the default bundle, as in \
             EMQX, or the alert `unrecognized_name`. A plugin may answer it with another bundle than the default all \
             the same. A client that asks for no name, or for an address, gets the default bundle",
        ),
        key(
            "verify",
            Kind::Word(&["verify_none", "verify_peer"]),
            Some("verify_none"),
            "Whether clients are asked for a certificate. One that is shown must be good",
        ),
        key(
            "fail_if_no_peer_cert",
            Kind::Switch,
            Some("false"),
            "With `verify_peer`: whether a client without a certificate is refused",
        ),
        key(
            "versions",
            Kind::Other("list of `tlsv1.2`, `tlsv1.3`", "[tlsv1.3]"),
            Some("[tlsv1.3, tlsv1.2]"),
            "The protocol versions. Older ones are broken (RFC 8996) and not spoken",
        ),
        key(
            "ciphers",
            Kind::Other(
                "list of names, or text with `,` or `:` between them",
                "[TLS_AES_128_GCM_SHA256, ECDHE-ECDSA-AES128-GCM-SHA256]",
            ),
            Some("[]"),
            "The cipher suites by the names of IANA or OpenSSL, the dearest first; empty for all nine: AES-128-GCM, \
             AES-256-GCM and ChaCha20-Poly1305 in TLS 1.3, and in TLS 1.2 with ECDHE-ECDSA and ECDHE-RSA. A list without one \
             of TLS 1.3 gets those in front where `versions` has it. A suite that exists and is not one of the nine is left \
             out with a warning, and a version for which none is left is an error",
        ),
        key(
            "honor_cipher_order",
            Kind::Switch,
            Some("true"),
            "Whether the listener's order of `ciphers` decides, and not the client's",
        ),
        key(
            "groups",
            Kind::Other("list of names, or text with `,` or `:` between them", "\"x25519:P-256\""),
            Some("[X25519MLKEM768, x25519, secp256r1, secp384r1]"),
            "The key exchange groups: those of the default, and `SecP256r1MLKEM768`; `P-256`, `prime256v1` and `P-384` are \
             other names of two. Which of them is used is the first one in the client's own order: a client that wants \
             the post-quantum one gets it, and who does not know it does not pay for it",
        ),
        key(
            "depth",
            Kind::Number(0, 255),
            Some("10"),
            "Most intermediate certificates between a client's certificate and the CA that is trusted; 0 where the CA \
             itself must have signed. A path with more than 6 is never followed, whatever is written",
        ),
        key(
            "partial_chain",
            Kind::Word(&["false", "true", "cacert_from_cacertfile", "two_cacerts_from_cacertfile"]),
            Some("false"),
            "Which certificates of `cacertfile`, or of a bundle's `ca.pem`, are trusted: those that are self-signed; with \
             `cacert_from_cacertfile` or `true` the last one in the file too, with `two_cacerts_from_cacertfile` the last \
             two, though they are not. The others only help to build paths, so that clients need not send them",
        ),
        key(
            "verify_peer_ext_key_usage",
            Kind::Other("list of words, or text with `,` between them", "\"clientAuth,OID:1.3.6.1.4.1.99999.1\""),
            None,
            "Extended key usages that a client's certificate must have, all of them: `clientAuth`, `serverAuth`, \
             `codeSigning`, `emailProtection`, `timeStamping`, `ocspSigning`, `OID:x.y.z`. Without this key `clientAuth` must \
             be there where the certificate has any, and that stays so",
        ),
        key(
            "handshake_timeout",
            Kind::Duration("100ms", "300s"),
            Some("5s"),
            "From accept to the end of the TLS handshake, the time of plugins included",
        ),
        key(
            "session_tickets",
            Kind::Word(&["disabled", "stateless", "stateless_with_cert"]),
            Some("disabled"),
            "Clients are given tickets to resume their session with, in TLS 1.3 and 1.2. A ticket holds for this listener, \
             this certificate, this name and this strictness towards clients. It always carries the client's certificate, \
             which is judged again, and the plugins are asked again, so that `stateless` is the same as \
             `stateless_with_cert`. How many and for how long: `node.tls_server_session_tickets_amount` (1 to 16, 1) and \
             `node.tls_server_session_ticket_lifetime` (seconds, 1 to 21600, 7200). The keys are random, each process's own, \
             and replaced every six hours. There is no 0-RTT",
        ),
        key(
            "reuse_sessions",
            Kind::Switch,
            Some("false"),
            "Sessions of TLS 1.2 are kept, 4096 for a listener, to be resumed by their identifier, as long as tickets are and \
             under the same conditions",
        ),
        key(
            "enable_crl_check",
            Kind::Switch,
            Some("false"),
            "With `verify_peer`: whether a client is refused that shows a revoked certificate, or one below a revoked CA. \
             Every certificate of the path but the trust anchor must be covered by a list in `crl` that its issuer signed \
             and that is not outdated; the URLs in certificates are never followed",
        ),
        key(
            "crl",
            Kind::Other("object", "{ files = [\"crl.pem\"] }"),
            None,
            "Where the lists come from. Must name one source at least where `enable_crl_check` is on; see below",
        ),
        key(
            "ocsp",
            Kind::Other("object", "{ enable_ocsp_stapling = true }"),
            None,
            "Stapled OCSP responses (RFC 6066); see below",
        ),
    ],
    foreign: emqx::SSL_OPTIONS,
};

pub(crate) const MANAGED_CERTS: Chapter = Chapter {
    path: "ssl_options.managed_certs[]",
    about: "A bundle of `node.data_dir`: `certs/global/BUNDLE/` or `certs/ns/NAMESPACE/BUNDLE/` with `chain.pem`, \
            `key.pem`, and where there are such, `ca.pem` and `key-password`. The first entry is the default one.",
    keys: &[
        key("bundle_name", Kind::Other("name", "mqtt"), None, "The bundle's directory. Must be given"),
        key(
            "namespace",
            Kind::Other("name", "acme"),
            None,
            "Whose it is: only connections of this namespace can be answered with it. Without it the bundle is everybody's",
        ),
        key(
            "sni",
            Kind::Other("DNS name", "\"*.example.org\""),
            None,
            "The name that it answers to, exact or with one leading `*.`, which stands for one label. Without it, the DNS \
             names in its certificate. Bundles of one namespace may have the same names, where their keys are of \
             different types (RSA, ECDSA, Ed25519) and their client CAs are the same: the first that the client can use \
             answers",
        ),
    ],
    foreign: &[],
};

pub(crate) const ADDITIONAL_CERTS: Chapter = Chapter {
    path: "ssl_options.additional_certs[]",
    about: "A certificate beside `certfile`, for the same names and with a key of another type: RSA, ECDSA and Ed25519 are \
            three. The first that the client can use answers, `certfile` before these, these in their order; so the one \
            that is preferred comes first.",
    keys: &[
        key("certfile", PEM, None, "As in `ssl_options`. Must be given"),
        key("keyfile", PEM, None, "As in `ssl_options`. Must be given"),
        key("password", Kind::Other("text or `file://PATH`", "\"file://word\""), None, "As in `ssl_options`"),
    ],
    foreign: &[],
};

pub(crate) const CRL: Chapter = Chapter {
    path: "ssl_options.crl",
    about: "Revocation lists (RFC 5280), as DER or PEM with any number of them. One is taken for a certificate if it bears \
            the name of the certificate's issuer, its signature is by the issuer's key, and its distribution point, where it \
            has one, is named in the certificate; of several that speak of the same certificates the newest counts. Delta \
            lists, indirect ones, those for some reasons alone, without `nextUpdate` or with a critical extension that is \
            not understood are not used, and named. Files are looked at each half second and read again when they have \
            changed; a file that is damaged, unfinished or gone leaves what it said before in force until that is outdated. \
            At the top of the configuration, `crl_cache { refresh_interval = 15m, http_timeout = 15s, capacity = 100 }` is \
            for the addresses of all listeners: the time between two fetches where a listener does not say, the longest \
            time of one, and how many there may be.",
    keys: &[
        key(
            "files",
            Kind::Other("list of paths", "[\"crl.pem\"]"),
            Some("[]"),
            "Files with lists. Each must be there and good at start",
        ),
        key(
            "directories",
            Kind::Other("list of paths", "[\"crls\"]"),
            Some("[]"),
            "The files in them are such files, but for those whose name begins with a dot. Each must have a list at start",
        ),
        key(
            "urls",
            Kind::Other("list of `http://` addresses", "[\"http://crl.example.org/plant.crl\"]"),
            Some("[]"),
            "Where such files are fetched, in the background and never by a handshake. Until the first one is there, \
             clients whose issuer has no list are refused. A list is fetched again before its end, too; an older one than \
             the last is not taken",
        ),
        key(
            "refresh_interval",
            Kind::Duration("1m", "7d"),
            None,
            "Between two fetches of an address; `crl_cache.refresh_interval` where it is absent",
        ),
        key(
            "outdated",
            Kind::Other("`refuse`, or `{ grace = DURATION }`", "{ grace = 12h }"),
            Some("refuse"),
            "What a list is worth after its `nextUpdate`: nothing, so that all whom it covers are refused; or what it was \
             worth before, for 1 minute to 365 days, with a warning in the log",
        ),
    ],
    foreign: &[],
};

pub(crate) const OCSP: Chapter = Chapter {
    path: "ssl_options.ocsp",
    about: "OCSP responses (RFC 6960) for the listener's certificates, several by name included, sent to clients that ask \
            for one (`status_request`). They are fetched in the background and never on the way of a handshake, verified \
            (status, certificate, signature of the issuer or of a responder that it appointed, time), and stapled within their \
            validity alone; without one, handshakes go on without. A certificate that demands one (must-staple, RFC 7633) \
            is asked about before the listener opens; if there is none, it is served without, and that is an error in the log. \
            A certificate that is revoked is served without too, and the log says so as an error.",
    keys: &[
        key("enable_ocsp_stapling", Kind::Switch, Some("false"), "Whether responses are fetched and stapled"),
        key(
            "responder_url",
            Kind::Other("`http://HOST/PATH`", "\"http://ocsp.example.org/\""),
            None,
            "Who is asked. Without it, the responder that each certificate names (authority information access)",
        ),
        key(
            "issuer_pem",
            PEM,
            None,
            "Issuers of the certificates. Without it, or where none of them fits, the next certificate of the chain is taken, \
             and else a fitting one of the CA file",
        ),
        key(
            "refresh_interval",
            Kind::Duration("1m", "168h"),
            Some("5m"),
            "The longest time from one response to the next. Half of what is left of a response's validity is never \
             exceeded. After a failure it is tried again after 5 s, and then at growing distances",
        ),
        key("refresh_http_timeout", Kind::Duration("100ms", "1m"), Some("15s"), "How long a responder may take"),
    ],
    foreign: &[],
};

/// The page.
pub fn markdown() -> String {
    let mut page = String::from(HEAD);
    for chapter in CHAPTERS {
        chapter_of(&mut page, chapter);
    }
    page
}

const HEAD: &str = "\
# Reference: TLS of a listener

Written by `cargo xtask reference` from `core/config/src/reference.rs`, which the reader of configurations is tested
against. Change it there.

All of this holds for `listeners.ssl.NAME` and `listeners.wss.NAME` alike. A path may be absolute, or relative to the working
directory; `${VARIABLE}` in it is replaced by the environment's value; a symbolic link is followed. Where a path or PEM is
taken, the PEM text itself may stand in the configuration. `postern check` tells of every key that is unknown, refused or
without effect, with file and line.
";

fn chapter_of(page: &mut String, chapter: &Chapter) {
    let _ = write!(page, "\n## `{}`\n\n{}\n", chapter.path, chapter.about);
    if !chapter.keys.is_empty() {
        page.push_str("\n| key | takes | default | meaning |\n| --- | --- | --- | --- |\n");
        for key in chapter.keys {
            let default = key.default.map_or_else(String::new, |default| format!("`{default}`"));
            let _ = writeln!(page, "| `{}` | {} | {default} | {} |", key.name, takes(key.kind), key.meaning);
        }
    }
    if !chapter.foreign.is_empty() {
        page.push_str("\nKeys of EMQX that nothing is done for:\n\n| key | taken |\n| --- | --- |\n");
        for foreign in chapter.foreign {
            let _ = writeln!(page, "| `{}` | {} |", foreign.key, accepted(foreign));
        }
    }
}

fn takes(kind: Kind) -> String {
    match kind {
        Kind::Switch => "`true`, `false`".to_owned(),
        Kind::Word(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Kind::Duration(least, most) => format!("duration, `{least}` to `{most}`"),
        Kind::Number(least, most) => format!("whole number, {least} to {most}"),
        Kind::Other(text, _) => text.to_owned(),
    }
}

fn accepted(foreign: &Foreign) -> String {
    let taken = match foreign.same {
        Same::Never => "never".to_owned(),
        Same::When(values) => {
            let values: Vec<String> = values.iter().map(|value| format!("`{}`", quoted(value))).collect();
            format!("only as {}, which is what happens anyway", values.join(" or "))
        }
        Same::Any(why) => format!("with a warning: {why}"),
    };
    foreign.instead.map_or_else(|| taken.clone(), |(why, hint)| format!("{taken}: {why}. Instead: {hint}"))
}

fn quoted(value: &str) -> &str {
    if value.is_empty() { "\"\"" } else { value }
}
