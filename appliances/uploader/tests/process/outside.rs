//! Others' programs as both neighbours: npm's tus-js-client uploads, npm's @tus/server is the origin.

use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::world::{DiskFile, Uploader};

const PACKAGES: [&str; 3] = [
    "@tus/server@1.10.2",
    "@tus/file-store@1.5.1",
    "tus-js-client@4.3.1",
];

#[tokio::test]
async fn what_tus_js_client_uploads_comes_to_tus_server() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("outside");
    let stored = folder.join(format!("stored-{}", std::process::id()));
    std::fs::create_dir_all(&stored).expect("a folder");
    install(&folder).await;
    let mut origin = Command::new("node")
        .arg(folder.join("origin.mjs"))
        .arg(&stored)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node starts");
    let mut lines = BufReader::new(origin.stdout.take().expect("its output")).lines();
    let first = lines.next_line().await.expect("a line").expect("it lives");
    let address = first.strip_prefix("listening on ").expect("an address");
    let disk = DiskFile::new();
    let uploader = Uploader::start(
        &disk,
        &format!(
            "destination = \"http://origin.example/files\"\n[[service.origin]]\n\
             host = \"origin.example\"\naddress = \"{address}\"\nprotocol = \"tus\""
        ),
    )
    .await;
    let client = Command::new("node")
        .arg(folder.join("client.mjs"))
        .arg(format!("http://{}/files", uploader.http))
        .output()
        .await
        .expect("node starts");
    let errors = String::from_utf8_lossy(&client.stderr);
    assert!(client.status.success(), "{errors}");
    let text = String::from_utf8(client.stdout).expect("text");
    let mut sent: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut has = Vec::new();
    while has.len() < sent.len() {
        has.push(lines.next_line().await.expect("a line").expect("it lives"));
    }
    sent.sort_unstable();
    has.sort_unstable();
    assert_eq!(sent.len(), 4);
    assert_eq!(has, sent, "each once, and whole");
    origin.kill().await.expect("killed");
    std::fs::remove_dir_all(&stored).expect("removed");
}

async fn install(folder: &Path) {
    for (name, text) in [
        ("origin.mjs", include_str!("outside/origin.mjs")),
        ("client.mjs", include_str!("outside/client.mjs")),
    ] {
        std::fs::write(folder.join(name), text).expect("written");
    }
    let status = Command::new("npm")
        .args(["install", "--silent", "--no-save", "--ignore-scripts"])
        .args(PACKAGES)
        .arg("--prefix")
        .arg(folder)
        .stdout(Stdio::null())
        .status()
        .await
        .expect("npm starts: apt-get install nodejs npm");
    assert!(status.success(), "npm cannot install: {status}");
}
