//! The set of certificates that the demonstration uses.
//!
//! ```text
//! ROOT/ca/server-ca.{pem,key}            signs what the broker shows
//! ROOT/ca/{global,acme,globex}.{pem,key} sign what devices show, one for each tenant
//! ROOT/data/certs/global/default/        {chain,key,ca}.pem
//! ROOT/data/certs/ns/TENANT/mqtt/        {chain,key,ca}.pem
//! ROOT/devices/OWNER/NAME.{pem,key}
//! ROOT/set.json                          written last: the digest of every file above
//! ```
//!
//! The set is used whole or made anew whole: no certificate of one generation meets the authority of another.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DnType, SanType};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

use super::authority::{LEAF_DAYS, device, device_named, server, valid_for_days};
use super::files::{self, Readers};
use super::{Ca, PkiError};

/// Counts up when the set changes, so that an older one is made anew.
const FORMAT: u32 = 1;

/// A set is replaced when less than this is left of it: nobody wants it to end during a demonstration.
const DAYS_LEFT_MIN: i64 = 2;

/// A server certificate of the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bundle {
    /// The tenant, or none for the global one.
    pub namespace: Option<&'static str>,
    /// The bundle's name.
    pub name: &'static str,
    /// What the certificate is for; the first is the name to ask for.
    pub names: &'static [&'static str],
}

impl Bundle {
    /// `global/default` or `acme/mqtt`: as people read it.
    pub fn label(&self) -> String {
        format!("{}/{}", self.owner(), self.name)
    }

    fn owner(&self) -> &'static str {
        self.namespace.unwrap_or("global")
    }

    fn directory(&self) -> PathBuf {
        match self.namespace {
            Some(namespace) => Path::new("data/certs/ns").join(namespace).join(self.name),
            None => Path::new("data/certs/global").join(self.name),
        }
    }
}

/// The global default and the two tenants.
const BUNDLES: [Bundle; 3] = [
    Bundle { namespace: None, name: "default", names: &["localhost", "127.0.0.1", "::1"] },
    Bundle { namespace: Some("acme"), name: "mqtt", names: &["mqtt.acme.example.org"] },
    Bundle { namespace: Some("globex"), name: "mqtt", names: &["mqtt.globex.example.org"] },
];

