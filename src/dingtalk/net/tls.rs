//! The one TLS client configuration: system roots and `dingtalk.ca_file`.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::NetError;

/// Builds the configuration. Missing system roots are logged, not refused: a plain-text simulator
/// needs none.
pub(super) fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, NetError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(native.certs);
    if let Some(path) = ca_file {
        for certificate in additional(path)? {
            roots
                .add(certificate)
                .map_err(|error| ca_error(path, error))?;
        }
    } else if added == 0 {
        tracing::warn!("no system root certificates found, TLS needs dingtalk.ca_file");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| NetError {
            key: "dingtalk",
            detail: format!("TLS cannot be set up: {error}"),
        })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn additional(path: &Path) -> Result<Vec<CertificateDer<'static>>, NetError> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| ca_error(path, error))?;
    if certificates.is_empty() {
        return Err(ca_error(path, "it holds no certificate in PEM"));
    }
    Ok(certificates)
}

fn ca_error(path: &Path, error: impl std::fmt::Display) -> NetError {
    NetError {
        key: "dingtalk.ca_file",
        detail: format!("cannot use {}: {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_that_holds_no_certificate_is_refused_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = client_config(Some(file.path())).unwrap_err();
        assert_eq!(error.key, "dingtalk.ca_file");
        assert!(error.detail.contains("no certificate"), "{error}");
    }

    #[test]
    fn without_a_ca_file_the_system_roots_are_enough() {
        assert!(client_config(None).is_ok());
    }
}
