//! Others' stores that speak S3 as origins: npm's s3rver, which knows keys and parts, and PyPI's moto, which
//! also lists and gives up parts. Neither checks signatures; `src/outbound/s3/signing.rs` holds them against
//! Amazon's own examples.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::NEVER;
use crate::world::{DiskFile, LIMIT, Uploader, pattern};

const S3RVER: &str = "s3rver@3.7.1";
const MOTO: [&str; 3] = ["moto[s3]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5"];
const KEYS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "S3RVER"),
    ("AWS_SECRET_ACCESS_KEY", "S3RVER"),
];
/// What an upload says of itself; nothing of it chooses the object's name.
const METADATA: [(&str, &str); 4] = [
    ("url", "http://photos.example/upload/../../other?acl"),
    ("content-type", "image/jpeg"),
    ("authorization", "Bearer secret"),
    ("cookie", "who=me"),
];

fn settings(address: &str) -> String {
    format!(
        "[[service.origin]]\nhost = \"photos.example\"\naddress = \"{address}\"\nprotocol = \"s3\"\n\
         endpoint = \"/photos/originals\"\n"
    )
}

fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let digest = digest.as_ref().iter();
    digest.map(|byte| format!("{byte:02x}")).collect()
}

/// s3rver, gone with the test.
struct S3rver {
    _process: Child,
    address: String,
    stored: PathBuf,
}

impl S3rver {
    async fn start(test: &str) -> S3rver {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("s3-{test}"));
        let stored = folder.join(format!("stored-{}", std::process::id()));
        std::fs::create_dir_all(&stored).expect("a folder");
        let program = folder.join("s3.mjs");
        std::fs::write(&program, include_str!("outside/s3.mjs")).expect("written");
        let installed = Command::new("npm")
            .args([
                "install",
                "--silent",
                "--no-save",
                "--ignore-scripts",
                S3RVER,
            ])
            .arg("--prefix")
            .arg(&folder)
            .stdout(Stdio::null())
            .status()
            .await
            .expect("npm starts: apt-get install nodejs npm");
        assert!(installed.success(), "npm cannot install: {installed}");
        let mut process = Command::new("node")
            .arg(&program)
            .arg(&stored)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("node starts");
        let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let first = lines.next_line().await.expect("a line").expect("it lives");
        let address = first.strip_prefix("listening on ").expect("an address");
        S3rver {
            _process: process,
            address: address.to_owned(),
            stored,
        }
    }

    fn object(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let name = format!("photos/originals/{}._S3rver_object", sha256(bytes));
        std::fs::read(self.stored.join(name)).ok()
    }
}

impl Drop for S3rver {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.stored);
    }
}

