//! Reads bundles: from `DATA_DIR/certs`, or from the files that a listener names.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use postern_config::{
    CertFiles, CertSource, Listener, Origin, PartialChain, PasswordSource, PemSource, Problem, Spanned, Tls,
};
use postern_identity::{BundleName, BundleRef, Namespace};
use postern_tls::{Anchors, Bundle, ClientAuth, Keyring, KeyringEntry, KeyringError, PemSet};

use super::stamps::Stamps;

/// Longest file that is read as PEM, in bytes.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// Bundles by the SHA-256 of their name and texts. One that says what it said stays the same bundle, and what was made
/// for it stays good.
pub(super) type Known = HashMap<Digest, KnownBundle>;

type Digest = [u8; digest::SHA256_OUTPUT_LEN];

/// A bundle, and what there was to say of it when it was read.
#[derive(Clone)]
pub(super) struct KnownBundle {
    pub(super) bundle: Arc<Bundle>,
    warnings: Arc<[String]>,
}

/// The bundles read so far; each directory is read once, however many listeners name it.
pub(super) struct Bundles<'k> {
    certs_dir: PathBuf,
    now_unix_s: i64,
    managed: HashMap<BundleRef, Result<Arc<Bundle>, Problem>>,
    /// Those of the last time.
    before: &'k Memory,
    /// The files of the last time as they are now, where that was looked at.
    files: Option<&'k Stamps>,
    found: Found,
}

/// What was read, for the next time.
#[derive(Default)]
pub(super) struct Memory {
    /// All bundles.
    pub(super) known: Known,
    /// What the managed ones said.
    managed: HashMap<BundleRef, Digest>,
    /// The files that were looked for, as they were before they were read.
    pub(super) read: Stamps,
}

/// What came of reading.
#[derive(Default)]
pub(super) struct Found {
    pub(super) memory: Memory,
    /// Of the bundles that were not known.
    pub(super) warnings: Vec<Problem>,
    /// Why bundles that are served cannot be read any more.
    pub(super) refused: Vec<Problem>,
}

/// One set of PEM texts, wiped by their owner's drop where they are secret.
struct Texts {
    chain: Vec<u8>,
    key: zeroize::Zeroizing<Vec<u8>>,
    ca: Option<Vec<u8>>,
    password: Option<zeroize::Zeroizing<Vec<u8>>>,
}

impl<'k> Bundles<'k> {
    pub(super) fn new(data_dir: &Path, now_unix_s: i64, before: &'k Memory, files: Option<&'k Stamps>) -> Self {
        let certs_dir = data_dir.join("certs");
        Self { certs_dir, now_unix_s, managed: HashMap::new(), before, files, found: Found::default() }
    }

    pub(super) fn into_found(self) -> Found {
        self.found
    }

    /// The bundles of a listener, the default one first. Collects every problem. Where one cannot be had that
    /// `serving` has, that one stays.
    pub(super) fn of_listener(
        &mut self,
        listener: &Listener,
        tls: &Tls,
        auth: ClientAuth,
        serving: Option<&Keyring>,
    ) -> Result<Vec<KeyringEntry>, Vec<Problem>> {
        let path = format!("listeners.{}.{}.ssl_options", listener.kind.word(), listener.name);
        match &tls.source {
            CertSource::Files { files, additional } => self.of_files(&path, tls, auth, (files, additional), serving),
            CertSource::Managed(entries) => {
                let mut found = Vec::new();
                let mut problems = Vec::new();
                for (index, entry) in entries.iter().enumerate() {
                    let path = format!("{path}.managed_certs[{index}]");
                    let bundle = self
                        .managed(&entry.value.bundle, &path, &entry.at)
                        .and_then(|bundle| wants_ca(bundle, (auth, anchors(tls)), &path, &entry.at));
                    let served = serving.and_then(|keyring| keyring.bundle(&entry.value.bundle));
                    match self.or_served(bundle, served) {
                        Ok(bundle) => {
                            let sni = entry.value.sni.clone();
                            found.push(KeyringEntry { bundle, sni, siblings: Vec::new() });
                        }
                        Err(problem) => problems.push(problem),
                    }
                }
                if problems.is_empty() { Ok(found) } else { Err(problems) }
            }
        }
    }

