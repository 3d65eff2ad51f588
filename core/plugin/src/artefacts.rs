//! Compiled components on disk, so that a restart does not compile again.
//!
//! An artefact is machine code, and loading it is as much as running it. Each one therefore carries an
//! HMAC-SHA256 under a random key that lies beside it, both readable for this user alone; one that does
//! not verify is compiled anew and overwritten.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac, rand};
use postern_identity::certificate::hex;
use tracing::{debug, warn};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::failure::{HostError, LoadError};
use crate::native::{self, TrustedArtefact};

const KEY_FILE: &str = "key";
const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = digest::SHA256_OUTPUT_LEN;
const EXTENSION: &str = "artefact";
/// Artefacts that are kept; the oldest go first. A component of an interpreted language makes 40 MB.
const MAX_ARTEFACTS: usize = 64;
/// Largest artefact that is read back.
const MAX_ARTEFACT_BYTES: u64 = 512 << 20;
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const OTHERS: u32 = 0o077;

/// The directory of compiled components.
pub(crate) struct Artefacts {
    dir: PathBuf,
    key: hmac::Key,
}

impl Artefacts {
    /// Makes the directory and its key where they are missing, and closes the directory to others.
    pub(crate) fn open(dir: PathBuf) -> Result<Self, HostError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| HostError::Cache { path, source }
        };
        DirBuilder::new().recursive(true).mode(DIR_MODE).create(&dir).map_err(at(&dir))?;
        fs::set_permissions(&dir, Permissions::from_mode(DIR_MODE)).map_err(at(&dir))?;
        let path = dir.join(KEY_FILE);
        let secret = match read_key(&path).map_err(at(&path))? {
            Some(secret) => secret,
            None => new_key(&path)?,
        };
        Ok(Self { dir, key: hmac::Key::new(hmac::HMAC_SHA256, &secret) })
    }

    /// The component, from the cache or freshly compiled. Takes up to seconds; not for a worker thread.
    pub(crate) fn component(&self, engine: &Engine, bytes: &[u8]) -> Result<Component, LoadError> {
        let name = artefact_name(engine, bytes);
        if let Some(component) = self.cached(engine, &name) {
            return Ok(component);
        }
        let component = Component::new(engine, bytes).map_err(|e| LoadError::Compile(format!("{e:#}")))?;
        match component.serialize() {
            Ok(artefact) => self.keep(&name, &artefact),
            Err(error) => warn!(%error, "a compiled plugin could not be serialised; it will be compiled again"),
        }
        Ok(component)
    }

    fn cached(&self, engine: &Engine, name: &str) -> Option<Component> {
        let sealed = read_bounded(&self.path(name)).ok()?;
        let Some(artefact) = self.verified(name, &sealed) else {
            warn!(artefact = name, "a compiled plugin in the cache was damaged or changed; it is compiled again");
            return None;
        };
        native::load(engine, &artefact)
            .inspect_err(|error| debug!(artefact = name, %error, "a compiled plugin is of another build"))
            .ok()
    }

    fn verified<'a>(&self, name: &str, sealed: &'a [u8]) -> Option<TrustedArtefact<'a>> {
        let (tag, artefact) = sealed.split_at_checked(TAG_BYTES)?;
        verify_slices_are_equal(self.tag(name, artefact).as_ref(), tag).ok()?;
        Some(TrustedArtefact::vouched_for(artefact))
    }

    /// The name is part of what is authenticated: an artefact cannot stand in for another one.
    fn tag(&self, name: &str, artefact: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(name.as_bytes());
        context.update(&[0]);
        context.update(artefact);
        context.sign()
    }

    /// A cache that cannot be written costs time at the next start and nothing else.
    fn keep(&self, name: &str, artefact: &[u8]) {
        let tag = self.tag(name, artefact);
        match write_new(&self.path(name), &[tag.as_ref(), artefact]) {
            Ok(()) => self.prune(),
            Err(error) => warn!(artefact = name, %error, "a compiled plugin could not be kept"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name).with_extension(EXTENSION)
    }

    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        let mut artefacts: Vec<_> = entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION))
            .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
            .collect();
        artefacts.sort();
        let surplus = artefacts.len().saturating_sub(MAX_ARTEFACTS);
        for (_, path) in artefacts.drain(..surplus) {
            // Another process of the same cache may have been quicker.
            let _ = fs::remove_file(path);
        }
    }
}

/// `SHA-256 of the component`-`hash of wasmtime's version and configuration`. The second is a short-cut
/// only: wasmtime checks both again when it loads.
fn artefact_name(engine: &Engine, bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let digest = digest::digest(&digest::SHA256, bytes);
    format!("{}-{:016x}", hex(digest.as_ref()), hasher.finish())
}

/// The key, or none where there is none, it has the wrong length, or others could read it.
fn read_key(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if metadata.len() != KEY_BYTES as u64 || metadata.mode() & OTHERS != 0 {
        return Ok(None);
    }
    let mut secret = Vec::with_capacity(KEY_BYTES);
    file.read_to_end(&mut secret)?;
    Ok(Some(secret))
}

fn new_key(path: &Path) -> Result<Vec<u8>, HostError> {
    let mut secret = vec![0; KEY_BYTES];
    rand::fill(&mut secret).map_err(|_| HostError::Random)?;
    write_new(path, &[&secret]).map_err(|source| HostError::Cache { path: path.to_owned(), source })?;
    Ok(secret)
}

/// Whole or not at all: written beside its place, then renamed.
fn write_new(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let beside = path.with_extension(format!("{}-{serial}.new", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&beside)?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        fs::rename(&beside, path)
    };
    write().inspect_err(|_| {
        // What was left behind is of no use to anyone.
        let _ = fs::remove_file(&beside);
    })
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    if file.metadata()?.len() > MAX_ARTEFACT_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = Vec::new();
    file.take(MAX_ARTEFACT_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}
