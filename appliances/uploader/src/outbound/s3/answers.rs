//! What a store that speaks S3 answers in XML, of which little is read, and nothing believed that has another
//! form.

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::Event;

/// Elements of an answer: a thousand parts have five each.
const ELEMENTS_MAX: usize = 16_384;

/// A part that the store has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) number: u32,
    pub(super) bytes: u64,
    pub(super) etag: String,
}

/// Of `ListPartsResult`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) parts: Vec<Part>,
    /// Where the next answer begins, if this is not all.
    pub(super) next: Option<u32>,
}

/// An element with nothing but text in it, and the names of those around it.
struct Leaf {
    path: Vec<String>,
    text: String,
}

impl Leaf {
    fn is(&self, path: &[&str]) -> bool {
        self.path == path
    }
}

/// The name of the upload that was begun.
pub(super) fn begun(xml: &[u8]) -> Option<String> {
    let is_it = |leaf: &Leaf| leaf.is(&["InitiateMultipartUploadResult", "UploadId"]);
    let id = leaves(xml)?.into_iter().find(is_it)?.text;
    let is_plain = |byte: u8| byte.is_ascii_graphic();
    (!id.is_empty() && id.len() <= 1024 && id.bytes().all(is_plain)).then_some(id)
}

/// Whether parts have become an object; a store may say 200 long before it knows.
pub(super) fn completed(xml: &[u8]) -> bool {
    leaves(xml).is_some_and(|leaves| {
        let is_it = |leaf: &Leaf| leaf.path[0] == "CompleteMultipartUploadResult";
        !leaves.is_empty() && leaves.iter().all(is_it)
    })
}

/// The reason of a refusal: letters only, for the log.
pub(super) fn reason(xml: &[u8]) -> Option<String> {
    let code = leaves(xml)?
        .into_iter()
        .find(|leaf| leaf.is(&["Error", "Code"]))?;
    let is_plain = code.text.len() <= 64 && code.text.bytes().all(|b| b.is_ascii_alphanumeric());
    is_plain.then_some(code.text)
}

/// AWS's name of the list, and that of moto; AWS's own clients look at no name there.
fn is_list(name: &str) -> bool {
    matches!(name, "ListPartsResult" | "ListPartsResponse")
}

/// The parts that are there.
pub(super) fn parts(xml: &[u8]) -> Option<Parts> {
    let mut parts = Parts::default();
    let (mut is_truncated, mut next) = (false, None);
    for leaf in leaves(xml)? {
        let (name, around) = leaf.path.split_last()?;
        match around {
            [list] if is_list(list) => match name.as_str() {
                "IsTruncated" => is_truncated = leaf.text == "true",
                "NextPartNumberMarker" => next = leaf.text.parse().ok(),
                _ => {}
            },
            [list, part] if is_list(list) && part == "Part" => {
                // A number begins none: fields of a part come in any order, and each once.
                let begins = |last: &Part| match name.as_str() {
                    "PartNumber" => last.number != 0,
                    "Size" => last.bytes != 0,
                    "ETag" => !last.etag.is_empty(),
                    _ => false,
                };
                if parts.parts.last().is_none_or(begins) {
                    parts.parts.push(Part::default());
                }
                let last = parts.parts.last_mut()?;
                match name.as_str() {
                    "PartNumber" => last.number = leaf.text.parse().ok()?,
                    "Size" => last.bytes = leaf.text.parse().ok()?,
                    "ETag" => last.etag = leaf.text,
                    _ => {}
                }
            }
            [list, ..] if is_list(list) => {}
            _ => return None,
        }
    }
    parts.parts.retain(|part| is_etag(&part.etag));
    parts.next = next.filter(|_| is_truncated);
    Some(parts)
}

/// Whether it can stand in a field and in XML as it is.
pub(super) fn is_etag(etag: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'&');
    !etag.is_empty() && etag.len() <= 256 && etag.bytes().all(is_plain)
}

/// How parts become an object.
pub(super) fn complete(parts: &[Part]) -> String {
    let part = |Part { number, etag, .. }: &Part| {
        let etag = etag.replace('"', "&quot;");
        format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
    };
    let parts: String = parts.iter().map(part).collect();
    format!(
        "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{parts}</CompleteMultipartUpload>"
    )
}

