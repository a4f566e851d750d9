//! redb on a disk, or on a file in its place: what a commit has acknowledged is kept whatever happens.
//!
//! `redb-disk PATH commit` commits numbered records for ever, says `acknowledged N` after each commit, and
//! begins by finding every record that is there. `redb-disk PATH check N` fails unless all records up to N are
//! there. `redb-disk PATH topics` opens, fills, empties and closes a database.

use std::ops::ControlFlow;
use std::time::Instant;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("records");

type Outcome<T = ()> = Result<T, redb::Error>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [path, "commit"] => commit(path)?,
        [path, "check", least] => check(path, least.parse().expect("a number"))?,
        [path, "topics"] => topics(path)?,
        _ => panic!("usage: redb-disk PATH commit|check N|topics"),
    }
    guests::ok("redb-disk");
    Ok(())
}

/// The bytes of a record: a page, a few bytes, or several pages.
fn body(number: u64) -> Vec<u8> {
    let length = [10, 4096, 20_000][(number % 3) as usize];
    (0..length).map(|at| (number + at) as u8).collect()
}

/// Opens the database and verifies every record; the number of the last one.
fn open(path: &str) -> Outcome<(Database, u64)> {
    let started = Instant::now();
    let store = Database::create(path)?;
    let mut last = 0;
    let transaction = store.begin_read()?;
    match transaction.open_table(RECORDS) {
        Ok(records) => {
            for record in records.iter()? {
                let (number, bytes) = record?;
                assert_eq!(number.value(), last + 1, "a record is missing");
                last = number.value();
                assert!(bytes.value() == body(last), "record {last} is damaged");
            }
        }
        Err(redb::TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(error.into()),
    }
    guests::note("open_ms", started.elapsed().as_millis());
    println!("redb-disk: {last} records are there");
    Ok((store, last))
}

fn insert(store: &Database, number: u64) -> Outcome {
    let mut transaction = store.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction
        .open_table(RECORDS)?
        .insert(number, body(number).as_slice())?;
    transaction.commit()?;
    Ok(())
}

/// Whoever runs this ends it at any instant.
fn commit(path: &str) -> Outcome {
    let (store, last) = open(path)?;
    println!("redb-disk: committing");
    let failed = (last + 1..).try_for_each(|number| match insert(&store, number) {
        Ok(()) => {
            println!("acknowledged {number}");
            ControlFlow::Continue(())
        }
        Err(error) => ControlFlow::Break(error),
    });
    failed.break_value().map_or(Ok(()), Err)
}

fn check(path: &str, least: u64) -> Outcome {
    let (mut store, last) = open(path)?;
    assert!(
        last >= least,
        "{least} was acknowledged, {last} is the last"
    );
    assert!(store.check_integrity()?, "redb found its file broken");
    Ok(())
}

fn topics(path: &str) -> Outcome {
    println!("redb-disk: a new database");
    let (store, last) = open(path)?;
    assert_eq!(last, 0);
    for number in 1..=300 {
        insert(&store, number)?;
    }
    println!("redb-disk: opened twice");
    let twice = Database::create(path);
    assert!(matches!(
        twice,
        Err(redb::DatabaseError::DatabaseAlreadyOpen)
    ));
    drop(store);
    println!("redb-disk: opened again");
    let (mut store, last) = open(path)?;
    assert_eq!(last, 300);
    println!("redb-disk: emptied and made small");
    let transaction = store.begin_write()?;
    transaction.open_table(RECORDS)?.retain(|_, _| false)?;
    transaction.commit()?;
    while store.compact()? {}
    let length = std::fs::metadata(path).map_or(0, |about| about.len());
    guests::note("compact_bytes", length);
    println!("redb-disk: filled again");
    for number in 1..=100 {
        insert(&store, number)?;
    }
    drop(store);
    check(path, 100)
}
