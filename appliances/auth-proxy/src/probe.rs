//! What systems ask to find out whether they are online, and what they expect when they are.
//!
//! Whoever is not let in gets a redirection to the portal instead, which every one of them takes for a
//! captive portal. Who is let in, and comes here all the same because its flows are on their way, gets
//! what it expects, so that the system does not open the portal again.

use axum::http::StatusCode;

/// What a system expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The status.
    pub status: StatusCode,
    /// The body's type.
    pub content_type: &'static str,
    /// The body.
    pub body: &'static str,
}

const TEXT: &str = "text/plain";
const HTML: &str = "text/html";
const APPLE: &str = "<HTML><HEAD><TITLE>Success</TITLE></HEAD><BODY>Success</BODY></HTML>";

/// What the system that asks for this expects; nothing if nobody asks for it to learn that.
pub fn expected(host: &str, path: &str) -> Option<Expected> {
    let expect = |status, content_type, body| {
        Some(Expected {
            status,
            content_type,
            body,
        })
    };
    match (host, path) {
        // Android and ChromeOS, by several names of Google's and of phones' makers.
        (_, "/generate_204" | "/gen_204") => expect(StatusCode::NO_CONTENT, TEXT, ""),
        // Apple's systems.
        (
            "captive.apple.com" | "www.apple.com",
            "/" | "/hotspot-detect.html" | "/library/test/success.html",
        ) => expect(StatusCode::OK, HTML, APPLE),
        // Windows: 8 and later, and before.
        ("www.msftconnecttest.com" | "ipv6.msftconnecttest.com", "/connecttest.txt") => {
            expect(StatusCode::OK, TEXT, "Microsoft Connect Test")
        }
        ("www.msftncsi.com" | "ipv6.msftncsi.com", "/ncsi.txt") => {
            expect(StatusCode::OK, TEXT, "Microsoft NCSI")
        }
        // Firefox.
        ("detectportal.firefox.com", "/success.txt") => expect(StatusCode::OK, TEXT, "success\n"),
        ("detectportal.firefox.com", "/canonical.html") => expect(
            StatusCode::OK,
            HTML,
            "<meta http-equiv=\"refresh\" content=\"0;url=https://support.mozilla.org/kb/captive-portal\"/>",
        ),
        // NetworkManager, as GNOME, Debian, Ubuntu, Fedora and Arch Linux set it.
        ("nmcheck.gnome.org", "/check_network_status.txt")
        | ("network-test.debian.org", "/nm")
        | ("fedoraproject.org", "/static/hotspot.txt") => {
            expect(StatusCode::OK, TEXT, "NetworkManager is online\n")
        }
        ("ping.archlinux.org", "/nm-check.txt") => {
            expect(StatusCode::OK, TEXT, "NetworkManager is online\n")
        }
        ("connectivity-check.ubuntu.com", "/") => expect(StatusCode::NO_CONTENT, TEXT, ""),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_systems_are_known() {
        for (host, path, status, body) in [
            ("connectivitycheck.gstatic.com", "/generate_204", 204, ""),
            ("clients3.google.com", "/generate_204", 204, ""),
            ("captive.apple.com", "/hotspot-detect.html", 200, APPLE),
            (
                "www.msftconnecttest.com",
                "/connecttest.txt",
                200,
                "Microsoft Connect Test",
            ),
            ("detectportal.firefox.com", "/success.txt", 200, "success\n"),
            (
                "network-test.debian.org",
                "/nm",
                200,
                "NetworkManager is online\n",
            ),
        ] {
            let expected = expected(host, path).expect(host);
            assert_eq!((expected.status.as_u16(), expected.body), (status, body));
        }
        assert_eq!(expected("www.example", "/"), None);
    }
}