    /// A bundle that is served stays where it cannot be had any more.
    fn or_served(
        &mut self,
        bundle: Result<Arc<Bundle>, Problem>,
        served: Option<&Arc<Bundle>>,
    ) -> Result<Arc<Bundle>, Problem> {
        match (bundle, served) {
            (Err(problem), Some(served)) => {
                // Once, however many listeners have it.
                let is_told = |told: &Problem| (&told.text, &told.hint) == (&problem.text, &problem.hint);
                if !self.found.refused.iter().any(is_told) {
                    self.found.refused.push(problem);
                }
                Ok(Arc::clone(served))
            }
            (bundle, _) => bundle,
        }
    }

    fn managed(&mut self, name: &BundleRef, path: &str, at: &Origin) -> Result<Arc<Bundle>, Problem> {
        if let Some(bundle) = self.managed.get(name) {
            let here = |problem| Problem { path: path.to_owned(), at: at.clone(), ..problem };
            return bundle.clone().map_err(here);
        }
        let bundle = self.read_managed(name, path, at);
        self.managed.insert(name.clone(), bundle.clone());
        bundle
    }

    fn read_managed(&mut self, name: &BundleRef, path: &str, at: &Origin) -> Result<Arc<Bundle>, Problem> {
        let dir = match &name.namespace {
            Namespace::Global => self.certs_dir.join("global"),
            Namespace::Tenant(tenant) => self.certs_dir.join("ns").join(tenant.as_str()),
        }
        .join(name.name.as_str());
        if let Some(bundle) = self.unchanged(name, &dir) {
            return Ok(bundle);
        }
        let texts = self.read_dir(&dir).map_err(|text| Problem {
            path: path.to_owned(),
            at: at.clone(),
            text: format!("the bundle {name} cannot be read: {text}"),
            hint: Some(format!(
                "a bundle is chain.pem, key.pem and, for client certificates, ca.pem in {}",
                dir.display()
            )),
        })?;
        let bundle = self.parse(name.clone(), &texts, path, at, &dir.display().to_string())?;
        self.found.memory.managed.insert(name.clone(), texts.digest(name));
        Ok(bundle)
    }

    /// The bundle of the last time, where none of its files has changed since: among thousands, all but one.
    fn unchanged(&mut self, name: &BundleRef, dir: &Path) -> Option<Arc<Bundle>> {
        let (digest, files) = (self.before.managed.get(name)?, self.files?);
        let known = self.before.known.get(digest)?;
        if self.before.read.below(dir).ne(files.below(dir)) {
            return None;
        }
        let memory = &mut self.found.memory;
        memory.read.copy_below(dir, files);
        memory.managed.insert(name.clone(), *digest);
        memory.known.insert(*digest, known.clone());
        Some(Arc::clone(&known.bundle))
    }

    fn of_files(
        &mut self,
        path: &str,
        tls: &Tls,
        auth: ClientAuth,
        (files, additional): (&CertFiles, &[CertFiles]),
        serving: Option<&Keyring>,
    ) -> Result<Vec<KeyringEntry>, Vec<Problem>> {
        let mut read = |path: &str, name: &str, files: &CertFiles| {
            let name = BundleName::new(name).expect("the words and digits are a valid name");
            let name = BundleRef { namespace: Namespace::Global, name };
            let bundle = self.files(path, name.clone(), tls, files);
            let bundle = bundle.and_then(|bundle| wants_ca(bundle, (auth, anchors(tls)), path, &files.certfile.at));
            self.or_served(bundle, serving.and_then(|keyring| keyring.bundle(&name)))
        };
        let first = read(path, "certfile", files);
        let others = additional.iter().enumerate().map(|(index, files)| {
            let path = format!("{path}.additional_certs[{index}]");
            read(&path, &format!("additional-certfile-{}", index + 1), files)
        });
        let (others, mut problems): (Vec<_>, Vec<_>) = others.partition(Result::is_ok);
        let siblings: Vec<_> = others.into_iter().flatten().collect();
        let first = match first {
            Ok(first) if problems.is_empty() => first,
            first => {
                problems.insert(0, first);
                return Err(problems.into_iter().filter_map(Result::err).collect());
            }
        };
        for (index, sibling) in siblings.iter().enumerate() {
            let path = format!("{path}.additional_certs[{index}]");
            self.found.warnings.extend(names_missing(&first, sibling, &path, &additional[index].certfile.at));
        }
        Ok(vec![KeyringEntry { bundle: first, sni: None, siblings }])
    }

