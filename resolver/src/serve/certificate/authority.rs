//! A certificate authority of this node's own, for those who have no certificate from elsewhere.
//!
//! It is made at first use as two files, `dns-ca.key` (mode 0600) and `dns-ca.crt`, and stays. Name constraints
//! (RFC 5280 §4.2.1.10) keep it to the names and addresses of this server, not to all of its suffixes, most of whose names
//! belong to others: whoever trusts it trusts it for nothing else, even if its key is stolen.
//! The certificates it signs are never written: each start makes one, and another follows when [`RENEW_DAYS`] are left.

use std::{
    io,
    net::IpAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair,
    KeyUsagePurpose, NameConstraints, SanType,
};
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime, pem::PemObject as _},
    sign::CertifiedKey,
};
use sha2::{Digest as _, Sha256};

use super::CertificateError;
use crate::file;

/// File name of the authority's key.
const KEY_FILE: &str = "dns-ca.key";
/// File name of the authority's certificate.
const CERTIFICATE_FILE: &str = "dns-ca.crt";
/// The longest file read: both take well below 2,000 bytes.
const MAX_FILE_BYTES: u64 = 16_384;
/// How long the authority is valid: it has to be given to each client by hand.
const AUTHORITY_DAYS: u32 = 3_650;
/// How long what it signs is valid.
const LEAF_DAYS: u32 = 30;
/// How long that is still valid when another is made.
const RENEW_DAYS: u32 = 20;
/// Certificates begin earlier than they are made, for clients whose clocks are slow.
const BEFORE_DAYS: u32 = 1;
const DAY: Duration = Duration::from_secs(86_400);

/// What a certificate has to be good for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Subjects {
    /// Names of this server.
    pub(super) names: Vec<String>,
    /// Its addresses.
    pub(super) addresses: Vec<IpAddr>,
}

/// A certificate that the authority has signed.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) certified: CertifiedKey,
    /// The time in which no other is needed.
    fresh: RangeInclusive<SystemTime>,
}

impl Leaf {
    /// Whether this certificate will do, now and for a while.
    pub(super) fn is_fresh(&self, now: SystemTime) -> bool {
        self.fresh.contains(&now)
    }
}

/// The authority.
pub(super) struct Authority {
    key: KeyPair,
    certificate: CertificateDer<'static>,
    pub(super) file: PathBuf,
}

impl Authority {
    /// Loads the authority of a folder, or makes one if there is none. Of two programs that make one at once, the first
    /// wins and both get its.
    pub(super) fn load_or_create(folder: &Path, subjects: &Subjects) -> Result<Self, CertificateError> {
        let (key_file, file) = (folder.join(KEY_FILE), folder.join(CERTIFICATE_FILE));
        let key = load_key(&key_file, &file)?;
        let found = match file::read_own(&file, MAX_FILE_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = params(&key, subjects, SystemTime::now()).and_then(|params| params.self_signed(&key));
                let made = made.map_err(|error| CertificateError::NotMade(error.to_string()))?;
                settle(file::create(&file, made.pem().as_bytes(), file::PUBLIC), &file)?;
                // What counts is what the file says now.
                file::read_own(&file, MAX_FILE_BYTES)
            }
            found => found,
        };
        let found = found.map_err(|error| CertificateError::Io(file.clone(), error))?;
        let certificate = CertificateDer::from_pem_slice(&found)
            .map_err(|error| CertificateError::Damaged(file.clone(), error.to_string()))?;
        Ok(Self { key, certificate, file })
    }

    /// A new key with a certificate that every client accepts that trusts this authority: refused if it would not.
    pub(super) fn issue(&self, subjects: &Subjects, now: SystemTime) -> Result<Leaf, CertificateError> {
        let not_made = |error: rcgen::Error| CertificateError::NotMade(error.to_string());
        let key = KeyPair::generate().map_err(not_made)?;
        // Only the issuer's name and key are taken from here, and they follow from its key.
        let issuer =
            params(&self.key, subjects, now).and_then(|params| params.self_signed(&self.key)).map_err(not_made)?;
        let leaf = leaf(subjects, now).and_then(|leaf| leaf.signed_by(&key, &issuer, &self.key)).map_err(not_made)?;
        self.accepts(leaf.der(), subjects, now)?;
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let certified = CertifiedKey::from_der(vec![leaf.der().clone()], private, &ring::default_provider())
            .map_err(|error| CertificateError::NotMade(error.to_string()))?;
        let fresh = now - DAY * BEFORE_DAYS..=now + DAY * (LEAF_DAYS - RENEW_DAYS);
        Ok(Leaf { certified, fresh })
    }

    /// Whether a client that trusts the authority accepts the certificate for all subjects: by the code that clients use.
    fn accepts(
        &self,
        leaf: &CertificateDer<'static>,
        subjects: &Subjects,
        now: SystemTime,
    ) -> Result<(), CertificateError> {
        let damaged = |error: String| CertificateError::Damaged(self.file.clone(), error);
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).map_err(|error| damaged(error.to_string()))?;
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), ring::default_provider().into());
        let verifier: Arc<WebPkiServerVerifier> = verifier.build().map_err(|error| damaged(error.to_string()))?;
        let names = subjects.names.iter().filter_map(|name| ServerName::try_from(name.as_str()).ok());
        let addresses = subjects.addresses.iter().map(|address| ServerName::from(*address));
        let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        for subject in names.chain(addresses) {
            if let Err(error) = verifier.verify_server_cert(leaf, &[], &subject, &[], now) {
                let (file, subject) = (self.file.clone(), subject.to_str().into_owned());
                return Err(CertificateError::NotCovered { file, subject, error: error.to_string() });
            }
        }
        Ok(())
    }
}

