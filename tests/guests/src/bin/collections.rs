//! Collections, text, numbers and their formatting: everything that rests on the heap and on the
//! mathematical functions.

use std::alloc::Layout;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::fmt::Write as _;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;

use guests::{Sequence, fingerprint};

fn main() {
    guests::tell(
        "collections",
        &[
            ("vectors grow, shrink and move", vectors),
            ("a large vector", large_vector),
            ("hash maps", hash_maps),
            ("ordered maps", ordered_maps),
            ("queues, heaps and lists", queues),
            ("strings", strings),
            ("formatting", formatting),
            ("integers", integers),
            ("floating point", floats),
            ("sorting", sorting),
            ("iterators", iterators),
            ("alignment of allocations", alignment),
            ("churn of the heap", churn),
            ("shared ownership", shared_ownership),
        ],
    );
}

fn vectors() {
    let mut numbers = Vec::new();
    for n in 0..100_000_u32 {
        numbers.push(n); // Grows through realloc some seventeen times.
    }
    assert!(
        numbers
            .iter()
            .enumerate()
            .all(|(place, &n)| place == n as usize)
    );
    numbers.retain(|n| n % 3 == 0);
    numbers.shrink_to_fit();
    assert_eq!(numbers.len(), 33_334);
    assert_eq!(numbers.drain(..10).sum::<u32>(), 135);
    let tail = numbers.split_off(1000);
    assert_eq!((numbers[999], tail[0]), (3027, 3030));
    let boxed: Box<[u32]> = numbers.into();
    assert_eq!(boxed.len(), 1000);
}

fn large_vector() {
    let mut bytes = vec![0_u8; 16 << 20];
    assert!(
        bytes.iter().all(|&byte| byte == 0),
        "vec![0; n] hands out memory that is not zero"
    );
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = (place % 251) as u8;
    }
    let copy = bytes.clone();
    bytes.rotate_left(1 << 20);
    bytes.rotate_right(1 << 20);
    assert_eq!(bytes, copy);
    println!("  16 MB: {:016x}", fingerprint(copy));
}

fn hash_maps() {
    let mut squares = HashMap::new();
    for n in 0..20_000_u64 {
        squares.insert(format!("key {n}"), n * n);
    }
    assert_eq!(squares.len(), 20_000);
    assert_eq!(squares["key 123"], 15_129);
    assert_eq!(squares.remove("key 7"), Some(49));
    assert_eq!(squares.get("key 7"), None);
    *squares.entry("key 8".to_owned()).or_default() += 1;
    assert_eq!(squares["key 8"], 65);
    assert_eq!(
        squares.values().sum::<u64>(),
        (0..20_000).map(|n: u64| n * n).sum::<u64>() - 48
    );
    let odd: HashSet<u64> = (1..100).step_by(2).collect();
    let threes: HashSet<u64> = (0..100).step_by(3).collect();
    assert_eq!(odd.intersection(&threes).count(), 17);
}

fn ordered_maps() {
    let mut map: BTreeMap<u64, usize> = Sequence::new(11)
        .take(10_000)
        .enumerate()
        .map(|(place, key)| (key, place))
        .collect();
    assert!(map.keys().is_sorted());
    let half = map.split_off(&(u64::MAX / 2));
    assert!(map.last_key_value() < half.first_key_value());
    println!("  {} below the middle, {} above it", map.len(), half.len());
    let set: BTreeSet<&str> = ["pear", "apple", "fig"].into();
    assert_eq!(
        set.range("b"..).copied().collect::<Vec<_>>(),
        ["fig", "pear"]
    );
}

fn queues() {
    let mut ring = VecDeque::with_capacity(4);
    for n in 0..1000 {
        ring.push_back(n);
        if ring.len() > 8 {
            ring.pop_front();
        }
    }
    assert_eq!(ring, (992..1000).collect::<VecDeque<_>>());
    let mut heap: BinaryHeap<u64> = Sequence::new(5).take(1000).collect();
    let drained: Vec<u64> = std::iter::from_fn(|| heap.pop()).collect();
    assert!(drained.is_sorted_by(|left, right| left >= right));
    let mut list: LinkedList<i32> = (0..10).collect();
    let mut tail = list.split_off(7);
    tail.append(&mut list);
    assert_eq!(
        tail.into_iter().collect::<Vec<_>>(),
        [7, 8, 9, 0, 1, 2, 3, 4, 5, 6]
    );
}

fn strings() {
    let text = "Grüße, 世界 — ça va? 🦀";
    assert_eq!((text.len(), text.chars().count()), (32, 20));
    assert_eq!(text.to_uppercase(), "GRÜSSE, 世界 — ÇA VA? 🦀");
    assert_eq!(
        text.chars()
            .rev()
            .collect::<String>()
            .chars()
            .rev()
            .collect::<String>(),
        text
    );
    assert_eq!(
        text.split_whitespace().collect::<Vec<_>>(),
        ["Grüße,", "世界", "—", "ça", "va?", "🦀"]
    );
    assert_eq!(String::from_utf8_lossy(b"a\xffb"), "a\u{fffd}b");
    assert!(
        std::str::from_utf8(&text.as_bytes()[..3]).is_err(),
        "half a character passes"
    );
    assert_eq!("a=b=c".split_once('='), Some(("a", "b=c")));
    assert_eq!(
        "line one\r\nline two\n".lines().collect::<Vec<_>>(),
        ["line one", "line two"]
    );
    println!("  {text}");
}

