//! A controller that is away or refuses: nobody is let in, and everybody is told.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;

use crate::{Directory, Hotspot, TOKEN, check};

/// A key as a launch would have made it.
fn key() -> String {
    let made = Command::new("openssl")
        .args(["genpkey", "-algorithm", "ed25519"])
        .output()
        .expect("openssl");
    String::from_utf8(made.stdout).expect("PEM")
}

/// Redeems a voucher with a controller at a port, and nothing is kept of it.
fn refused(name: &str, port: u16, reason: &str) {
    let directory = Directory::new(name);
    let metadata = format!("http://127.0.0.1:{port}/v1/");
    let variables = [
        ("EDGECLOUD_METADATA", metadata.as_str()),
        ("EDGECLOUD_KEY", &key()),
    ];
    let hotspot = Hotspot::start_with(&directory, "", &variables);
    let code = hotspot.vouchers("{\"count\":1}").remove(0);
    let answer = hotspot.redeem(1, &code);
    check(&answer, "503", &["role=\"alert\""]);
    assert!(hotspot.sessions().is_empty(), "it stayed outside");
    let page = hotspot.get(1, "portal.example", "/");
    assert!(!page.contains("You are online"), "{page}");
    // The voucher is as good as before: it was not begun.
    let vouchers = hotspot.operator(TOKEN, &[], "/v1/vouchers");
    assert!(vouchers.contains("\"used\":false"), "{vouchers}");
    let metrics = hotspot.metrics();
    let counted = format!("edgecloud_refusals_total{{reason=\"{reason}\"}} 1");
    assert!(metrics.contains(&counted), "{metrics}");
}

#[test]
fn a_controller_that_is_away_lets_nobody_in() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    refused("away", port, "controller-away");
}

#[test]
fn a_controller_that_refuses_lets_nobody_in() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    // It ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(1..) = stream.read(&mut bytes) {
                    let no = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
                    if stream.write_all(no.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    refused("refuses", port, "controller-refuses");
}
