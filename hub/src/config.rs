//! What the hub is told: flags, then environment, then a TOML file, then defaults.
//!
//! [`Options`] is what was typed, [`Config`] what it means. An unknown key or a bad value is an error that names it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::desk::Timing;
use protocol::local;
use serde::de::DeserializeSeed as _;
use serde::{Deserialize, Deserializer, de};
use store::RetentionPolicy;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::commands::Waits;
use crate::limits::{Limit, Limits, Number, OutOfRange, Settings};
use crate::retention;

/// What can be set on the command line (first) and in the environment (second).
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// Address to listen on; port 0 takes any that is free [default: 127.0.0.1:7878]
    #[arg(long, env = "TELEMETRY_LISTEN", value_name = "ADDRESS:PORT", value_parser = address)]
    pub listen: Option<SocketAddr>,
    /// Folder for the database and the tokens of this machine [default: telemetry-hub in the user's data folder]
    #[arg(long, env = "TELEMETRY_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// File of settings in TOML; flags come before it [default: hub.toml in the data folder, if it is there]
    #[arg(long, env = "TELEMETRY_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How much to log: off, error, warn, info, debug or trace; of a part as well, as in `info,hub::session=debug` [default: info]
    #[arg(long, env = "TELEMETRY_LOG", value_name = "FILTER", value_parser = log_filter)]
    pub log: Option<String>,
    /// How to log [default: text]
    #[arg(long, env = "TELEMETRY_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// The hub's certificate in PEM, with those between it and its CA: turns on TLS
    #[arg(long, env = "TELEMETRY_TLS_CERTIFICATE", value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,
    /// The key of the certificate, in PEM
    #[arg(long, env = "TELEMETRY_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// CAs in PEM: a device that shows a certificate of theirs needs no token
    #[arg(long, env = "TELEMETRY_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Allow an address that others reach without TLS: whoever is on the way can read tokens and readings
    #[arg(long, env = "TELEMETRY_INSECURE")]
    pub insecure: bool,
    /// How many devices and viewers may be connected at once [default: 10000]
    #[arg(long, env = "TELEMETRY_MAX_CONNECTIONS", value_name = "COUNT", value_parser = |text: &str| Limit::MaxConnections.parse::<usize>(text))]
    pub max_connections: Option<usize>,
    /// Seconds between two pings to a device or viewer, 1 to 3600 [default: 7]
    #[arg(long, env = "TELEMETRY_HEARTBEAT_SECONDS", value_name = "SECONDS", value_parser = |text: &str| Limit::HeartbeatSeconds.parse::<u32>(text))]
    pub heartbeat_seconds: Option<u32>,
    /// Seconds that stopping may take before open connections are cut off, 1 to 600 [default: 5]
    #[arg(long, env = "TELEMETRY_SHUTDOWN_SECONDS", value_name = "SECONDS", value_parser = |text: &str| Limit::ShutdownSeconds.parse::<u32>(text))]
    pub shutdown_seconds: Option<u32>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For a person.
    Text,
    /// One JSON object a line.
    Json,
}

/// The file. Its keys are the names of the flags, with `_` for `-`; `origins`, `[retention]`, `[commands]` and
/// `[limits]` are only here.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, deserialize_with = "read_address")]
    listen: Option<SocketAddr>,
    #[serde(default, deserialize_with = "read_log")]
    log: Option<String>,
    #[serde(default, deserialize_with = "read_log_format")]
    log_format: Option<LogFormat>,
    tls_certificate: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls_client_ca: Option<PathBuf>,
    #[serde(default)]
    insecure: bool,
    #[serde(default, deserialize_with = "max_connections")]
    max_connections: Option<u64>,
    #[serde(default, deserialize_with = "heartbeat_seconds")]
    heartbeat_seconds: Option<u64>,
    #[serde(default, deserialize_with = "shutdown_seconds")]
    shutdown_seconds: Option<u64>,
    #[serde(default)]
    origins: Origins,
    #[serde(default)]
    retention: retention::Settings,
    #[serde(default)]
    commands: CommandSettings,
    #[serde(default)]
    limits: Settings,
}

