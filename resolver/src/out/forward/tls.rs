//! Whom we trust to vouch for encrypted upstreams: the public authorities, and those of a file.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::policy::config::ForwardConfigError;

/// The TLS configuration of all upstreams.
pub(super) fn client(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, ForwardConfigError> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if let Some(path) = ca_file {
        let added = add_file(&mut roots, path);
        let error = |reason| ForwardConfigError::CaFile { path: path.display().to_string(), reason };
        if added.map_err(error)? == 0 {
            return Err(error("holds no certificate in PEM form".to_owned()));
        }
    }
    // ring knows all suites of the default versions.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(|error| ForwardConfigError::CaFile { path: String::new(), reason: error.to_string() })?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<usize, String> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut count = 0;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| format!("is damaged: {error}"))?;
        roots.add(certificate).map_err(|error| format!("holds a certificate that cannot be used: {error}"))?;
        count += 1;
    }
    Ok(count)
}
