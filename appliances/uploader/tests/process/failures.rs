//! Origins that fail in ways of their own, and phones that come at once.

use tokio::io::AsyncWriteExt as _;

use crate::world::{DiskFile, Site, Uploader, pattern};
use crate::{NEVER, borrowed, original};

/// How the site answers with an offset of its choice.
const LIES: u16 = 1;

fn speaks_tus() -> &'static str {
    "[[service.origin]]\nhost = \"photos.example\"\nprotocol = \"tus\"\nendpoint = \"/files\""
}

#[tokio::test]
async fn an_origin_that_lies_about_offsets_gets_all_of_it() {
    let (site, disk) = (Site::start().await, DiskFile::new());
    let uploader = Uploader::start(&disk, speaks_tus()).await;
    // It is made; the bytes are lost but said to be there, and more than there are; then less than that.
    site.answers(&[(0, ""), (LIES, "99999999"), (LIES, "99999999"), (0, "")]);
    let bytes = pattern(700_000, 1);
    uploader.upload(&borrowed(&original(&site)), &bytes).await;
    let seen = site.seen(5).await;
    let methods: Vec<_> = seen.iter().map(|seen| seen.method.as_str()).collect();
    // What claims more than there is is not this upload, so another is made.
    assert_eq!(methods, ["POST", "PATCH", "HEAD", "POST", "PATCH"]);
    let whole = site.remotes().into_iter().filter(|it| it.bytes == bytes);
    assert_eq!(whole.count(), 1);
    uploader.wait_for("delivered", 1).await;
    // All of it and not a byte more was believed.
    assert_eq!(site.seen(5).await.len(), 5);
}

#[tokio::test]
async fn an_origin_that_ends_each_connection_is_asked_on_another() {
    let (site, disk) = (Site::start().await, DiskFile::new());
    let uploader = Uploader::start(&disk, speaks_tus()).await;
    let mut metadata = original(&site);
    metadata[5].1 = "who=closing".to_owned();
    let bytes = pattern(700_000, 6);
    uploader.upload(&borrowed(&metadata), &bytes).await;
    uploader.wait_for("delivered", 1).await;
    let seen = site.seen(2).await;
    let methods: Vec<_> = seen.iter().map(|seen| seen.method.as_str()).collect();
    assert_eq!(methods, ["POST", "PATCH"]);
    assert!(site.remotes()[0].bytes == bytes);
}

#[tokio::test]
async fn a_slow_origin_is_waited_for_and_thumbnails_pass_by() {
    let (site, disk) = (Site::start().await, DiskFile::new());
    let uploader = Uploader::start(&disk, "originals-at-once = 1").await;
    let held = site.hold();
    let bytes = pattern(3_000_000, 2);
    uploader.upload(&borrowed(&original(&site)), &bytes).await;
    uploader.wait_for("sending", 1).await;
    let mut thumbnail = original(&site);
    thumbnail[0].1 = "http://photos.example/thumbnails".to_owned();
    thumbnail[6].1 = "thumbnail".to_owned();
    uploader.upload(&borrowed(&thumbnail), b"small").await;
    let seen = site.seen(1).await;
    assert_eq!(seen[0].path, "/thumbnails", "the original is held");
    drop(held);
    assert!(site.seen(2).await[1].body == bytes);
    uploader.wait_for("delivered", 2).await;
}

#[tokio::test]
async fn two_phones_with_one_photograph_are_each_heard() {
    let (site, disk) = (Site::start().await, DiskFile::new());
    let uploader = Uploader::start(&disk, NEVER).await;
    let bytes = pattern(5_000_000, 3);
    let (mine, mut yours) = (original(&site), original(&site));
    yours[5].1 = "who=you".to_owned();
    uploader.upload(&borrowed(&mine), &bytes).await;
    let free = uploader.metric("uploader_free_bytes").await;
    uploader.upload(&borrowed(&yours), &bytes).await;
    assert_eq!(uploader.metric("uploader_free_bytes").await, free);
    uploader.kill().await;
    let uploader = Uploader::start(&disk, "").await;
    uploader.wait_for("delivered", 2).await;
    let seen = site.seen(2).await;
    let mut cookies: Vec<_> = seen.iter().map(|seen| seen.field("cookie")).collect();
    cookies.sort_unstable();
    assert_eq!(cookies, ["who=me", "who=you"]);
    assert!(seen.iter().all(|seen| seen.body == bytes));
}