/// An address to listen on; names are not looked up, as one may stand for several.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "it must be an IP address with a port, as 127.0.0.1:7878 or [::]:7878".to_owned())
}

fn read_address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let quoted = |problem: String| de::Error::custom(format!("listen: {problem}, in quotes"));
    let text = toml::Value::deserialize(from)?;
    address(text.as_str().unwrap_or_default()).map(Some).map_err(quoted)
}

/// What to log: a level, or filters. A word alone that is no level would be taken for the name of a module, and the log would
/// stay silent.
fn log_filter(text: &str) -> Result<String, String> {
    let is_level = text.parse::<LevelFilter>().is_ok();
    if !is_level && !text.contains('=') {
        return Err(format!("{text:?} is not a level (error, warn, info, debug, trace, off)"));
    }
    EnvFilter::builder().parse(text).map(|_| text.to_owned()).map_err(|error| {
        format!("{text:?} is not a level (error, warn, info, debug, trace, off) or filter: {error}")
    })
}

fn read_log<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    log_filter(&String::deserialize(from)?)
        .map(Some)
        .map_err(|problem| de::Error::custom(format!("log: {problem}")))
}

fn read_log_format<'de, D: Deserializer<'de>>(from: D) -> Result<Option<LogFormat>, D::Error> {
    match String::deserialize(from)?.as_str() {
        "text" => Ok(Some(LogFormat::Text)),
        "json" => Ok(Some(LogFormat::Json)),
        other => Err(de::Error::custom(format!("log_format is {other:?}: it must be \"text\" or \"json\""))),
    }
}

/// The value of each limit that has a key outside of `[limits]`.
macro_rules! numbers {
    ($($key:ident = $limit:ident;)*) => {$(
        fn $key<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
            Number(Limit::$limit).deserialize(from).map(Some)
        }
    )*};
}

numbers! {
    max_connections = MaxConnections;
    heartbeat_seconds = HeartbeatSeconds;
    shutdown_seconds = ShutdownSeconds;
    answer_seconds = CommandAnswerSeconds;
    end_seconds = CommandEndSeconds;
    settle_seconds = CommandSettleSeconds;
}

/// Web pages that may connect.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged, expecting = "origins is a list, as in origins = [\"https://dash.example\"]")]
enum Origins {
    #[default]
    None,
    List(Vec<String>),
}

/// How long commands wait, in seconds.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandSettings {
    #[serde(default, rename = "answer_seconds", deserialize_with = "answer_seconds")]
    answer: Option<u64>,
    #[serde(default, rename = "end_seconds", deserialize_with = "end_seconds")]
    end: Option<u64>,
    #[serde(default, rename = "settle_seconds", deserialize_with = "settle_seconds")]
    settle: Option<u64>,
}

impl CommandSettings {
    fn resolve(&self, limits: &mut Limits) -> Result<Waits, ConfigError> {
        let mut micros = |limit, value: Option<u64>| {
            if let Some(value) = value {
                limits.set(limit, value)?;
            }
            Ok::<_, ConfigError>(limits.get(limit).cast_signed() * 1_000_000)
        };
        let answer = micros(Limit::CommandAnswerSeconds, self.answer)?;
        let settle = micros(Limit::CommandSettleSeconds, self.settle)?;
        let end = micros(Limit::CommandEndSeconds, self.end)?;
        Ok(Waits { timing: Timing { answer, settle }, end })
    }
}

/// Where the files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The hub's certificate in PEM, with those between it and its CA.
    pub certificate: PathBuf,
    /// Its key in PEM.
    pub key: PathBuf,
    /// The CAs, in PEM, whose certificates devices may connect with.
    pub client_ca: Option<PathBuf>,
}

