//! A disk, or a file in its place, read and written as std does it.
//!
//! `disk PATH MIB` goes through the topics on something of that size: on Linux a file, in a domain a disk that
//! is zeros. `disk PATH sync` writes and syncs once, `disk PATH again` reads what the topics have left.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Result, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread;

use guests::{Sequence, fingerprint};

/// Where the last topic leaves something for the next boot.
const LEFT_AT: u64 = 1 << 20;
const LEFT: &[u8] = b"kept from boot to boot";

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("a path");
    let what = arguments.next().expect("MiB, sync or again");
    let disk = OpenOptions::new().read(true).write(true).open(&path)?;
    match what.as_str() {
        "sync" => sync(&disk)?,
        "again" => again(&disk)?,
        mib => all(&path, disk, mib.parse::<u64>().expect("MiB") << 20)?,
    }
    guests::ok("disk");
    Ok(())
}

fn all(path: &str, disk: File, size: u64) -> Result<()> {
    println!("disk: its size");
    assert_eq!((&disk).seek(SeekFrom::End(0))?, size);
    println!("disk: patterns of every alignment");
    patterns(&disk, size)?;
    println!("disk: reading and writing past the end");
    past_the_end(&disk, size)?;
    println!("disk: positions");
    positions(&disk)?;
    println!("disk: threads at once");
    threads(Arc::new(disk))?;
    println!("disk: two descriptors see the same");
    two(path)?;
    println!("disk: what cannot be");
    refusals(path)?;
    Ok(())
}

/// Writes and reads back, against a copy in memory.
fn patterns(disk: &File, size: u64) -> Result<()> {
    let mut random = Sequence::new(11);
    let mut below = |bound: u64| random.next().unwrap_or_default() % bound;
    let mut model = vec![0; size as usize];
    for round in 0..300u32 {
        let longest = [9, 700, 5_000, 200_000][below(4) as usize];
        let length = 1 + below(longest);
        let start = below(size - length);
        let place = start as usize..(start + length) as usize;
        model[place.clone()].fill(round as u8);
        disk.write_all_at(&model[place], start)?;
    }
    disk.sync_data()?;
    let mut all = vec![0; size as usize];
    disk.read_exact_at(&mut all, 0)?;
    assert!(all == model, "what was written is not what is read");
    for _ in 0..100 {
        let start = below(size - 1);
        let mut some = vec![0; (1 + below((size - start).min(50_000))) as usize];
        disk.read_exact_at(&mut some, start)?;
        assert!(some == model[start as usize..][..some.len()]);
    }
    println!("  {:016x}", fingerprint(model));
    Ok(())
}

fn past_the_end(disk: &File, size: u64) -> Result<()> {
    let mut bytes = [1; 100];
    assert_eq!(disk.read_at(&mut bytes, size)?, 0);
    assert_eq!(disk.read_at(&mut bytes, size - 30)?, 30);
    assert!(disk.read_at(&mut bytes, i64::MAX as u64).is_err());
    let error = disk.read_exact_at(&mut bytes, size - 30);
    assert_eq!(
        error.map_err(|error| error.kind()),
        Err(ErrorKind::UnexpectedEof)
    );
    Ok(())
}

fn positions(mut disk: &File) -> Result<()> {
    disk.seek(SeekFrom::Start(1000))?;
    disk.write_all(b"one two three")?;
    assert_eq!(disk.stream_position()?, 1013);
    disk.seek(SeekFrom::Current(-5))?;
    let mut word = [0; 5];
    disk.read_exact(&mut word)?;
    assert_eq!(&word, b"three");
    assert!(disk.seek(SeekFrom::Current(-5000)).is_err());
    Ok(())
}

/// Threads write neighbouring bytes of the same sectors.
fn threads(disk: Arc<File>) -> Result<()> {
    let writers: Vec<_> = (0..8u8)
        .map(|number| {
            let disk = disk.clone();
            thread::spawn(move || {
                for slot in 0..64 {
                    let at = slot * 80 + u64::from(number) * 10;
                    disk.write_all_at(&[number; 10], at)?;
                }
                disk.sync_data()
            })
        })
        .collect();
    for writer in writers {
        writer.join().expect("no panic")?;
    }
    let mut bytes = vec![0; 64 * 80];
    disk.read_exact_at(&mut bytes, 0)?;
    for (at, &byte) in bytes.iter().enumerate() {
        assert_eq!(usize::from(byte), at / 10 % 8, "at {at}");
    }
    Ok(())
}

fn two(path: &str) -> Result<()> {
    let writer = OpenOptions::new().write(true).open(path)?;
    let reader = File::open(path)?;
    writer.write_all_at(LEFT, LEFT_AT)?;
    writer.sync_all()?;
    let mut bytes = vec![0; LEFT.len()];
    reader.read_exact_at(&mut bytes, LEFT_AT)?;
    assert_eq!(bytes, LEFT);
    assert!(reader.try_lock().is_ok() && writer.try_lock().is_err());
    drop(reader);
    assert!(writer.try_lock().is_ok());
    Ok(())
}

fn refusals(path: &str) -> Result<()> {
    let reader = File::open(path)?;
    let written = reader.write_at(b"no", 0);
    assert!(written.is_err(), "written to what was opened for reading");
    assert!(reader.set_len(5).is_err());
    let writer = OpenOptions::new().write(true).open(path)?;
    assert!(writer.read_at(&mut [0; 2], 0).is_err());
    Ok(())
}

fn sync(disk: &File) -> Result<()> {
    println!("disk: written and synced");
    disk.write_all_at(b"synced", 4096)?;
    match disk.sync_data() {
        Ok(()) => println!("disk: sync_data succeeded"),
        Err(error) => println!("disk: sync_data failed: {error}"),
    }
    Ok(())
}

fn again(disk: &File) -> Result<()> {
    let mut bytes = vec![0; LEFT.len()];
    disk.read_exact_at(&mut bytes, LEFT_AT)?;
    println!("disk: {}", String::from_utf8_lossy(&bytes));
    assert_eq!(bytes, LEFT);
    Ok(())
}
