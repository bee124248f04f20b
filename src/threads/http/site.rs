//! For tests: a web site with TLS.

use crate::os::clock;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

/// What it answers.
pub const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nall is healthy";

/// A signer of its own, and a server whose certificate it has signed for `www.example.net` and `localhost`.
pub struct Site {
    /// Where it listens.
    pub address: SocketAddr,
    /// The signer.
    pub ca_file: PathBuf,
}

impl Site {
    /// Whose certificate was made `since` days ago and lasts for `left` more.
    pub fn with_days(name: &str, left: i64) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Diehard's own signer");
        let signer =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["www.example.net".to_owned(), "localhost".to_owned()])
            .expect("a name");
        let now: time::OffsetDateTime = clock::wall().into();
        params.not_before = now - time::Duration::days(400);
        // Half a day more, so that the number of whole days does not change while the test runs.
        params.not_after = now + time::Duration::days(left) + time::Duration::hours(12);
        let certificate = params.signed_by(&key, &signer).expect("signed");
        let ca_file = std::env::temp_dir().join(format!("diehard-ca-{name}-{}.pem", std::process::id()));
        std::fs::write(&ca_file, signer.pem()).expect("writable");
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        Site { address: serve(chain, key), ca_file }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.ca_file);
    }
}

fn serve(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config =
        config.expect("versions").with_no_client_auth().with_single_cert(chain, key).expect("they fit");
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").expect("a port"));
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(config.clone()).expect("a configuration");
            let mut stream = StreamOwned::new(connection, stream.expect("a caller"));
            let (mut asked, mut part) = (Vec::new(), [0; 4096]);
            // All of the question, a GET or a POST of `{}`: closing with something unread resets the connection.
            while !asked.ends_with(b"\r\n\r\n") && !asked.ends_with(b"{}") {
                match stream.read(&mut part) {
                    Ok(length) if length > 0 => asked.extend_from_slice(&part[..length]),
                    // A caller that does not like the certificate says so and goes.
                    _ => break,
                }
            }
            let asked = String::from_utf8_lossy(&asked);
            assert!(!asked.starts_with("GET") || asked.contains("www.example.net"), "the Host header");
            let _ = stream.write_all(PLAIN.as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    address
}
