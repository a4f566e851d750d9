//! Forms: a value of `Content-Type`, a line end, and a body of `multipart/form-data`. Without a boundary in
//! the first line the parts are looked for with a fixed one.

use thumbnail::multipart::{boundary, parts};

use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "forms",
    run,
    seeds,
};

fn run(bytes: &[u8]) {
    let mut halves = bytes.splitn(2, |byte| *byte == b'\n');
    let content_type = String::from_utf8_lossy(halves.next().unwrap_or_default());
    let body = halves.next().unwrap_or_default();
    let boundary = boundary(&content_type).unwrap_or("XX");
    let found = parts(body, boundary);
    let mut at = 0;
    for part in &found {
        assert!(at <= part.content.start && part.content.start <= part.content.end);
        assert!(part.content.end <= body.len());
        at = part.content.end;
    }
    // Only the last may lack its end.
    let (_, others) = found.split_last().unzip();
    assert!(others.unwrap_or_default().iter().all(|part| part.is_whole));
    // With less of the body there is nothing that was not there with more of it.
    let less = parts(&body[..body.len() / 2], boundary);
    let whole = less.iter().filter(|part| part.is_whole);
    assert!(whole.zip(&found).all(|(less, more)| less == more));
}

fn seeds() -> Vec<Vec<u8>> {
    [
        "multipart/form-data; boundary=\"a b\"\n--a b\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\nA \
         day\r\n--a b  \r\ncontent-disposition: form-data; name=f; filename=\"a.jpg\"\r\nContent-Type: \
         image/jpeg\r\n\r\n\u{7f}\r\n--a \r\n--a b--\r\n",
        "text/plain\npreamble\r\n--XX\r\nContent-Disposition: form-data; filename*=utf-8''a\r\n\r\n\r\n--XX",
        "Multipart/Form-Data;charset=utf-8; Boundary=XX\n--XX\r\n\r\n\r\n--XX--",
    ]
    .into_iter()
    .map(|seed| seed.as_bytes().to_vec())
    .collect()
}
