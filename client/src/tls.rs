//! TLS to a hub: which roots are trusted, with which certificate a device names itself, and what a failure means.
//!
//! A file with CAs is trusted instead of the system's, not beside them: who runs a CA of their own wants no other.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::local;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::either::Either;

/// A connection to a hub: plain, in TLS, or to one in this very process, which a simulation makes.
pub type Transport = Either<TcpStream, Either<Box<tokio_rustls::client::TlsStream<TcpStream>>, DuplexStream>>;

/// Files that say whom to trust, and who we are.
#[derive(Debug, Clone, Default)]
pub struct TlsFiles {
    /// CAs in PEM that are trusted instead of the system's.
    pub ca: Option<PathBuf>,
    /// Our own certificate in PEM, with those between it and its CA, and its key: for a device without a token.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// What is needed to speak TLS with a hub. Shows nothing of it (I-12).
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(…)")
    }
}

/// Why TLS cannot be spoken at all: something on this machine is missing or wrong.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error("{of} {path}: {problem}")]
    File {
        /// What it is, and how it was named.
        of: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The system trusts nobody.
    #[error(
        "this system has no CA that it trusts{problem}: install them (on Debian the package ca-certificates), or name a file with --ca or {}",
        local::CA_VARIABLE
    )]
    NoRoots {
        /// What the system said, in brackets.
        problem: String,
    },
    /// The certificate and its key do not go together.
    #[error("certificate {certificate} and key {key}: {problem}")]
    Identity {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// The library refused our settings.
    #[error("TLS cannot be set up: {0}")]
    Library(String),
}

impl Tls {
    /// Reads what the files say; without a CA the system's are trusted.
    pub fn new(files: &TlsFiles) -> Result<Self, TlsError> {
        let roots = match &files.ca {
            Some(path) => roots_of(path)?,
            None => roots_of_system()?,
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Library(error.to_string()))?
            .with_root_certificates(roots);
        let mut config = match &files.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates(
                    certificate,
                    &named("certificate", "--certificate", local::CERTIFICATE_VARIABLE),
                )?;
                let of_key = || named("key", "--key", local::KEY_VARIABLE);
                let secret = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| unreadable(key, of_key(), "key", &error))?;
                builder.with_client_auth_cert(chain, secret).map_err(|error| TlsError::Identity {
                    certificate: certificate.clone(),
                    key: key.clone(),
                    problem: error.to_string(),
                })?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }

    /// Does the handshake as a client of `host`. An error that is one of TLS is put in words by [`problem_of`].
    pub(crate) async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<Transport> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("{host} is no host name")))?;
        // The state of the handshake is large, and most connections are not of TLS.
        let handshake = Box::pin(TlsConnector::from(Arc::clone(&self.0)).connect(name, stream));
        Ok(Either::Right(Either::Left(Box::new(handshake.await?))))
    }
}

/// What a file is, and with what it is named.
fn named(what: &str, flag: &str, variable: &str) -> String {
    format!("{what} ({flag} or {variable})")
}

fn cas() -> String {
    named("CAs", "--ca", local::CA_VARIABLE)
}

fn unreadable(path: &Path, of: String, what: &str, error: &pem::Error) -> TlsError {
    let problem = match error {
        pem::Error::NoItemsFound => format!("no {what} in PEM in it"),
        pem::Error::Io(error) => error.to_string(),
        // The error may repeat lines of the file.
        _ => "it is not PEM".to_owned(),
    };
    TlsError::File { of, path: path.to_owned(), problem }
}

fn certificates(path: &Path, of: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| unreadable(path, of.to_owned(), "certificate", &error))?;
    if found.is_empty() {
        return Err(unreadable(path, of.to_owned(), "certificate", &pem::Error::NoItemsFound));
    }
    Ok(found)
}

fn roots_of(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, &cas())? {
        roots.add(certificate).map_err(|error| TlsError::File {
            of: cas(),
            path: path.to_owned(),
            problem: format!("a certificate in it is none of a CA: {error}"),
        })?;
    }
    Ok(roots)
}

fn roots_of_system() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some systems keep certificates that no library reads: those are left out, as everybody does.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let problem = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(TlsError::NoRoots { problem });
    }
    Ok(roots)
}

/// What went wrong with TLS, in words that say what to do. `None`: it was not TLS.
pub(crate) fn problem_of(error: &io::Error, host: &str) -> Option<String> {
    use rustls::Error;
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match error {
        Error::InvalidCertificate(problem) => certificate_problem(problem, host),
        Error::InvalidMessage(_) => "it does not speak TLS there: use ws:// for a hub without TLS".into(),
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired => {
                "the hub wants a certificate of this client and got none".into()
            }
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRevoked
            | AlertDescription::DecryptError => {
                format!(
                    "the hub refuses our certificate ({alert:?}): is it of the CA in tls_client_ca, and valid now?"
                )
            }
            other => format!("the hub broke off with the alert {other:?}"),
        },
        other => other.to_string(),
    })
}

fn certificate_problem(problem: &CertificateError, host: &str) -> String {
    let ca = local::CA_VARIABLE;
    match problem {
        // The second: the CA that is trusted has the name of the right one, and another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!(
                "its certificate comes from a CA that is not trusted here: name the CA's file with --ca or {ca}"
            )
        }
        CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
            let names: Vec<String> = presented.iter().take(8).map(|name| plain_name(name)).collect();
            format!("its certificate is not for {host} but for {}: connect by that name", names.join(", "))
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("its certificate is not for {host}, and names nobody else")
        }
        CertificateError::ExpiredContext { time, not_after } => {
            format!(
                "its certificate expired {} ago (or the clock of this machine is wrong)",
                apart(*not_after, *time)
            )
        }
        CertificateError::Expired => "its certificate has expired".into(),
        CertificateError::NotValidYetContext { time, not_before } => {
            format!(
                "its certificate is valid only in {} (or the clock of this machine is wrong)",
                apart(*time, *not_before)
            )
        }
        CertificateError::NotValidYet => "its certificate is not valid yet".into(),
        CertificateError::ApplicationVerificationFailure => "its certificate was not accepted".into(),
        other => format!("its certificate is not valid: {other}"),
    }
}

/// `DnsName("hub.example")` as the library writes it, without the wrapping; nothing that could move a terminal's cursor.
fn plain_name(name: &str) -> String {
    let inner =
        name.split_once('"').and_then(|(_, rest)| rest.rsplit_once('"')).map_or(name, |(name, _)| name);
    let inner = inner.strip_prefix("IpAddress(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(inner);
    crate::line::clean(inner, 80)
}

fn apart(from: UnixTime, to: UnixTime) -> String {
    let seconds = to.as_secs().saturating_sub(from.as_secs());
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