/// What the hub does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Address to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Folder for the database and the local tokens.
    pub data: PathBuf,
    /// What to log.
    pub log: String,
    /// How to log.
    pub log_format: LogFormat,
    /// With which files TLS is spoken. `None`: it is not.
    pub tls: Option<TlsFiles>,
    /// Most connections at once, of all kinds.
    pub max_connections: usize,
    /// Time between two pings to a peer.
    pub heartbeat: Duration,
    /// Time that an orderly stop may take.
    pub shutdown: Duration,
    /// Web pages that may connect: `https://host` or `https://host:port`, as a browser writes it. All others are refused.
    pub origins: Vec<String>,
    /// What goes when.
    pub retention: RetentionPolicy,
    /// How long commands wait for what.
    pub commands: Waits,
    /// The value of each limit.
    pub limits: Limits,
}

/// Why the configuration does not hold.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("config file {path}: {problem}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        problem: std::io::Error,
    },
    /// The file holds an unknown key or a bad value.
    #[error("config file {path}: {problem}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        problem: String,
    },
    /// A value is out of its range.
    #[error("{0}")]
    Range(OutOfRange),
    /// An origin is none.
    #[error(
        "config file {path}: origins: {origin:?} is not of the form https://host or https://host:port, without anything after it"
    )]
    Origin {
        /// The file.
        path: PathBuf,
        /// What stands there.
        origin: String,
    },
    /// A setting of TLS without another that it needs.
    #[error(
        "{0} is set and {1} is not: TLS needs both tls_certificate and tls_key (`hub cert server` makes them)"
    )]
    HalfTls(&'static str, &'static str),
    /// Others could reach the address, and nothing would be secret.
    #[error(
        "listen is {0}, which other machines may reach, and there is no TLS: set tls_certificate and tls_key (`hub cert server` makes them), listen on 127.0.0.1 behind a proxy that has TLS, or say --insecure"
    )]
    Insecure(SocketAddr),
    /// No data folder was named and the system has no place for one.
    #[error("no home directory here: name a data folder with --data or {}", local::DATA_VARIABLE)]
    NoDataFolder,
}

impl From<OutOfRange> for ConfigError {
    fn from(error: OutOfRange) -> Self {
        Self::Range(error)
    }
}

/// The data folder: as named, or the usual place.
pub fn data_folder(named: Option<&Path>) -> Result<PathBuf, ConfigError> {
    match named {
        Some(path) => Ok(path.to_owned()),
        None => directories::BaseDirs::new()
            .map(|dirs| dirs.data_dir().join(local::DATA_FOLDER))
            .ok_or(ConfigError::NoDataFolder),
    }
}

