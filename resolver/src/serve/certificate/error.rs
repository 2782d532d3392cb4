//! Why there is no certificate.

use std::{io, path::PathBuf};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// A file of the local authority is damaged. Making a new authority would break the trust of all clients.
    #[error(
        "{0}: {1}; restore it from a copy, or move dns-ca.crt and dns-ca.key away to start with a new authority that \
         clients have to trust anew"
    )]
    Damaged(PathBuf, String),
    /// The local authority was made for other names or addresses.
    #[error(
        "{file} cannot sign for {subject} ({error}): it was made for other names and addresses, or has expired. Move \
         dns-ca.crt and dns-ca.key away to start with a new authority that clients have to trust anew"
    )]
    NotCovered {
        /// The authority's certificate.
        file: PathBuf,
        /// The name or address.
        subject: String,
        /// What a client would say.
        error: String,
    },
    /// The files that were given cannot be used.
    #[error("dns.tls.certificate {certificate} with dns.tls.key {key}: {error}")]
    Given {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// No certificate could be made.
    #[error("a certificate cannot be made: {0}")]
    NotMade(String),
}
