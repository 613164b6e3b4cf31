//! Who may connect: tokens, their hashes, and what each opens (I-12).
//!
//! A token is 256 random bits, so a plain SHA-256 is enough to store it by, and looking it up by its hash tells an
//! attacker nothing about it. Tokens are shown once, when they are made; no log and no Debug output holds one.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use protocol::desk::Actor;
use protocol::{DeviceId, Timestamp, local};
use sha2::{Digest as _, Sha256};
use store::{
    Claim, Credential, CredentialKey, CredentialRole, DeviceKey, NewCredential, Reader, StoreError, Writer,
};

use crate::claims::Code;
use crate::tls::Identity;

/// A secret that opens a connection. Prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Longest text that is looked up as a token, in bytes. Ours are 68.
pub const TOKEN_MAX_BYTES: usize = 256;

impl Token {
    /// Draws a new token; `prefix` says to a person what it opens.
    pub fn draw(prefix: &str) -> Result<Self, getrandom::Error> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes)?;
        let mut text = format!("{prefix}_");
        for byte in bytes {
            text.push_str(&format!("{byte:02x}"));
        }
        Ok(Self(text))
    }

    /// Takes a token as given.
    pub fn from_text(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The secret itself, to be written to its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the database keeps of it.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Who is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The credential.
    pub key: CredentialKey,
    /// What the credential opens.
    pub role: CredentialRole,
    /// What a person calls it.
    pub label: String,
}

/// Looks a token up. `None`: unknown or revoked.
pub fn find(reader: &Reader, token: &Token) -> Result<Option<Principal>, StoreError> {
    find_hash(reader, &token.hash())
}

/// Looks a credential up by its hash. `None`: unknown or revoked.
pub fn find_hash(reader: &Reader, hash: &[u8; 32]) -> Result<Option<Principal>, StoreError> {
    let found = reader.credential(hash)?;
    Ok(found
        .filter(|credential| credential.revoked_at.is_none())
        .map(|Credential { key, role, label, .. }| Principal { key, role, label }))
}

/// What the certificate of a device is called in the list of credentials.
pub fn certificate_label(device: &DeviceId) -> String {
    format!("certificate of {device}")
}

/// Stores the certificate of a device, and makes the device if it is not known yet. One that is stored already, revoked or
/// not, is [`StoreError::Exists`].
pub fn add_certificate(
    writer: &mut Writer,
    identity: &Identity,
    actor: &Actor,
    now: Timestamp,
) -> Result<(CredentialKey, DeviceKey), StoreError> {
    let device = writer.create_device(&identity.device, now)?;
    let credential = NewCredential {
        hash: identity.hash,
        role: CredentialRole::Device(identity.device.clone()),
        label: certificate_label(&identity.device),
        created_at: now,
    };
    let key = writer.add_credential(&credential, actor)?;
    Ok((key, device))
}

/// Makes a device, if it is not there yet, and a token for it, whose hash is stored.
pub fn add_device(
    writer: &mut Writer,
    id: &DeviceId,
    actor: &Actor,
    now: Timestamp,
) -> Result<(DeviceKey, Token), AuthError> {
    let key = writer.create_device(id, now)?;
    let (_, token) =
        add_token(writer, CredentialRole::Device(id.clone()), format!("device {id}"), actor, now)?;
    Ok((key, token))
}

/// Makes a token, whose hash is stored. One for a device makes the device if it is not known yet.
pub fn add_token(
    writer: &mut Writer,
    role: CredentialRole,
    label: String,
    actor: &Actor,
    now: Timestamp,
) -> Result<(CredentialKey, Token), AuthError> {
    let token = Token::draw(role.as_str())?;
    let credential = NewCredential { hash: token.hash(), role, label, created_at: now };
    let key = writer.add_credential(&credential, actor)?;
    Ok((key, token))
}

/// Uses a claim: its device gets a token of its own. `None`: the code is good for nothing.
pub fn use_claim(
    writer: &mut Writer,
    code: &Code,
    address: &str,
    now: Timestamp,
) -> Result<Option<(DeviceKey, Claim, Token)>, AuthError> {
    let token = Token::draw("device")?;
    let used = writer.use_claim(&code.hash(), token.hash(), Some(address), now)?;
    Ok(used.map(|(device, claim)| (device, claim, token)))
}

/// Why a credential could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The database did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gave no random bits.
    #[error("no random numbers from the system: {0}")]
    Random(#[from] getrandom::Error),
    /// A token file could not be read or written.
    #[error("token file {path}: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        problem: String,
    },
}

/// Sees to it that the data folder holds a token for each local role, readable by its owner only, and that the
/// database knows them. Programs on this machine find them there, so that nothing need be typed.
pub fn ensure_local_tokens(
    writer: &mut Writer,
    reader: &Reader,
    data: &Path,
    now: Timestamp,
) -> Result<(), AuthError> {
    let hub = Actor { by: "hub".into(), address: None };
    for (file, role) in [
        (local::ADMIN_TOKEN_FILE, CredentialRole::Admin),
        (local::OPERATOR_TOKEN_FILE, CredentialRole::Operator),
        (local::VIEWER_TOKEN_FILE, CredentialRole::Viewer),
        (local::FLEET_TOKEN_FILE, CredentialRole::Fleet),
    ] {
        let path = data.join(file);
        let prefix = role.as_str();
        let mut add = |token: &Token| {
            let label = format!("local {prefix}");
            let credential = NewCredential { hash: token.hash(), role: role.clone(), label, created_at: now };
            writer.add_credential(&credential, &hub)
        };
        let token = match std::fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => Token::from_text(&text),
            Ok(_) => write_new_token(&path, prefix)?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => write_new_token(&path, prefix)?,
            Err(e) => return Err(file_error(&path, &e)),
        };
        if reader.credential(&token.hash())?.is_some() {
            continue;
        }
        match add(&token) {
            // It was revoked: a new one takes its place.
            Err(StoreError::Exists(_)) => drop(add(&write_new_token(&path, prefix)?)?),
            added => drop(added?),
        }
    }
    Ok(())
}

fn file_error(path: &Path, error: &std::io::Error) -> AuthError {
    AuthError::File { path: path.to_owned(), problem: error.to_string() }
}

fn write_new_token(path: &Path, prefix: &str) -> Result<Token, AuthError> {
    let token = Token::draw(prefix)?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // Whoever waits for the file must not find it half written.
    let part = path.with_extension("token.part");
    let write = || {
        let mut file = options.open(&part)?;
        writeln!(file, "{}", token.reveal())?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    };
    write().map_err(|e| file_error(path, &e))?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn i_12_a_token_does_not_print_itself() {
        let token = Token::draw("device").unwrap();
        assert_eq!(format!("{token:?}"), "***");
        assert_eq!(token.reveal().len(), "device_".len() + 64);
        assert_ne!(token.reveal(), Token::draw("device").unwrap().reveal());
    }

    #[test]
    fn whoever_waits_for_a_token_file_never_finds_it_half_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleet.token");
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let looks = scope.spawn(|| {
                let (mut looks, whole) = (0_u64, "fleet_".len() + 64 + 1);
                while !done.load(Ordering::Relaxed) {
                    if let Ok(text) = std::fs::read_to_string(&path) {
                        assert_eq!(text.len(), whole);
                        looks += 1;
                    }
                }
                looks
            });
            for _ in 0..200 {
                write_new_token(&path, "fleet").unwrap();
            }
            done.store(true, Ordering::Relaxed);
            assert!(looks.join().unwrap() > 200);
        });
    }
}
