//! The smallest plain program: it greets and ends. What a domain costs is measured with it.

fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    match names.as_slice() {
        [] => println!("Hello from {}!", std::env::consts::ARCH),
        names => println!("Hello, {}!", names.join(" and ")),
    }
}
