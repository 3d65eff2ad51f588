//! Reads bundles: from `DATA_DIR/certs`, or from the files that a listener names.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_config::{CertSource, Listener, Origin, PasswordSource, PemSource, Problem, Spanned, Tls};
use postern_identity::{BundleName, BundleRef, Namespace};
use postern_tls::{Bundle, ClientAuth, KeyringEntry, PemSet};

/// Longest file that is read as PEM, in bytes.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// The bundles read so far; each directory is read once, however many listeners name it.
pub(super) struct Bundles {
    certs_dir: PathBuf,
    now_unix_s: i64,
    managed: HashMap<BundleRef, Arc<Bundle>>,
    warnings: Vec<Problem>,
}

/// One set of PEM texts, wiped by their owner's drop where they are secret.
struct Texts {
    chain: Vec<u8>,
    key: zeroize::Zeroizing<Vec<u8>>,
    ca: Option<Vec<u8>>,
    password: Option<zeroize::Zeroizing<Vec<u8>>>,
}

impl Bundles {
    pub(super) fn new(data_dir: &Path, now_unix_s: i64) -> Self {
        Self { certs_dir: data_dir.join("certs"), now_unix_s, managed: HashMap::new(), warnings: Vec::new() }
    }

    pub(super) fn into_warnings(self) -> Vec<Problem> {
        self.warnings
    }

    /// The bundles of a listener, the default one first. Collects every problem.
    pub(super) fn of_listener(
        &mut self,
        listener: &Listener,
        tls: &Tls,
        auth: ClientAuth,
    ) -> Result<Vec<KeyringEntry>, Vec<Problem>> {
        let path = format!("listeners.{}.{}.ssl_options", listener.kind.word(), listener.name);
        match &tls.source {
            CertSource::Files { certfile, keyfile, password } => {
                let bundle = self
                    .files(&path, tls, (certfile, keyfile, password.as_ref()))
                    .and_then(|bundle| wants_ca(bundle, auth, &path, &certfile.at))
                    .map_err(|problem| vec![problem])?;
                Ok(vec![KeyringEntry { bundle, sni: None }])
            }
            CertSource::Managed(entries) => {
                let mut found = Vec::new();
                let mut problems = Vec::new();
                for (index, entry) in entries.iter().enumerate() {
                    let path = format!("{path}.managed_certs[{index}]");
                    let bundle = self
                        .managed(&entry.value.bundle, &path, &entry.at)
                        .and_then(|bundle| wants_ca(bundle, auth, &path, &entry.at));
                    match bundle {
                        Ok(bundle) => found.push(KeyringEntry { bundle, sni: entry.value.sni.clone() }),
                        Err(problem) => problems.push(problem),
                    }
                }
                if problems.is_empty() { Ok(found) } else { Err(problems) }
            }
        }
    }

    fn managed(&mut self, name: &BundleRef, path: &str, at: &Origin) -> Result<Arc<Bundle>, Problem> {
        if let Some(bundle) = self.managed.get(name) {
            return Ok(Arc::clone(bundle));
        }
        let dir = match &name.namespace {
            Namespace::Global => self.certs_dir.join("global"),
            Namespace::Tenant(tenant) => self.certs_dir.join("ns").join(tenant.as_str()),
        }
        .join(name.name.as_str());
        let texts = read_dir(&dir).map_err(|text| Problem {
            path: path.to_owned(),
            at: at.clone(),
            text: format!("the bundle {name} cannot be read: {text}"),
            hint: Some(format!(
                "a bundle is chain.pem, key.pem and, for client certificates, ca.pem in {}",
                dir.display()
            )),
        })?;
        let bundle = self.parse(name.clone(), &texts, path, at, &dir.display().to_string())?;
        self.managed.insert(name.clone(), Arc::clone(&bundle));
        Ok(bundle)
    }