impl Config {
    /// Works out what `options`, the file and the defaults mean together.
    pub fn resolve(options: &Options) -> Result<Self, ConfigError> {
        let data = data_folder(options.data.as_deref())?;
        let (config_file, mut file) = match &options.config {
            Some(path) => (path.clone(), read_file(path)?),
            None => {
                let path = data.join("hub.toml");
                let file = if path.exists() { read_file(&path)? } else { File::default() };
                (path, file)
            }
        };
        let origins = check_origins(&config_file, std::mem::take(&mut file.origins))?;
        // Where the file names others, it does so from where it is.
        let beside = |path: PathBuf| match config_file.parent() {
            Some(folder) => folder.join(path),
            None => path,
        };
        let named = |flag: &Option<PathBuf>, file: Option<PathBuf>| flag.clone().or(file.map(beside));
        let tls = resolve_tls(
            named(&options.tls_certificate, file.tls_certificate),
            named(&options.tls_key, file.tls_key),
            named(&options.tls_client_ca, file.tls_client_ca),
        )?;
        let listen = match options.listen.or(file.listen) {
            Some(address) => address,
            None => SocketAddr::from(([127, 0, 0, 1], 7878)),
        };
        if tls.is_none() && !listen.ip().to_canonical().is_loopback() && !(options.insecure || file.insecure)
        {
            return Err(ConfigError::Insecure(listen));
        }
        let mut limits = file.limits.resolve()?;
        for (limit, value) in [
            (Limit::MaxConnections, options.max_connections.map(|most| most as u64).or(file.max_connections)),
            (Limit::HeartbeatSeconds, options.heartbeat_seconds.map(u64::from).or(file.heartbeat_seconds)),
            (Limit::ShutdownSeconds, options.shutdown_seconds.map(u64::from).or(file.shutdown_seconds)),
        ] {
            if let Some(value) = value {
                limits.set(limit, value)?;
            }
        }
        let commands = file.commands.resolve(&mut limits)?;
        Ok(Self {
            listen,
            data,
            log: options.log.clone().or(file.log).unwrap_or_else(|| "info".into()),
            log_format: options.log_format.or(file.log_format).unwrap_or(LogFormat::Text),
            tls,
            max_connections: limits.count(Limit::MaxConnections),
            heartbeat: limits.time(Limit::HeartbeatSeconds),
            shutdown: limits.time(Limit::ShutdownSeconds),
            origins,
            retention: file.retention.into(),
            commands,
            limits,
        })
    }

    /// The database file.
    pub fn database(&self) -> PathBuf {
        self.data.join(local::DATABASE_FILE)
    }
}

fn resolve_tls(
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    client_ca: Option<PathBuf>,
) -> Result<Option<TlsFiles>, ConfigError> {
    match (certificate, key, client_ca) {
        (Some(certificate), Some(key), client_ca) => Ok(Some(TlsFiles { certificate, key, client_ca })),
        (Some(_), None, _) => Err(ConfigError::HalfTls("tls_certificate", "tls_key")),
        (None, Some(_), _) => Err(ConfigError::HalfTls("tls_key", "tls_certificate")),
        (None, None, Some(_)) => Err(ConfigError::HalfTls("tls_client_ca", "tls_certificate")),
        (None, None, None) => Ok(None),
    }
}

/// Sees that each is an origin as a browser writes it (RFC 6454, 6.2).
fn check_origins(path: &Path, origins: Origins) -> Result<Vec<String>, ConfigError> {
    let Origins::List(origins) = origins else { return Ok(Vec::new()) };
    match origins.iter().find(|origin| !is_origin(origin)) {
        Some(wrong) => Err(ConfigError::Origin { path: path.to_owned(), origin: wrong.clone() }),
        None => Ok(origins),
    }
}

/// Whether a text is an origin of the web, as a browser writes it.
pub(crate) fn is_origin(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text
    })
}

