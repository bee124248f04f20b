//! Certificates: who is trusted, when one ends, and what is wrong with one, in words.

use crate::os::clock;
use crate::os::errors::why;
use crate::vocabulary::Instant;
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, Error, RootCertStore};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// What this machine trusts changes with a package's update: read again this often.
const TRUST_FOR: Duration = Duration::from_secs(600);

/// Read from the disk once for all checks: 150 certificates take milliseconds.
static TRUSTED: Mutex<Option<(Instant, Arc<RootCertStore>)>> = Mutex::new(None);

/// Who may sign: those of a file, or whom this machine trusts.
pub(super) fn signers(file: Option<&Path>) -> Result<Arc<RootCertStore>, String> {
    let Some(path) = file else { return trusted() };
    let shown = path.display();
    let mut roots = RootCertStore::empty();
    let text = fs::read(path).map_err(|error| format!("{shown}: {}", why(&error)))?;
    let certificates = CertificateDer::pem_slice_iter(&text);
    for certificate in certificates {
        let certificate = certificate.map_err(|error| format!("{shown}: {error}"))?;
        roots.add(certificate).map_err(|error| format!("{shown}: {error}"))?;
    }
    if roots.is_empty() {
        return Err(format!("{shown} holds no certificate"));
    }
    Ok(Arc::new(roots))
}

fn trusted() -> Result<Arc<RootCertStore>, String> {
    let now = clock::now();
    if let Some((read, roots)) = &*TRUSTED.lock()
        && now < *read + TRUST_FOR
    {
        return Ok(roots.clone());
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A file with one old certificate that cannot be read is no reason to trust nobody.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err("this machine trusts no signer of certificates: is ca-certificates installed?".to_owned());
    }
    let roots = Arc::new(roots);
    *TRUSTED.lock() = Some((now, roots.clone()));
    Ok(roots)
}

/// When it ends, in seconds since 1970; `None`: it is no certificate that we can read.
pub(super) fn end(certificate: &CertificateDer<'_>) -> Option<u64> {
    let certificate = Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate.validity.not_after.to_unix_duration().as_secs())
}

/// What went wrong, for people.
pub(super) fn words(error: &Error, name: &str) -> String {
    let Error::InvalidCertificate(wrong) = error else { return format!("no TLS: {error}") };
    match wrong {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "a certificate of its chain has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet: is the clock of this machine right?".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "the certificate is signed by nobody whom this machine trusts".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the certificate is not for {name}")
        }
        other => format!("the certificate is wrong: {other}"),
    }
}
