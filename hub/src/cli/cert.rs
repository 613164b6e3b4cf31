//! `hub cert ca | server | device`: a private CA and what it signs, for who has none yet.
//!
//! Nothing is ever overwritten, and what is secret is its owner's alone to read. One CA serves both ends: a device's
//! certificate cannot be used as a hub's, nor the other way round, because each says what it is for.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use jiff::{Span, Timestamp};
use protocol::DeviceId;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};

use sha2::Digest as _;

use super::{BadUsage, print};
use crate::config::data_folder;

/// Names of the folder in the data folder, and of the CA in it.
const FOLDER: &str = "certs";
const CA: &str = "ca";
/// How long a CA is valid, in days: whoever trusts it is not asked again soon.
const CA_DAYS: i64 = 3_650;

#[derive(Debug, Subcommand)]
pub(super) enum CertCommand {
    /// Make a CA
    Ca(Place),
    /// Make a certificate for a hub, and the CA if there is none
    Server {
        /// Names and addresses under which the hub is reached [default: localhost, 127.0.0.1 and `::1`]
        names: Vec<String>,
        /// Days that it is valid
        #[arg(long, default_value_t = 397, value_parser = clap::value_parser!(i64).range(1..=3_650))]
        days: i64,
        #[command(flatten)]
        place: Place,
    },
    /// Make a certificate with which a device connects instead of a token, and the CA if there is none
    Device {
        /// Id of the device
        id: DeviceId,
        /// Days that it is valid
        #[arg(long, default_value_t = 397, value_parser = clap::value_parser!(i64).range(1..=3_650))]
        days: i64,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
pub(super) struct Place {
    /// Folder for the files [default: certs in the data folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Data folder of the hub [default: telemetry-hub in the user's data folder]
    #[arg(long, env = protocol::local::DATA_VARIABLE, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Place {
    fn folder(&self) -> anyhow::Result<PathBuf> {
        let folder = match &self.dir {
            Some(folder) => folder.clone(),
            None => data_folder(self.data.as_deref())?.join(FOLDER),
        };
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        // The paths are printed to be put into settings.
        std::path::absolute(&folder).with_context(|| folder.display().to_string())
    }
}

/// The two files of a certificate.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new(folder: &Path, name: &str) -> Self {
        Self { certificate: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) }
    }

    /// Nothing is made where one of them is.
    fn must_be_free(&self) -> anyhow::Result<()> {
        for path in [&self.certificate, &self.key] {
            if path.exists() {
                bail!(
                    "{} is there already, and is kept: move it away first, or name another folder with --dir",
                    path.display()
                );
            }
        }
        Ok(())
    }

    fn write(&self, certificate: &str, key: &KeyPair) -> anyhow::Result<()> {
        write_new(&self.key, &key.serialize_pem(), 0o600)?;
        write_new(&self.certificate, certificate, 0o644)
    }
}

fn write_new(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let write = || {
        let mut file = options.open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| path.display().to_string())
}

pub(super) fn run(command: CertCommand) -> anyhow::Result<ExitCode> {
    match command {
        CertCommand::Ca(place) => {
            let files = Files::new(&place.folder()?, CA);
            files.must_be_free()?;
            make_ca(&files)?;
        }
        CertCommand::Server { names, days, place } => server(names, days, &place)?,
        CertCommand::Device { id, days, place } => device(&id, days, &place)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn server(names: Vec<String>, days: i64, place: &Place) -> anyhow::Result<()> {
    if let Some(wrong) = names.iter().find(|name| !is_host(name)) {
        let problem =
            format!("{wrong:?} is neither a name nor an address of a hub, as hub.example or 10.0.0.5");
        return Err(BadUsage(problem).into());
    }
    let folder = place.folder()?;
    let files = Files::new(&folder, "server");
    files.must_be_free()?;
    let names = if names.is_empty() { vec!["localhost".to_owned()] } else { names };
    let first = names.first().cloned().unwrap_or_default();
    let mut params = CertificateParams::new(names).map_err(|error| BadUsage(format!("names: {error}")))?;
    if first == "localhost" {
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)));
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let ca = sign(&folder, &files, params, &first, days)?;
    print::line("In hub.toml:");
    print::line(&format!("tls_certificate = {}", quoted(&files.certificate)));
    print::line(&format!("tls_key = {}", quoted(&files.key)));
    print::line(&format!(
        "Programs that connect to it: --ca {} (or {})",
        ca.display(),
        protocol::local::CA_VARIABLE
    ));
    Ok(())
}

