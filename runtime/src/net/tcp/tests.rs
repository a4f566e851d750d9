//! Sizes that promises are made of.

use super::*;

/// 10,000 idle connections must fit in 20 MB with everything that finds them.
#[test]
fn a_connection_is_small() {
    let size = size_of::<Connection>();
    println!("a connection takes {size} bytes");
    assert!(size <= 1024);
}