#[tokio::test]
async fn a_store_that_speaks_s3_gets_objects() {
    let store = S3rver::start("objects").await;
    let disk = DiskFile::new();
    // With another's keys nothing is taken there, and nothing is lost.
    let wrong = [("AWS_ACCESS_KEY_ID", "another"), KEYS[1]];
    let uploader = Uploader::start_with(&disk, &settings(&store.address), &wrong).await;
    let small = pattern(300_000, 1);
    uploader.upload(&METADATA, &small).await;
    // It was tried, and waits to be tried again.
    let mut shown = String::new();
    let waits =
        |shown: &str| shown.contains("\"state\":\"waiting\"") && !shown.contains("\"attempts\":0");
    for _ in 0..3_000 {
        shown = uploader.status("GET /status.json", "").await;
        if waits(&shown) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(waits(&shown), "{shown}");
    assert_eq!(store.object(&small), None);
    uploader.kill().await;

    let uploader = Uploader::start_with(&disk, &settings(&store.address), &KEYS).await;
    uploader.wait_for("delivered", 1).await;
    assert!(store.object(&small).expect("an object") == small);
    let large = pattern(20_000_000, 2);
    uploader.upload(&METADATA, &large).await;
    uploader.wait_for("delivered", 2).await;
    assert!(store.object(&large).expect("an object") == large);
    // Another phone has the same photograph, and the store has it already.
    let before = uploader.metric("uploader_sent_bytes_total").await;
    let mut other = METADATA;
    other[3].1 = "who=you";
    uploader.upload(&other, &large).await;
    uploader.wait_for("delivered", 3).await;
    assert_eq!(uploader.metric("uploader_sent_bytes_total").await, before);
}

#[tokio::test]
async fn an_upload_in_parts_survives_its_uploader() {
    let store = S3rver::start("parts").await;
    let disk = DiskFile::new();
    let large = pattern(20_000_000, 3);
    // So slow that it is killed in the middle.
    let slow = format!(
        "timetable = [\"00:00 price=0 rate=4000000\"]\n{}",
        settings(&store.address)
    );
    let uploader = Uploader::start_with(&disk, &slow, &KEYS).await;
    uploader.upload(&METADATA, &large).await;
    let mut sent = 0.0;
    for _ in 0..3_000 {
        sent = uploader.metric("uploader_sent_bytes_total").await;
        if sent > 9e6 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(sent > 9e6, "{sent}");
    uploader.kill().await;
    assert_eq!(store.object(&large), None);
    // s3rver cannot tell its parts, so all of them go again.
    let uploader = Uploader::start_with(&disk, &settings(&store.address), &KEYS).await;
    uploader.wait_for("delivered", 1).await;
    assert!(store.object(&large).expect("an object") == large);
}

/// moto, with the requests that it tells.
struct Moto {
    _process: Child,
    lines: Lines<BufReader<ChildStderr>>,
    address: String,
}

impl Moto {
    async fn start() -> Moto {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(MOTO[0]);
        if !folder.exists() {
            let fresh = folder.with_extension(format!("fresh-{}", std::process::id()));
            let installed = Command::new("pip3")
                .args(["install", "--quiet", "--target"])
                .arg(&fresh)
                .args(MOTO)
                .stdout(Stdio::null())
                .status()
                .await
                .expect("pip3 starts: apt-get install python3-pip");
            assert!(installed.success(), "pip3 cannot install: {installed}");
            // Complete, it gets its name.
            std::fs::rename(fresh, &folder).expect("a folder");
        }
        let mut process = Command::new("python3")
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"])
            .env("PYTHONPATH", &folder)
            .env("PYTHONUNBUFFERED", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("moto starts");
        let mut lines = BufReader::new(process.stderr.take().expect("its output")).lines();
        let address = loop {
            if let Some((_, address)) = told(&mut lines).await.split_once("Running on http://") {
                break address.trim().to_owned();
            }
        };
        Moto {
            _process: process,
            lines,
            address,
        }
    }

    /// The next request that has all of these in it.
    async fn asked(&mut self, parts: &[&str]) -> String {
        loop {
            let line = told(&mut self.lines).await;
            if parts.iter().all(|part| line.contains(part)) {
                return line;
            }
        }
    }
}

/// The next line that moto writes, of a request or of its start.
async fn told(lines: &mut Lines<BufReader<ChildStderr>>) -> String {
    let line = tokio::time::timeout(LIMIT, lines.next_line()).await;
    let line = line.expect("moto writes in time").expect("a line");
    line.expect("it lives")
}

#[tokio::test]
async fn parts_that_a_store_has_do_not_go_again() {
    let mut store = Moto::start().await;
    let (disk, large) = (DiskFile::new(), pattern(20_000_000, 4));
    let slow = format!(
        "timetable = [\"00:00 price=0 rate=4000000\"]\n{}",
        settings(&store.address)
    );
    let bucket = Command::new("curl")
        .args([
            "-sf",
            "-X",
            "PUT",
            &format!("http://{}/photos", store.address),
        ])
        .status()
        .await
        .expect("curl starts");
    assert!(bucket.success());
    let uploader = Uploader::start_with(&disk, &slow, &KEYS).await;
    uploader.upload(&METADATA, &large).await;
    store.asked(&["PUT", "partNumber=1", " 200 "]).await;
    uploader.kill().await;
    let uploader = Uploader::start_with(&disk, &settings(&store.address), &KEYS).await;
    uploader.wait_for("delivered", 1).await;
    store.asked(&["GET", "part-number-marker", " 200 "]).await;
    let next = store.asked(&["PUT"]).await;
    assert!(next.contains("partNumber=2"), "{next}");
    store.asked(&["POST", "uploadId=", " 200 "]).await;
    let got = Command::new("curl")
        .args([
            "-sf",
            // By the uploader's name of the store: moto sees its first word as the bucket's.
            "-H",
            "Host: photos.example",
            &format!(
                "http://{}/photos/originals/{}",
                store.address,
                sha256(&large)
            ),
        ])
        .output()
        .await
        .expect("curl starts");
    assert!(got.stdout == large);
    drop(uploader);
}

#[tokio::test]
async fn without_keys_nothing_starts_that_needs_them() {
    let disk = DiskFile::new();
    let failed = Uploader::fails(&disk, &settings("127.0.0.1:9")).await;
    assert!(failed.contains("set AWS_ACCESS_KEY_ID"), "{failed}");
    let failed = Uploader::fails(
        &disk,
        &settings("127.0.0.1:9").replace("endpoint", "region"),
    )
    .await;
    assert!(failed.contains("needs endpoint"), "{failed}");
    drop(Uploader::start(&disk, NEVER).await);
}