fn load_key(path: &Path, certificate: &Path) -> Result<KeyPair, CertificateError> {
    let failed = |error| CertificateError::Io(path.to_owned(), error);
    let pem = match file::read_secret(path, MAX_FILE_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if certificate.exists() {
                return Err(CertificateError::Damaged(certificate.to_owned(), "its key is gone".to_owned()));
            }
            let key = KeyPair::generate().map_err(|error| CertificateError::NotMade(error.to_string()))?;
            settle(file::create(path, key.serialize_pem().as_bytes(), file::SECRET), path)?;
            file::read_secret(path, MAX_FILE_BYTES).map_err(failed)?
        }
        pem => pem.map_err(failed)?,
    };
    let text = std::str::from_utf8(&pem).map_err(|error| error.to_string());
    let key = text.and_then(|text| KeyPair::from_pem(text).map_err(|error| error.to_string()));
    key.map_err(|error| CertificateError::Damaged(path.to_owned(), error))
}

/// A file that somebody else has made meanwhile is as good as ours.
fn settle(created: io::Result<()>, path: &Path) -> Result<(), CertificateError> {
    match created {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(CertificateError::Io(path.to_owned(), error)),
        _ => Ok(()),
    }
}

fn params(key: &KeyPair, subjects: &Subjects, now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    // Two authorities must not have one name, or clients that trust both get confused.
    let id: String = Sha256::digest(key.public_key_der()).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("Namestead node {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let names = subjects.names.iter().map(|name| GeneralSubtree::DnsName(name.trim_end_matches('.').to_owned()));
    let addresses = subjects.addresses.iter().map(|address| {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*address, bits))
    });
    params.name_constraints =
        Some(NameConstraints { permitted_subtrees: names.chain(addresses).collect(), excluded_subtrees: Vec::new() });
    valid_for(&mut params, now, AUTHORITY_DAYS);
    Ok(params)
}

fn leaf(subjects: &Subjects, now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Namestead DNS");
    for name in &subjects.names {
        params.subject_alt_names.push(SanType::DnsName(name.trim_end_matches('.').try_into()?));
    }
    params.subject_alt_names.extend(subjects.addresses.iter().copied().map(SanType::IpAddress));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    valid_for(&mut params, now, LEAF_DAYS);
    Ok(params)
}

