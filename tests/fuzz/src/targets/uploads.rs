//! What the uploader is asked and told: the bytes are a method and the fields of a request by tus, a line
//! each, a NUL, and what a store that speaks S3 answers, in XML.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use uploader::hostile;

use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "uploads",
    run,
    seeds,
};

fn run(bytes: &[u8]) {
    let mut halves = bytes.splitn(2, |byte| *byte == 0);
    let request = halves.next().unwrap_or_default();
    hostile::answer(halves.next().unwrap_or_default());
    hostile::metadata(&String::from_utf8_lossy(request));
    let mut lines = request.split(|byte| *byte == b'\n');
    let Ok(method) = Method::from_bytes(lines.next().unwrap_or_default()) else {
        return;
    };
    let field = |line: &[u8]| {
        let at = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..at]).ok()?;
        let value = HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?;
        Some((name, value))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(field) {
        headers.append(name, value);
    }
    for names_upload in [false, true] {
        // Which reason it has does not matter here.
        drop(hostile::head(&method, &headers, names_upload));
    }
}

fn seeds() -> Vec<Vec<u8>> {
    [
        "POST\ntus-resumable: 1.0.0\nupload-length: 5\nupload-metadata: url aHR0cDovL2Ev,cookie bWU=\n\
         upload-concat: partial\0<ListPartsResult><Part><PartNumber>1</PartNumber><Size>8388608</Size><ETag>\
         &quot;a&quot;</ETag></Part></ListPartsResult>",
        "PATCH\ntus-resumable: 1.0.0\ncontent-type: application/offset+octet-stream\nupload-offset: 7\n\
         upload-checksum: sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=\ncontent-digest: \
         sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:\0<Error><Code>NoSuchUpload</Code></Error>",
        "POST\ntus-resumable: 1.0.0\nupload-concat: final;/files/a /files/b\nupload-defer-length: 1\0\
         <InitiateMultipartUploadResult><UploadId>VXBsb2Fk</UploadId></InitiateMultipartUploadResult>",
    ]
    .into_iter()
    .map(|seed| seed.as_bytes().to_vec())
    .collect()
}
