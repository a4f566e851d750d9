//! The pages, as Chromium shows them on a phone, to a person who has a keyboard and nothing else.

use std::process::Command;

use crate::{Directory, Hotspot};

#[test]
fn a_person_logs_in_on_a_phone_by_keys_alone() {
    let directory = Directory::new("browser");
    let hotspot = Hotspot::start(&directory, "look = { name = 'Station Wi-Fi' }\n");
    let code = hotspot.vouchers("{\"count\":1}").remove(0);
    let output = Command::new("timeout")
        .args(["120", "python3", "tests/process/browser.py"])
        .arg(hotspot.http.port().to_string())
        .arg(&code)
        .arg(&directory.0)
        .output()
        .expect("python3");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for page in ["login", "wrong", "online"] {
        let page = &told[page];
        assert_eq!(page["overflow"], 0, "it is as wide as the phone: {page}");
        assert_eq!(page["language"], "en");
        assert_eq!(page["unnamed"], 0, "each field has a name: {page}");
        // WCAG 2.2, 2.5.8, wants 24 pixels at least.
        assert!(page["smallest"].as_f64() >= Some(24.0), "{page}");
    }
    for typed in ["mistyped", "typed"] {
        let typed = &told[typed];
        assert_eq!(typed["button"], true, "the button follows: {typed}");
        assert_ne!(
            typed["focus"], "none",
            "where the keys are is seen: {typed}"
        );
        assert!(typed["tabs"].as_u64() <= Some(3), "{typed}");
    }
    assert_eq!(told["login"]["address"], "http://portal.example/");
    let alert = told["wrong"]["alert"].as_str().unwrap_or_default();
    assert!(alert.contains("not known"), "{told}");
    let text = told["online"]["text"].as_str().unwrap_or_default();
    assert!(text.contains("You are online"), "{told}");
    for picture in ["login.png", "wrong.png", "online.png"] {
        let bytes = std::fs::read(directory.0.join(picture)).expect("a picture");
        assert!(bytes.starts_with(b"\x89PNG"));
    }
    if let Some(kept) = std::env::var_os("PICTURES") {
        let kept = std::path::Path::new(&kept);
        for picture in ["login.png", "wrong.png", "online.png"] {
            std::fs::copy(directory.0.join(picture), kept.join(picture)).expect("it is copied");
        }
    }
}
