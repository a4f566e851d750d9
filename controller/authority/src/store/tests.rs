use full_disk::FullDisk;

use super::audit::{Broken, Entry, verify};
use super::*;

fn store() -> (Store, std::path::PathBuf) {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("authority-store-{}-{number}.redb", std::process::id());
    let file = std::env::temp_dir().join(name);
    (Store::open(&file).unwrap(), file)
}

fn moment(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(seconds).unwrap()
}

#[test]
fn what_is_not_committed_has_not_happened() {
    let (store, file) = store();
    let transaction = store.begin().unwrap();
    assert_eq!(transaction.next_serial().unwrap(), Serial(1));
    drop(transaction);
    let transaction = store.begin().unwrap();
    assert_eq!(transaction.next_serial().unwrap(), Serial(1));
    transaction.commit(moment(1)).unwrap();
    drop(store);
    let store = Store::open(&file).unwrap();
    assert_eq!(store.begin().unwrap().next_serial().unwrap(), Serial(2));
    drop(store);
    std::fs::remove_file(file).unwrap();
}

#[test]
fn applications_keep_their_numbers() {
    let (store, file) = store();
    let publishers = [1, 2].map(|seed| manifest::SigningKey::from_seed(&[seed; 32]).public());
    let number = |publisher: &PublicKey, name: &str| {
        let transaction = store.begin().unwrap();
        let number = transaction.application_number(publisher, &name.parse().unwrap());
        transaction.commit(moment(1)).unwrap();
        number.unwrap().unwrap().get()
    };
    assert_eq!(number(&publishers[0], "a"), 1);
    assert_eq!(number(&publishers[1], "a"), 2);
    assert_eq!(number(&publishers[0], "b"), 3);
    assert_eq!(number(&publishers[0], "a"), 1);
    drop(store);
    std::fs::remove_file(file).unwrap();
}

#[test]
fn what_expired_is_forgotten_and_nothing_else() {
    let (store, file) = store();
    let [one, two, offer] = [b"1", b"2", b"3"].map(|bytes| Digest::of(bytes));
    let transaction = store.begin().unwrap();
    transaction
        .put_token(one, Serial(1), moment(100), b"one")
        .unwrap();
    transaction
        .put_offer((two, b"two"), (offer, b"offer"), moment(50))
        .unwrap();
    transaction.revoke(Serial(1), 100).unwrap();
    transaction.commit(moment(1)).unwrap();
    assert_eq!(
        store.answer(two, moment(49)).unwrap(),
        Some(Stored::Offer(b"offer".to_vec()))
    );
    assert_eq!(store.answer(two, moment(50)).unwrap(), None);
    // The offer is accepted: the token outlives it.
    let transaction = store.begin().unwrap();
    transaction
        .put_token(two, Serial(2), moment(200), b"two")
        .unwrap();
    transaction.commit(moment(60)).unwrap();
    assert_eq!(store.offer(offer).unwrap(), None);
    let token = Stored::Token(Serial(2), b"two".to_vec());
    assert_eq!(store.answer(two, moment(61)).unwrap(), Some(token));
    assert_eq!(store.revocations(moment(99)).unwrap(), (1, vec![Serial(1)]));
    assert_eq!(store.revocations(moment(100)).unwrap(), (1, vec![]));
    store.begin().unwrap().commit(moment(100)).unwrap();
    let transaction = store.begin().unwrap();
    assert_eq!(transaction.token_expiry(Serial(1)).unwrap(), None);
    assert_eq!(transaction.revoked_count().unwrap(), 0);
    assert_eq!(transaction.token_expiry(Serial(2)).unwrap(), Some(200));
    drop(transaction);
    drop(store);
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_changed_audit_log_shows() {
    let (store, file) = store();
    for number in 0..5 {
        let transaction = store.begin().unwrap();
        let entry = Entry::new(moment(number), "granted", number.into());
        transaction.record(&entry).unwrap();
        transaction.commit(moment(number)).unwrap();
    }
    let lines = store.audit(0).unwrap();
    let start = "0".repeat(64);
    let last = verify(&start, &lines).unwrap();
    assert_eq!(last, lines[4].hash);
    assert_eq!(verify(&lines[1].hash, &store.audit(2).unwrap()), Ok(last));
    let mut changed = lines.clone();
    changed[2].entry = changed[2].entry.replace("granted", "refused");
    assert_eq!(verify(&start, &changed), Err(Broken(3)));
    let mut without = lines.clone();
    without.remove(2);
    assert_eq!(verify(&start, &without), Err(Broken(4)));
    drop(store);
    std::fs::remove_file(file).unwrap();
}

/// Full at every instant of a decision: it fails as a whole, and with room again the next one
/// goes on where the last durable one was.
#[test]
fn a_full_disk_loses_no_decision_and_gives_no_serial_twice() {
    const WRITES_MAX: u32 = 40;
    let disk = FullDisk::new().unwrap();
    let opened = disk.clone();
    let store = Store::opened_by(Box::new(move || opened.open())).unwrap();
    let decide = || -> Result<Serial, StoreError> {
        let transaction = store.begin()?;
        let serial = transaction.next_serial()?;
        let submission = Digest::of(&serial.0.to_be_bytes());
        transaction.put_token(submission, serial, moment(1000), b"token")?;
        transaction.record(&Entry::new(moment(1), "granted", serial.0.into()))?;
        transaction.commit(moment(1))?;
        Ok(serial)
    };
    let (mut last, mut failures) = (Serial(0), 0);
    for writes in 0..WRITES_MAX {
        disk.leave(writes);
        match decide() {
            Ok(serial) => assert!(serial > std::mem::replace(&mut last, serial)),
            Err(_) => failures += 1,
        }
        disk.clear();
        let serial = decide().expect("there is room again");
        assert!(serial > std::mem::replace(&mut last, serial));
    }
    assert!(
        (1..WRITES_MAX).contains(&failures),
        "{failures} of {WRITES_MAX} failed"
    );
    let lines = store.audit(0).unwrap();
    super::audit::verify(&"0".repeat(64), &lines).unwrap();
    let granted = lines
        .iter()
        .filter(|line| line.entry.contains("granted"))
        .count() as u64;
    // What failed may have become durable without being told; what was told is there.
    assert_eq!(granted, last.0);
}
