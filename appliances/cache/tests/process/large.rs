//! Parts that become the whole, and objects in slices.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::world::{World, all, head};

/// A byte for each place, so that what is wrong shows.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| b'a' + (at / 7 % 26) as u8).collect()
}

/// What a request asks for, by its Range; all, without one.
fn range_of(request: &str, total: usize) -> (usize, usize, bool) {
    let Some((_, rest)) = request.split_once("range: bytes=") else {
        return (0, total - 1, false);
    };
    let range = rest.lines().next().expect("a line");
    let (first, last) = range.split_once('-').expect("a range");
    let first = first.parse().expect("a number");
    let last = last.parse().unwrap_or(total - 1);
    (first, last.min(total - 1), true)
}

/// Answers one request on a connection of its own as a server of ranges does; the range that it asked for.
fn serve(world: &World, content: &[u8], tag: &str) -> (usize, usize) {
    let (mut connection, request) = world.asked();
    let (first, last, is_part) = range_of(&request, content.len());
    let length = last - first + 1;
    let total = content.len();
    let status = match is_part {
        true => format!("206 Partial Content\r\nContent-Range: bytes {first}-{last}/{total}"),
        false => "200 OK".to_owned(),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nETag: {tag}\r\nAccept-Ranges: bytes\r\n\
         Cache-Control: max-age=60\r\nConnection: close\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).expect("a head");
    // Who has what he wanted may not want the rest.
    let _ = connection.write_all(&content[first..=last]);
    (first, last)
}

fn body(answer: TcpStream) -> String {
    let answer = all(answer);
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    body.to_owned()
}

fn text(content: &[u8]) -> &str {
    std::str::from_utf8(content).expect("text")
}

#[test]
fn parts_become_the_whole() {
    let world = World::start();
    let content = content(1000);
    for range in ["0-299", "300-599"] {
        let client = world.ask("/a", &format!("Range: bytes={range}\r\n"));
        serve(&world, &content, "\"1\"");
        assert_eq!(body(client).len(), 300);
    }
    // The two are one by now, and a range over their seam is served.
    let seam = world.ask("/a", "Range: bytes=250-350\r\n");
    assert_eq!(body(seam), text(&content[250..=350]));
    assert!(world.origin_rests());
    // Of the whole, the rest alone is asked for.
    let whole = world.ask("/a", "");
    assert_eq!(serve(&world, &content, "\"1\""), (600, 999));
    assert_eq!(body(whole), text(&content));
    let again = all(world.ask("/a", ""));
    assert!(again.contains("edgecloud; hit") && again.ends_with(text(&content)));
    assert!(world.origin_rests());
}

#[test]
fn a_part_is_not_served_to_who_wants_the_whole_of_another() {
    let world = World::start();
    let (old, new) = (content(1000), vec![b'x'; 1000]);
    for range in ["0-299", "300-599"] {
        let client = world.ask("/a", &format!("Range: bytes={range}\r\n"));
        serve(&world, &old, "\"1\"");
        all(client);
    }
    let head_of = "HEAD /a HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n";
    let client = world.send(&format!("{head_of}Range: bytes=250-350\r\n\r\n"));
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n";
    world.answer(whole);
    assert!(all(client).starts_with("HTTP/1.1 200"));
    let fields = "Range: bytes=250-350\r\nIf-Range: ";
    let same = all(world.ask("/a", &format!("{fields}\"1\"\r\n")));
    assert!(same.starts_with("HTTP/1.1 206"), "{same}");
    assert!(same.ends_with(text(&old[250..=350])));
    let other = world.ask("/a", &format!("{fields}\"2\"\r\n"));
    serve_if_range(&world, &new, "\"3\"");
    let other = all(other);
    assert!(other.starts_with("HTTP/1.1 200"), "{other}");
    assert!(other.ends_with(text(&new)));
}

#[test]
fn what_broke_off_goes_on_where_it_ended_unless_it_is_another_by_then() {
    let world = World::start();
    let content = content(1000);
    for (path, tag, asked) in [
        ("/same", "\"1\"", (400, 999)),
        ("/other", "\"2\"", (0, 999)),
    ] {
        let mut client = world.ask(path, "");
        let (mut connection, _) = world.asked();
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nETag: \"1\"\r\n\
                      Cache-Control: max-age=60\r\nConnection: close\r\n\r\n";
        connection.write_all(answer.as_bytes()).expect("a head");
        connection.write_all(&content[..400]).expect("a beginning");
        drop(connection);
        head(&mut client);
        let mut torn = Vec::new();
        // The client is told by an early end, or by a reset.
        let _ = client.read_to_end(&mut torn);
        assert_eq!(torn.len(), 400);
        let client = world.ask(path, "");
        assert_eq!(serve_if_range(&world, &content, tag), asked, "{path}");
        assert_eq!(body(client), text(&content), "{path}");
    }
}

