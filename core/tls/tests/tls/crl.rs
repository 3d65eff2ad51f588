//! H-01 to H-04: what revocation lists say, and which of them count.

use std::sync::Arc;
use std::time::Duration;

use postern_identity::CertFacts;
use postern_tls::crl::{CrlFault, CrlFileFault, NotGood, RevocationFault};
use postern_tls::{CrlFile, Outdated, Revocation};
use rcgen::{
    CertificateRevocationListParams, CrlDistributionPoint, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber, date_time_ymd,
};

use crate::crl_maker::{Crl, DAY, distribution_point, extension, named, tlv};
use crate::pki::{self, Authority, NOW, Pair, ca_params, device, device_params, intermediate, issue, pem, root};

fn facts(der: &[u8]) -> Arc<CertFacts> {
    Arc::new(CertFacts::from_der(der).unwrap())
}

/// An authority, one below it, and a device of that one.
struct Fleet {
    root: Authority,
    plant: Authority,
    device: Pair,
}

impl Fleet {
    fn new() -> Self {
        let root = root("Fleet");
        let plant = intermediate("Plant", &root);
        Self { device: device("sensor-1", &plant), root, plant }
    }

    fn path(&self) -> Vec<Arc<CertFacts>> {
        self.path_of(&self.device)
    }

    fn path_of(&self, device: &Pair) -> Vec<Arc<CertFacts>> {
        vec![facts(&device.cert), facts(self.plant.der()), facts(self.root.der())]
    }

    /// The root's list, which revokes nothing.
    fn clean_root(&self) -> Vec<u8> {
        Crl::of(&self.root).signed(&self.root)
    }

    /// The verdict by these files and the root's clean list.
    fn judge(&self, lists: &[Vec<u8>]) -> Result<(), RevocationFault> {
        let mut all = lists.to_vec();
        all.push(self.clean_root());
        judge(&all, &self.path(), Outdated::Refuse).map_err(|not_good| not_good.fault)
    }
}

fn revocation(files: &[Vec<u8>], outdated: Outdated) -> Revocation {
    let lists = files.iter().flat_map(|file| CrlFile::read(file.clone()).unwrap().lists).collect();
    let revocation = Revocation::new(outdated);
    revocation.replace(lists);
    revocation
}

fn judge(files: &[Vec<u8>], path: &[Arc<CertFacts>], outdated: Outdated) -> Result<(), NotGood> {
    revocation(files, outdated).judge(path, NOW)
}

/// Why the only list of a file is not used.
fn fault(file: Vec<u8>) -> CrlFault {
    let file = CrlFile::read(file).unwrap();
    assert!(file.lists.is_empty());
    file.unusable[0].fault.clone()
}

#[test]
fn h_01_a_listed_leaf_is_revoked_and_its_neighbour_is_not() {
    let fleet = Fleet::new();
    let neighbour = device("sensor-2", &fleet.plant);
    let list = Crl::of(&fleet.plant).revoking(&fleet.device.cert).signed(&fleet.plant);
    let files = [list, fleet.clean_root()];
    let not_good = judge(&files, &fleet.path(), Outdated::Refuse).unwrap_err();
    assert_eq!((not_good.position, not_good.subject.as_str()), (0, "CN=sensor-1"));
    assert_eq!(not_good.fault, RevocationFault::Revoked { issuer: "CN=Plant".to_owned() });
    assert_eq!(judge(&files, &fleet.path_of(&neighbour), Outdated::Refuse), Ok(()));
}

#[test]
fn h_01_a_listed_intermediate_takes_all_below_it_along() {
    let fleet = Fleet::new();
    let files = [
        Crl::of(&fleet.plant).signed(&fleet.plant),
        Crl::of(&fleet.root).revoking(fleet.plant.der()).signed(&fleet.root),
    ];
    let not_good = judge(&files, &fleet.path(), Outdated::Refuse).unwrap_err();
    assert_eq!((not_good.position, not_good.subject.as_str()), (1, "CN=Plant"));
    assert!(matches!(not_good.fault, RevocationFault::Revoked { .. }));
    // Revoked is more than unknown, wherever on the path it is.
    let not_good = judge(&files[1..], &fleet.path(), Outdated::Refuse).unwrap_err();
    assert!(matches!((not_good.position, not_good.fault), (1, RevocationFault::Revoked { .. })));
    // A device of the root itself has nothing to do with it.
    let other = [facts(&device("gateway", &fleet.root).cert), facts(fleet.root.der())];
    assert_eq!(judge(&files, &other, Outdated::Refuse), Ok(()));
}

