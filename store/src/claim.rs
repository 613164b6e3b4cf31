//! Claims: codes with which a device gets a token of its own, once, before they expire. The code itself never comes here.

use protocol::Timestamp;
use protocol::desk::Actor;
use rusqlite::{OptionalExtension as _, Row};

use crate::error::StoreError;
use crate::reader::Reader;
use crate::types::{AuditEntry, Claim, CredentialKey, CredentialRole, DeviceKey, NewClaim, NewCredential};
use crate::writer::{Commit, Writer};
use crate::{audit, credential, device, row};

const SELECT: &str =
    "SELECT claim_key, device, created_at, created_by, expires_at, used_at, used_from FROM claim";

impl Writer {
    /// Stores a claim, made by `actor`. Returns its number.
    pub fn add_claim(&mut self, claim: &NewClaim, actor: &Actor) -> Result<i64, StoreError> {
        self.link.transact(Commit::Synced, |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO claim (hash, device, created_at, created_by, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute((
                    claim.hash.as_slice(),
                    claim.device.as_str(),
                    claim.created_at.0,
                    &actor.by,
                    claim.expires_at.0,
                ))?;
            let key = connection.last_insert_rowid();
            audit::add(
                connection,
                &AuditEntry {
                    at: claim.created_at,
                    action: "claim.add",
                    refused: false,
                    actor: actor.clone(),
                    subject: format!("claim {key} for device {}", claim.device),
                    detail: None,
                    count: 1,
                },
            )?;
            Ok(key)
        })
    }

    /// Uses a claim: the device gets the credential `hash`, and the claim is good for nothing from then on. `None`: there is
    /// no such claim, or it was used, or its time is over.
    pub fn use_claim(
        &mut self,
        claim: &[u8; 32],
        hash: [u8; 32],
        address: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<(DeviceKey, Claim)>, StoreError> {
        self.link.transact(Commit::Synced, |connection| {
            let found = connection
                .prepare_cached(&format!("{SELECT} WHERE hash = ?1 AND used_at IS NULL AND expires_at > ?2"))?
                .query_row((claim.as_slice(), now.0), |row| Ok(read(row)))
                .optional()?
                .transpose()?;
            let Some(claim) = found else { return Ok(None) };
            let actor = Actor { by: format!("claim {}", claim.key), address: address.map(str::to_owned) };
            let role = CredentialRole::Device(claim.device.clone());
            let label = format!("device {}", claim.device);
            let CredentialKey(key) =
                credential::add(connection, &NewCredential { hash, role, label, created_at: now }, &actor)?;
            connection
                .prepare_cached(
                    "UPDATE claim SET used_at = ?2, used_from = ?3, credential_key = ?4 WHERE claim_key = ?1",
                )?
                .execute((claim.key, now.0, address, key))?;
            audit::add(
                connection,
                &AuditEntry {
                    at: now,
                    action: "claim.use",
                    refused: false,
                    subject: format!("claim {} for device {}", claim.key, claim.device),
                    actor,
                    detail: None,
                    count: 1,
                },
            )?;
            let device = device::make_device(connection, &claim.device, now)?;
            Ok(Some((device, Claim { used_at: Some(now), used_from: address.map(str::to_owned), ..claim })))
        })
    }

    /// Makes a claim good for nothing that was not used yet. Ending it again changes nothing.
    pub fn end_claim(&mut self, key: i64, actor: &Actor, now: Timestamp) -> Result<Claim, StoreError> {
        self.link.transact(Commit::Synced, |connection| {
            let changed = connection
                .prepare_cached(
                    "UPDATE claim SET expires_at = ?2 WHERE claim_key = ?1 AND used_at IS NULL AND expires_at > ?2",
                )?
                .execute((key, now.0))?;
            let claim = connection
                .prepare_cached(&format!("{SELECT} WHERE claim_key = ?1"))?
                .query_row([key], |row| Ok(read(row)))
                .optional()?
                .transpose()?
                .ok_or(StoreError::NotFound("claim"))?;
            if changed > 0 {
                audit::add(
                    connection,
                    &AuditEntry {
                        at: now,
                        action: "claim.revoke",
                        refused: false,
                        actor: actor.clone(),
                        subject: format!("claim {key} for device {}", claim.device),
                        detail: None,
                        count: 1,
                    },
                )?;
            }
            Ok(claim)
        })
    }
}

impl Reader {
    /// Claims, those used or expired too, newest first: those made before `before`, at most `limit`.
    pub fn claims(&self, before: Option<i64>, limit: usize) -> Result<Vec<Claim>, StoreError> {
        let sql = format!("{SELECT} WHERE claim_key < ?1 ORDER BY claim_key DESC LIMIT ?2");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows =
            statement.query((before.unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX)))?;
        let mut claims = Vec::new();
        while let Some(row) = rows.next()? {
            claims.push(read(row)?);
        }
        Ok(claims)
    }
}

fn read(row: &Row<'_>) -> Result<Claim, StoreError> {
    let device: String = row.get(1)?;
    Ok(Claim {
        key: row.get(0)?,
        device: row::name(&device)?,
        created_at: Timestamp(row.get(2)?),
        created_by: row.get(3)?,
        expires_at: Timestamp(row.get(4)?),
        used_at: row.get::<_, Option<i64>>(5)?.map(Timestamp),
        used_from: row.get(6)?,
    })
}