fn formatting() {
    #[derive(Debug)]
    #[expect(dead_code, reason = "only its Debug form is looked at")]
    struct Point {
        x: i32,
        y: Option<f32>,
    }
    let point = Point {
        x: -3,
        y: Some(0.5),
    };
    assert_eq!(format!("{point:?}"), "Point { x: -3, y: Some(0.5) }");
    assert_eq!(
        format!("{point:#?}"),
        "Point {\n    x: -3,\n    y: Some(\n        0.5,\n    ),\n}"
    );
    assert_eq!(
        format!("{:>8}|{:<6}|{:^7}|{:*^5}", "right", "left", "mid", 'c'),
        "   right|left  |  mid  |**c**"
    );
    assert_eq!(
        format!("{:#x} {:#b} {:o} {:08.3} {:+e}", 255, 5, 8, -1.5, 12345.0),
        "0xff 0b101 10 -001.500 +1.2345e4"
    );
    let (width, precision) = (10, 2);
    assert_eq!(
        format!("[{:width$.precision$}]", std::f64::consts::PI),
        "[      3.14]"
    );
    let mut long = String::new();
    for n in 0..1000 {
        write!(long, "{n:x},").expect("a String takes everything");
    }
    println!("  {:016x}", fingerprint(long.into_bytes()));
}

fn integers() {
    let factorial: u128 = (1..=black_box(34)).product();
    assert_eq!(
        factorial.to_string(),
        "295232799039604140847618609643520000000"
    );
    assert_eq!(
        factorial / 1_000_000_007,
        295_232_796_972_974_562_036_796_675_385
    );
    assert_eq!(black_box(u128::MAX / 3) % 1_000_003, 667_677);
    assert_eq!(
        "-170141183460469231731687303715884105728".parse(),
        Ok(i128::MIN)
    );
    assert_eq!(u64::MAX.checked_add(1), None);
    assert_eq!(i32::MAX.wrapping_add(1), i32::MIN);
    assert_eq!(200_u8.saturating_mul(2), 255);
    assert_eq!(
        (
            0b1011_u8.count_ones(),
            1_u64.leading_zeros(),
            8_u32.ilog2(),
            99_u32.isqrt()
        ),
        (3, 63, 3, 9)
    );
    assert_eq!(u32::from_str_radix("zz", 36), Ok(1295));
    assert_eq!(0x0102_0304_u32.swap_bytes().to_le_bytes(), [1, 2, 3, 4]);
    assert!("12a".parse::<u32>().is_err());
}

/// Values to twelve digits: mathematical libraries may differ in the last bit.
fn floats() {
    // The optimiser must not do the sums itself.
    let at = black_box::<f64>;
    let close = |value: f64, expected: f64| {
        let error = (value - expected).abs() / expected.abs().max(1.0);
        assert!(error < 1e-13, "{value:e} instead of {expected:e}");
    };
    close(at(1.0).sin(), 0.841_470_984_807_896_5);
    close(at(1e6).cos(), 0.936_752_127_533_144_7);
    close(at(1.5).tan(), 14.101_419_947_171_719);
    close(at(2.0).powf(0.5), std::f64::consts::SQRT_2);
    close(at(10.0).exp(), 22_026.465_794_806_718);
    close(at(10.0).ln(), std::f64::consts::LN_10);
    close(at(1e-10).ln_1p(), 9.999_999_999_5e-11);
    close(at(1e-10).exp_m1(), 1.000_000_000_05e-10);
    close(at(1000.0).log10(), 3.0);
    close(at(0.5).asin(), std::f64::consts::FRAC_PI_6);
    close(at(-1.0).atan2(-1.0), -0.75 * std::f64::consts::PI);
    close(at(2.0).sinh(), 3.626_860_407_847_019);
    close(at(0.5).atanh(), 0.549_306_144_334_054_8);
    close(at(27.0).cbrt(), 3.0);
    close(at(3.0).hypot(4.0), 5.0);
    close(at(2.0).sqrt().mul_add(2.0, 1.0), 3.828_427_124_746_190_3);
    rounding_and_special_values();
    assert_eq!(
        "0.1".parse::<f64>().map(f64::to_bits),
        Ok(0x3fb9_9999_9999_999a)
    );
    assert_eq!((0.1_f64 + 0.2).to_string(), "0.30000000000000004");
    let single: f32 = (1..=20).map(|n| 1.0 / n as f32).map(f32::sin).sum();
    println!(
        "  {single:.4} {:.12} {:e}",
        0.1_f64.sin().powi(3),
        f64::MIN_POSITIVE
    );
}

