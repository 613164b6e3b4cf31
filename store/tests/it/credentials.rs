//! Credentials: found by hash, gone once revoked. Claims: good once, in their time. And the audit trail of both.

use store::{
    AuditEntry, AuditFilter, Claim, CredentialKey, CredentialRole, NewClaim, NewCredential, StoreError,
};

use crate::support::{Base, NOW, anna};

fn credential(byte: u8, role: CredentialRole) -> NewCredential {
    NewCredential { hash: [byte; 32], role, label: format!("number {byte}"), created_at: NOW }
}

#[test]
fn a_credential_opens_what_it_was_made_for_until_it_is_revoked() {
    let base = Base::new();
    let mut writer = base.writer();
    let pump = CredentialRole::Device("pump".parse().unwrap());
    let roles = [
        pump,
        CredentialRole::Fleet,
        CredentialRole::Viewer,
        CredentialRole::Operator,
        CredentialRole::Admin,
    ];
    let keys: Vec<_> = (1..)
        .zip(&roles)
        .map(|(byte, role)| writer.add_credential(&credential(byte, role.clone()), &anna()).unwrap())
        .collect();
    let reader = base.reader();
    for (i, role) in roles.iter().enumerate() {
        let found = reader.credential(&[i as u8 + 1; 32]).unwrap().unwrap();
        assert_eq!((found.key, &found.role, found.revoked_at), (keys[i], role, None));
    }
    assert_eq!(reader.credential(&[9; 32]).unwrap(), None);
    assert_eq!(reader.device(&"pump".parse().unwrap()).unwrap().unwrap().info.metrics, []);

    let revoked = writer.revoke_credential(keys[1], &anna(), NOW).unwrap();
    assert_eq!((&revoked.role, revoked.revoked_at), (&CredentialRole::Fleet, Some(NOW)));
    assert_eq!(writer.revoke_credential(keys[1], &anna(), NOW.plus_micros(5)).unwrap(), revoked);
    assert_eq!(reader.credential(&[2; 32]).unwrap(), None);
    let listed = |before, limit| -> Vec<CredentialKey> {
        reader.credentials(before, limit).unwrap().iter().map(|credential| credential.key).collect()
    };
    assert_eq!(listed(None, 9), keys.iter().rev().copied().collect::<Vec<_>>());
    assert_eq!(listed(Some(keys[2].0), 1), [keys[1]]);
    assert!(matches!(
        writer.revoke_credential(CredentialKey(99), &anna(), NOW),
        Err(StoreError::NotFound("credential"))
    ));
}

#[test]
fn a_hash_is_stored_once_and_a_revoked_one_does_not_come_back() {
    let base = Base::new();
    let mut writer = base.writer();
    let key = writer.add_credential(&credential(1, CredentialRole::Viewer), &anna()).unwrap();
    writer.revoke_credential(key, &anna(), NOW).unwrap();
    let again = writer.add_credential(&credential(1, CredentialRole::Operator), &anna());
    assert!(matches!(again, Err(StoreError::Exists("credential"))));
    assert_eq!(base.reader().credential(&[1; 32]).unwrap(), None);
}

#[test]
fn i_12_a_hash_is_not_printed() {
    let printed = format!("{:?}", credential(171, CredentialRole::Fleet));
    assert!(printed.contains("Fleet") && !printed.contains("[171"), "{printed}");
}

fn claim(byte: u8) -> NewClaim {
    NewClaim {
        hash: [byte; 32],
        device: "pump".parse().unwrap(),
        created_at: NOW,
        expires_at: NOW.plus_micros(1_000_000),
    }
}

