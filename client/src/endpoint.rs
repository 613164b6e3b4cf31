//! Decides which hub to connect to and with which token: from arguments, the environment, or the hub's own data folder.
//!
//! Nothing here opens a connection. A token is read from a file only for a hub on this very machine, so that a local
//! secret is never sent to a host that somebody typed. A hub leaves its URL in its data folder while it runs; one that was
//! killed has left it too, so that nobody may answer there, or another hub.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use protocol::local;
use url::{Host, Url};

use crate::dialer::Dialer;
use crate::tls::{Tls, TlsError, TlsFiles};

/// Longest token that the protocol allows, in bytes.
pub const TOKEN_MAX_BYTES: usize = 256;

/// A hub and the credential for it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The hub: `ws://host:port` or `wss://host:port`. The path is the client's affair.
    pub url: Url,
    /// The file in the hub's data folder that named the URL, if nobody else did.
    pub address_file: Option<PathBuf>,
    /// What proves that the hub may let us in. `None`: a certificate does.
    pub token: Option<Token>,
    /// The file that the token is from, to be named where the hub refuses it.
    pub token_file: Option<PathBuf>,
    /// How TLS is spoken, where the URL asks for it.
    pub tls: Option<Tls>,
    /// Another way to the hub's port than its address.
    pub dialer: Option<Dialer>,
}

/// What somebody named; whatever is left out is looked for in the environment, and then in its usual place.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given<'a> {
    /// The hub's URL.
    pub url: Option<&'a str>,
    /// The token itself.
    pub token: Option<&'a str>,
    /// The data folder of a hub on this machine.
    pub data: Option<&'a Path>,
    /// CAs that are trusted instead of the system's.
    pub ca: Option<&'a Path>,
    /// The certificate of a device, which then needs no token.
    pub certificate: Option<&'a Path>,
    /// The key of the certificate.
    pub key: Option<&'a Path>,
}

/// A secret. Neither `Debug` nor any error shows it (I-12).
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

impl Token {
    /// Takes a token, without the white space around it.
    pub fn new(text: &str) -> Result<Self, EndpointError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(EndpointError::BadToken("it is empty".into()));
        }
        if text.len() > TOKEN_MAX_BYTES {
            return Err(EndpointError::BadToken(format!(
                "it is {} bytes long: at most {TOKEN_MAX_BYTES} are allowed",
                text.len()
            )));
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(EndpointError::BadToken("it holds spaces or characters outside ASCII".into()));
        }
        Ok(Self(text.into()))
    }

    /// The secret itself, for the request and nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Whose token is wanted, and so which file holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRole {
    /// Any device: the fleet's token.
    Device,
    /// Someone who looks.
    Viewer,
    /// Someone who also sends commands.
    Operator,
    /// Someone who also says who may connect.
    Admin,
}

impl TokenRole {
    /// Name of the file in the data folder.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Device => local::FLEET_TOKEN_FILE,
            Self::Viewer => local::VIEWER_TOKEN_FILE,
            Self::Operator => local::OPERATOR_TOKEN_FILE,
            Self::Admin => local::ADMIN_TOKEN_FILE,
        }
    }
}