fn valid_for(params: &mut CertificateParams, now: SystemTime, days: u32) {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    // Whole seconds: certificates have no others.
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(since.as_secs());
    params.not_before = now - DAY * BEFORE_DAYS;
    params.not_after = now + DAY * days;
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn subjects(names: &[&str], addresses: &[&str]) -> Subjects {
        Subjects {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            addresses: addresses.iter().map(|address| address.parse().expect("an address")).collect(),
        }
    }

    fn ours() -> Subjects {
        subjects(&["ns.nic.p2p", "dns.example.org"], &["127.0.0.1", "2001:db8::53"])
    }

    #[test]
    fn the_authority_stays_and_its_key_is_private() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = Authority::load_or_create(dir.path(), &ours()).expect("made");
        let again = Authority::load_or_create(dir.path(), &ours()).expect("loaded");
        assert_eq!(first.certificate, again.certificate);
        let mode = |name| fs::metadata(dir.path().join(name)).expect("exists").permissions().mode() & 0o777;
        assert_eq!((mode(KEY_FILE), mode(CERTIFICATE_FILE)), (0o600, 0o644));
        assert_eq!(fs::read_dir(dir.path()).expect("reads").count(), 2, "nothing left beside");
        // A start that was killed between the two files is finished by the next one.
        fs::remove_file(&first.file).expect("removed");
        Authority::load_or_create(dir.path(), &ours())
            .expect("made")
            .issue(&ours(), SystemTime::now())
            .expect("accepted");
    }

    #[test]
    fn it_signs_for_what_is_ours_and_a_verifier_refuses_all_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let authority = Authority::load_or_create(dir.path(), &ours()).expect("made");
        let check = |names: &[&str], addresses: &[&str], refused: Option<&str>| match (
            authority.issue(&subjects(names, addresses), SystemTime::now()),
            refused,
        ) {
            (Ok(_), None) => {}
            (Err(CertificateError::NotCovered { subject, .. }), Some(expected)) => assert_eq!(subject, expected),
            (got, _) => panic!("{names:?} {addresses:?}: {got:?}"),
        };
        check(&["ns.nic.p2p", "dns.example.org"], &["127.0.0.1", "2001:db8::53"], None);
        check(&["other.p2p"], &[], Some("other.p2p"));
        check(&["nic.p2p"], &[], Some("nic.p2p"));
        check(&["ns.nic.p2p.alt"], &[], Some("ns.nic.p2p.alt"));
        check(&["example.com"], &[], Some("example.com"));
        check(&["example.org"], &[], Some("example.org"));
        check(&["xp2p"], &[], Some("xp2p"));
        check(&["alt"], &[], Some("alt"));
        check(&[], &["127.0.0.2"], Some("127.0.0.2"));
        check(&[], &["192.0.2.1"], Some("192.0.2.1"));
        check(&[], &["2001:db8::54"], Some("2001:db8::54"));
        // One bad name spoils the whole certificate.
        check(&["ns.nic.p2p", "example.com"], &[], Some("ns.nic.p2p"));
    }

    #[test]
    fn an_authority_for_whole_suffixes_is_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let wide = subjects(&["p2p", "p2p.alt"], &["127.0.0.1"]);
        let made = Authority::load_or_create(dir.path(), &wide).expect("made");
        let ours = subjects(&["ns.nic.p2p", "ns.nic.p2p.alt"], &["127.0.0.1"]);
        let loaded = Authority::load_or_create(dir.path(), &ours).expect("loaded");
        assert_eq!(loaded.certificate, made.certificate);
        loaded.issue(&ours, SystemTime::now()).expect("accepted");
    }

    #[test]
    fn damage_is_explained_and_the_files_are_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let (key, certificate) = (dir.path().join(KEY_FILE), dir.path().join(CERTIFICATE_FILE));
        Authority::load_or_create(dir.path(), &ours()).expect("made");
        let good = fs::read(&key).expect("reads");
        for bad in [&good[..good.len() / 2], b"\xff", b""] {
            fs::write(&key, bad).expect("writes");
            let error = Authority::load_or_create(dir.path(), &ours()).map(|_| ()).expect_err("damaged");
            assert!(matches!(&error, CertificateError::Damaged(path, _) if *path == key), "{error}");
            assert_eq!(fs::read(&key).expect("reads"), bad);
        }
        fs::remove_file(&key).expect("removed");
        let error = Authority::load_or_create(dir.path(), &ours()).map(|_| ()).expect_err("no key").to_string();
        assert!(error.contains("its key is gone"), "{error}");
        // Another key than that of the certificate.
        fs::write(&key, KeyPair::generate().expect("random").serialize_pem()).expect("writes");
        let other = Authority::load_or_create(dir.path(), &ours()).expect("both can be read");
        assert!(matches!(other.issue(&ours(), SystemTime::now()), Err(CertificateError::NotCovered { .. })));
        fs::write(&certificate, b"nothing").expect("writes");
        let error = Authority::load_or_create(dir.path(), &ours()).map(|_| ()).expect_err("damaged");
        assert!(matches!(&error, CertificateError::Damaged(path, _) if *path == certificate), "{error}");
    }
}
