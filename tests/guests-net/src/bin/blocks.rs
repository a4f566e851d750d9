//! A block device by `std::fs` alone, so that two kernels can be compared under the same source.
//!
//! `blocks DEVICE MIB` writes so much from the device's start, makes it durable, reads it back, and then
//! reads blocks of 4 kB at random places of it. Each line of its output is a figure: `blocks: NAME BYTES
//! NANOSECONDS`, and the last one is `blocks: ok`. No cache is asked (`O_DIRECT`): with one, the figures
//! would be of a kernel's memory. What was on the device is lost.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::Instant;

/// Linux's number; Rust's std has no name for it.
const O_DIRECT: i32 = 0o40000;
/// What `O_DIRECT` wants of memory, whatever the device's blocks are.
const ALIGNMENT: usize = 4096;
/// One sequential operation: several requests for the driver to have in flight.
const PIECE: usize = 1 << 20;
const BLOCK: usize = 4096;
const RANDOM_READS: u64 = 500;

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [device, size] = &words[..] else {
        return Err(io::Error::other("usage: blocks DEVICE MIB"));
    };
    let size = size.parse::<u64>().map_err(io::Error::other)? << 20;
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(O_DIRECT)
        .open(device)?;
    let mut memory = vec![0; PIECE + ALIGNMENT];
    let start = memory.as_ptr().align_offset(ALIGNMENT);
    let piece = &mut memory[start..start + PIECE];
    report("sequential-write", || write(&device, size, piece))?;
    report("sequential-read", || read(&device, size, piece))?;
    report("random-read", || {
        read_randomly(&device, size, &mut piece[..BLOCK])
    })?;
    println!("blocks: ok");
    Ok(())
}

/// Prints what an operation moved and how long that took.
fn report(name: &str, operation: impl FnOnce() -> io::Result<u64>) -> io::Result<()> {
    let start = Instant::now();
    let bytes = operation()?;
    println!("blocks: {name} {bytes} {}", start.elapsed().as_nanos());
    Ok(())
}

/// What a piece at a place is filled with: no two neighbours are equal.
fn mark(place: u64) -> u8 {
    (place >> 20) as u8 ^ 0x5a
}

/// The places of the pieces of a range.
fn places(size: u64) -> impl Iterator<Item = u64> {
    (0..size).step_by(PIECE)
}

fn write(device: &File, size: u64, piece: &mut [u8]) -> io::Result<u64> {
    for place in places(size) {
        piece.fill(mark(place));
        device.write_all_at(piece, place)?;
    }
    device.sync_data()?;
    Ok(size)
}

fn read(device: &File, size: u64, piece: &mut [u8]) -> io::Result<u64> {
    for place in places(size) {
        device.read_exact_at(piece, place)?;
        check(piece, place)?;
    }
    Ok(size)
}

fn read_randomly(device: &File, size: u64, block: &mut [u8]) -> io::Result<u64> {
    let blocks = size / BLOCK as u64;
    let mut number = 1_u64;
    for _ in 0..RANDOM_READS {
        // Knuth's MMIX generator: both kernels must read the same places.
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let place = (number >> 33) % blocks * BLOCK as u64;
        device.read_exact_at(block, place)?;
        check(block, place)?;
    }
    Ok(RANDOM_READS * BLOCK as u64)
}

/// The first and the last byte are enough to see that it is the right block.
fn check(bytes: &[u8], place: u64) -> io::Result<()> {
    let expected = Some(&mark(place));
    if bytes.first() == expected && bytes.last() == expected {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "what was written at {place} is not there"
    )))
}