/// As [`serve`], but with all of it where If-Range names another tag; the range that was sent.
fn serve_if_range(world: &World, content: &[u8], tag: &str) -> (usize, usize) {
    let (mut connection, request) = world.asked();
    let same = request.contains(&format!("if-range: {tag}"));
    let (first, last, _) = match same {
        true => range_of(&request, content.len()),
        false => (0, content.len() - 1, false),
    };
    let (length, total) = (last - first + 1, content.len());
    let status = match same {
        true => format!("206 Partial Content\r\nContent-Range: bytes {first}-{last}/{total}"),
        false => "200 OK".to_owned(),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nETag: {tag}\r\n\
         Cache-Control: no-cache\r\nConnection: close\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).expect("a head");
    match connection.write_all(&content[first..=last]) {
        // What is not the slice that was asked for need not be read to its end.
        Err(_) if !same => {}
        written => written.expect("a body"),
    }
    (first, last)
}

const SMALL: &str = "memory-mib = 16\nobject-mib = 1";
const MEBIBYTE: usize = 1 << 20;

#[test]
fn what_is_too_large_is_kept_in_slices_which_are_fetched_once() {
    let world = World::start_with(SMALL);
    let content = content(5 * MEBIBYTE / 2);
    let first = world.ask("/film", "");
    // The first answer says what it is; then come slices, each once.
    assert_eq!(serve(&world, &content, "\"1\""), (0, content.len() - 1));
    let mut slices: Vec<_> = (0..3).map(|_| serve(&world, &content, "\"1\"")).collect();
    slices.sort_unstable();
    let ends = [MEBIBYTE, 2 * MEBIBYTE, content.len()];
    let wanted = [0, MEBIBYTE, 2 * MEBIBYTE].into_iter().zip(ends);
    assert!(
        slices
            .into_iter()
            .eq(wanted.map(|(first, end)| (first, end - 1)))
    );
    assert!(body(first) == text(&content));
    let mut again = world.ask("/film", "");
    assert!(head(&mut again).contains("edgecloud; hit"));
    assert!(all(again) == text(&content));
    let seam = MEBIBYTE - 5..MEBIBYTE + 5;
    let fields = format!("Range: bytes={}-{}\r\n", seam.start, seam.end - 1);
    assert_eq!(body(world.ask("/film", &fields)), text(&content[seam]));
    assert!(world.origin_rests());
    let said = world.order("/purge", "url http://a.example/film");
    assert!(said.contains("purged; 4 addresses"), "{said}");
}

#[test]
fn a_player_that_begins_with_a_range_gets_slices() {
    let world = World::start_with(SMALL);
    let content = content(3 * MEBIBYTE);
    let client = world.ask("/film", "Range: bytes=2097152-2097161\r\n");
    serve(&world, &content, "\"1\"");
    assert_eq!(
        serve(&world, &content, "\"1\""),
        (2 * MEBIBYTE, 3 * MEBIBYTE - 1)
    );
    assert_eq!(
        body(client),
        text(&content[2 * MEBIBYTE..2 * MEBIBYTE + 10])
    );
    let end = body(world.ask("/film", "Range: bytes=-10\r\n"));
    assert_eq!(end, text(&content[3 * MEBIBYTE - 10..]));
    assert!(world.origin_rests());
}

#[test]
fn slices_of_something_else_are_never_joined() {
    let world = World::start_with(SMALL);
    let (old, new) = (content(2 * MEBIBYTE), vec![b'x'; 2 * MEBIBYTE]);
    let client = world.ask("/film", "Range: bytes=0-9\r\n");
    serve(&world, &old, "\"1\"");
    serve(&world, &old, "\"1\"");
    assert_eq!(body(client), text(&old[..10]));
    // The origin has another film by now: what is wanted of it is not joined to the old.
    let client = world.ask("/film", "Range: bytes=1048570-1048580\r\n");
    for _ in 0..2 {
        serve_if_range(&world, &new, "\"2\""); // It is asked for ahead, and once more.
    }
    let answer = all(client);
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert_eq!(body, text(&old[1_048_570..MEBIBYTE]), "it breaks off");
    let client = world.ask("/film", "Range: bytes=1048570-1048580\r\n");
    serve(&world, &new, "\"2\"");
    serve(&world, &new, "\"2\"");
    serve(&world, &new, "\"2\"");
    assert!(all(client).ends_with("\r\n\r\nxxxxxxxxxxx"));
}
