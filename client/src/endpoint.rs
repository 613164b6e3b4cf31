//! Decides which hub to connect to and with which token: from arguments, the environment, or the hub's own data folder.
//!
//! Nothing here opens a connection. A token is read from a file only for a hub on this very machine, so that a local
//! secret is never sent to a host that somebody typed.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use protocol::local;
use url::{Host, Url};

/// Longest token that the protocol allows, in bytes.
pub const TOKEN_MAX_BYTES: usize = 256;

/// A hub and the credential for it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The hub: `ws://host:port`. The path is the client's affair.
    pub url: Url,
    /// What proves that the hub may let us in.
    pub token: Token,
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
}

impl TokenRole {
    /// Name of the file in the data folder.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Device => local::FLEET_TOKEN_FILE,
            Self::Viewer => local::VIEWER_TOKEN_FILE,
            Self::Operator => local::OPERATOR_TOKEN_FILE,
        }
    }
}

/// Why no endpoint was found: what was looked for, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL, or not one of a hub.
    #[error("{url:?} is not the URL of a hub: {problem}. Give it as ws://host:port")]
    BadUrl {
        /// The text as given, without user and password.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The URL asks for TLS.
    #[error(
        "{0} asks for TLS, which this client does not speak yet: put a TLS proxy beside it and connect to that with ws://, or use a tunnel"
    )]
    TlsNotSpoken(Url),
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

impl Endpoint {
    /// Finds the hub and the token.
    ///
    /// The URL: `url`, else the variable `TELEMETRY_HUB`, else [`protocol::DEFAULT_ADDRESS`].
    /// The token: `token`, else the variable `TELEMETRY_TOKEN`, else, if the host is this machine, the role's file in
    /// the data folder (`data_folder`, else the variable `TELEMETRY_DATA`, else the user's data directory).
    pub fn find(
        url: Option<&str>,
        role: TokenRole,
        token: Option<&str>,
        data_folder: Option<&Path>,
    ) -> Result<Self, EndpointError> {
        Self::find_with(url, role, token, data_folder, |name| std::env::var(name).ok())
    }

    /// Makes an endpoint from a URL and a token, with nothing looked up.
    pub fn new(url: &str, token: &str) -> Result<Self, EndpointError> {
        Ok(Self { url: parse_url(url)?, token: Token::new(token)? })
    }

    fn find_with(
        url: Option<&str>,
        role: TokenRole,
        token: Option<&str>,
        data_folder: Option<&Path>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, EndpointError> {
        let variable = |name| variable(name).filter(|text| !text.trim().is_empty());
        let url = match url.map(str::to_owned).or_else(|| variable(local::HUB_VARIABLE)) {
            Some(text) => parse_url(&text)?,
            None => parse_url(&format!("ws://{}", protocol::DEFAULT_ADDRESS))?,
        };
        if let Some(token) = token.map(str::to_owned).or_else(|| variable(local::TOKEN_VARIABLE)) {
            return Ok(Self { token: Token::new(&token)?, url });
        }
        if !is_loopback(&url) {
            return Err(EndpointError::TokenNeeded { host: url.host_str().unwrap_or_default().to_owned() });
        }
        let folder = match data_folder
            .map(Path::to_owned)
            .or_else(|| variable(local::DATA_VARIABLE).map(PathBuf::from))
        {
            Some(folder) => folder,
            None => default_data_folder().ok_or(EndpointError::NoDataFolder)?,
        };
        let token = read_token(folder.join(role.file_name()))?;
        Ok(Self { url, token })
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
}

/// The folder in which a hub of this user keeps its data unless told otherwise.
pub fn default_data_folder() -> Option<PathBuf> {
    directories::BaseDirs::new().map(|dirs| dirs.data_dir().join(local::DATA_FOLDER))
}

fn parse_url(text: &str) -> Result<Url, EndpointError> {
    let text = text.trim();
    let bad =
        |problem: &str| EndpointError::BadUrl { url: without_secrets(text), problem: problem.to_owned() };
    // `localhost:7878` parses as a URL with the scheme `localhost`: a bare address is meant.
    let full = if text.contains("://") { text.to_owned() } else { format!("ws://{text}") };
    let mut url = Url::parse(&full).map_err(|e| bad(&e.to_string()))?;
    match url.scheme() {
        "ws" => {}
        "http" => url = Url::parse(&full.replacen("http", "ws", 1)).map_err(|e| bad(&e.to_string()))?,
        "wss" | "https" => {
            let shown = Url::parse(&without_secrets(&full)).unwrap_or(url);
            return Err(EndpointError::TlsNotSpoken(shown));
        }
        other => return Err(bad(&format!("{other} is not a scheme of a hub"))),
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(bad("it names no host"));
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
        Endpoint::find_with(url, TokenRole::Operator, None, folder, |name| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn the_argument_comes_before_the_environment_and_the_environment_before_the_default() {
        let variables = [("TELEMETRY_HUB", "ws://b:1"), ("TELEMETRY_TOKEN", "secret")];
        assert_eq!(find(Some("ws://a:2"), &variables, None).unwrap().url.as_str(), "ws://a:2/");
        assert_eq!(find(None, &variables, None).unwrap().url.as_str(), "ws://b:1/");
        let only_token = find(None, &variables[1..], None).unwrap();
        assert_eq!(only_token.url.as_str(), "ws://127.0.0.1:7878/");
        assert_eq!(only_token.token.reveal(), "secret");
    }

    #[test]
    fn the_token_file_is_read_for_this_machine_only() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("operator.token"), "from-file\n").unwrap();
        for url in ["ws://127.0.0.1:1", "ws://127.9.9.9:1", "ws://localhost:1", "ws://[::1]:1", "localhost:1"]
        {
            assert_eq!(
                find(Some(url), &[], Some(folder.path())).unwrap().token.reveal(),
                "from-file",
                "{url}"
            );
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
    fn tls_is_refused_clearly() {
        let error = Endpoint::new("wss://hub.example", "t").unwrap_err().to_string();
        assert!(error.contains("wss://hub.example/ asks for TLS"), "{error}");
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
