//! Memory to 95 % of what the machine was given, twice, and beyond.
//!
//! `memory MB` fills 95 % of MB megabytes with patterns, looks at every one of them, asks for more
//! than there can be and is refused politely, gives everything back and does it all again.
//! `memory MB beyond` goes on until the allocator gives up, which ends the program.

/// Small enough that the last one does not decide whether 95 % fit.
const BLOCK_BYTES: usize = 256 << 10;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let megabytes: usize = arguments
        .next()
        .and_then(|word| word.parse().ok())
        .expect("usage: memory MB [beyond]");
    match arguments.next().as_deref() {
        None => twice(megabytes),
        Some("beyond") => beyond(),
        Some(other) => panic!("`{other}`: the only other word is `beyond`"),
    }
}

fn twice(megabytes: usize) {
    for round in ["first", "second"] {
        println!("memory: the {round} time");
        let blocks = fill((megabytes << 20) / 100 * 95);
        println!(
            "  {} kB hold their patterns",
            blocks.len() * BLOCK_BYTES / 1024
        );
        assert!(
            Vec::<u8>::new().try_reserve_exact(megabytes << 20).is_err(),
            "there is memory for {megabytes} MB more"
        );
        assert!(
            Vec::<u8>::new().try_reserve(isize::MAX as usize).is_err(),
            "there is memory for everything"
        );
        check(&blocks);
        println!("  more was refused, and all is still there");
    }
    guests::ok("memory");
}

fn fill(bytes: usize) -> Vec<Box<[u64]>> {
    let count = bytes / BLOCK_BYTES;
    let blocks: Vec<Box<[u64]>> = (0..count as u64).map(block).collect();
    check(&blocks);
    blocks
}

/// Every word differs from every other, so that two pages that are one memory show.
fn block(number: u64) -> Box<[u64]> {
    let words = (BLOCK_BYTES / 8) as u64;
    let mut block = Vec::new();
    if let Err(error) = block.try_reserve_exact(words as usize) {
        panic!("block {number} of {BLOCK_BYTES} bytes: {error}");
    }
    block.extend((0..words).map(|word| pattern(number * words + word)));
    block.into()
}

fn pattern(place: u64) -> u64 {
    place.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn check(blocks: &[Box<[u64]>]) {
    for (place, &word) in blocks.iter().flatten().enumerate() {
        assert_eq!(word, pattern(place as u64), "word {place} changed");
    }
}

fn beyond() {
    let mut held = Vec::new();
    loop {
        held.push(vec![1_u8; 1 << 20]);
        println!("memory: {} MB", held.len());
    }
}
