//! TLS below ureq: the handshake, so that a run can say how far it came and what the server's certificate is. ureq's own
//! keeps the certificate to itself. Owned by one question; ends with it.

use super::certificate;
use crate::os::clock;
use crate::vocabulary::Instant;
use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

/// How far a run came, and what it saw.
#[derive(Debug, Clone, Default)]
pub struct Watched(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    connected: bool,
    shakes_hands: bool,
    /// Seconds since 1970.
    end: Option<u64>,
    problem: Option<String>,
}

impl Watched {
    /// There was somebody.
    pub fn is_connected(&self) -> bool {
        self.0.lock().connected
    }

    /// The handshake has begun and not ended.
    pub fn shakes_hands(&self) -> bool {
        self.0.lock().shakes_hands
    }

    /// When the server's certificate ends, in seconds since 1970.
    pub fn certificate_end(&self) -> Option<u64> {
        self.0.lock().end
    }

    /// Why there is no TLS, other than that it took too long.
    pub fn tls_problem(&self) -> Option<String> {
        self.0.lock().problem.clone()
    }
}

/// Whose certificates are good.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    /// False: anybody's.
    pub verify: bool,
    /// Signers; `None`: whom this machine trusts.
    pub ca_file: Option<&'a Path>,
    /// `HOST[:PORT]` that it must be for, where it is not the URL's.
    pub host: Option<&'a str>,
}

/// Puts TLS on a connection whose URL wants it.
pub struct Secure {
    /// `None`: the URL is plain, and no redirect is followed, or nobody is there whom one could trust.
    config: Option<Arc<ClientConfig>>,
    /// The name that the certificate must be for, where it is not the URL's.
    name: Option<String>,
    until: Instant,
    watched: Watched,
}

impl Secure {
    /// Of one run that asks `url`, and goes where that sends it if it `follows` redirects.
    ///
    /// # Errors
    /// Nobody is there whom one could trust: in words.
    pub fn new(
        url: &str,
        follows: bool,
        trust: Trust<'_>,
        timeout: Duration,
        watched: &Watched,
    ) -> Result<Self, String> {
        let config = if url.starts_with("https://") {
            Some(Arc::new(client(trust, watched)?))
        } else if follows {
            // A plain server may never send anybody to one with TLS.
            client(trust, watched).ok().map(Arc::new)
        } else {
            None
        };
        let until = clock::now() + timeout;
        let name = trust.host.map(|host| without_port(host).to_owned());
        Ok(Secure { config, name, until, watched: watched.clone() })
    }
}

fn client(trust: Trust<'_>, watched: &Watched) -> Result<ClientConfig, String> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let provider = PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())).clone();
    let strict = if trust.verify {
        let signers = certificate::signers(trust.ca_file)?;
        let verifier = WebPkiServerVerifier::builder_with_provider(signers, provider.clone()).build();
        Some(verifier.map_err(|error| error.to_string())?)
    } else {
        None
    };
    let witness = Witness { strict, provider: provider.clone(), watched: watched.clone() };
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(witness));
    Ok(builder.with_no_client_auth())
}

/// `host:8443`, `[2001:db8::1]:443` → the host.
fn without_port(host: &str) -> &str {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.split(']').next().unwrap_or(inner);
    }
    match host.split_once(':') {
        // More than one colon: an IPv6 address.
        Some((name, port)) if !port.contains(':') => name,
        _ => host,
    }
}

impl<In: Transport> Connector<In> for Secure {
    type Out = Either<In, Tls>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        self.watched.0.lock().connected = true;
        if !details.needs_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let Some(config) = &self.config else {
            let nobody = "redirected to https, and this machine trusts no signer of certificates";
            self.watched.0.lock().problem = Some(nobody.to_owned());
            return Err(ureq::Error::Tls(nobody));
        };
        let host = details.uri.host().unwrap_or_default();
        let host = self.name.as_deref().unwrap_or_else(|| without_port(host));
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| ureq::Error::BadUri(format!("`{host}` is no name for a certificate")))?;
        self.watched.0.lock().shakes_hands = true;
        let shaken = ClientConnection::new(config.clone(), name).map_err(std::io::Error::other);
        let mut connection = shaken?;
        let mut below = TransportAdapter::new(transport.boxed(), details.current_time.clone());
        let left = self.until.since(clock::now());
        below.set_timeout(NextTimeout { after: left.into(), ..details.timeout });
        let done = connection.complete_io(&mut below);
        if let Err(error) = done {
            if let Some(wrong) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
                self.watched.0.lock().problem = Some(certificate::words(wrong, host));
            }
            return Err(error.into());
        }
        self.watched.0.lock().shakes_hands = false;
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Either::B(Tls { buffers, stream: StreamOwned::new(connection, below) })))
    }
}

impl std::fmt::Debug for Secure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secure").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A connection with TLS on it.
pub struct Tls {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl Transport for Tls {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        self.stream.write_all(&self.buffers.output()[..amount])?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Judges certificates as everybody does, and notes when they end.
#[derive(Debug)]
struct Witness {
    /// `None`: `verify = no`.
    strict: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    watched: Watched,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.watched.0.lock().end = certificate::end(certificate);
        match &self.strict {
            Some(strict) => strict.verify_server_cert(certificate, intermediates, name, ocsp, now),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
