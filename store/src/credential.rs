//! Who may connect: hashes of tokens and what they open. The token itself never comes here (I-12).

use rusqlite::{Connection, OptionalExtension, Row};

use protocol::Timestamp;
use protocol::desk::Actor;

use crate::error::StoreError;
use crate::reader::Reader;
use crate::types::{AuditEntry, Credential, CredentialKey, CredentialRole, NewCredential};
use crate::writer::{Commit, Writer};
use crate::{audit, device, row};

const SELECT: &str = "SELECT credential_key, role, device.id, label, credential.created_at, revoked_at
                      FROM credential LEFT JOIN device USING (device_key)";

impl Writer {
    /// Stores a credential, made by `actor`. One for a device makes the device if it is not known yet.
    ///
    /// A hash that is stored already, revoked or not, is [`StoreError::Exists`].
    pub fn add_credential(
        &mut self,
        credential: &NewCredential,
        actor: &Actor,
    ) -> Result<CredentialKey, StoreError> {
        self.link.transact(Commit::Synced, |connection| add(connection, credential, actor))
    }

    /// Makes a credential open nothing any more, and returns it. Revoking it again changes nothing.
    pub fn revoke_credential(
        &mut self,
        key: CredentialKey,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Credential, StoreError> {
        self.link.transact(Commit::Synced, |connection| {
            let changed = connection
                .prepare_cached(
                    "UPDATE credential SET revoked_at = ?2 WHERE credential_key = ?1 AND revoked_at IS NULL",
                )?
                .execute((key.0, now.0))?;
            let found = find(connection, &format!("{SELECT} WHERE credential_key = ?1"), [key.0])?;
            let credential = found.ok_or(StoreError::NotFound("credential"))?;
            if changed > 0 {
                audit::add(
                    connection,
                    &entry("token.revoke", key, &credential.role, &credential.label, actor, now),
                )?;
            }
            Ok(credential)
        })
    }
}

/// Stores a credential in the transaction that is open.
pub(crate) fn add(
    connection: &Connection,
    credential: &NewCredential,
    actor: &Actor,
) -> Result<CredentialKey, StoreError> {
    let taken = connection
        .prepare_cached("SELECT 1 FROM credential WHERE hash = ?1")?
        .exists([credential.hash.as_slice()])?;
    if taken {
        return Err(StoreError::Exists("credential"));
    }
    let NewCredential { hash, role, label, created_at } = credential;
    let device = match role.device() {
        Some(id) => Some(device::make_device(connection, id, *created_at)?.0),
        None => None,
    };
    connection
        .prepare_cached(
            "INSERT INTO credential (hash, role, device_key, label, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((hash.as_slice(), role.as_str(), device, label, created_at.0))?;
    let key = CredentialKey(connection.last_insert_rowid());
    audit::add(connection, &entry("token.add", key, role, label, actor, *created_at))?;
    Ok(key)
}

fn entry(
    action: &'static str,
    key: CredentialKey,
    role: &CredentialRole,
    label: &str,
    actor: &Actor,
    at: Timestamp,
) -> AuditEntry {
    let subject = format!("token {}: {} {label:?}", key.0, role.as_str());
    AuditEntry { at, action, refused: false, actor: actor.clone(), subject, detail: None, count: 1 }
}

impl Reader {
    /// Finds the credential of a token by its hash. A revoked one is not found.
    pub fn credential(&self, hash: &[u8; 32]) -> Result<Option<Credential>, StoreError> {
        find(&self.connection, &format!("{SELECT} WHERE hash = ?1 AND revoked_at IS NULL"), [hash.as_slice()])
    }

    /// Credentials, revoked ones too, newest first: those made before `before`, at most `limit`.
    pub fn credentials(&self, before: Option<i64>, limit: usize) -> Result<Vec<Credential>, StoreError> {
        let sql = format!("{SELECT} WHERE credential_key < ?1 ORDER BY credential_key DESC LIMIT ?2");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows =
            statement.query((before.unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX)))?;
        let mut credentials = Vec::new();
        while let Some(row) = rows.next()? {
            credentials.push(read(row)?);
        }
        Ok(credentials)
    }
}

fn find(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<Option<Credential>, StoreError> {
    connection.prepare_cached(sql)?.query_row(params, |row| Ok(read(row))).optional()?.transpose()
}

fn read(row: &Row<'_>) -> Result<Credential, StoreError> {
    let role: String = row.get(1)?;
    let device: Option<String> = row.get(2)?;
    let role = match (role.as_str(), device) {
        ("device", Some(id)) => CredentialRole::Device(row::name(&id)?),
        ("fleet", None) => CredentialRole::Fleet,
        ("viewer", None) => CredentialRole::Viewer,
        ("operator", None) => CredentialRole::Operator,
        ("admin", None) => CredentialRole::Admin,
        (other, _) => return Err(StoreError::corrupt(format!("a credential of role {other:?}"))),
    };
    Ok(Credential {
        key: CredentialKey(row.get(0)?),
        role,
        label: row.get(3)?,
        created_at: Timestamp(row.get(4)?),
        revoked_at: row.get::<_, Option<i64>>(5)?.map(Timestamp),
    })
}