/// Elements with text in their order; `None` if this is no XML, or too much.
fn leaves(xml: &[u8]) -> Option<Vec<Leaf>> {
    let mut reader = Reader::from_str(std::str::from_utf8(xml).ok()?);
    let (mut path, mut text, mut leaves) = (Vec::new(), String::new(), Vec::new());
    for _ in 0..4 * ELEMENTS_MAX {
        match reader.read_event().ok()? {
            Event::Start(element) => {
                let name = std::str::from_utf8(element.local_name().into_inner()).ok()?;
                path.push(name.to_owned());
                text.clear();
                if path.len() > 8 {
                    return None;
                }
            }
            Event::Text(more) => text.push_str(&more.decode().ok()?),
            Event::GeneralRef(name) => {
                let name = name.decode().ok()?;
                text.push_str(&unescape(&format!("&{name};")).ok()?);
            }
            Event::End(_) => {
                let text = std::mem::take(&mut text);
                if !text.trim().is_empty() {
                    let text = text.trim().to_owned();
                    leaves.push(Leaf {
                        path: path.clone(),
                        text,
                    });
                }
                path.pop()?;
            }
            Event::Eof => return path.is_empty().then_some(leaves),
            // An answer has no use for entities of its own.
            Event::DocType(_) => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let xml = b"<?xml version=\"1.0\"?>\n<InitiateMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n\
            <Bucket>b</Bucket><Key>k</Key><UploadId>VXBsb2FkIElE</UploadId></InitiateMultipartUploadResult>";
        assert_eq!(begun(xml).as_deref(), Some("VXBsb2FkIElE"));
        let xml = b"<ListPartsResult><Bucket>b</Bucket><Owner><ID>1</ID></Owner><NextPartNumberMarker>3</NextPartNumberMarker>\
            <MaxParts>2</MaxParts><IsTruncated>true</IsTruncated>\
            <Part><PartNumber>2</PartNumber><ETag>&quot;77&quot;</ETag><Size>10</Size></Part>\
            <Part><PartNumber>3</PartNumber><ETag>\"aa\"</ETag><Size>5</Size></Part></ListPartsResult>";
        let read = parts(xml).expect("parts");
        let part = |number, bytes, etag: &str| Part {
            number,
            bytes,
            etag: etag.to_owned(),
        };
        assert_eq!(read.parts, [part(2, 10, "\"77\""), part(3, 5, "\"aa\"")]);
        assert_eq!(read.next, Some(3));
        // As moto 5 answers.
        let xml = b"<ListPartsResponse><UploadId>x</UploadId><PartNumberMarker>0</PartNumberMarker><NextPartNumberMarker>1</NextPartNumberMarker>\
            <IsTruncated>false</IsTruncated><Part><PartNumber>1</PartNumber><LastModified>2026-11-29T20:59:06.000Z</LastModified>\
            <ETag>\"5600\"</ETag><Size>5300000</Size></Part><Owner><ID>75</ID></Owner></ListPartsResponse>";
        let moto = parts(xml).expect("parts");
        assert_eq!(moto.parts, [part(1, 5_300_000, "\"5600\"")]);
        assert_eq!(moto.next, None);
        assert!(
            complete(&read.parts).contains("<PartNumber>2</PartNumber><ETag>&quot;77&quot;</ETag>")
        );
        assert!(completed(
            b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>"
        ));
        let error = b"<Error><Code>NoSuchUpload</Code><Message>The upload</Message></Error>";
        assert!(!completed(error));
        assert_eq!(reason(error).as_deref(), Some("NoSuchUpload"));
    }

    #[test]
    fn what_has_another_form_is_not_believed() {
        for xml in [
            &b""[..],
            b"<",
            b"<a>",
            b"</a>",
            b"\xff",
            b"<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
            b"<Error><Code>NoSuchUpload</Code></Error>",
            b"<InitiateMultipartUploadResult><UploadId>a b</UploadId></InitiateMultipartUploadResult>",
        ] {
            assert_eq!(begun(xml), None);
            assert!(!completed(xml));
            assert!(parts(xml).is_none_or(|parts| parts.parts.is_empty()));
        }
        let deep = "<a>".repeat(100);
        assert!(leaves(deep.as_bytes()).is_none());
        let many = format!(
            "<ListPartsResult>{}</ListPartsResult>",
            "<x>1</x>".repeat(80_000)
        );
        assert!(parts(many.as_bytes()).is_none());
    }
}