/// Why no endpoint was found: what was looked for, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL, or not one of a hub.
    #[error(
        "{url:?} is not the URL of a hub: {problem}. Give it as ws://host:port, or wss://host:port for TLS"
    )]
    BadUrl {
        /// The text as given, without user and password.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// What a variable of the environment says cannot be.
    #[error("{variable}: {problem}")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What is wrong with what it says.
        problem: Box<Self>,
    },
    /// What a hub seems to have left in its data folder is not its URL.
    #[error("{}: {problem}; remove the file, or name the hub with --hub", path.display())]
    AddressFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with what it says.
        problem: Box<Self>,
    },
    /// TLS is asked for and cannot be spoken.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A certificate or a key without the other.
    #[error(
        "a certificate and its key belong together: give both --certificate and --key (or {} and {})",
        local::CERTIFICATE_VARIABLE,
        local::KEY_VARIABLE
    )]
    HalfIdentity,
    /// A certificate for a hub without TLS.
    #[error("a certificate is shown in TLS alone: give the hub as wss://host:port")]
    IdentityWithoutTls,
    /// A token that cannot be one.
    #[error("the token cannot be used: {0}")]
    BadToken(String),
    /// No token was given for a hub on another machine.
    #[error(
        "no token for {host}: give one in {}; a token file is read only for a hub on this machine",
        local::TOKEN_VARIABLE
    )]
    TokenNeeded {
        /// The hub's host.
        host: String,
    },
    /// The token file is not there.
    #[error("no token: {} does not exist. Start the hub once (it writes the file), name its data folder with --data or {}, or give the token with --token or {}", path.display(), local::DATA_VARIABLE, local::TOKEN_VARIABLE)]
    TokenFileMissing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The token file is there but cannot be read.
    #[error("cannot read the token in {}: {problem}. Run this as the user who runs the hub, or give the token with --token or {}", path.display(), local::TOKEN_VARIABLE)]
    TokenFileUnreadable {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        problem: String,
    },
    /// This system names no place for a user's data.
    #[error(
        "this system names no data directory for the user: name the hub's data folder with --data or {}",
        local::DATA_VARIABLE
    )]
    NoDataFolder,
}

impl EndpointError {
    /// The same, said of the variable from which it came.
    fn of(self, variable: &'static str) -> Self {
        Self::Variable { variable, problem: Box::new(self) }
    }

    /// Whether something was typed that cannot be meant, so that trying again is no use.
    pub fn is_bad_usage(&self) -> bool {
        match self {
            Self::BadUrl { .. } | Self::BadToken(_) | Self::HalfIdentity | Self::IdentityWithoutTls => true,
            Self::Variable { problem, .. } => problem.is_bad_usage(),
            _ => false,
        }
    }
}

impl Endpoint {
    /// Finds the hub and the credential.
    ///
    /// The URL: as given, else the variable `TELEMETRY_HUB`, else as a hub has left it in the data folder, else
    /// [`protocol::DEFAULT_ADDRESS`].
    /// A certificate and its key: as given, else the variables `TELEMETRY_CERTIFICATE` and `TELEMETRY_KEY`.
    /// The token: as given, else the variable `TELEMETRY_TOKEN`, else none if there is a certificate, else, if the host is
    /// this machine, the role's file in the data folder.
    /// The data folder: as given, else the variable `TELEMETRY_DATA`, else in the user's data directory.
    /// The CAs: as given, else the variable `TELEMETRY_CA`, else those that the system trusts.
    pub fn find(role: TokenRole, given: Given<'_>) -> Result<Self, EndpointError> {
        Self::find_with(role, given, environment)
    }

    /// Makes an endpoint from a URL and a token, with nothing looked up. For TLS the system's CAs are trusted.
    pub fn new(url: &str, token: &str) -> Result<Self, EndpointError> {
        Self { token: Some(Token::new(token)?), ..Self::of(parse_url(url)?) }.with_tls(&TlsFiles::default())
    }

    /// The hub alone, as [`Endpoint::find`] finds it, without a credential.
    pub fn find_hub(given: Given<'_>) -> Result<Self, EndpointError> {
        Self::hub_with(given, environment)
    }

    /// The URL alone, as [`Endpoint::find`] finds it, and not checked: for people, before anything is opened.
    pub fn find_url(given: Given<'_>) -> String {
        url_with(given, environment).0
    }

    const fn of(url: Url) -> Self {
        Self { url, address_file: None, token: None, token_file: None, tls: None, dialer: None }
    }

    /// The same endpoint with other files for TLS; they are read only if its URL asks for TLS.
    pub fn with_tls(mut self, files: &TlsFiles) -> Result<Self, EndpointError> {
        self.tls = match self.url.scheme() {
            "wss" => Some(Tls::new(files)?),
            _ if files.identity.is_some() => return Err(EndpointError::IdentityWithoutTls),
            _ => None,
        };
        Ok(self)
    }

    /// Whether the hub is on this very machine, so that its files are ours to use.
    pub fn is_here(&self) -> bool {
        self.address_file.is_some() || is_loopback(&self.url)
    }