#[test]
fn h_02_without_a_list_of_every_issuer_nobody_is_let_in() {
    let fleet = Fleet::new();
    let plant = Crl::of(&fleet.plant).signed(&fleet.plant);
    let none = |issuer: &str| RevocationFault::NoList { issuer: issuer.to_owned() };
    let ask = |files: &[Vec<u8>]| judge(files, &fleet.path(), Outdated::Refuse).map_err(|not_good| not_good.fault);
    assert_eq!(ask(&[]), Err(none("CN=Plant")));
    assert_eq!(ask(&[fleet.clean_root()]), Err(none("CN=Plant")));
    assert_eq!(ask(std::slice::from_ref(&plant)), Err(none("CN=Fleet")));
    assert_eq!(ask(&[plant, fleet.clean_root()]), Ok(()));
}

#[test]
fn h_02_lists_that_are_replaced_answer_from_then_on() {
    let fleet = Fleet::new();
    let clean = [Crl::of(&fleet.plant).signed(&fleet.plant), fleet.clean_root()];
    let revoked = Crl::of(&fleet.plant).from(NOW, NOW + DAY).revoking(&fleet.device.cert).signed(&fleet.plant);
    let revocation = revocation(&clean, Outdated::Refuse);
    let before = revocation.revision();
    assert_eq!(revocation.judge(&fleet.path(), NOW), Ok(()));
    let files = [revoked, fleet.clean_root()];
    revocation.replace(files.iter().flat_map(|file| CrlFile::read(file.clone()).unwrap().lists).collect());
    assert!(revocation.revision() > before);
    assert!(matches!(revocation.judge(&fleet.path(), NOW).unwrap_err().fault, RevocationFault::Revoked { .. }));
}

#[test]
fn h_03_an_outdated_list_counts_as_the_policy_says() {
    const HALF_A_DAY: Duration = Duration::from_hours(12);
    let fleet = Fleet::new();
    let list = |end: i64| [Crl::of(&fleet.plant).from(NOW - DAY, end).signed(&fleet.plant), fleet.clean_root()];
    let ask = |end, outdated| judge(&list(end), &fleet.path(), outdated).map_err(|not_good| not_good.fault);
    let outdated = |since| Err(RevocationFault::Outdated { issuer: "CN=Plant".to_owned(), since });
    assert_eq!(ask(NOW + 1, Outdated::Refuse), Ok(()));
    assert_eq!(ask(NOW - 1, Outdated::Refuse), outdated(NOW - 1));
    let hour = 3_600;
    assert_eq!(ask(NOW - 11 * hour, Outdated::Grace(HALF_A_DAY)), Ok(()));
    assert_eq!(ask(NOW - 13 * hour, Outdated::Grace(HALF_A_DAY)), outdated(NOW - 13 * hour));
    // What an outdated list says against a certificate holds all the same.
    let revoked = Crl::of(&fleet.plant).from(NOW - DAY, NOW - 1).revoking(&fleet.device.cert).signed(&fleet.plant);
    assert!(matches!(fleet.judge(&[revoked]), Err(RevocationFault::Revoked { .. })));
}

#[test]
fn h_03_a_list_from_the_future_does_not_count_yet() {
    let fleet = Fleet::new();
    let tomorrow = Crl::of(&fleet.plant).from(NOW + DAY, NOW + 2 * DAY).signed(&fleet.plant);
    let not_yet = RevocationFault::NotYet { issuer: "CN=Plant".to_owned(), from: NOW + DAY };
    assert_eq!(fleet.judge(std::slice::from_ref(&tomorrow)), Err(not_yet));
    // It does not stand in the way of the one of today, and clocks differ by a little.
    let today = Crl::of(&fleet.plant).signed(&fleet.plant);
    assert_eq!(fleet.judge(&[tomorrow, today]), Ok(()));
    assert_eq!(fleet.judge(&[Crl::of(&fleet.plant).from(NOW + 60, NOW + DAY).signed(&fleet.plant)]), Ok(()));
}

#[test]
fn h_04_a_list_of_another_authority_of_the_same_name_says_nothing() {
    let fleet = Fleet::new();
    let impostor = intermediate("Plant", &fleet.root);
    let clean_by_impostor = Crl::of(&impostor).signed(&impostor);
    let not_signed = Err(RevocationFault::NotSigned { issuer: "CN=Plant".to_owned() });
    assert_eq!(fleet.judge(std::slice::from_ref(&clean_by_impostor)), not_signed);
    // Newer, and yet it does not hide what the right one says.
    let revoked = Crl::of(&fleet.plant).revoking(&fleet.device.cert).signed(&fleet.plant);
    let newer = Crl::of(&impostor).from(NOW - 1, NOW + DAY).signed(&impostor);
    assert!(matches!(fleet.judge(&[newer, revoked]), Err(RevocationFault::Revoked { .. })));
    // And the impostor's revocations are none.
    let against = Crl::of(&impostor).revoking(&fleet.device.cert).signed(&impostor);
    assert_eq!(fleet.judge(&[against, Crl::of(&fleet.plant).signed(&fleet.plant)]), Ok(()));
}

