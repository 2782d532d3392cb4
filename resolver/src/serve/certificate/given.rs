//! A certificate and its key from files of the operator, taken again when they change.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};

use super::CertificateError;
use crate::file;

/// The longest file read: chains of certificates take a few thousand bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// The most certificates in a chain.
const MAX_CHAIN: usize = 16;

/// The two files, and what they looked like when they were last read.
pub(super) struct Given {
    certificate: PathBuf,
    key: PathBuf,
    seen: [Option<Look>; 2],
}

/// What tells one content of a file from another: time of change and length.
type Look = (SystemTime, u64);

impl Given {
    /// Reads both files.
    pub(super) fn load(certificate: &Path, key: &Path) -> Result<(Self, CertifiedKey), CertificateError> {
        let mut given = Self { certificate: certificate.to_owned(), key: key.to_owned(), seen: [None; 2] };
        given.seen = given.look();
        let first = given.read()?;
        Ok((given, first))
    }

    /// Takes the files for changed.
    pub(super) fn forget(&mut self) {
        self.seen = [None; 2];
    }

    /// Reads both files again if they look different, and fit together.
    pub(super) fn changed(&mut self) -> Result<Option<CertifiedKey>, CertificateError> {
        let look = self.look();
        if look == self.seen {
            return Ok(None);
        }
        // If one has been replaced and the other not yet, the next look finds the second change.
        let before = std::mem::replace(&mut self.seen, look);
        let read = self.read();
        if let Err(CertificateError::Io(..)) = read {
            // Nothing has been seen of them: too many open files, say. The next look tries again.
            self.seen = before;
        }
        read.map(Some)
    }

    fn look(&self) -> [Option<Look>; 2] {
        let look = |path: &PathBuf| -> io::Result<Look> {
            let metadata = fs::metadata(path)?;
            Ok((metadata.modified()?, metadata.len()))
        };
        [look(&self.certificate).ok(), look(&self.key).ok()]
    }

    fn read(&self) -> Result<CertifiedKey, CertificateError> {
        let failed = |error: String| CertificateError::Given {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            error,
        };
        let read = |path: &PathBuf| {
            file::read(path, MAX_FILE_BYTES).map_err(|error| CertificateError::Io(path.clone(), error))
        };
        let (chain, key) = (read(&self.certificate)?, read(&self.key)?);
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain)
            .take(MAX_CHAIN)
            .collect::<Result<_, _>>()
            .map_err(|error| failed(format!("the certificate is no PEM file: {error}")))?;
        if chain.is_empty() {
            return Err(failed("there is no certificate in the file".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|error| failed(format!("the key is no PEM file with a private key: {error}")))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| failed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, generate_simple_self_signed};

    use super::*;

    fn pair(name: &str) -> (String, String) {
        let made = generate_simple_self_signed([name.to_owned()]).expect("made");
        (made.cert.pem(), made.key_pair.serialize_pem())
    }

    #[test]
    fn files_are_taken_again_when_both_have_changed() {
        let dir = tempfile::tempdir().expect("a folder");
        let (certificate, key) = (dir.path().join("crt"), dir.path().join("key"));
        let (first, second) = (pair("a.example"), pair("bb.example"));
        fs::write(&certificate, &first.0).expect("writes");
        fs::write(&key, &first.1).expect("writes");
        let (mut given, loaded) = Given::load(&certificate, &key).expect("they fit");
        assert!(given.changed().expect("as before").is_none());
        fs::write(&certificate, &second.0).expect("writes");
        let error = given.changed().expect_err("the old key").to_string();
        assert!(error.contains("KeyMismatch"), "{error}");
        assert!(given.changed().expect("as before").is_none(), "told once");
        fs::write(&key, second.1 + "\n").expect("writes");
        let taken = given.changed().expect("they fit").expect("changed");
        assert_ne!(taken.cert, loaded.cert);
        // What cannot be read is tried again even if it looks the same.
        fs::remove_file(&key).expect("removed");
        fs::create_dir(&key).expect("made");
        for _ in 0..2 {
            assert!(matches!(given.changed(), Err(CertificateError::Io(..))));
        }
    }

    #[test]
    fn each_mistake_has_its_sentence() {
        let dir = tempfile::tempdir().expect("a folder");
        let (certificate, key) = (dir.path().join("crt"), dir.path().join("key"));
        let good = pair("a.example");
        let check = |crt: &str, private: &str, expected: &str| {
            fs::write(&certificate, crt).expect("writes");
            fs::write(&key, private).expect("writes");
            let error = Given::load(&certificate, &key).map(|_| ()).expect_err("unusable").to_string();
            assert!(error.starts_with("dns.tls.certificate ") && error.contains(expected), "{error}");
        };
        check("", &good.1, "there is no certificate in the file");
        check(&good.1, &good.1, "there is no certificate in the file");
        check(&good.0[..200], &good.1, "the certificate is no PEM file");
        check(&good.0, "", "the key is no PEM file with a private key");
        check(&good.0, &good.0, "the key is no PEM file with a private key");
        check(&good.0, &KeyPair::generate().expect("random").serialize_pem(), "KeyMismatch");
        fs::remove_file(&key).expect("removed");
        let error = Given::load(&certificate, &key).map(|_| ()).expect_err("gone").to_string();
        assert!(error.starts_with(&format!("{}: No such file", key.display())), "{error}");
    }
}
