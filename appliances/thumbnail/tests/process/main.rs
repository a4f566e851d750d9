//! The thumbnailer as a process, with curl as the phone, between an origin and an uploader.

mod site;

use std::path::PathBuf;

use axum::http::StatusCode;
use site::{Manner, Seen, Site, Stored, curl};

/// A file for curl, gone with the test.
struct File(PathBuf);

impl File {
    fn of(bytes: &[u8]) -> File {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("thumbnail-{}-{number}", std::process::id()));
        std::fs::write(&path, bytes).expect("written");
        File(path)
    }

    fn at(&self) -> String {
        format!("@{}", self.0.display())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn photograph() -> Vec<u8> {
    let (width, height) = (640_u16, 480_u16);
    let pixel = |at: usize| {
        [
            (at % 251) as u8,
            (at / 640 % 240) as u8,
            (at * at % 83) as u8,
        ]
    };
    let pixels: Vec<u8> = (0..usize::from(width) * usize::from(height))
        .flat_map(pixel)
        .collect();
    let mut bytes = Vec::new();
    jpeg_encoder::Encoder::new(&mut bytes, 90)
        .encode(&pixels, width, height, jpeg_encoder::ColorType::Rgb)
        .expect("encoded");
    bytes
}

/// `%{http_code}` behind the body.
const STATUS: [&str; 2] = ["--write-out", "\n%{http_code}"];

async fn post(site: &Site, file: &File, more: &[&str]) -> (String, String) {
    let (at, url) = (file.at(), format!("{}/upload/a?b=c", site.http));
    let mut arguments = vec![
        "--data-binary",
        &at,
        "-H",
        "Host: photos.example",
        "-H",
        "Content-Type: image/jpeg",
    ];
    arguments.extend(STATUS.iter().chain(more).chain(&[url.as_str()]));
    let text = curl(&arguments).await;
    let (body, status) = text.rsplit_once('\n').expect("a status");
    (status.to_owned(), body.to_owned())
}

#[track_caller]
fn check_thumbnail(seen: &Seen, size: &str, width: u32) {
    assert_eq!(
        seen.path,
        format!(
            "/thumbnails?size={size}&width={width}&height={}",
            width * 3 / 4
        )
    );
    assert_eq!(
        (seen.field("content-type"), seen.field("host")),
        ("image/jpeg", "photos.example")
    );
    assert!(seen.body.starts_with(b"\xff\xd8\xff"));
    assert!(
        seen.field("idempotency-key")
            .ends_with(&format!("-{size}\""))
    );
}

#[track_caller]
fn check_original(stored: &Stored, bytes: &[u8]) {
    assert!(stored.is_whole() && stored.bytes == bytes);
    assert_eq!(stored.value("method"), "POST");
    assert_eq!(stored.value("priority"), "original");
    assert!(
        stored.value("url").contains("://photos.example/upload"),
        "{}",
        stored.value("url")
    );
}

#[track_caller]
fn check_passed(seen: &Seen, bytes: &[u8]) {
    assert_eq!(
        (seen.method.as_str(), seen.field("host")),
        ("POST", "photos.example")
    );
    assert!(seen.path.starts_with("/upload"));
    assert!(
        seen.body == bytes,
        "{} bytes of {}",
        seen.body.len(),
        bytes.len()
    );
}

#[tokio::test]
async fn a_photograph_is_stored_and_its_thumbnails_are_posted() {
    let site = Site::start().await;
    let bytes = photograph();
    let file = File::of(&bytes);
    for more in [
        &["-H", "Cookie: who=me"][..],
        &["-H", "Expect: 100-continue"],
        &["-H", "Transfer-Encoding: chunked"],
        &["--http2-prior-knowledge"],
    ] {
        let (before, stored_before) = (site.seen_so_far().len(), site.stored().len());
        let (status, body) = post(&site, &file, more).await;
        assert_eq!(status, "201", "{body}");
        assert!(body.starts_with("{\"id\":\""), "{body}");
        let seen = site.seen(before + 2).await;
        check_thumbnail(&seen[before], "small", 64);
        check_thumbnail(&seen[before + 1], "large", 128);
        assert!(
            seen[before].field("link").contains(&body[7..71]),
            "{}",
            seen[before].field("link")
        );
        check_original(&site.stored()[stored_before], &bytes);
    }
    assert_eq!(site.seen_so_far()[0].field("cookie"), "who=me");
    assert_eq!(site.stored()[0].value("cookie"), "who=me");
    let metrics = curl(&[&format!("{}/metrics", site.management)]).await;
    assert!(metrics.contains("thumbnail_taken_total 4\n"), "{metrics}");
}

#[tokio::test]
async fn it_serves_tls() {
    // The made origin has none, so its thumbnails go to the uploader.
    let site = Site::start().await;
    let bytes = photograph();
    let file = File::of(&bytes);
    let url = format!("{}/upload", site.https);
    let text = curl(&[
        "--data-binary",
        &file.at(),
        "-H",
        "Host: photos.example",
        "-w",
        "%{http_code} %{http_version}",
        "-o",
        "/dev/null",
        &url,
    ])
    .await;
    assert_eq!(text, "201 2");
    let stored = site.stored();
    check_original(&stored[0], &bytes);
    assert_eq!(stored[0].value("url"), "https://photos.example/upload");
}

#[tokio::test]
async fn a_form_goes_on_as_it_came_and_its_pictures_have_thumbnails() {
    let site = Site::start().await;
    let (picture, text) = (File::of(&photograph()), File::of(b"not a picture"));
    let url = format!("{}/upload", site.http);
    let forms = [
        format!("one={}", picture.at()),
        format!("note={}", text.at()),
        format!("two={}", picture.at()),
    ];
    let text = curl(&[
        "-F",
        "title=A day",
        "-F",
        &forms[0],
        "-F",
        &forms[1],
        "-F",
        &forms[2],
        "-H",
        "Host: photos.example",
        "-w",
        "%{http_code}",
        "-o",
        "/dev/null",
        &url,
    ])
    .await;
    assert_eq!(text, "201");
    let seen = site.seen(4).await;
    for (index, (size, width)) in [("small", 64), ("large", 128), ("small", 64), ("large", 128)]
        .into_iter()
        .enumerate()
    {
        check_thumbnail(&seen[index], size, width);
    }
    let stored = &site.stored()[0];
    assert!(
        stored.is_whole()
            && stored
                .value("content-type")
                .starts_with("multipart/form-data; boundary=")
    );
    assert!(stored.bytes.windows(5).any(|window| window == b"A day"));
}

#[tokio::test]
async fn what_cannot_be_taken_passes_byte_for_byte() {
    let site = Site::start().await;
    let heic = File::of(b"\0\0\0\x18ftypheic is another format\n");
    let (status, body) = post(&site, &heic, &[]).await;
    assert_eq!(
        (status.as_str(), body.as_str()),
        ("202", "the origin's own words")
    );
    check_passed(
        &site.seen(1).await[0],
        b"\0\0\0\x18ftypheic is another format\n",
    );
    let page = curl(&[
        "-H",
        "Host: photos.example",
        "-H",
        "X-Forwarded-For: 1.2.3.4",
        &format!("{}/album", site.http),
    ])
    .await;
    assert_eq!(page, "the origin's own words");
    let seen = site.seen(2).await;
    assert_eq!(
        (seen[1].method.as_str(), seen[1].path.as_str()),
        ("GET", "/album")
    );
    assert_eq!(seen[1].field("x-forwarded-for"), "");
    assert!(site.stored().is_empty());
}

#[tokio::test]
async fn whatever_the_uploader_does_the_origin_gets_the_photograph_once() {
    let site = Site::start().await;
    let bytes = photograph();
    let file = File::of(&bytes);
    for (count, manner) in [Manner::Full, Manner::Breaks, Manner::Lies]
        .into_iter()
        .enumerate()
    {
        site.set_manner(manner);
        for (round, more) in [&[][..], &["-H", "Transfer-Encoding: chunked"]]
            .into_iter()
            .enumerate()
        {
            let (status, _) = post(&site, &file, more).await;
            assert_eq!(status, "202", "{manner:?}");
            let seen = site.seen_so_far();
            assert_eq!(seen.len(), count * 2 + round + 1);
            check_passed(&seen[count * 2 + round], &bytes);
        }
    }
    assert!(site.stored().iter().all(|stored| stored.is_deleted));
}

#[tokio::test]
async fn what_the_origin_refuses_it_refuses_itself() {
    let site = Site::start().await;
    site.set_verdict(StatusCode::FORBIDDEN);
    let bytes = photograph();
    let (status, body) = post(&site, &File::of(&bytes), &[]).await;
    assert_eq!(
        (status.as_str(), body.as_str()),
        ("202", "the origin's own words")
    );
    let seen = site.seen(2).await;
    check_thumbnail(&seen[0], "small", 64);
    check_passed(&seen[1], &bytes);
    assert!(site.stored()[0].is_deleted);
}

#[tokio::test]
async fn thumbnails_that_the_origin_cannot_take_now_go_to_the_uploader() {
    let mut site = Site::start().await;
    site.set_verdict(StatusCode::SERVICE_UNAVAILABLE);
    let bytes = photograph();
    let (status, _) = post(&site, &File::of(&bytes), &[]).await;
    assert_eq!(status, "201");
    site.seen(2).await;
    // Draining waits for what is under way.
    assert!(site.terminate().await);
    let stored = site.stored();
    assert_eq!(stored.len(), 3);
    check_original(&stored[0], &bytes);
    assert!(stored[1].is_whole() && stored[2].is_whole());
    assert_eq!(stored[1].value("priority"), "thumbnail");
    assert!(stored[2].value("url").contains("/thumbnails?size=large"));
}

#[tokio::test]
async fn a_picture_that_cannot_be_decoded_is_not_lost() {
    let mut site = Site::start().await;
    let broken = b"\xff\xd8\xff\xe0 this is no JPEG, only its beginning";
    let (status, _) = post(&site, &File::of(broken), &[]).await;
    assert_eq!(status, "201");
    check_original(&site.stored()[0], broken);
    assert!(site.line("no thumbnails").await.contains("reason=broken"));
    assert!(site.seen_so_far().is_empty());
}

#[tokio::test]
async fn a_phone_uploads_in_pieces_by_tus() {
    let site = Site::start().await;
    let bytes = photograph();
    let url = format!("{}/upload", site.http);
    let tus = ["-H", "Tus-Resumable: 1.0.0", "-H", "Host: photos.example"];
    let run = async |more: &[&str]| curl(&[&tus, more].concat()).await;
    let length = format!("Upload-Length: {}", bytes.len());
    let made = run(&[
        "-X",
        "POST",
        "-i",
        "-H",
        &length,
        "-H",
        "Upload-Metadata: filetype aW1hZ2UvanBlZw==",
        &url,
    ])
    .await;
    let location = made
        .lines()
        .find_map(|line| line.strip_prefix("location: "))
        .expect("a place")
        .trim();
    let place = format!("{}{location}", site.http);
    let patch = async |offset: usize, file: &File| {
        let offset = format!("Upload-Offset: {offset}");
        run(&[
            "-X",
            "PATCH",
            "--data-binary",
            &file.at(),
            "-H",
            &offset,
            "-H",
            "Content-Type: application/offset+octet-stream",
            "-w",
            "%{http_code}",
            &place,
        ])
        .await
    };
    let (first, rest) = bytes.split_at(10_000);
    assert_eq!(patch(0, &File::of(first)).await, "204");
    assert_eq!(patch(7, &File::of(rest)).await, "409");
    let head = run(&["--head", &place]).await;
    assert!(head.contains("upload-offset: 10000"), "{head}");
    // What a wrong offset spoilt is only the thumbnail's, and only if it went on there.
    assert_eq!(patch(10_000, &File::of(rest)).await, "204");
    assert!(site.stored()[0].is_whole() && site.stored()[0].bytes == bytes);
    let text = File::of(b"x");
    let other = run(&[
        "-X",
        "POST",
        "-H",
        "Upload-Length: 5",
        "-H",
        "Upload-Metadata: filename YS50eHQ=",
        &url,
    ])
    .await;
    assert_eq!(other, "the origin's own words");
    drop(text);
}

#[tokio::test]
async fn the_last_piece_of_tus_makes_the_thumbnails() {
    let site = Site::start().await;
    let bytes = photograph();
    let tus = ["-H", "Tus-Resumable: 1.0.0", "-H", "Host: photos.example"];
    let run = async |more: &[&str]| curl(&[&tus, more].concat()).await;
    let length = format!("Upload-Length: {}", bytes.len());
    let url = format!("{}/upload", site.http);
    let made = run(&[
        "-X",
        "POST",
        "-i",
        "-H",
        &length,
        "-H",
        "Upload-Metadata: filename YS5KUEc=",
        &url,
    ])
    .await;
    let location = made
        .lines()
        .find_map(|line| line.strip_prefix("location: "))
        .expect("a place")
        .trim();
    let place = format!("{}{location}", site.http);
    for (offset, piece) in [(0, &bytes[..5000]), (5000, &bytes[5000..])] {
        let (file, offset) = (File::of(piece), format!("Upload-Offset: {offset}"));
        let status = run(&[
            "-X",
            "PATCH",
            "--data-binary",
            &file.at(),
            "-H",
            &offset,
            "-H",
            "Content-Type: application/offset+octet-stream",
            "-w",
            "%{http_code}",
            &place,
        ])
        .await;
        assert_eq!(status, "204");
    }
    let seen = site.seen(2).await;
    check_thumbnail(&seen[0], "small", 64);
    check_thumbnail(&seen[1], "large", 128);
    assert_eq!(site.stored()[0].value("filename"), "a.JPG");
}

#[tokio::test]
async fn a_request_that_comes_back_is_refused() {
    let site = Site::start().await;
    let url = format!("{}/", site.http);
    let status = curl(&[
        "-H",
        "CDN-Loop: edgecloud-thumbnail",
        "-w",
        "%{http_code}",
        "-o",
        "/dev/null",
        &url,
    ])
    .await;
    assert_eq!(status, "508");
}