    /// The hub for people: its URL, the address behind it where it names no port, and the file that named it.
    pub fn describe(&self) -> String {
        let url = self.url.as_str().trim_end_matches('/');
        let address = self.address();
        let address = if url.contains(&address) { String::new() } else { format!(" ({address})") };
        let file = self.address_file.as_ref();
        let file =
            file.map_or_else(String::new, |file| format!(", where {} says that one runs", file.display()));
        format!("{url}{address}{file}")
    }

    /// What it may mean that the hub does not know the token, if that is from a file.
    pub fn unknown_token(&self) -> Option<String> {
        let file = self.token_file.as_ref()?;
        Some(format!(
            "{} does not know the token in {}, or it is revoked. The folder may be another hub's: name the right folder \
             with --data, or the right hub with --hub",
            self.address(),
            file.display()
        ))
    }

    fn hub_with(given: Given<'_>, variable: impl Fn(&str) -> Option<String>) -> Result<Self, EndpointError> {
        let (text, source) = url_with(given, &variable);
        let url = parse_url(&text).map_err(|error| match &source {
            Source::Given => error,
            Source::Variable => error.of(local::HUB_VARIABLE),
            Source::File(path) => EndpointError::AddressFile { path: path.clone(), problem: Box::new(error) },
        })?;
        let address_file = if let Source::File(path) = source { Some(path) } else { None };
        let variable = |name| variable(name).filter(|text| !text.trim().is_empty());
        let file = |named: Option<&Path>, name| {
            named.map(Path::to_owned).or_else(|| variable(name).map(PathBuf::from))
        };
        let certificate = file(given.certificate, local::CERTIFICATE_VARIABLE);
        let identity = match (certificate, file(given.key, local::KEY_VARIABLE)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(EndpointError::HalfIdentity),
        };
        let files = TlsFiles { ca: file(given.ca, local::CA_VARIABLE), identity };
        Self { address_file, ..Self::of(url) }.with_tls(&files)
    }

    fn find_with(
        role: TokenRole,
        given: Given<'_>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, EndpointError> {
        let hub = Self::hub_with(given, &variable)?;
        let variable = |name: &str| variable(name).filter(|text| !text.trim().is_empty());
        if let Some(token) = given.token {
            return Ok(Self { token: Some(Token::new(token)?), ..hub });
        }
        if let Some(token) = variable(local::TOKEN_VARIABLE) {
            let token = Token::new(&token).map_err(|error| error.of(local::TOKEN_VARIABLE))?;
            return Ok(Self { token: Some(token), ..hub });
        }
        if given.certificate.is_some() || variable(local::CERTIFICATE_VARIABLE).is_some() {
            return Ok(hub);
        }
        if !hub.is_here() {
            return Err(EndpointError::TokenNeeded {
                host: hub.url.host_str().unwrap_or_default().to_owned(),
            });
        }
        let file = folder_with(given, variable).ok_or(EndpointError::NoDataFolder)?.join(role.file_name());
        Ok(Self { token: Some(read_token(file.clone())?), token_file: Some(file), ..hub })
    }

    /// The URL of one of the hub's WebSockets: [`protocol::DEVICE_PATH`] or [`protocol::VIEWER_PATH`].
    pub fn socket_url(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}{path}"));
        url
    }

    /// `host:port`, for messages and for dialling.
    pub fn address(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        format!("{host}:{}", self.url.port_or_known_default().unwrap_or(80))
    }

    /// The host alone, an address of IPv6 without its brackets: what a certificate must be for.
    pub fn host(&self) -> String {
        self.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned()
    }
}

/// The folder in which a hub of this user keeps its data unless told otherwise.
pub fn default_data_folder() -> Option<PathBuf> {
    directories::BaseDirs::new().map(|dirs| dirs.data_dir().join(local::DATA_FOLDER))
}

/// What a variable of the environment says.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Where a URL is from.
enum Source {
    /// Somebody named it, or it is the usual one.
    Given,
    /// The variable.
    Variable,
    /// A hub has left it in its data folder.
    File(PathBuf),
}

