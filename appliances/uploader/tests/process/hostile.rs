//! What clients must not do: each is refused by a status and a reason that is counted, and the uploader goes on.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{Answer, DiskFile, Site, Uploader, pattern};
use crate::{NEVER, borrowed, original};

const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);
const BODY: &str = "Content-Type: application/offset+octet-stream";
/// `url http://photos.example/`
const GOOD: &str = "Upload-Metadata: url aHR0cDovL3Bob3Rvcy5leGFtcGxlLw==";

/// Asks, and looks whether the reason was counted.
async fn check(uploader: &Uploader, head: &str, body: &[u8], status: u16, reason: &str) {
    let name = format!("edgecloud_refusals_total{{reason=\"{reason}\"}}");
    let before = uploader.metric(&name).await;
    let answer = uploader.ask(head, body).await;
    assert_eq!(answer.status, status, "{head}: {}", answer.head);
    assert_eq!(uploader.metric(&name).await, before + 1.0, "{head}");
}

#[tokio::test]
async fn each_abuse_of_tus_has_its_reason() {
    let (site, disk) = (Site::start().await, DiskFile::new());
    let only = "[[service.origin]]\nhost = \"photos.example\"";
    let uploader = Uploader::start(&disk, &format!("{NEVER}\n{only}")).await;
    let create = |fields: &str| format!("POST /files\n{GOOD}\n{fields}");
    let no_base64 = "POST /files\nUpload-Length: 1\nUpload-Metadata: url !";
    let nowhere = "POST /files\nUpload-Length: 1";
    let elsewhere =
        "POST /files\nUpload-Length: 1\nUpload-Metadata: url aHR0cDovL2V2aWwuZXhhbXBsZS8=";
    for (head, status, reason) in [
        // Larger than the disk, than any disk, and than numbers.
        (&*create("Upload-Length: 64000000"), 413, "too-large"),
        (
            &*create("Upload-Length: 18446744073709551615"),
            413,
            "too-large",
        ),
        (
            &*create("Upload-Length: 18446744073709551616"),
            400,
            "number",
        ),
        (&*create("Upload-Length: -1"), 400, "number"),
        (&*create("Upload-Defer-Length: 2"), 400, "length"),
        (
            &*create("Upload-Concat: final;/files/x"),
            400,
            "concatenation",
        ),
        (
            &*create("Upload-Concat: final;/files/AAAAAAAAAAAAAAAAAAAAAA"),
            409,
            "parts",
        ),
        (
            &*create("Upload-Length: 1\nRepr-Digest: sha-256=x"),
            400,
            "digest",
        ),
        (no_base64, 400, "metadata"),
        (nowhere, 400, "destination"),
        (elsewhere, 403, "origin"),
        ("DELETE /files/AAAAAAAAAAAAAAAAAAAAAA", 404, "unknown"),
        ("HEAD /files/%2e%2e%2fetc", 404, "unknown"),
        ("PUT /files", 405, "method"),
    ] {
        check(&uploader, head, b"", status, reason).await;
    }
    drop(site);
}