#[test]
fn h_04_the_same_serial_number_on_another_issuers_list_is_another_certificate() {
    let fleet = Fleet::new();
    let elsewhere = Crl::of(&fleet.root).revoking(&fleet.device.cert).signed(&fleet.root);
    let files = [elsewhere, Crl::of(&fleet.plant).signed(&fleet.plant)];
    assert_eq!(judge(&files, &fleet.path(), Outdated::Refuse), Ok(()));
}

#[test]
fn h_04_der_pem_and_several_lists_in_one_file_are_read() {
    let fleet = Fleet::new();
    let plant = Crl::of(&fleet.plant).revoking(&fleet.device.cert).signed(&fleet.plant);
    let (one, two) = (pem("X509 CRL", &plant), pem("X509 CRL", &fleet.clean_root()));
    let certificate = fleet.root.pem();
    for file in [
        format!("{one}{two}"),
        format!("\u{FEFF}{one}{two}").replace('\n', "\r\n"),
        format!("Issuer: CN=Plant\n\n{one}\nsome words\n{certificate}{two}\nthe end"),
    ] {
        let read = CrlFile::read(file.clone().into_bytes()).unwrap();
        assert_eq!(read.lists.len(), 2);
        let issuers: Vec<_> = read.lists.iter().map(|list| (list.issuer_dn(), list.entries())).collect();
        assert_eq!(issuers, [("CN=Plant", 1), ("CN=Fleet", 0)]);
        let not_good = judge(&[file.into_bytes()], &fleet.path(), Outdated::Refuse).unwrap_err();
        assert!(matches!(not_good.fault, RevocationFault::Revoked { .. }));
    }
    assert_eq!(CrlFile::read(plant).unwrap().lists.len(), 1);
}

#[test]
fn h_04_a_part_of_a_file_is_no_file() {
    let fleet = Fleet::new();
    let der = Crl::of(&fleet.plant).revoking(&fleet.device.cert).signed(&fleet.plant);
    for end in 0..der.len() {
        assert!(CrlFile::read(der[..end].to_vec()).is_err(), "{end} of {} bytes", der.len());
    }
    let pem = pem("X509 CRL", &der).into_bytes();
    // The line end behind END may be missing.
    for end in 0..pem.len() - 1 {
        assert!(CrlFile::read(pem[..end].to_vec()).is_err(), "{end} of {} bytes", pem.len());
    }
    assert_eq!(CrlFile::read(pem[..pem.len() - 1].to_vec()).unwrap().lists.len(), 1);
    assert_eq!(CrlFile::read(b" \n".to_vec()).unwrap_err(), CrlFileFault::Empty);
    assert_eq!(CrlFile::read(b"words\n".to_vec()).unwrap_err(), CrlFileFault::NoList);
    let trailing = [der, vec![0]].concat();
    assert!(matches!(CrlFile::read(trailing).unwrap_err(), CrlFileFault::Damaged(_)));
}