    fn files(&mut self, path: &str, name: BundleRef, tls: &Tls, files: &CertFiles) -> Result<Arc<Bundle>, Problem> {
        let CertFiles { certfile, keyfile, password } = files;
        let password = password.as_ref();
        let texts = Texts {
            chain: self.read_source(certfile, &format!("{path}.certfile"))?,
            key: self.read_source(keyfile, &format!("{path}.keyfile"))?.into(),
            ca: tls.cacertfile.as_ref().map(|ca| self.read_source(ca, &format!("{path}.cacertfile"))).transpose()?,
            password: password.map(|password| self.read_password(password, &format!("{path}.password"))).transpose()?,
        };
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
        let digest = texts.digest(&name);
        if let Some(known) = self.before.known.get(&digest) {
            self.found.memory.known.insert(digest, known.clone());
            return Ok(Arc::clone(&known.bundle));
        }
        let hint = Some(format!("read from {from}"));
        let problem = |text: String| Problem { path: path.to_owned(), at: at.clone(), text, hint: hint.clone() };
        let known = match self.found.memory.known.entry(digest) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => {
                let set = PemSet {
                    chain: &texts.chain,
                    key: &texts.key,
                    ca: texts.ca.as_deref(),
                    password: texts.password.as_deref().map(Vec::as_slice),
                };
                let read = Bundle::from_pem(name, set, self.now_unix_s);
                let (bundle, warnings) = read.map_err(|error| problem(error.to_string()))?;
                let warnings = warnings.iter().map(ToString::to_string).collect();
                vacant.insert(KnownBundle { bundle: Arc::new(bundle), warnings })
            }
        };
        self.found.warnings.extend(known.warnings.iter().cloned().map(problem));
        Ok(Arc::clone(&known.bundle))
    }

    fn read_dir(&mut self, dir: &Path) -> Result<Texts, String> {
        let mut optional = |name: &str| {
            let file = dir.join(name);
            self.found.memory.read.note(&file);
            match file.try_exists() {
                Ok(false) => Ok(None),
                _ => read_file(&file, PEM_BYTES_MAX).map(Some),
            }
        };
        let (ca, password) = (optional("ca.pem"), optional("key-password"));
        Ok(Texts {
            chain: self.read_pem(&dir.join("chain.pem"))?,
            key: self.read_pem(&dir.join("key.pem"))?.into(),
            ca: ca?,
            password: password?.map(first_line),
        })
    }

    fn read_source(&mut self, source: &Spanned<PemSource>, path: &str) -> Result<Vec<u8>, Problem> {
        match &source.value {
            PemSource::Inline(pem) => Ok(pem.expose().as_bytes().to_vec()),
            PemSource::Path(file) => self.read_pem(file).map_err(|text| unreadable(path, &source.at, text)),
        }
    }

    fn read_password(
        &mut self,
        source: &Spanned<PasswordSource>,
        path: &str,
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, Problem> {
        match &source.value {
            PasswordSource::Inline(password) => Ok(password.expose().as_bytes().to_vec().into()),
            PasswordSource::File(file) => {
                self.read_pem(file).map(first_line).map_err(|text| unreadable(path, &source.at, text))
            }
        }
    }

    /// The issuers' file for OCSP is one of those whose change is seen.
    pub(super) fn look_after_issuers(&mut self, tls: &Tls) {
        let issuers = tls.stapling.as_ref().and_then(|stapling| stapling.issuer_pem.as_ref());
        if let Some(PemSource::Path(file)) = issuers.map(|source| &source.value) {
            self.found.memory.read.note(file);
        }
    }

    fn read_pem(&mut self, file: &Path) -> Result<Vec<u8>, String> {
        self.found.memory.read.note(file);
        read_file(file, PEM_BYTES_MAX)
    }
}