#[tokio::test]
async fn forged_offsets_and_others_uploads_are_refused() {
    let (site, disk) = (Site::start().await, DiskFile::new());
    let uploader = Uploader::start(&disk, NEVER).await;
    let mine = uploader
        .create("Upload-Length: 10", &borrowed(&original(&site)))
        .await;
    let patch = |path: &str, offset: &str, more: &str| {
        format!("PATCH {path}\n{BODY}\nUpload-Offset: {offset}\n{more}")
    };
    for (head, status, reason) in [
        (patch(&mine, "5", ""), 409, "offset"),
        (patch(&mine, "18446744073709551615", ""), 409, "offset"),
        (patch(&mine, "18446744073709551616", ""), 400, "number"),
        (patch(&mine, "0, 5", ""), 400, "number"),
        (patch(&mine, "0", "Upload-Length: 5"), 400, "length"),
        (
            patch(&mine, "0", "Upload-Checksum: md5 AA=="),
            400,
            "algorithm",
        ),
        (
            patch(
                &mine,
                "0",
                "Upload-Checksum: sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            ),
            460,
            "checksum",
        ),
        (format!("PATCH {mine}\nUpload-Offset: 0"), 415, "media-type"),
    ] {
        check(&uploader, &head, b"01234", status, reason).await;
    }
    check(
        &uploader,
        &patch(&mine, "0", ""),
        b"01234567890",
        413,
        "too-long",
    )
    .await;
    // What the operator's page and the logs call an upload gives nobody power over it.
    let shown = uploader.status("GET /status.json", "").await;
    let (_, id) = shown.split_once("\"id\":\"").expect("a name");
    let public = format!("/files/{}", &id[..16]);
    let near = format!(
        "{}{}",
        &mine[..mine.len() - 1],
        if mine.ends_with('A') { "Q" } else { "A" }
    );
    for theirs in [&public, &near, &mine.to_lowercase(), &format!("{mine}/x")] {
        if theirs != &mine {
            for method in ["HEAD", "DELETE"] {
                check(
                    &uploader,
                    &format!("{method} {theirs}"),
                    b"",
                    404,
                    "unknown",
                )
                .await;
            }
            check(&uploader, &patch(theirs, "0", ""), b"0", 404, "unknown").await;
        }
    }
    // The owner's goes on, and when it is whole nothing changes it.
    let answer = uploader.patch(&mine, 0, "", b"0123456789").await;
    assert_eq!(answer.status, 204, "{}", answer.head);
    check(&uploader, &patch(&mine, "10", ""), b"x", 413, "too-long").await;
    drop(site);
}

/// Sends bytes as they are, and reads until the other side ends.
async fn raw(uploader: &Uploader, bytes: &[u8]) -> String {
    let mut connection = TcpStream::connect(&uploader.http)
        .await
        .expect("a connection");
    // It may be cut while we write.
    let _ = connection.write_all(bytes).await;
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(LIMIT, connection.read_to_end(&mut answer)).await;
    let _ = reading.expect("in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn abuse_of_http_ends_its_connection_and_nothing_else() {
    let (site, disk) = (Site::start().await, DiskFile::new());
    let uploader = Uploader::start(&disk, NEVER).await;
    let path = uploader
        .create("Upload-Length: 100000", &borrowed(&original(&site)))
        .await;
    let head = format!(
        "PATCH {path} HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\n{BODY}\r\nUpload-Offset: 0\r\n\
         Connection: close\r\n"
    );
    for (more, status) in [
        (
            "Content-Length: 5\r\nContent-Length: 6\r\n\r\n012345",
            "400",
        ),
        (
            "Content-Length: 5\r\nContent-Length: +5\r\n\r\n01234",
            "400",
        ),
        ("Content-Length: x\r\n\r\n", "400"),
        ("Transfer-Encoding: x\r\n\r\n0", "400"),
        ("a b: c\r\n\r\n", "400"),
    ] {
        let answer = raw(&uploader, format!("{head}{more}").as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{more}: {answer}"
        );
    }
    // Heads without an end, or larger than any.
    let fields = format!("{head}X-Long: {}\r\n\r\n", "a".repeat(20_000));
    let answer = raw(&uploader, fields.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let endless = format!("{head}X-Long: {}", "a".repeat(400_000));
    let answer = raw(&uploader, endless.as_bytes()).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    let many: String = (0..200).map(|n| format!("X-{n}: a\r\n")).collect();
    let answer = raw(&uploader, format!("{head}{many}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    // Chunks that are none leave what came before; chunks without end stop where the upload ends.
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\nzz\r\n");
    raw(&uploader, chunked.as_bytes()).await;
    assert_eq!(uploader.offset(&path).await, 5);
    let chunk = format!("10000\r\n{}\r\n", "a".repeat(65_536));
    let endless = head.replace("Upload-Offset: 0", "Upload-Offset: 5");
    let endless = format!(
        "{endless}Transfer-Encoding: chunked\r\n\r\n{}",
        chunk.repeat(3)
    );
    let answer = raw(&uploader, endless.as_bytes()).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 413"),
        "{answer}"
    );
    let offset = uploader.offset(&path).await;
    let rest = pattern(100_000 - offset, 1);
    let answer: Answer = uploader.patch(&path, offset, "", &rest).await;
    assert_eq!(answer.status, 204, "{}", answer.head);
}
