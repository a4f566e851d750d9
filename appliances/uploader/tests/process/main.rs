//! The uploader as a process, between clients of tus and an origin that does what the test says.

mod failures;
mod hostile;
mod outside;
mod s3;
mod world;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use world::{Answer, DiskFile, Site, Uploader, patch_head, pattern};

/// What makes originals wait for ever: a price that is never low enough.
const NEVER: &str = "timetable = [\"00:00 price=9\"]";

fn original(site: &Site) -> Vec<(&'static str, String)> {
    vec![
        ("url", "http://photos.example/upload/a?b=c".to_owned()),
        ("address", site.address.clone()),
        ("method", "POST".to_owned()),
        ("content-type", "image/jpeg".to_owned()),
        ("authorization", "Bearer secret".to_owned()),
        ("cookie", "who=me".to_owned()),
        ("priority", "original".to_owned()),
    ]
}

fn borrowed<'m>(metadata: &'m [(&'static str, String)]) -> Vec<(&'static str, &'m str)> {
    metadata
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect()
}

#[tokio::test]
async fn what_is_uploaded_comes_to_its_origin_as_the_phone_sent_it() {
    let (site, disk) = (Site::start().await, DiskFile::new());
    let uploader = Uploader::start(&disk, "").await;
    let bytes = pattern(3_000_001, 1);
    let path = uploader.upload(&borrowed(&original(&site)), &bytes).await;
    assert!(path.starts_with("/files/") && path.len() == 29, "{path}");
    let seen = &site.seen(1).await[0];
    assert_eq!(
        (seen.method.as_str(), seen.path.as_str()),
        ("POST", "/upload/a?b=c")
    );
    for (name, wanted) in [
        ("host", "photos.example"),
        ("content-type", "image/jpeg"),
        ("content-length", "3000001"),
        ("authorization", "Bearer secret"),
        ("cookie", "who=me"),
    ] {
        assert_eq!(seen.field(name), wanted, "{name}");
    }
    assert!(seen.field("repr-digest").starts_with("sha-256=:"));
    assert!(seen.field("idempotency-key").starts_with("\"edgecloud-"));
    assert!(
        !seen.field("idempotency-key").contains(&path[7..]),
        "the name is secret"
    );
    assert!(seen.body == bytes);
}

/// As the thumbnailer does with a body whose length it does not know.
#[tokio::test]
async fn a_length_may_come_with_the_last_request() {
    let (site, disk) = (Site::start().await, DiskFile::new());
    let uploader = Uploader::start(&disk, "").await;
    let path = uploader
        .create("Upload-Defer-Length: 1", &borrowed(&original(&site)))
        .await;
    let bytes = pattern(1_000_000, 2);
    let answer = uploader.patch(&path, 0, "", &bytes).await;
    assert_eq!(
        (answer.status, answer.field("upload-offset")),
        (204, "1000000")
    );
    let answer = uploader
        .patch(&path, 1_000_000, "Upload-Length: 1000000", b"")
        .await;
    assert_eq!(answer.status, 204, "{}", answer.head);
    assert!(site.seen(1).await[0].body == bytes);
    let answer = uploader.ask(&format!("DELETE {path}"), b"").await;
    assert_eq!(answer.status, 403, "the origin has it");
    let path = uploader
        .create("Upload-Length: 5", &borrowed(&original(&site)))
        .await;
    let answer = uploader.ask(&format!("DELETE {path}"), b"").await;
    assert_eq!(answer.status, 204);
    let answer = uploader.ask(&format!("HEAD {path}"), b"").await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn a_killed_uploader_goes_on_where_it_was() {
    let (site, disk) = (Site::start().await, DiskFile::new());
    let uploader = Uploader::start(&disk, NEVER).await;
    let bytes = pattern(2_000_000, 3);
    let whole = uploader.upload(&borrowed(&original(&site)), &bytes).await;
    let other = original(&site);
    let path = uploader
        .create("Upload-Length: 2000000", &borrowed(&other)[..4])
        .await;
    let answer = uploader.patch(&path, 0, "", &bytes[..777_777]).await;
    assert_eq!(answer.field("upload-offset"), "777777");
    // In the middle of the next request.
    let half = uploader
        .begin(
            &patch_head(&path, 777_777, ""),
            1_222_223,
            &bytes[777_777..1_500_000],
        )
        .await;
    uploader.kill().await;
    drop(half);
    let uploader = Uploader::start(&disk, NEVER).await;
    let offset = uploader.offset(&path).await;
    assert!((777_777..=1_500_000).contains(&offset), "{offset}");
    let answer = uploader.patch(&path, offset, "", &bytes[offset..]).await;
    assert_eq!(answer.field("upload-offset"), "2000000", "{}", answer.head);
    assert_eq!(uploader.offset(&whole).await, 2_000_000);
    uploader.kill().await;
    // Now the link is cheap.
    let _uploader = Uploader::start(&disk, "").await;
    let seen = site.seen(2).await;
    assert!(seen.iter().all(|seen| seen.body == bytes));
}

#[tokio::test]
async fn an_origin_that_fails_gets_it_once() {
    let (site, disk) = (Site::start().await, DiskFile::new());
    let uploader = Uploader::start(&disk, "").await;
    site.answers(&[(500, ""), (429, "1"), (503, "")]);
    let bytes = pattern(300_000, 4);
    uploader.upload(&borrowed(&original(&site)), &bytes).await;
    // The same phone did not hear the answer, and sends it again.
    uploader.upload(&borrowed(&original(&site)), &bytes).await;
    let seen = site.seen(4).await;
    let key = seen[0].field("idempotency-key");
    assert!(
        seen.iter()
            .all(|seen| seen.field("idempotency-key") == key && seen.body == bytes)
    );
    let mut thumbnail = original(&site);
    thumbnail[0].1 = "http://photos.example/thumbnails".to_owned();
    uploader.upload(&borrowed(&thumbnail), b"small").await;
    let seen = site.seen(5).await;
    assert_eq!(seen[4].path, "/thumbnails", "nothing else came meanwhile");
}

#[tokio::test]
async fn thumbnails_go_while_originals_wait() {
    let (site, disk) = (Site::start().await, DiskFile::new());
    let uploader = Uploader::start(&disk, NEVER).await;
    uploader
        .upload(&borrowed(&original(&site)), &pattern(100_000, 5))
        .await;
    let mut thumbnail = original(&site);
    thumbnail[0].1 = "http://photos.example/thumbnails?size=small".to_owned();
    thumbnail[6].1 = "thumbnail".to_owned();
    thumbnail.push(("idempotency-key", "sha256-abc-small".to_owned()));
    thumbnail.push(("link", "<urn:sha256:abc>; rel=\"original\"".to_owned()));
    uploader.upload(&borrowed(&thumbnail), b"small").await;
    let seen = site.seen(1).await;
    assert_eq!(seen[0].path, "/thumbnails?size=small");
    assert_eq!(seen[0].field("idempotency-key"), "\"sha256-abc-small\"");
    assert_eq!(seen[0].field("link"), "<urn:sha256:abc>; rel=\"original\"");
}

#[tokio::test]
async fn an_origin_that_speaks_tus_gets_what_it_lacks() {
    let (site, disk) = (Site::start().await, DiskFile::new());
    let origin =
        "[[service.origin]]\nhost = \"photos.example\"\nprotocol = \"tus\"\nendpoint = \"/files\"";
    let uploader = Uploader::start(&disk, origin).await;
    // The upload is made, and its bytes are refused once.
    site.answers(&[(0, ""), (500, "")]);
    let bytes = pattern(1_500_000, 6);
    uploader.upload(&borrowed(&original(&site)), &bytes).await;
    let seen = site.seen(4).await;
    let methods: Vec<_> = seen.iter().map(|seen| seen.method.as_str()).collect();
    assert_eq!(methods, ["POST", "PATCH", "HEAD", "PATCH"]);
    let metadata = seen[0].field("upload-metadata");
    assert!(metadata.contains("filetype aW1hZ2UvanBlZw=="), "{metadata}");
    assert!(!metadata.contains("cookie"), "{metadata}");
    let remotes = site.remotes();
    assert!(remotes.len() == 1 && remotes[0].bytes == bytes && remotes[0].length == bytes.len());
}

#[tokio::test]
async fn bytes_that_came_damaged_are_refused() {
    let (site, disk) = (Site::start().await, DiskFile::new());
    let uploader = Uploader::start(&disk, NEVER).await;
    let path = uploader
        .create("Upload-Length: 11", &borrowed(&original(&site)))
        .await;
    let sum = "Upload-Checksum: sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=";
    let answer = uploader.patch(&path, 0, sum, b"hello worle").await;
    assert_eq!(answer.status, 460, "{}", answer.head);
    assert_eq!(uploader.offset(&path).await, 0);
    let answer = uploader.patch(&path, 0, sum, b"hello world").await;
    assert_eq!(answer.status, 204, "{}", answer.head);
    let digest = ring::digest::digest(&ring::digest::SHA256, b"hello world");
    let digest = format!("sha-256=:{}:", STANDARD.encode(digest));
    assert_eq!(answer.field("repr-digest"), digest);
}

#[tokio::test]
async fn a_phone_that_stops_is_taken_over() {
    let (site, disk) = (Site::start().await, DiskFile::new());
    let uploader = Uploader::start(&disk, "").await;
    let bytes = pattern(900_000, 7);
    let path = uploader
        .create("Upload-Length: 900000", &borrowed(&original(&site)))
        .await;
    // It never sends the rest, and never closes the connection.
    let mut stopped = uploader
        .begin(&patch_head(&path, 0, ""), 900_000, &bytes[..600_000])
        .await;
    let offset = uploader.offset(&path).await;
    let answer = uploader.patch(&path, offset, "", &bytes[offset..]).await;
    assert_eq!(answer.status, 204, "{}", answer.head);
    assert!(site.seen(1).await[0].body == bytes);
    use tokio::io::AsyncWriteExt as _;
    let _ = stopped.write_all(&bytes[600_000..]).await;
    // It was taken over, and the upload is whole by now: it is told what is looked at first.
    let status = Answer::read(&mut stopped).await.status;
    assert!(matches!(status, 403 | 423), "{status}");
    assert_eq!(site.seen(1).await.len(), 1);
}

#[tokio::test]
async fn the_operator_sees_what_waits_and_sends_again_what_was_refused() {
    let (site, disk) = (Site::start().await, DiskFile::new());
    let uploader = Uploader::start(&disk, "").await;
    site.answers(&[(403, "")]);
    let mut metadata = original(&site);
    metadata.push(("filename", "<b>.jpg".to_owned()));
    let path = uploader
        .upload(&borrowed(&metadata), &pattern(1000, 8))
        .await;
    site.seen(1).await;
    let mut shown = String::new();
    // What the origin said is shown when it is written down.
    for _ in 0..10_000 {
        shown = uploader.status("GET /status.json", "").await;
        if shown.contains("\"state\":\"refused\"") {
            break;
        }
    }
    assert!(
        shown.contains("\"status\":403") && shown.contains("\"bytes\":1000"),
        "{shown}"
    );
    let page = uploader.status("GET /", "").await;
    assert!(
        page.contains("&lt;b&gt;.jpg") && page.contains("refused (403)"),
        "{page}"
    );
    for secret in [&path[7..], "who=me", "Bearer"] {
        assert!(
            !page.contains(secret) && !shown.contains(secret),
            "{secret}"
        );
    }
    let (_, id) = shown.split_once("\"id\":\"").expect("a name");
    let again = format!("POST /uploads/{}/again", &id[..16]);
    assert!(
        uploader
            .status(&again, "")
            .await
            .starts_with("HTTP/1.1 415")
    );
    let json = "Content-Type: application/json\r\n";
    let nobody = uploader
        .status("POST /uploads/0123456789abcdef/again", json)
        .await;
    assert!(nobody.starts_with("HTTP/1.1 404"), "{nobody}");
    assert!(
        uploader
            .status(&again, json)
            .await
            .starts_with("HTTP/1.1 202")
    );
    assert_eq!(site.seen(2).await[1].path, "/upload/a?b=c");
}

#[tokio::test]
async fn a_full_disk_is_told_before_a_byte_comes_and_heals() {
    let (site, disk) = (Site::start().await, DiskFile::new());
    let uploader = Uploader::start(&disk, NEVER).await;
    let metadata = original(&site);
    let mut paths = Vec::new();
    let head = "POST /files\nUpload-Length: 10000000\nUpload-Metadata: url aHR0cDovL2Ev";
    let refused = loop {
        let answer = uploader.ask(head, b"").await;
        match answer.status {
            201 => paths.push(answer.field("location").to_owned()),
            _ => break answer,
        }
        assert!(paths.len() < 7, "more than the disk has");
    };
    assert_eq!(refused.status, 507, "{}", refused.head);
    assert!(
        refused.head.contains("the disk is full"),
        "{}",
        refused.head
    );
    // What was promised before has its room.
    let bytes = pattern(10_000_000, 9);
    for path in &paths {
        assert_eq!(uploader.patch(path, 0, "", &bytes).await.status, 204);
    }
    let answer = uploader.ask(&format!("DELETE {}", paths[0]), b"").await;
    assert_eq!(answer.status, 204);
    // They were one body, so all but one had given its blocks back already.
    uploader
        .upload(&borrowed(&metadata), &pattern(10_000_000, 10))
        .await;
}

#[tokio::test]
async fn twenty_phones_at_once_are_all_served() {
    let (site, disk) = (Site::start().await, DiskFile::new());
    let uploader = Uploader::start(&disk, "").await;
    let phones: Vec<_> = (0..20_u8)
        .map(|phone| {
            let mut metadata = original(&site);
            metadata[5].1 = format!("who=phone{phone}");
            (metadata, pattern(400_000, phone))
        })
        .collect();
    let mut uploads = Vec::new();
    for (metadata, _) in &phones {
        let path = uploader
            .create("Upload-Length: 400000", &borrowed(metadata))
            .await;
        uploads.push(path);
    }
    // All bodies are under way before the first one ends.
    let mut connections = Vec::new();
    for (path, (_, bytes)) in uploads.iter().zip(&phones) {
        let head = patch_head(path, 0, "");
        connections.push(uploader.begin(&head, bytes.len(), &bytes[..200_000]).await);
    }
    for (connection, (_, bytes)) in connections.iter_mut().zip(&phones) {
        use tokio::io::AsyncWriteExt as _;
        connection.write_all(&bytes[200_000..]).await.expect("sent");
    }
    for connection in &mut connections {
        assert_eq!(Answer::read(connection).await.status, 204);
    }
    let seen = site.seen(20).await;
    for (phone, (_, bytes)) in phones.iter().enumerate() {
        let cookie = format!("who=phone{phone}");
        let its: Vec<_> = seen
            .iter()
            .filter(|seen| seen.field("cookie") == cookie)
            .collect();
        assert!(
            its.len() == 1 && its[0].body == *bytes,
            "phone {phone}: {}",
            its.len()
        );
    }
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_for_a_reason() {
    let (site, disk) = (Site::start().await, DiskFile::new());
    let uploader = Uploader::start(&disk, "[[service.origin]]\nhost = \"photos.example\"").await;
    let url = |url: &str| format!("Upload-Metadata: url {}", STANDARD.encode(url));
    let good = url("http://photos.example/");
    for (head, wanted) in [
        (format!("POST /files\nUpload-Length: 1\n{good}"), 201),
        (
            format!("POST /files\nUpload-Length: 99999999999\n{good}"),
            413,
        ),
        (format!("POST /files\nUpload-Length: +1\n{good}"), 400),
        (format!("POST /files\n{good}"), 400),
        ("POST /files\nUpload-Length: 1".to_owned(), 400),
        (
            format!(
                "POST /files\nUpload-Length: 1\n{}",
                url("http://evil.example/")
            ),
            403,
        ),
        (format!("POST /elsewhere\nUpload-Length: 1\n{good}"), 404),
        ("HEAD /files/AAAAAAAAAAAAAAAAAAAAAA".to_owned(), 404),
        ("HEAD /files/../../etc/passwd".to_owned(), 404),
        ("GET /files".to_owned(), 405),
    ] {
        let answer = uploader.ask(&head, b"").await;
        assert_eq!(answer.status, wanted, "{head}: {}", answer.head);
    }
    let answer = uploader.ask("OPTIONS /files", b"").await;
    assert!(
        answer.field("tus-extension").contains("concatenation"),
        "{}",
        answer.head
    );
    let path = uploader
        .create("Upload-Length: 5", &[("url", "http://photos.example/")])
        .await;
    assert_eq!(uploader.patch(&path, 3, "", b"45").await.status, 409);
    assert_eq!(uploader.patch(&path, 0, "", b"123456").await.status, 413);
    let metrics = uploader.metrics().await;
    for line in [
        "edgecloud_refusals_total{reason=\"origin\"} 1",
        "edgecloud_refusals_total{reason=\"offset\"} 1",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    drop(site);
}