    fn files(
        &mut self,
        path: &str,
        tls: &Tls,
        (certfile, keyfile, password): (&Spanned<PemSource>, &Spanned<PemSource>, Option<&Spanned<PasswordSource>>),
    ) -> Result<Arc<Bundle>, Problem> {
        let texts = Texts {
            chain: read_source(certfile, &format!("{path}.certfile"))?,
            key: read_source(keyfile, &format!("{path}.keyfile"))?.into(),
            ca: tls.cacertfile.as_ref().map(|ca| read_source(ca, &format!("{path}.cacertfile"))).transpose()?,
            password: password.map(|password| read_password(password, &format!("{path}.password"))).transpose()?,
        };
        let name = BundleName::new("certfile").expect("the word is a valid name");
        let name = BundleRef { namespace: Namespace::Global, name };
        self.parse(name, &texts, path, &certfile.at, "certfile, keyfile and cacertfile")
    }

    fn parse(
        &mut self,
        name: BundleRef,
        texts: &Texts,
        path: &str,
        at: &Origin,
        from: &str,
    ) -> Result<Arc<Bundle>, Problem> {
        let set = PemSet {
            chain: &texts.chain,
            key: &texts.key,
            ca: texts.ca.as_deref(),
            password: texts.password.as_deref().map(Vec::as_slice),
        };
        let (bundle, warnings) = Bundle::from_pem(name, set, self.now_unix_s).map_err(|error| Problem {
            path: path.to_owned(),
            at: at.clone(),
            text: error.to_string(),
            hint: Some(format!("read from {from}")),
        })?;
        self.warnings.extend(warnings.into_iter().map(|warning| Problem {
            path: path.to_owned(),
            at: at.clone(),
            text: warning.to_string(),
            hint: Some(format!("read from {from}")),
        }));
        Ok(Arc::new(bundle))
    }
}

/// Client certificates can only be verified against the bundle's own CA, never against another's.
fn wants_ca(bundle: Arc<Bundle>, auth: ClientAuth, path: &str, at: &Origin) -> Result<Arc<Bundle>, Problem> {
    match postern_tls::check_client_auth(&bundle, auth) {
        Ok(()) => Ok(bundle),
        Err(error) => Err(Problem {
            path: path.to_owned(),
            at: at.clone(),
            text: error.to_string(),
            hint: Some("give it a CA (ca.pem, or cacertfile), or set verify = verify_none".to_owned()),
        }),
    }
}

fn read_dir(dir: &Path) -> Result<Texts, String> {
    let text = |name: &str| read_file(&dir.join(name), PEM_BYTES_MAX);
    let optional = |name: &str| match dir.join(name).try_exists() {
        Ok(false) => Ok(None),
        _ => text(name).map(Some),
    };
    Ok(Texts {
        chain: text("chain.pem")?,
        key: text("key.pem")?.into(),
        ca: optional("ca.pem")?,
        password: optional("key-password")?.map(first_line),
    })
}

fn read_source(source: &Spanned<PemSource>, path: &str) -> Result<Vec<u8>, Problem> {
    match &source.value {
        PemSource::Inline(pem) => Ok(pem.expose().as_bytes().to_vec()),
        PemSource::Path(file) => read_file(file, PEM_BYTES_MAX).map_err(|text| Problem {
            path: path.to_owned(),
            at: source.at.clone(),
            text,
            hint: None,
        }),
    }
}

fn read_password(source: &Spanned<PasswordSource>, path: &str) -> Result<zeroize::Zeroizing<Vec<u8>>, Problem> {
    match &source.value {
        PasswordSource::Inline(password) => Ok(password.expose().as_bytes().to_vec().into()),
        PasswordSource::File(file) => read_file(file, PEM_BYTES_MAX).map(first_line).map_err(|text| Problem {
            path: path.to_owned(),
            at: source.at.clone(),
            text,
            hint: None,
        }),
    }
}

/// A password file's text without its line end.
fn first_line(mut text: Vec<u8>) -> zeroize::Zeroizing<Vec<u8>> {
    while text.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        text.pop();
    }
    text.into()
}

/// A file's bytes, or in words why not.
pub(super) fn read_file(file: &Path, max_bytes: u64) -> Result<Vec<u8>, String> {
    let shown = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let said = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no file {}", shown.display()),
        io::ErrorKind::PermissionDenied => format!("{} may not be read by this user", shown.display()),
        _ => format!("{}: {error}", shown.display()),
    };
    let length = std::fs::metadata(file).map_err(said)?.len();
    if length > max_bytes {
        return Err(format!("{} has {length} bytes, at most {max_bytes} are read", shown.display()));
    }
    std::fs::read(file).map_err(said)
}