/// The one field of a certificate that names the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    CommonName(&'static str),
    Uri(&'static str),
    Dns(&'static str),
    /// Only where it was made: nothing that names it.
    Organisation(&'static str),
}

/// A device of the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Whose CA signed it; `global` for none of the tenants.
    pub owner: &'static str,
    /// The file's name, and the client identifier that its rules allow.
    pub name: &'static str,
    /// The server name that it asks for.
    pub server_name: &'static str,
    field: Field,
}

impl Device {
    /// The same device, asking for another name.
    #[must_use]
    pub fn asking_for(self, server_name: &'static str) -> Self {
        Self { server_name, ..self }
    }

    /// `acme/sensor-1`
    pub fn label(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// The field that names it, as people read it.
    pub fn field(&self) -> String {
        match self.field {
            Field::CommonName(name) => format!("CN={name}"),
            Field::Uri(uri) => format!("URI:{uri}"),
            Field::Dns(name) => format!("DNS:{name}"),
            Field::Organisation(name) => format!("O={name}"),
        }
    }

    fn params(&self) -> Result<CertificateParams, PkiError> {
        let mut params = device();
        match self.field {
            Field::CommonName(name) => return Ok(device_named(name)),
            Field::Uri(uri) => params.subject_alt_names.push(SanType::URI(uri.try_into()?)),
            Field::Dns(name) => params.subject_alt_names.push(SanType::DnsName(name.try_into()?)),
            Field::Organisation(name) => params.distinguished_name.push(DnType::OrganizationName, name),
        }
        Ok(params)
    }
}

/// The devices that are let in, by all three fields that name one.
pub const DEVICES: [Device; 5] = [
    Device {
        owner: "acme",
        name: "sensor-1",
        server_name: "mqtt.acme.example.org",
        field: Field::CommonName("sensor-1"),
    },
    Device {
        owner: "acme",
        name: "gateway-7",
        server_name: "mqtt.acme.example.org",
        field: Field::Uri("spiffe://acme.example.org/gateway-7"),
    },
    Device {
        owner: "globex",
        name: "meter-3",
        server_name: "mqtt.globex.example.org",
        field: Field::Dns("meter-3.globex.example.org"),
    },
    Device { owner: "global", name: "console", server_name: "localhost", field: Field::CommonName("console") },
    Device { owner: "global", name: "lamp", server_name: "localhost", field: Field::CommonName("lamp") },
];

/// The device whose certificate names nobody: it is refused.
pub const NAMELESS: Device = Device {
    owner: "acme",
    name: "nameless",
    server_name: "mqtt.acme.example.org",
    field: Field::Organisation("Acme Ltd"),
};

/// A device by its label, for example `acme/sensor-1`.
pub fn named(label: &str) -> Option<Device> {
    DEVICES.into_iter().find(|device| device.label() == label)
}

/// What [`ensure`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prepared {
    /// The set of an earlier run is good.
    Reused,
    /// There was none.
    Made,
    /// There was one, but not a good one.
    Replaced {
        /// What was wrong with it.
        because: String,
    },
}

/// The set on disk.
#[derive(Debug, Clone)]
pub struct Set {
    root: PathBuf,
    /// How it came about.
    pub prepared: Prepared,
    /// When its first certificate ends.
    pub valid_until: OffsetDateTime,
}

impl Set {
    /// The authority that signed what the broker shows: what a client must trust.
    pub fn server_ca(&self) -> PathBuf {
        self.root.join("ca/server-ca.pem")
    }

    /// A device's certificate.
    pub fn certificate_of(&self, device: &Device) -> PathBuf {
        self.root.join(device_file(device, "pem"))
    }

    /// A device's key.
    pub fn key_of(&self, device: &Device) -> PathBuf {
        self.root.join(device_file(device, "key"))
    }

    /// Reads certificates.
    pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| PkiError::Content { path: path.to_owned(), what: error.to_string() })
    }

    /// Reads a key. The error says nothing of its content.
    pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, PkiError> {
        PrivateKeyDer::from_pem_file(path)
            .map_err(|_| PkiError::Content { path: path.to_owned(), what: "not a private key in PEM".to_owned() })
    }

    /// The bundle whose certificate this is.
    pub fn bundle_of(&self, leaf: &CertificateDer<'_>) -> Option<Bundle> {
        BUNDLES.into_iter().find(|bundle| {
            Self::read_certificates(&self.root.join(bundle.directory()).join("chain.pem"))
                .is_ok_and(|chain| chain.first() == Some(leaf))
        })
    }
}

/// What `set.json` holds.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    /// Seconds since the Unix epoch.
    valid_until: i64,
    /// SHA-256 of each file, by its path below the root.
    files: BTreeMap<String, String>,
}