fn rounding_and_special_values() {
    assert_eq!(
        (
            2.5_f64.round(),
            (-2.5_f64).floor(),
            2.5_f64.ceil(),
            2.9_f64.trunc()
        ),
        (3.0, -3.0, 3.0, 2.0)
    );
    let odd = black_box(7.5_f64);
    assert_eq!(((odd - 5.0).round_ties_even(), odd % 2.0), (2.0, 1.5));
    assert_eq!((-odd).rem_euclid(2.0), 0.5);
    let (zero, huge, not_a_number) = (black_box(0.0_f64), black_box(f64::MAX), black_box(f64::NAN));
    assert!(not_a_number.max(1.0) == 1.0 && (zero * f64::INFINITY).is_nan());
    assert_eq!(
        (1.0 / zero, (huge * 2.0) as u32, not_a_number as i8),
        (f64::INFINITY, u32::MAX, 0)
    );
}

fn sorting() {
    let mut numbers: Vec<u64> = Sequence::new(1).take(50_000).collect();
    let mut stable: Vec<(u64, usize)> = numbers
        .iter()
        .enumerate()
        .map(|(place, n)| (n % 100, place))
        .collect();
    numbers.sort_unstable();
    assert!(numbers.is_sorted());
    assert!(
        numbers
            .binary_search(&numbers[777])
            .is_ok_and(|place| place == 777)
    );
    stable.sort_by_key(|&(key, _)| key);
    assert!(stable.is_sorted(), "equal keys changed places");
    let (_, median, _) = stable.select_nth_unstable(25_000);
    println!("  the median key is {}", median.0);
}

fn iterators() {
    let primes: Vec<u32> = (2_u32..)
        .filter(|n| (2..=n.isqrt()).all(|d| n % d != 0))
        .take(10)
        .collect();
    assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
    let words = ["one", "two", "three"];
    let joined: String = words
        .iter()
        .zip(1..)
        .flat_map(|(word, n)| [word.to_string(), n.to_string()])
        .collect();
    assert_eq!(joined, "one1two2three3");
    let (even, odd): (Vec<i32>, Vec<i32>) = (0..10).partition(|n| n % 2 == 0);
    assert_eq!(even.iter().zip(&odd).map(|(e, o)| e * o).sum::<i32>(), 140);
    assert_eq!(words.iter().max_by_key(|word| word.len()), Some(&"three"));
    assert_eq!(
        [1, 2, 3, 4, 5]
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .fold(1, |product, n| product * n * 2),
        16
    );
    assert_eq!(
        [3, 1, 2].chunks(2).map(<[i32]>::len).collect::<Vec<_>>(),
        [2, 1]
    );
}

/// Allocations lie where their layout says, also when realloc moves them.
fn alignment() {
    #[derive(Clone, Copy)]
    #[repr(align(4096))]
    struct Page([u8; 4096]);
    #[derive(Clone, Copy)]
    #[repr(align(64))]
    struct Line(u8);

    fn aligned<T>(items: &[T]) -> bool {
        items.as_ptr().addr().is_multiple_of(align_of::<T>())
    }
    let mut lines = Vec::new();
    let mut pages = Vec::new();
    for n in 0..40_u8 {
        lines.push(Line(n));
        pages.push(Page([n; 4096]));
        assert!(aligned(&lines) && aligned(&pages), "misplaced after {n}");
    }
    assert!(
        lines
            .iter()
            .zip(&pages)
            .zip(0..)
            .all(|((line, page), n)| line.0 == n && page.0[4095] == n)
    );
    assert!(aligned(&black_box(vec![0_u128; 3])) && aligned(&[Box::new(1.0_f64)]));
    assert_eq!(Layout::new::<Page>().align(), 4096);
}

/// Sizes from a byte to a quarter of a megabyte, allocated and freed out of order.
fn churn() {
    let mut sequence = Sequence::new(3);
    let mut held: Vec<Vec<u8>> = Vec::new();
    for round in 0..20_000_u32 {
        let n = sequence.next().expect("an endless sequence");
        if held.len() > 200 {
            let gone = held.swap_remove((n >> 32) as usize % held.len());
            assert!(
                gone.iter().all(|&byte| byte == gone[0]),
                "an allocation was written by another"
            );
        }
        let size = 1 << (n % 18);
        held.push(vec![round as u8; size + (n >> 40) as usize % size]);
    }
    println!(
        "  {} bytes at the end",
        held.iter().map(Vec::len).sum::<usize>()
    );
}

fn shared_ownership() {
    let shared = Rc::new(vec![1, 2, 3]);
    let weak = Rc::downgrade(&shared);
    assert_eq!(Rc::strong_count(&Rc::clone(&shared)), 2);
    drop(shared);
    assert!(weak.upgrade().is_none());
    let text: Arc<str> = "shared".into();
    let copies: Vec<Arc<str>> = std::iter::repeat_n(text, 10).collect();
    assert_eq!(Arc::strong_count(&copies[0]), 10);
}
