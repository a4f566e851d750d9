//! redb, the store that appliances use, over its backend in memory.

use redb::backends::InMemoryBackend;
use redb::{
    Database, MultimapTableDefinition, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    TableDefinition,
};

use guests::{Sequence, fingerprint};

const NAMES: TableDefinition<u64, &str> = TableDefinition::new("names");
const BODIES: TableDefinition<&str, &[u8]> = TableDefinition::new("bodies");
const TAGS: MultimapTableDefinition<&str, u32> = MultimapTableDefinition::new("tags");

type Outcome = Result<(), redb::Error>;
type Topic = (&'static str, fn(&Database) -> Outcome);

fn main() -> Outcome {
    let mut store = Database::builder().create_with_backend(InMemoryBackend::new())?;
    let topics: [Topic; 6] = [
        ("five thousand inserts", inserts),
        ("range scans", ranges),
        ("an aborted transaction", aborted),
        ("a savepoint", savepoint),
        ("large values", large_values),
        ("many values to one key", multimap),
    ];
    for (name, topic) in topics {
        println!("redb-memory: {name}");
        topic(&store)?;
    }
    println!("redb-memory: its own check");
    assert!(store.check_integrity()?, "redb found its file broken");
    guests::ok("redb-memory");
    Ok(())
}

fn inserts(store: &Database) -> Outcome {
    for batch in 0..10 {
        let transaction = store.begin_write()?;
        {
            let mut names = transaction.open_table(NAMES)?;
            for n in batch * 500..(batch + 1) * 500 {
                names.insert(n, format!("name {n}").as_str())?;
            }
        }
        transaction.commit()?;
    }
    let names = store.begin_read()?.open_table(NAMES)?;
    assert_eq!(names.len()?, 5000);
    assert_eq!(
        names
            .get(4321)?
            .map(|name| name.value().to_owned())
            .as_deref(),
        Some("name 4321")
    );
    assert!(names.get(5000)?.is_none());
    Ok(())
}

fn ranges(store: &Database) -> Outcome {
    let names = store.begin_read()?.open_table(NAMES)?;
    let mut text = String::new();
    for entry in names.range(1000..2000)? {
        text.push_str(entry?.1.value());
    }
    assert_eq!(text.len(), 9 * 1000);
    let last = names
        .iter()?
        .next_back()
        .transpose()?
        .map(|(key, _)| key.value());
    assert_eq!(last, Some(4999));
    println!("  {:016x}", fingerprint(text.into_bytes()));
    Ok(())
}

/// A reader keeps the state it began with; what was not committed never was.
fn aborted(store: &Database) -> Outcome {
    let before = store.begin_read()?;
    let transaction = store.begin_write()?;
    transaction
        .open_table(NAMES)?
        .retain(|key, _| key % 2 == 0)?;
    assert_eq!(transaction.open_table(NAMES)?.len()?, 2500);
    transaction.abort()?;
    assert_eq!(before.open_table(NAMES)?.len()?, 5000);
    assert_eq!(store.begin_read()?.open_table(NAMES)?.len()?, 5000);
    Ok(())
}

fn savepoint(store: &Database) -> Outcome {
    let mut transaction = store.begin_write()?;
    let savepoint = transaction.ephemeral_savepoint()?;
    transaction.open_table(NAMES)?.insert(1, "changed")?;
    transaction.restore_savepoint(&savepoint)?;
    transaction.commit()?;
    let names = store.begin_read()?.open_table(NAMES)?;
    assert_eq!(
        names.get(1)?.map(|name| name.value().to_owned()).as_deref(),
        Some("name 1")
    );
    Ok(())
}

fn large_values(store: &Database) -> Outcome {
    let body: Vec<u8> = Sequence::new(4)
        .flat_map(u64::to_le_bytes)
        .take(1 << 20)
        .collect();
    for name in ["one", "two", "one"] {
        let transaction = store.begin_write()?;
        transaction
            .open_table(BODIES)?
            .insert(name, body.as_slice())?;
        transaction.commit()?;
    }
    let bodies = store.begin_read()?.open_table(BODIES)?;
    assert_eq!(bodies.len()?, 2);
    assert!(
        bodies
            .get("two")?
            .is_some_and(|stored| stored.value() == body)
    );
    Ok(())
}

fn multimap(store: &Database) -> Outcome {
    let transaction = store.begin_write()?;
    {
        let mut tags = transaction.open_multimap_table(TAGS)?;
        for n in Sequence::new(8).take(1000) {
            tags.insert(if n % 2 == 0 { "even" } else { "odd" }, (n % 1000) as u32)?;
        }
        assert!(
            tags.remove_all("even")?
                .all(|tag| tag.is_ok_and(|tag| tag.value() % 2 == 0))
        );
    }
    transaction.commit()?;
    let tags = store.begin_read()?.open_multimap_table(TAGS)?;
    assert!(tags.get("even")?.next().is_none());
    println!("  {} odd ones", tags.get("odd")?.count());
    Ok(())
}