/// Makes the set below `root`, or takes the one that is there if every file of it is as it was written
/// and stays valid for two more days.
pub fn ensure(root: &Path, now: OffsetDateTime) -> Result<Set, PkiError> {
    let manifest_path = root.join("set.json");
    let prepared = match fs::read(&manifest_path) {
        Ok(text) => match check(root, &text, now) {
            Ok(valid_until) => return Ok(Set { root: root.to_owned(), prepared: Prepared::Reused, valid_until }),
            Err(because) => Prepared::Replaced { because },
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Prepared::Made,
        Err(source) => return Err(PkiError::File { path: manifest_path, source }),
    };
    // Without the manifest there is no set: a run that is cut short leaves nothing that looks whole.
    if let Err(source) = fs::remove_file(&manifest_path)
        && source.kind() != std::io::ErrorKind::NotFound
    {
        return Err(PkiError::File { path: manifest_path, source });
    }
    let valid_until = make(root, now)?;
    Ok(Set { root: root.to_owned(), prepared, valid_until })
}

fn check(root: &Path, text: &[u8], now: OffsetDateTime) -> Result<OffsetDateTime, String> {
    let manifest: Manifest = serde_json::from_slice(text).map_err(|_| "set.json is damaged".to_owned())?;
    if manifest.format != FORMAT {
        return Err("it was made by another version".to_owned());
    }
    let valid_until =
        OffsetDateTime::from_unix_timestamp(manifest.valid_until).map_err(|_| "set.json is damaged".to_owned())?;
    if valid_until - now < Duration::days(DAYS_LEFT_MIN) {
        return Err(format!("it ends on {}", valid_until.date()));
    }
    for (name, digest) in &manifest.files {
        let path = root.join(name);
        let content = fs::read(&path).map_err(|error| format!("{name}: {error}"))?;
        if sha256_hex(&content) != *digest {
            return Err(format!("{name} was changed"));
        }
        if is_key(name) && !files::is_private(&path) {
            return Err(format!("{name} can be read by others"));
        }
    }
    Ok(valid_until)
}

fn make(root: &Path, now: OffsetDateTime) -> Result<OffsetDateTime, PkiError> {
    let valid = |params| valid_for_days(params, now, LEAF_DAYS);
    let mut writer = Writer { root, files: BTreeMap::new() };
    let server_ca = writer.ca("server-ca", "Postern quickstart server CA")?;
    let mut client_cas = BTreeMap::new();
    for bundle in BUNDLES {
        let owner = bundle.owner();
        let client_ca = writer.ca(owner, &format!("Postern quickstart {owner} device CA"))?;
        let issued = server_ca.issue(&valid(server(bundle.names)?))?;
        let directory = bundle.directory();
        writer.write(&directory.join("chain.pem"), issued.chain_pem())?;
        writer.write(&directory.join("key.pem"), &issued.key_pem())?;
        writer.write(&directory.join("ca.pem"), &client_ca.pem())?;
        client_cas.insert(owner, client_ca);
    }
    for device in DEVICES.into_iter().chain([NAMELESS]) {
        let ca = client_cas.get(device.owner).expect("every owner of a device has a bundle");
        let issued = ca.issue(&valid(device.params()?))?;
        writer.write(&device_file(&device, "pem"), issued.chain_pem())?;
        writer.write(&device_file(&device, "key"), &issued.key_pem())?;
    }
    let valid_until = now + Duration::days(LEAF_DAYS);
    writer.finish(valid_until)?;
    Ok(valid_until)
}

struct Writer<'a> {
    root: &'a Path,
    files: BTreeMap<String, String>,
}

impl Writer<'_> {
    fn ca(&mut self, file: &str, common_name: &str) -> Result<Ca, PkiError> {
        let ca = Ca::new(common_name)?;
        self.write(&Path::new("ca").join(format!("{file}.pem")), &ca.pem())?;
        self.write(&Path::new("ca").join(format!("{file}.key")), ca.key_pem())?;
        Ok(ca)
    }

    fn write(&mut self, name: &Path, content: &str) -> Result<(), PkiError> {
        let text = name.to_string_lossy().into_owned();
        let readers = if is_key(&text) { Readers::Owner } else { Readers::Everyone };
        files::write(&self.root.join(name), content.as_bytes(), readers)?;
        self.files.insert(text, sha256_hex(content.as_bytes()));
        Ok(())
    }

    fn finish(self, valid_until: OffsetDateTime) -> Result<(), PkiError> {
        let path = self.root.join("set.json");
        let manifest = Manifest { format: FORMAT, valid_until: valid_until.unix_timestamp(), files: self.files };
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| PkiError::Content { path: path.clone(), what: error.to_string() })?;
        files::write(&path, &text, Readers::Owner)
    }
}

fn device_file(device: &Device, extension: &str) -> PathBuf {
    Path::new("devices").join(device.owner).join(format!("{}.{extension}", device.name))
}

fn is_key(name: &str) -> bool {
    let name = Path::new(name);
    name.extension().is_some_and(|extension| extension == "key")
        || name.file_name().is_some_and(|file| file == "key.pem")
}

