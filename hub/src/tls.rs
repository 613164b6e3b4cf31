//! TLS of the hub's port: its certificate, and the CA of devices that have certificates of their own.
//!
//! The files are read again when they change, so that a certificate is renewed while everybody stays connected: it counts
//! for connections from then on. What cannot be used is logged, and the certificate before stays.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use protocol::DeviceId;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::clock;
use crate::config::TlsFiles;

/// How often it is looked whether the files have changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How long before the end of a certificate the log begins to say so, once a day.
const EXPIRY_WARNING: i64 = 14 * 24 * 3_600;
/// How often it says so.
const WARNING_INTERVAL: Duration = Duration::from_hours(24);

/// The connection of a peer: plain, in TLS, or from this very process, as a simulation and the fuzz targets make it.
pub type Transport = Either<TcpStream, Either<Box<TlsStream<TcpStream>>, DuplexStream>>;

/// What was agreed on in TLS: its version and the cipher. `None`: it is not spoken.
pub fn agreed(transport: &Transport) -> Option<(String, String)> {
    let Either::Right(Either::Left(stream)) = transport else { return None };
    let connection = stream.get_ref().1;
    let version = connection.protocol_version().and_then(|version| version.as_str().map(str::to_owned));
    let cipher = connection
        .negotiated_cipher_suite()
        .map(|suite| suite.suite().as_str().map_or_else(|| format!("{:?}", suite.suite()), str::to_owned));
    Some((version.unwrap_or_default(), cipher.unwrap_or_default()))
}

/// What is wrong with the files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error("{key} {path}: {problem}")]
    File {
        /// The setting that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Certificate and key are not of one pair, or the library refuses them.
    #[error("tls_certificate {certificate} and tls_key {key}: {problem}")]
    Pair {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What does not fit.
        problem: String,
    },
}

/// The certificate that connections get now.
#[derive(Debug)]
pub struct TlsPort {
    files: TlsFiles,
    current: RwLock<Arc<ServerConfig>>,
    /// When the certificate ends, in seconds since 1970.
    expires: AtomicI64,
    look: Notify,
}

/// What the files held, and what it means.
struct Loaded {
    config: Arc<ServerConfig>,
    expires: i64,
}

/// Tells contents of files from others; the key itself is not kept.
type Print = [u8; 32];

impl TlsPort {
    /// Reads the files.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let Loaded { config, expires } = load(&files)?;
        let port = Self {
            files,
            current: RwLock::new(config),
            expires: AtomicI64::new(expires),
            look: Notify::new(),
        };
        port.warn_of_what_is_readable();
        port.warn_of_expiry();
        Ok(port)
    }

    /// When the certificate ends, in seconds since 1970.
    pub fn expires(&self) -> i64 {
        self.expires.load(Ordering::Relaxed)
    }

    /// Looks at the files at once, also if they seem to be the same.
    pub fn reload(&self) {
        self.look.notify_one();
    }

    /// Does the handshake of one connection. An error says why there is none.
    pub async fn accept(&self, stream: TcpStream) -> std::io::Result<Transport> {
        let config = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        // The state of the handshake is large, and is gone when the connection is up.
        let handshake = Box::pin(TlsAcceptor::from(config).accept(stream));
        Ok(Either::Right(Either::Left(Box::new(handshake.await?))))
    }

    /// Takes the files anew when they change, until the hub stops. What has changed is taken when it has stood still from
    /// one look to the next, so that a certificate whose key is still being written is not tried.
    pub async fn keep(self: Arc<Self>, stopping: CancellationToken) {
        let mut used = self.print().await;
        let mut before = used;
        let mut again = tokio::time::interval(LOOK_INTERVAL);
        let mut warned = tokio::time::Instant::now();
        loop {
            let asked = tokio::select! {
                () = stopping.cancelled() => return,
                () = self.look.notified() => true,
                _ = again.tick() => false,
            };
            let now = self.print().await;
            let still = now == before;
            before = now;
            if asked || (now != used && still) {
                used = now;
                self.take().await;
            }
            if warned.elapsed() >= WARNING_INTERVAL {
                warned = tokio::time::Instant::now();
                self.warn_of_expiry();
            }
        }
    }

    async fn take(self: &Arc<Self>) {
        let port = Arc::clone(self);
        let loaded = tokio::task::spawn_blocking(move || load(&port.files)).await;
        let now = clock::now().micros() / 1_000_000;
        match loaded {
            // One that is good is not given up for one that is not.
            Ok(Ok(Loaded { expires, .. })) if expires < now && now <= self.expires() => {
                let certificate = self.files.certificate.display();
                tracing::error!(%certificate, ended = %day(expires), "the new certificate has ended: the one in use stays");
            }
            Ok(Ok(Loaded { config, expires })) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
                self.expires.store(expires, Ordering::Relaxed);
                tracing::info!(expires = %day(expires), "new connections get the new certificate");
                self.warn_of_what_is_readable();
                self.warn_of_expiry();
            }
            Ok(Err(error)) => tracing::error!(%error, "the certificate in use stays"),
            Err(error) => tracing::error!(%error, "the files of TLS could not be read"),
        }
    }

    /// What the files hold now. `None`: one of them cannot be read.
    async fn print(self: &Arc<Self>) -> Option<Print> {
        let port = Arc::clone(self);
        let look = move || {
            let TlsFiles { certificate, key, client_ca } = &port.files;
            let mut digest = Sha256::new();
            for path in [Some(certificate), Some(key), client_ca.as_ref()].into_iter().flatten() {
                digest.update(Sha256::digest(std::fs::read(path).ok()?));
            }
            Some(digest.finalize().into())
        };
        tokio::task::spawn_blocking(look).await.ok().flatten()
    }

    fn warn_of_expiry(&self) {
        let expires = self.expires();
        let left = expires - clock::now().micros() / 1_000_000;
        let certificate = self.files.certificate.display();
        if left < 0 {
            tracing::error!(%certificate, ended = %day(expires), "the certificate has ended, and clients refuse it: put a new one into its file, it is taken from there while the hub runs");
        } else if left < EXPIRY_WARNING {
            tracing::warn!(%certificate, expires = %day(expires), "the certificate ends soon: put a new one into its file, it is taken from there while the hub runs");
        }
    }

    fn warn_of_what_is_readable(&self) {
        #[cfg(unix)]
        if let Ok(data) = std::fs::metadata(&self.files.key)
            && std::os::unix::fs::PermissionsExt::mode(&data.permissions()) & 0o077 != 0
        {
            let key = self.files.key.display();
            tracing::warn!(%key, "others than its owner may read the key: chmod 600");
        }
    }
}

