//! Which requests a stored response answers, by its `Vary` (RFC 9111, section 4.1).
//!
//! Values are normalised as the section allows: lines of a list joined, blanks around commas
//! removed, and in negotiation fields case and order, which mean nothing there.

use http::{HeaderMap, HeaderName, header};

/// Fields that `Vary` may name; who names more makes a response that hardly anybody could reuse.
const SELECTING_MAX: usize = 16;

/// The fields of the request that chose a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selecting(pub(crate) Vec<(HeaderName, Option<String>)>);

impl Selecting {
    /// What chose this response; None if `Vary` has a `*`, or names too much or nonsense.
    pub fn of(response: &HeaderMap, request: &HeaderMap) -> Option<Self> {
        let mut selecting = Vec::new();
        for value in response.get_all(header::VARY) {
            for name in value.to_str().ok()?.split(',').map(str::trim) {
                if name.is_empty() {
                    continue;
                }
                let name: HeaderName = name.parse().ok()?;
                if name.as_str() == "*" || selecting.len() == SELECTING_MAX {
                    return None;
                }
                let chosen = normalised(request, &name);
                selecting.push((name, chosen));
            }
        }
        Some(Self(selecting))
    }

    /// Whether another request would choose the same.
    pub fn matches(&self, request: &HeaderMap) -> bool {
        let same =
            |(name, chosen): &(HeaderName, Option<String>)| normalised(request, name) == *chosen;
        self.0.iter().all(same)
    }
}

fn normalised(request: &HeaderMap, name: &HeaderName) -> Option<String> {
    if !request.contains_key(name) {
        return None;
    }
    let mut members = Vec::new();
    for value in request.get_all(name) {
        // Bytes that are no text are kept apart by their escapes.
        let text = value.as_bytes().escape_ascii().to_string();
        members.extend(text.split(',').map(|member| member.trim().to_owned()));
    }
    if is_negotiation(name) {
        for member in &mut members {
            *member = member.to_ascii_lowercase();
            member.retain(|letter| letter != ' ' && letter != '\t');
        }
        members.sort_unstable();
    }
    Some(members.join(","))
}

/// Lists whose order has no meaning (RFC 9110, section 12.5), and whose words have no case.
fn is_negotiation(name: &HeaderName) -> bool {
    [
        header::ACCEPT,
        header::ACCEPT_ENCODING,
        header::ACCEPT_LANGUAGE,
    ]
    .contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("a value"));
        }
        headers
    }

    #[track_caller]
    fn check(
        vary: &str,
        first: &[(&'static str, &str)],
        second: &[(&'static str, &str)],
        same: bool,
    ) {
        let selecting = Selecting::of(&headers(&[("vary", vary)]), &headers(first));
        let selecting = selecting.expect("a response that can be chosen");
        assert_eq!(
            selecting.matches(&headers(second)),
            same,
            "{vary} {first:?} {second:?}"
        );
    }

    #[test]
    fn what_vary_names_must_be_the_same() {
        check("", &[("a", "1")], &[("a", "2")], true);
        check("A", &[("a", "1")], &[("a", "2")], false);
        check("A, B", &[("a", "1")], &[("a", "1")], true);
        check("A, B", &[("a", "1")], &[("a", "1"), ("b", "")], false);
        check("A", &[("a", "1"), ("a", "2")], &[("a", "1 ,2")], true);
        check("A", &[("a", "x")], &[("a", "X")], false);
        check(
            "Accept-Language",
            &[("accept-language", "en, de")],
            &[("accept-language", "DE,en")],
            true,
        );
    }

    #[test]
    fn stars_and_explosions_are_not_kept() {
        let many = (0..=SELECTING_MAX)
            .map(|number| format!("f{number}"))
            .collect::<Vec<_>>();
        for bad in ["*", "a, *", "a b", &many.join(",")] {
            assert_eq!(
                Selecting::of(&headers(&[("vary", bad)]), &HeaderMap::new()),
                None,
                "{bad}"
            );
        }
    }
}