/// SHA-256 in lower-case hexadecimal digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    #[test]
    fn a_second_run_uses_the_set_of_the_first_and_changes_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let first = ensure(directory.path(), now()).unwrap();
        assert_eq!(first.prepared, Prepared::Made);
        let before = fs::read(first.server_ca()).unwrap();
        let second = ensure(directory.path(), now()).unwrap();
        assert_eq!(second.prepared, Prepared::Reused);
        assert_eq!(fs::read(second.server_ca()).unwrap(), before);
        assert_eq!(second.valid_until.unix_timestamp(), first.valid_until.unix_timestamp());
    }

    /// Spoils a good set and returns why the next run replaced it; the run after that must find a good one.
    fn replaced_after(spoil: impl FnOnce(&Path), later: Duration) -> String {
        let directory = tempfile::tempdir().unwrap();
        ensure(directory.path(), now()).unwrap();
        let old_ca = fs::read(directory.path().join("ca/server-ca.pem")).unwrap();
        spoil(directory.path());
        let Prepared::Replaced { because } = ensure(directory.path(), now() + later).unwrap().prepared else {
            panic!("a spoilt set was not replaced");
        };
        assert_ne!(fs::read(directory.path().join("ca/server-ca.pem")).unwrap(), old_ca, "only a part was replaced");
        assert_eq!(ensure(directory.path(), now() + later).unwrap().prepared, Prepared::Reused);
        because
    }

    #[test]
    fn a_missing_file_replaces_the_whole_set() {
        let because =
            replaced_after(|root| fs::remove_file(root.join("devices/acme/sensor-1.key")).unwrap(), Duration::ZERO);
        assert!(because.starts_with("devices/acme/sensor-1.key"), "{because}");
    }

    #[test]
    fn a_damaged_file_replaces_the_whole_set() {
        let because = replaced_after(
            |root| fs::write(root.join("data/certs/ns/acme/mqtt/chain.pem"), "half").unwrap(),
            Duration::ZERO,
        );
        assert_eq!(because, "data/certs/ns/acme/mqtt/chain.pem was changed");
    }

    #[test]
    fn a_key_that_others_may_read_replaces_the_whole_set() {
        use std::os::unix::fs::PermissionsExt;
        let because = replaced_after(
            |root| {
                let key = root.join("data/certs/global/default/key.pem");
                fs::set_permissions(key, fs::Permissions::from_mode(0o644)).unwrap();
            },
            Duration::ZERO,
        );
        assert_eq!(because, "data/certs/global/default/key.pem can be read by others");
    }

    #[test]
    fn a_set_about_to_end_is_replaced_and_one_with_days_left_is_not() {
        assert!(replaced_after(|_| (), Duration::days(LEAF_DAYS - 1)).starts_with("it ends on"));
        let directory = tempfile::tempdir().unwrap();
        ensure(directory.path(), now()).unwrap();
        let later = now() + Duration::days(LEAF_DAYS - DAYS_LEFT_MIN - 1);
        assert_eq!(ensure(directory.path(), later).unwrap().prepared, Prepared::Reused);
    }

    #[test]
    fn a_damaged_manifest_replaces_the_whole_set() {
        let because = replaced_after(|root| fs::write(root.join("set.json"), "{").unwrap(), Duration::ZERO);
        assert_eq!(because, "set.json is damaged");
    }

    #[test]
    fn every_key_of_the_set_is_private_and_every_device_has_one() {
        let directory = tempfile::tempdir().unwrap();
        let set = ensure(directory.path(), now()).unwrap();
        for device in &DEVICES {
            assert!(files::is_private(&set.key_of(device)), "{}", device.label());
            assert_eq!(Set::read_certificates(&set.certificate_of(device)).unwrap().len(), 1);
            Set::read_key(&set.key_of(device)).unwrap();
        }
    }

    #[test]
    fn a_served_certificate_is_traced_to_its_bundle() {
        let directory = tempfile::tempdir().unwrap();
        let set = ensure(directory.path(), now()).unwrap();
        let chain = Set::read_certificates(&directory.path().join("data/certs/ns/globex/mqtt/chain.pem")).unwrap();
        assert_eq!(set.bundle_of(&chain[0]).unwrap().label(), "globex/mqtt");
        let foreign = Ca::new("other").unwrap();
        assert_eq!(set.bundle_of(foreign.der()), None);
    }
}