fn read_file(path: &Path) -> Result<File, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|problem| ConfigError::Read { path: path.to_owned(), problem })?;
    toml::from_str(&text).map_err(|e| ConfigError::Parse {
        path: path.to_owned(),
        problem: e.to_string().trim_end().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(toml: &str, options: Options) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("hub.toml"), toml).unwrap();
        Config::resolve(&Options { data: Some(folder.path().to_owned()), ..options })
            .map_err(|e| e.to_string())
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let config =
            resolve("listen = \"127.0.0.1:9000\"\nheartbeat_seconds = 7", Options::default()).unwrap();
        assert_eq!(config.listen.port(), 9000);
        assert_eq!(config.heartbeat, Duration::from_secs(7));
        assert_eq!(config.max_connections, 10_000);
        let flags = Options { listen: "127.0.0.1:9001".parse().ok(), ..Options::default() };
        assert_eq!(resolve("listen = \"127.0.0.1:9000\"", flags).unwrap().listen.port(), 9001);
    }

    #[test]
    fn an_address_that_others_reach_needs_tls_or_the_word_insecure() {
        for address in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[::ffff:192.0.2.1]:1", "[fe80::1]:1"] {
            let text = format!("listen = {address:?}");
            let error = resolve(&text, Options::default()).unwrap_err();
            assert!(error.contains("--insecure") && error.contains("tls_certificate"), "{error}");
            let flags = Options { insecure: true, ..Options::default() };
            assert!(resolve(&text, flags).unwrap().tls.is_none());
            assert!(resolve(&format!("insecure = true\n{text}"), Options::default()).is_ok());
            let tls =
                resolve(&format!("tls_certificate = \"c\"\ntls_key = \"/k\"\n{text}"), Options::default());
            let tls = tls.unwrap().tls.unwrap();
            assert!(
                tls.certificate.is_absolute() && tls.certificate.ends_with("c"),
                "beside the file: {tls:?}"
            );
            assert_eq!(tls.key, Path::new("/k"));
        }
        for address in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(resolve(&format!("listen = {address:?}"), Options::default()).is_ok(), "{address}");
        }
        for (text, missing) in [
            ("tls_key = \"k\"", "tls_certificate"),
            ("tls_certificate = \"c\"", "tls_key"),
            ("tls_client_ca = \"c\"", "tls_certificate"),
        ] {
            let error = resolve(text, Options::default()).unwrap_err();
            assert!(error.contains(&format!("{missing} is not")), "{error}");
        }
    }

    #[test]
    fn a_mistake_in_the_file_is_named() {
        let error = resolve("heartbeet_seconds = 7", Options::default()).unwrap_err();
        assert!(error.contains("heartbeet_seconds") && error.contains("line 1"), "{error}");
        let error = resolve("listen = \"here\"", Options::default()).unwrap_err();
        assert!(error.contains("listen") && error.contains("line 1"), "{error}");
        for origin in ["dash.example", "https://dash.example/", "*", "HTTPS://dash.example", "ftp://x"] {
            let error = resolve(&format!("origins = [{origin:?}]"), Options::default()).unwrap_err();
            assert!(error.contains("origins: ") && error.contains(origin), "{error}");
        }
        let config = resolve("origins = [\"https://dash.example:8443\"]", Options::default()).unwrap();
        assert_eq!(config.origins, ["https://dash.example:8443"]);
        for (text, words) in [
            (
                "heartbeat_seconds = 0",
                "heartbeat_seconds is 0: it must be a whole number of seconds from 1 to 3600",
            ),
            (
                "heartbeat_seconds = \"7s\"",
                "heartbeat_seconds is \"7s\": it must be a whole number of seconds from 1 to 3600, without quotes",
            ),
            ("heartbeat_seconds = 7.5", "heartbeat_seconds is 7.5: it must be a whole number of seconds"),
            ("heartbeat_seconds = -1", "heartbeat_seconds is -1: it must be"),
            ("heartbeat_seconds = true", "heartbeat_seconds to be a whole number of seconds"),
            ("max_connections = 99999999999", "max_connections is 99999999999: it must be"),
            ("[commands]\nend_seconds = \"1h\"", "commands.end_seconds is \"1h\": it must be"),
            (
                "[limits]\nsubscriptions = 65",
                "limits.subscriptions is 65: it must be a whole number from 1 to 64",
            ),
            (
                "[limits]\nlist_rows = 499",
                "limits.list_rows is 499: it must be a whole number from 500 to 1000",
            ),
            ("[limits]\nrequest_body_bytes = \"1 MB\"", "a whole number of bytes from 1024"),
            ("log = \"loud\"", "log: \"loud\" is not a level"),
            ("log_format = \"xml\"", "log_format is \"xml\": it must be \"text\" or \"json\""),
            ("origins = \"https://a\"", "origins is a list, as in"),
        ] {
            let error = resolve(text, Options::default()).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
            let line = text.lines().count();
            assert!(
                error.contains("hub.toml: ") && error.contains(&format!("line {line}, column")),
                "{error}"
            );
        }
    }
}