/// Whether a hub may be reached under this: without a port, and without what a URL has before it.
fn is_host(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'*'))
    };
    name.parse::<IpAddr>().is_ok() || name.split('.').all(is_label)
}

fn device(id: &DeviceId, days: i64, place: &Place) -> anyhow::Result<()> {
    let folder = place.folder()?;
    // A device id may hold what a file name may not.
    let name: String = id.as_str().chars().map(|c| if matches!(c, '/' | ':') { '_' } else { c }).collect();
    let files = Files::new(&folder, &format!("device-{name}"));
    files.must_be_free()?;
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let ca = sign(&folder, &files, params, id.as_str(), days)?;
    print::line("In hub.toml:");
    print::line(&format!("tls_client_ca = {}", quoted(&ca)));
    print::line("For the device:");
    print::line(&format!(
        "--certificate {} --key {} --ca {}",
        files.certificate.display(),
        files.key.display(),
        ca.display()
    ));
    Ok(())
}

/// Makes a certificate that the CA of the folder has signed. Returns the file of the CA's.
fn sign(
    folder: &Path,
    files: &Files,
    mut params: CertificateParams,
    name: &str,
    days: i64,
) -> anyhow::Result<PathBuf> {
    let ca = Files::new(folder, CA);
    if !ca.certificate.exists() {
        ca.must_be_free()?;
        make_ca(&ca)?;
    }
    let read = |path: &Path| std::fs::read_to_string(path).with_context(|| path.display().to_string());
    let ca_key = KeyPair::from_pem(&read(&ca.key)?)
        .map_err(|_| anyhow::anyhow!("{}: no key that can sign", ca.key.display()))?;
    let issuer = Issuer::from_ca_cert_pem(&read(&ca.certificate)?, ca_key)
        .with_context(|| format!("{}: no CA", ca.certificate.display()))?;
    params.distinguished_name = common_name(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params, days)?;
    let key = KeyPair::generate()?;
    files.write(&params.signed_by(&key, &issuer)?.pem(), &key)?;
    Ok(ca.certificate)
}

fn make_ca(files: &Files) -> anyhow::Result<()> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    // Two CAs must not be taken for one.
    let digest: [u8; 32] = sha2::Sha256::digest(key.public_key_raw()).into();
    let [a, b, c, d, ..] = digest;
    params.distinguished_name = common_name(&format!("Telemetry hub CA {a:02x}{b:02x}{c:02x}{d:02x}"));
    valid(&mut params, CA_DAYS)?;
    files.write(&params.self_signed(&key)?.pem(), &key)?;
    print::line(&format!(
        "A new CA: {} is for everyone; keep {} to yourself, whoever has it can pose as this hub and as any device",
        files.certificate.display(),
        files.key.display()
    ));
    Ok(())
}

/// A path as a text of TOML.
fn quoted(path: &Path) -> String {
    toml::Value::String(path.display().to_string()).to_string()
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// From yesterday, for clocks that are late, for so many days.
fn valid(params: &mut CertificateParams, days: i64) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let date = |days: i64| -> anyhow::Result<_> {
        let date = now.checked_add(Span::new().hours(days * 24))?.to_zoned(jiff::tz::TimeZone::UTC).date();
        Ok(rcgen::date_time_ymd(date.year().into(), date.month().try_into()?, date.day().try_into()?))
    };
    params.not_before = date(-1)?;
    params.not_after = date(days)?;
    Ok(())
}