/// A time in seconds since 1970 for a person.
fn day(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

fn load(files: &TlsFiles) -> Result<Loaded, TlsError> {
    let chain = certificates("tls_certificate", &files.certificate)?;
    let expires = chain.first().and_then(|first| {
        let (_, certificate) = X509Certificate::from_der(first).ok()?;
        Some(certificate.validity().not_after.timestamp())
    });
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| unreadable("tls_key", &files.key, &error))?;
    let pair = |error: rustls::Error| TlsError::Pair {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        problem: match error {
            rustls::Error::InconsistentKeys(_) => "the key is not the certificate's".to_owned(),
            error => error.to_string(),
        },
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(pair)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let unusable =
                |problem: String| TlsError::File { key: "tls_client_ca", path: path.clone(), problem };
            let mut roots = RootCertStore::empty();
            for certificate in certificates("tls_client_ca", path)? {
                roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
            }
            // Viewers, and devices with tokens, come without a certificate.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| unusable(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Loaded { config: Arc::new(config), expires: expires.unwrap_or(i64::MAX) })
}

fn unreadable(key: &'static str, path: &Path, error: &pem::Error) -> TlsError {
    let problem = match error {
        pem::Error::NoItemsFound => {
            let kind = if key == "tls_key" { "private key" } else { "certificate" };
            format!("no {kind} in PEM is in it")
        }
        pem::Error::Io(error) => error.to_string(),
        // The error may repeat lines of the file, and one of these files is a secret.
        _ => "it is not PEM".to_owned(),
    };
    TlsError::File { key, path: path.to_owned(), problem }
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(unreadable(key, path, &pem::Error::NoItemsFound)),
        Ok(found) => Ok(found),
        Err(error) => Err(unreadable(key, path, &error)),
    }
}

/// The device that a certificate stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The device.
    pub device: DeviceId,
    /// When the certificate ends, in seconds since 1970.
    pub expires: i64,
    /// Tells the device's key from any other, in the place of a token's hash.
    pub hash: [u8; 32],
}

/// Whom the certificate of a peer stands for, or why for nobody. `None`: it showed none.
///
/// The library has seen by now that it comes from one of the CAs and is valid. The device is the subject's common name; if
/// it has none, the only DNS name among the alternative names.
pub fn identity(transport: &Transport) -> Option<Result<Identity, String>> {
    match transport {
        Either::Left(_) | Either::Right(Either::Right(_)) => None,
        Either::Right(Either::Left(stream)) => {
            let certificate = stream.get_ref().1.peer_certificates()?.first()?;
            Some(read_identity(certificate))
        }
    }
}

fn read_identity(certificate: &[u8]) -> Result<Identity, String> {
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|_| "the certificate cannot be read".to_owned())?;
    let names: Vec<&str> =
        certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok()).collect();
    let names = if names.is_empty() {
        let alternative = certificate.subject_alternative_name().ok().flatten();
        let alternative = alternative.iter().flat_map(|extension| &extension.value.general_names);
        alternative
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(*name),
                _ => None,
            })
            .collect()
    } else {
        names
    };
    let [name] = names[..] else {
        return Err(format!(
            "the certificate names no single device: it needs one common name, or one DNS name, and has {}",
            names.len()
        ));
    };
    let device =
        DeviceId::new(name).map_err(|error| format!("the certificate's name is no device id: {error}"))?;
    let mut digest = Sha256::new();
    digest.update(b"certificate\0");
    digest.update(device.as_str());
    digest.update(b"\0");
    digest.update(certificate.public_key().raw);
    let expires = certificate.validity().not_after.timestamp();
    Ok(Identity { device, expires, hash: digest.finalize().into() })
}