impl Texts {
    /// Of everything that a bundle is made of, and its name.
    fn digest(&self, name: &BundleRef) -> Digest {
        let Self { chain, key, ca, password } = self;
        let mut context = digest::Context::new(&digest::SHA256);
        let name = name.to_string();
        let password = password.as_deref().map(Vec::as_slice);
        for part in [Some(name.as_bytes()), Some(chain), Some(key.as_slice()), ca.as_deref(), password] {
            // An absent text is not an empty one.
            context.update(&part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
            context.update(part.unwrap_or_default());
        }
        let mut out = [0; digest::SHA256_OUTPUT_LEN];
        out.copy_from_slice(context.finish().as_ref());
        out
    }
}

fn unreadable(path: &str, at: &Origin, text: String) -> Problem {
    Problem { path: path.to_owned(), at: at.clone(), text, hint: None }
}

/// Client certificates can only be verified against the bundle's own CA, never against another's.
fn wants_ca(
    bundle: Arc<Bundle>,
    (auth, anchors): (ClientAuth, Anchors),
    path: &str,
    at: &Origin,
) -> Result<Arc<Bundle>, Problem> {
    match postern_tls::check_client_auth(&bundle, auth, anchors) {
        Ok(()) => Ok(bundle),
        Err(error) => Err(Problem {
            path: path.to_owned(),
            at: at.clone(),
            text: error.to_string(),
            hint: Some("give it a CA (ca.pem, or cacertfile), or set verify = verify_none".to_owned()),
        }),
    }
}

/// `partial_chain`
pub(super) fn anchors(tls: &Tls) -> Anchors {
    let last = match tls.client_path.partial_chain {
        PartialChain::Roots => 0,
        PartialChain::Last => 1,
        PartialChain::LastTwo => 2,
    };
    Anchors { last }
}

/// Bundles that are good by themselves, and do not go together on this listener: told at the entry of the one that came
/// second.
pub(super) fn misfit(error: &KeyringError, listener: &Listener, tls: &Tls) -> Problem {
    let options = format!("listeners.{}.{}.ssl_options", listener.kind.word(), listener.name);
    let entry = match (error, &tls.source) {
        (KeyringError::NameTwice { name, second, .. }, CertSource::Managed(entries)) => entries
            .iter()
            .position(|entry| entry.value.bundle == *second && entry.value.sni.as_ref() == Some(name))
            .map(|index| (format!("managed_certs[{index}]"), entries[index].at.clone())),
        (KeyringError::NamesDiffer { second, .. }, CertSource::Managed(entries)) => entries
            .iter()
            .position(|entry| entry.value.bundle == *second)
            .map(|index| (format!("managed_certs[{index}]"), entries[index].at.clone())),
        (_, CertSource::Files { additional, .. }) => {
            additional.last().map(|files| ("additional_certs".to_owned(), files.certfile.at.clone()))
        }
        _ => None,
    };
    let (path, at) = match entry {
        Some((entry, at)) => (format!("{options}.{entry}"), at),
        None => (options, listener.at.clone()),
    };
    Problem { path, at, text: error.to_string(), hint: None }
}

/// A certificate that answers in another's place should be good for the same names.
fn names_missing(first: &Bundle, sibling: &Bundle, path: &str, at: &Origin) -> Option<Problem> {
    let missing = first.dns_names().iter().find(|name| !sibling.dns_names().contains(name))?;
    Some(Problem {
        path: path.to_owned(),
        at: at.clone(),
        text: format!("the certificate has not the name `{missing}`, which the one that it stands in for has"),
        hint: Some("clients that get it will refuse it; have both issued for the same names".to_owned()),
    })
}

/// A password file's text without its line end.
fn first_line(mut text: Vec<u8>) -> zeroize::Zeroizing<Vec<u8>> {
    while text.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        text.pop();
    }
    text.into()
}

/// A file's bytes, or in words why not.
pub(crate) fn read_file(file: &Path, max_bytes: u64) -> Result<Vec<u8>, String> {
    let shown = shown(file);
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

/// As it is shown: wherever the process is, it is found.
pub(crate) fn shown(file: &Path) -> PathBuf {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
}