#[test]
fn h_04_lists_that_cannot_be_used_are_named() {
    let fleet = Fleet::new();
    let with = |extension| fault(Crl::of(&fleet.plant).with(extension).signed(&fleet.plant));
    assert_eq!(with(extension(27, true, &[2, 1, 3])), CrlFault::Delta);
    assert_eq!(with(distribution_point(&[&tlv(0x84, &[&[0xFF]])])), CrlFault::Indirect);
    // RUSTSEC-2026-0104: an empty BIT STRING.
    assert_eq!(with(distribution_point(&[&tlv(0x83, &[])])), CrlFault::SomeReasons);
    assert_eq!(with(distribution_point(&[&tlv(0x83, &[&[6, 0x40]])])), CrlFault::SomeReasons);
    assert_eq!(with(distribution_point(&[&tlv(0x85, &[&[0xFF]])])), CrlFault::NotForCertificates);
    let both = [&tlv(0x81, &[&[0xFF]])[..], &tlv(0x82, &[&[0xFF]])];
    assert_eq!(with(distribution_point(&both)), CrlFault::NotForCertificates);
    assert_eq!(with(distribution_point(&[&tlv(0xA0, &[&tlv(0xA1, &[])])])), CrlFault::RelativeName);
    assert_eq!(with(extension(99, true, &[5, 0])), CrlFault::CriticalExtension { oid: "2.5.29.99".to_owned() });
    let mut endless = Crl::of(&fleet.plant);
    endless.next_update = None;
    assert_eq!(fault(endless.signed(&fleet.plant)), CrlFault::NoNextUpdate);

    let entry = |extension: Vec<u8>| {
        let mut crl = Crl::of(&fleet.plant).revoking(&fleet.device.cert);
        crl.entry_extensions = tlv(0x30, &[&extension]);
        crl.signed(&fleet.plant)
    };
    assert_eq!(fault(entry(extension(29, true, &[0x30, 0]))), CrlFault::Indirect);
    let odd = CrlFault::CriticalEntryExtension { oid: "2.5.29.98".to_owned() };
    assert_eq!(fault(entry(extension(98, true, &[5, 0]))), odd);
    // A reason is none to believe the certificate.
    assert!(matches!(fleet.judge(&[entry(extension(21, false, &[10, 1, 6]))]), Err(RevocationFault::Revoked { .. })));

    // What is not critical may be there, and a list that cannot be used does not spoil its neighbour in the file.
    let good = Crl::of(&fleet.plant).with(extension(99, false, &[5, 0])).signed(&fleet.plant);
    let delta = Crl::of(&fleet.plant).with(extension(27, true, &[2, 1, 3])).signed(&fleet.plant);
    let file = [pem("X509 CRL", &delta), pem("X509 CRL", &good)].concat();
    let read = CrlFile::read(file.into_bytes()).unwrap();
    assert_eq!(read.lists.len(), 1);
    let words = "list 1 (of CN=Plant): it is a delta list; a complete one is wanted";
    assert_eq!(read.unusable[0].to_string(), words);
}

#[test]
fn h_04_a_list_for_one_kind_of_certificates_speaks_of_those_alone() {
    let fleet = Fleet::new();
    let only = |tag| distribution_point(&[&tlv(tag, &[&[0xFF]])]);
    let users = Crl::of(&fleet.plant).with(only(0x81)).signed(&fleet.plant);
    let authorities = Crl::of(&fleet.plant).with(only(0x82)).signed(&fleet.plant);
    assert_eq!(fleet.judge(std::slice::from_ref(&users)), Ok(()));
    let not_in_scope = Err(RevocationFault::NotInScope { issuer: "CN=Plant".to_owned() });
    assert_eq!(fleet.judge(std::slice::from_ref(&authorities)), not_in_scope);
    let files = [users, Crl::of(&fleet.root).with(only(0x81)).signed(&fleet.root)];
    let not_good = judge(&files, &fleet.path(), Outdated::Refuse).unwrap_err();
    assert!(matches!((not_good.position, not_good.fault), (1, RevocationFault::NotInScope { .. })));
    // Of two scopes, the newer one does not hide the other.
    let all = Crl::of(&fleet.plant).from(NOW - 1, NOW + DAY).signed(&fleet.plant);
    let older = Crl::of(&fleet.plant).with(only(0x81)).revoking(&fleet.device.cert).signed(&fleet.plant);
    assert!(matches!(fleet.judge(&[all, older]), Err(RevocationFault::Revoked { .. })));
}

#[test]
fn h_04_a_list_of_a_distribution_point_speaks_of_certificates_that_name_it() {
    const HERE: &str = "http://crl.example.org/plant-1.crl";
    let mut fleet = Fleet::new();
    let list = Crl::of(&fleet.plant).with(distribution_point(&[&named(HERE)])).signed(&fleet.plant);
    let not_in_scope = Err(RevocationFault::NotInScope { issuer: "CN=Plant".to_owned() });
    assert_eq!(fleet.judge(std::slice::from_ref(&list)), not_in_scope, "the certificate names none");
    for (uri, expected) in [("http://crl.example.org/plant-2.crl", not_in_scope), (HERE, Ok(()))] {
        let mut params = device_params("sensor-1");
        params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![uri.to_owned()] }];
        fleet.device = issue(&params, &fleet.plant);
        assert_eq!(fleet.judge(std::slice::from_ref(&list)), expected, "{uri}");
    }
    // One without a distribution point is for all.
    assert_eq!(fleet.judge(&[Crl::of(&fleet.plant).signed(&fleet.plant)]), Ok(()));
}

#[test]
fn h_04_of_equal_lists_the_newest_counts() {
    let fleet = Fleet::new();
    let old = Crl::of(&fleet.plant).revoking(&fleet.device.cert).signed(&fleet.plant);
    let new = Crl::of(&fleet.plant).from(NOW - 10, NOW + DAY).signed(&fleet.plant);
    assert_eq!(fleet.judge(&[old.clone(), new.clone()]), Ok(()));
    assert_eq!(fleet.judge(&[new, old]), Ok(()));
}