#[tokio::test]
async fn a_phone_with_many_photographs_keeps_nobody_waiting() {
    let (site, disk) = (Site::start().await, DiskFile::new());
    let uploader = Uploader::start(&disk, NEVER).await;
    for (who, count) in [("many", 6_u8), ("one", 1), ("other", 1)] {
        let mut metadata = original(&site);
        metadata[5].1 = format!("who={who}");
        for number in 0..count {
            let bytes = pattern(100_000, number + 10 * who.len() as u8);
            uploader.upload(&borrowed(&metadata), &bytes).await;
        }
    }
    uploader.kill().await;
    let _uploader = Uploader::start(&disk, "originals-at-once = 1").await;
    let seen = site.seen(8).await;
    let mut first: Vec<_> = seen[..3].iter().map(|seen| seen.field("cookie")).collect();
    first.sort_unstable();
    assert_eq!(first, ["who=many", "who=one", "who=other"]);
}

#[tokio::test]
async fn digests_are_checked_on_both_sides() {
    let (site, disk) = (Site::start().await, DiskFile::new());
    let uploader = Uploader::start(&disk, "").await;
    let (bytes, length) = (pattern(300_000, 4), "Upload-Length: 300000");
    let digest = |bytes: &[u8]| {
        use base64::Engine as _;
        let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
        let text = base64::engine::general_purpose::STANDARD.encode(digest);
        format!("sha-256=:{text}:")
    };
    let metadata = original(&site);
    let path = uploader.create(length, &borrowed(&metadata)).await;
    let wrong = format!("Content-Digest: {}", digest(&bytes));
    let answer = uploader.patch(&path, 0, &wrong, &bytes[..1000]).await;
    assert_eq!(answer.status, 460, "{}", answer.head);
    assert_eq!(uploader.offset(&path).await, 0);
    // A whole upload that is another than was said is not kept, whenever that was said.
    let wrong = format!("Repr-Digest: {}", digest(&bytes[1..]));
    let answer = uploader.patch(&path, 0, &wrong, &bytes).await;
    assert_eq!(answer.status, 460, "{}", answer.head);
    let answer = uploader.ask(&format!("HEAD {path}"), b"").await;
    assert_eq!(answer.status, 404);
    let said = format!("{length}\n{wrong}");
    let path = uploader.create(&said, &borrowed(&metadata)).await;
    assert_eq!(uploader.patch(&path, 0, "", &bytes).await.status, 460);
    let right = format!(
        "Repr-Digest: {0}\nContent-Digest: {0}, sha-512=:AAAA:",
        digest(&bytes)
    );
    let path = uploader.create(length, &borrowed(&metadata)).await;
    let answer = uploader.patch(&path, 0, &right, &bytes).await;
    assert_eq!(answer.status, 204, "{}", answer.head);
    assert_eq!(answer.field("repr-digest"), digest(&bytes));
    let seen = site.seen(1).await;
    assert_eq!(seen[0].field("repr-digest"), digest(&bytes));
    assert_eq!(seen[0].field("content-digest"), digest(&bytes));
    uploader.wait_for("delivered", 1).await;
    assert_eq!(site.seen(1).await.len(), 1, "what was wrong never went");
}

#[tokio::test]
async fn a_client_that_dies_keeps_what_came() {
    let (site, disk) = (Site::start().await, DiskFile::new());
    let uploader = Uploader::start(&disk, NEVER).await;
    let bytes = pattern(2_000_000, 5);
    let metadata = original(&site);
    let path = uploader
        .create("Upload-Length: 2000000", &borrowed(&metadata))
        .await;
    let head = crate::world::patch_head(&path, 0, "");
    let mut dying = uploader
        .begin(&head, bytes.len(), &bytes[..1_500_000])
        .await;
    // It was read, if not written to the disk.
    for _ in 0..10_000 {
        if uploader.metric("uploader_received_bytes_total").await == 1.5e6 {
            break;
        }
    }
    dying.shutdown().await.expect("closed");
    drop(dying);
    let offset = uploader.offset(&path).await;
    assert!((1_000_000..=1_500_000).contains(&offset), "{offset}");
    let answer = uploader.patch(&path, offset, "", &bytes[offset..]).await;
    assert_eq!(answer.status, 204, "{}", answer.head);
}