fn url_with(given: Given<'_>, variable: impl Fn(&str) -> Option<String>) -> (String, Source) {
    if let Some(url) = given.url {
        return (url.to_owned(), Source::Given);
    }
    if let Some(url) = variable(local::HUB_VARIABLE).filter(|text| !text.trim().is_empty()) {
        return (url, Source::Variable);
    }
    let file = folder_with(given, variable).map(|folder| folder.join(local::ADDRESS_FILE));
    // Not there, or not for us: no hub of ours runs there.
    match file.and_then(|file| Some((std::fs::read_to_string(&file).ok()?, file))) {
        Some((url, file)) => (url.trim().to_owned(), Source::File(file)),
        None => (format!("ws://{}", protocol::DEFAULT_ADDRESS), Source::Given),
    }
}

/// The data folder: as given, else the variable, else the user's.
fn folder_with(given: Given<'_>, variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let named = || variable(local::DATA_VARIABLE).filter(|text| !text.trim().is_empty());
    given.data.map(Path::to_owned).or_else(|| named().map(PathBuf::from)).or_else(default_data_folder)
}

fn parse_url(text: &str) -> Result<Url, EndpointError> {
    let text = text.trim();
    let bad =
        |problem: &str| EndpointError::BadUrl { url: without_secrets(text), problem: problem.to_owned() };
    let unlike = |error: url::ParseError| {
        bad(match error {
            url::ParseError::EmptyHost => "it names no host",
            url::ParseError::InvalidPort => "its port is not a number from 1 to 65535",
            url::ParseError::InvalidIpv6Address => "its address of IPv6 is none: it stands in [ and ]",
            _ => "its host is not a name or an address",
        })
    };
    // `localhost:7878` parses as a URL with the scheme `localhost`: a bare address is meant.
    let full = if text.contains("://") {
        text.to_owned()
    } else if half_a_scheme(text) {
        return Err(bad("after its scheme stands something else than ://"));
    } else {
        format!("ws://{text}")
    };
    let mut url = Url::parse(&full).map_err(unlike)?;
    match url.scheme() {
        "ws" | "wss" => {}
        // `https` becomes `wss`.
        "http" | "https" => {
            let start = full.find(':').unwrap_or_default();
            let socket = if url.scheme() == "http" { "ws" } else { "wss" };
            url = Url::parse(&format!("{socket}{}", &full[start..])).map_err(unlike)?;
        }
        other => return Err(bad(&format!("{other} is not a scheme of a hub"))),
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(bad("it names no host"));
    }
    // A number is read as an address: 7878 as 0.0.30.198.
    let host = full.split_once("://").map_or("", |(_, rest)| rest.split([':', '/']).next().unwrap_or(rest));
    if !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad(
            "where the host stands is a number: a port comes after a host, as in 127.0.0.1:7878",
        ));
    }
    if url.path().contains("//") {
        return Err(bad("it has // in its path"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("a hub takes a token, not a user and password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad(
            "it has a query or a fragment, which a hub does not take (a token never belongs into a URL)",
        ));
    }
    Ok(url)
}

/// Whether a text without `://` begins like a URL all the same: `http//host`, `ws:/host`. A host may well be named `ws`.
fn half_a_scheme(text: &str) -> bool {
    let end = text.find([':', '/']).unwrap_or(text.len());
    let (scheme, rest) = text.split_at(end);
    let known = ["ws", "wss", "http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    known
        && (rest.starts_with('/')
            || rest.strip_prefix(':').is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit())))
}

/// The text without what may be a secret in it: user and password, query, fragment.
fn without_secrets(text: &str) -> String {
    let end = text.find(['?', '#']).unwrap_or(text.len());
    let text = &text[..end];
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}://…{}", &text[..scheme], &text[at..]),
        (None, Some(at)) => format!("…{}", &text[at..]),
        _ => text.to_owned(),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        // Non-special schemes keep an IPv4 address as a domain.
        Some(Host::Domain(name)) => {
            name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
        None => false,
    }
}

