//! Credentials: found by hash, gone once revoked.

use store::{CredentialKey, CredentialRole, NewCredential, StoreError};

use crate::support::{Base, NOW};

fn credential(byte: u8, role: CredentialRole) -> NewCredential {
    NewCredential { hash: [byte; 32], role, label: format!("number {byte}"), created_at: NOW }
}

#[test]
fn a_credential_opens_what_it_was_made_for_until_it_is_revoked() {
    let base = Base::new();
    let mut writer = base.writer();
    let pump = CredentialRole::Device("pump".parse().unwrap());
    let roles = [pump, CredentialRole::Fleet, CredentialRole::Viewer, CredentialRole::Operator];
    let keys: Vec<_> = (1..)
        .zip(&roles)
        .map(|(byte, role)| writer.add_credential(&credential(byte, role.clone())).unwrap())
        .collect();
    let reader = base.reader();
    for (i, role) in roles.iter().enumerate() {
        let found = reader.credential(&[i as u8 + 1; 32]).unwrap().unwrap();
        assert_eq!((found.key, &found.role, found.revoked_at), (keys[i], role, None));
    }
    assert_eq!(reader.credential(&[9; 32]).unwrap(), None);
    assert_eq!(reader.device(&"pump".parse().unwrap()).unwrap().unwrap().info.metrics, []);

    let revoked = writer.revoke_credential(keys[1], NOW).unwrap();
    assert_eq!((&revoked.role, revoked.revoked_at), (&CredentialRole::Fleet, Some(NOW)));
    assert_eq!(writer.revoke_credential(keys[1], NOW.plus_micros(5)).unwrap(), revoked);
    assert_eq!(reader.credential(&[2; 32]).unwrap(), None);
    assert_eq!(reader.credentials().unwrap().len(), 4);
    assert!(matches!(
        writer.revoke_credential(CredentialKey(99), NOW),
        Err(StoreError::NotFound("credential"))
    ));
}

#[test]
fn a_hash_is_stored_once_and_a_revoked_one_does_not_come_back() {
    let base = Base::new();
    let mut writer = base.writer();
    let key = writer.add_credential(&credential(1, CredentialRole::Viewer)).unwrap();
    writer.revoke_credential(key, NOW).unwrap();
    let again = writer.add_credential(&credential(1, CredentialRole::Operator));
    assert!(matches!(again, Err(StoreError::Exists("credential"))));
    assert_eq!(base.reader().credential(&[1; 32]).unwrap(), None);
}

#[test]
fn i_12_a_hash_is_not_printed() {
    let printed = format!("{:?}", credential(171, CredentialRole::Fleet));
    assert!(printed.contains("Fleet") && !printed.contains("[171"), "{printed}");
}