#[test]
fn a_claim_is_good_once_and_only_in_its_time() {
    let base = Base::new();
    let mut writer = base.writer();
    let (first, second, third) = (
        writer.add_claim(&claim(1), &anna()).unwrap(),
        writer.add_claim(&claim(2), &anna()).unwrap(),
        writer.add_claim(&claim(3), &anna()).unwrap(),
    );
    assert_eq!(
        base.reader().device(&"pump".parse().unwrap()).unwrap(),
        None,
        "the device comes when it is claimed"
    );
    let later = |micros| NOW.plus_micros(micros);
    assert_eq!(writer.use_claim(&[9; 32], [10; 32], None, NOW).unwrap(), None);
    let (device, used) =
        writer.use_claim(&[1; 32], [11; 32], Some("10.0.0.7:1"), later(999_999)).unwrap().unwrap();
    assert_eq!(
        (used.key, used.used_at, used.used_from.as_deref()),
        (first, Some(later(999_999)), Some("10.0.0.7:1"))
    );
    assert_eq!(base.reader().device(&used.device).unwrap().unwrap().key, device);
    let credential = base.reader().credential(&[11; 32]).unwrap().unwrap();
    assert_eq!(credential.role, CredentialRole::Device("pump".parse().unwrap()));
    assert_eq!(writer.use_claim(&[1; 32], [12; 32], None, later(999_999)).unwrap(), None, "once");
    assert_eq!(writer.use_claim(&[2; 32], [12; 32], None, later(1_000_000)).unwrap(), None, "in its time");
    writer.end_claim(third, &anna(), later(5)).unwrap();
    assert_eq!(writer.use_claim(&[3; 32], [12; 32], None, later(6)).unwrap(), None, "taken back");
    assert!(matches!(writer.end_claim(99, &anna(), NOW), Err(StoreError::NotFound("claim"))));
    assert_eq!(base.reader().credential(&[12; 32]).unwrap(), None);
    let claims = base.reader().claims(None, 9).unwrap();
    let keys = |claims: &[Claim]| claims.iter().map(|claim| claim.key).collect::<Vec<_>>();
    assert_eq!(keys(&claims), [third, second, first]);
    assert_eq!(keys(&base.reader().claims(None, 2).unwrap()), [third, second]);
    assert_eq!(keys(&base.reader().claims(Some(second), 2).unwrap()), [first]);
    assert_eq!(claims[1].created_by, "anna");
    assert!(!format!("{:?}", claim(171)).contains("171"));
}

#[test]
fn whoever_changes_who_may_connect_is_in_the_audit_trail_which_cannot_be_rewritten() {
    let base = Base::new();
    let mut writer = base.writer();
    let key = writer.add_credential(&credential(1, CredentialRole::Viewer), &anna()).unwrap();
    writer.revoke_credential(key, &anna(), NOW.plus_micros(1)).unwrap();
    writer.revoke_credential(key, &anna(), NOW.plus_micros(2)).unwrap();
    assert!(writer.add_credential(&credential(1, CredentialRole::Viewer), &anna()).is_err());
    writer.add_claim(&claim(2), &anna()).unwrap();
    writer.use_claim(&[2; 32], [3; 32], Some("10.0.0.7:1"), NOW.plus_micros(3)).unwrap();
    let refused = AuditEntry {
        at: NOW.plus_micros(4),
        action: "sign_in",
        refused: true,
        actor: anna(),
        subject: "GET /v1/viewer".into(),
        detail: Some("unknown token".into()),
        count: 7,
    };
    writer.audit(&[refused]).unwrap();
    let rows = base.reader().audit(&AuditFilter::default(), 100).unwrap();
    let told: Vec<(&str, &str, &str)> =
        rows.iter().rev().map(|row| (row.action.as_str(), row.by.as_str(), row.subject.as_str())).collect();
    assert_eq!(
        told,
        [
            ("token.add", "anna", "token 1: viewer \"number 1\""),
            ("token.revoke", "anna", "token 1: viewer \"number 1\""),
            ("claim.add", "anna", "claim 1 for device pump"),
            ("token.add", "claim 1", "token 2: device \"device pump\""),
            ("claim.use", "claim 1", "claim 1 for device pump"),
            ("sign_in", "anna", "GET /v1/viewer"),
        ]
    );
    let count = |filter: AuditFilter| base.reader().audit(&filter, 100).unwrap().len();
    assert_eq!(count(AuditFilter { refused: true, ..AuditFilter::default() }), 1);
    assert_eq!(count(AuditFilter { action: Some("token".into()), ..AuditFilter::default() }), 3);
    assert_eq!(count(AuditFilter { by: Some("claim 1".into()), ..AuditFilter::default() }), 2);
    assert_eq!(count(AuditFilter { since: Some(NOW.plus_micros(3)), ..AuditFilter::default() }), 3);
    assert_eq!(count(AuditFilter { before: Some(rows[0].key), ..AuditFilter::default() }), 5);
    let connection = rusqlite::Connection::open(base.path()).unwrap();
    for sql in ["UPDATE audit SET by = 'nobody'", "DELETE FROM audit"] {
        assert!(connection.execute(sql, []).unwrap_err().to_string().contains("audit trail"), "{sql}");
    }
}