#[test]
fn h_04_who_may_not_sign_lists_signs_none() {
    let root = root("Fleet");
    for (usages, may) in [
        (vec![KeyUsagePurpose::KeyCertSign], false),
        (vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign], true),
    ] {
        let mut params = ca_params("Plant");
        params.key_usages = usages;
        let plant = Authority::signed_by(params, pki::key(), &root).unwrap();
        let device = device("sensor-1", &plant);
        let files = [Crl::of(&plant).signed(&plant), Crl::of(&root).signed(&root)];
        let path = [facts(&device.cert), facts(plant.der()), facts(root.der())];
        let found = judge(&files, &path, Outdated::Refuse).map_err(|not_good| not_good.fault);
        let refused = Err(RevocationFault::MayNotSign { issuer: "CN=Plant".to_owned() });
        assert_eq!(found, if may { Ok(()) } else { refused });
    }
}

#[test]
fn lists_made_by_rcgen_are_understood() {
    let fleet = Fleet::new();
    let serial = SerialNumber::from_slice(&hex(&facts(&fleet.device.cert).serial_hex));
    let entry = |serial| RevokedCertParams {
        serial_number: serial,
        revocation_time: date_time_ymd(2026, 11, 1),
        reason_code: Some(rcgen::RevocationReason::KeyCompromise),
        invalidity_date: Some(date_time_ymd(2026, 10, 1)),
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 11, 2),
        next_update: date_time_ymd(2030, 1, 1),
        crl_number: SerialNumber::from(3_u64),
        issuing_distribution_point: None,
        revoked_certs: (1..500_u64).map(SerialNumber::from).chain([serial]).map(entry).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = params.signed_by(&fleet.plant).unwrap();
    assert_eq!(CrlFile::read(list.der().to_vec()).unwrap().lists[0].entries(), 500);
    assert!(matches!(fleet.judge(&[list.der().to_vec()]), Err(RevocationFault::Revoked { .. })));
    let params = CertificateRevocationListParams {
        revoked_certs: (1..500_u64).map(SerialNumber::from).map(entry).collect(),
        ..params
    };
    assert_eq!(fleet.judge(&[params.signed_by(&fleet.plant).unwrap().der().to_vec()]), Ok(()));
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Every byte of a list changed in several ways, and taken out, and doubled: no panic, and never a verdict in favour.
#[test]
fn h_04_a_list_that_was_tampered_with_speaks_for_nobody() {
    let fleet = Fleet::new();
    let mut crl = Crl::of(&fleet.plant).with(distribution_point(&[&named("http://a/"), &tlv(0x81, &[&[0xFF]])]));
    crl.entry_extensions = tlv(0x30, &[&extension(21, false, &[10, 1, 6])]);
    let mut params = device_params("sensor-1");
    params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec!["http://a/".to_owned()] }];
    let device = issue(&params, &fleet.plant);
    let path = fleet.path_of(&device);
    let good = crl.revoking(&fleet.device.cert).signed(&fleet.plant);
    assert_eq!(judge(&[good.clone(), fleet.clean_root()], &path, Outdated::Refuse), Ok(()));
    let mut read = 0;
    for at in 0..good.len() {
        let mut changed: Vec<Vec<u8>> = [0x01, 0x80, 0xFF, good[at], good[at] ^ 0x30]
            .map(|bits| {
                let mut one = good.clone();
                one[at] ^= bits;
                one
            })
            .into();
        changed.push([&good[..at], &good[at + 1..]].concat());
        changed.push([&good[..at], &good[at..=at], &good[at..]].concat());
        for one in changed.into_iter().filter(|one| *one != good) {
            let Ok(file) = CrlFile::read(one.clone()) else { continue };
            read += file.lists.len();
            let verdict = judge(&[one, fleet.clean_root()], &path, Outdated::Refuse);
            assert!(verdict.is_err(), "byte {at}");
        }
    }
    assert!(read > 100, "the changes must reach beyond the reader: {read}");
}

/// Another key of the right type is no better than noise.
#[test]
fn h_04_a_forged_signature_is_none() {
    let fleet = Fleet::new();
    let forged = Crl::of(&fleet.plant).signed_with(&KeyPair::generate().unwrap());
    let not_signed = Err(RevocationFault::NotSigned { issuer: "CN=Plant".to_owned() });
    assert_eq!(fleet.judge(&[forged]), not_signed);
}
