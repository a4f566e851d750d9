//! The smallest appliance: an ordinary Rust program, with no line that knows of Xen.

fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    match names.as_slice() {
        [] => println!("Hello from {}!", std::env::consts::ARCH),
        names => println!("Hello, {}!", names.join(" and ")),
    }
}