fn read_token(path: PathBuf) -> Result<Token, EndpointError> {
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            Token::new(&text).map_err(|e| EndpointError::TokenFileUnreadable { path, problem: e.to_string() })
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(EndpointError::TokenFileMissing { path }),
        Err(e) => Err(EndpointError::TokenFileUnreadable { path, problem: e.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(
        url: Option<&str>,
        variables: &[(&str, &str)],
        folder: Option<&Path>,
    ) -> Result<Endpoint, EndpointError> {
        let given = Given { url, data: folder, ..Given::default() };
        Endpoint::find_with(TokenRole::Operator, given, |name| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
        })
    }

    fn secret(endpoint: &Endpoint) -> &str {
        endpoint.token.as_ref().unwrap().reveal()
    }

    #[test]
    fn the_argument_comes_before_the_environment_and_the_environment_before_the_default() {
        let variables = [("TELEMETRY_HUB", "ws://b:1"), ("TELEMETRY_TOKEN", "secret")];
        let folder = tempfile::tempdir().unwrap();
        let folder = Some(folder.path());
        assert_eq!(find(Some("ws://a:2"), &variables, folder).unwrap().url.as_str(), "ws://a:2/");
        assert_eq!(find(None, &variables, folder).unwrap().url.as_str(), "ws://b:1/");
        let only_token = find(None, &variables[1..], folder).unwrap();
        assert_eq!(only_token.url.as_str(), "ws://127.0.0.1:7878/");
        assert_eq!(secret(&only_token), "secret");
    }

    #[test]
    fn a_hub_is_found_by_its_folder_after_what_is_named_and_before_the_usual_address() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hub.url");
        std::fs::write(&file, "ws://192.0.2.7:41234\n").unwrap();
        std::fs::write(folder.path().join("operator.token"), "from-file\n").unwrap();
        let find = |url, variables: &[(&str, &str)]| find(url, variables, Some(folder.path()));
        let found = find(None, &[]).unwrap();
        assert_eq!((found.url.as_str(), secret(&found)), ("ws://192.0.2.7:41234/", "from-file"));
        assert_eq!(
            found.describe(),
            format!("ws://192.0.2.7:41234, where {} says that one runs", file.display())
        );
        let words = found.unknown_token().unwrap();
        assert!(words.contains("192.0.2.7:41234") && words.contains("operator.token"), "{words}");
        let named = find(Some("localhost"), &[("TELEMETRY_HUB", "ws://b:1")]).unwrap();
        assert_eq!(named.describe(), "ws://localhost (localhost:80)");
        assert_eq!(find(None, &[("TELEMETRY_HUB", "ws://localhost:1")]).unwrap().address(), "localhost:1");
        let data = folder.path().to_str().unwrap();
        let by_variable = Endpoint::find_with(TokenRole::Operator, Given::default(), |name| {
            (name == "TELEMETRY_DATA").then(|| data.to_owned())
        });
        assert_eq!(by_variable.unwrap().url, found.url);

        let by_hand = find(None, &[("TELEMETRY_TOKEN", "secret")]).unwrap();
        assert_eq!((&by_hand.url, by_hand.unknown_token()), (&found.url, None));
        std::fs::write(&file, "here").unwrap();
        assert_eq!(find(None, &[]).unwrap().url.as_str(), "ws://here/");
        std::fs::write(&file, "").unwrap();
        let error = find(None, &[]).unwrap_err().to_string();
        assert!(error.contains("hub.url") && error.contains("names no host"), "{error}");
    }

    #[test]
    fn the_token_file_is_read_for_this_machine_only() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("operator.token"), "from-file\n").unwrap();
        for url in ["ws://127.0.0.1:1", "ws://127.9.9.9:1", "ws://localhost:1", "ws://[::1]:1", "localhost:1"]
        {
            assert_eq!(secret(&find(Some(url), &[], Some(folder.path())).unwrap()), "from-file", "{url}");
        }
        for url in ["ws://10.0.0.1:1", "ws://hub.example:1", "ws://127.0.0.1.example:1"] {
            let error = find(Some(url), &[], Some(folder.path())).unwrap_err();
            assert!(matches!(error, EndpointError::TokenNeeded { .. }), "{url}: {error}");
        }
    }

    #[test]
    fn a_missing_token_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = find(None, &[], Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains("operator.token does not exist"), "{error}");
        assert!(error.contains("--data") && error.contains("TELEMETRY_TOKEN"), "{error}");
    }

    #[test]
    fn a_url_of_https_is_one_of_wss() {
        for (text, url) in [("https://hub.example", "wss://hub.example/"), ("HTTP://a:1/x", "ws://a:1/x")] {
            assert_eq!(parse_url(text).unwrap().as_str(), url);
        }
        assert_eq!(parse_url("wss://hub.example").unwrap().port_or_known_default(), Some(443));
    }

    #[test]
    fn an_address_that_cannot_be_one_is_named_with_what_is_wrong_and_what_one_looks_like() {
        for (text, problem) in [
            ("http//x", "something else than ://"),
            ("http:/x", "something else than ://"),
            ("WS:/x:1", "something else than ://"),
            ("wss:localhost", "something else than ://"),
            ("ws:", "something else than ://"),
            ("http://http://x:1", "// in its path"),
            ("", "names no host"),
            ("ws://", "names no host"),
            (":7878", "names no host"),
            ("7878", "a port comes after a host"),
            ("localhost:99999", "1 to 65535"),
            ("localhost:seven", "1 to 65535"),
            ("ws://[::1", "IPv6"),
            ("a b", "not a name or an address"),
            ("ftp://x", "ftp is not a scheme"),
        ] {
            let error = find(Some(text), &[], None).unwrap_err();
            assert!(error.is_bad_usage(), "{text}: {error}");
            let error = error.to_string();
            assert!(error.starts_with(&format!("{text:?} is not the URL of a hub: ")), "{text}: {error}");
            assert!(error.contains(problem) && error.contains("ws://host:port"), "{text}: {error}");
            if !text.is_empty() {
                let error = find(None, &[("TELEMETRY_HUB", text)], None).unwrap_err();
                assert!(error.is_bad_usage() && error.to_string().starts_with("TELEMETRY_HUB: "), "{error}");
            }
        }
        for text in ["ws:7878", "http:80", "ws.example", "10.0.0.1/hub", "wss://a/b/c/"] {
            assert!(parse_url(text).is_ok(), "{text}");
        }
        let variables = [("TELEMETRY_TOKEN", "two words")];
        let error = find(Some("a:1"), &variables, None).unwrap_err().to_string();
        assert!(error.starts_with("TELEMETRY_TOKEN: ") && !error.contains("two words"), "{error}");
    }

    #[test]
    fn what_is_wrong_with_the_files_of_tls_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("ca.pem");
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "nothing").unwrap();
        let find = |url, ca: Option<&Path>, certificate: Option<&Path>| {
            let given = Given { url: Some(url), token: Some("t"), ca, certificate, ..Given::default() };
            Endpoint::find_with(TokenRole::Device, given, |_| None).map_err(|error| error.to_string())
        };
        let error = find("wss://a:1", Some(&missing), None).unwrap_err();
        assert!(error.contains("ca.pem: No such file"), "{error}");
        let error = find("wss://a:1", Some(&empty), None).unwrap_err();
        assert!(error.contains("empty.pem: no certificate"), "{error}");
        assert!(find("ws://a:1", Some(&missing), None).is_ok(), "not needed without TLS");
        let error = find("wss://a:1", None, Some(&missing)).unwrap_err();
        assert!(error.contains("both --certificate and --key"), "{error}");
    }

    #[test]
    fn i_12_no_error_and_no_debug_shows_a_secret() {
        let endpoint = Endpoint::new("ws://a:1", "hunter2").unwrap();
        assert!(!format!("{endpoint:?}").contains("hunter2"));
        for url in ["ws://user:hunter2@a:1", "ws://a:1/?token=hunter2", "wss://u:hunter2@a", "user:hunter2@a"]
        {
            let error = Endpoint::new(url, "t").unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
        assert!(!Token::new("hunter2 x").unwrap_err().to_string().contains("hunter2"));
    }

    #[test]
    fn the_path_of_a_proxy_stays_before_ours() {
        let endpoint = Endpoint::new("ws://a:1/telemetry/", "t").unwrap();
        assert_eq!(endpoint.socket_url("/v1/device").as_str(), "ws://a:1/telemetry/v1/device");
        assert_eq!(endpoint.address(), "a:1");
        assert_eq!(Endpoint::new("ws://[::1]", "t").unwrap().address(), "[::1]:80");
    }
}
