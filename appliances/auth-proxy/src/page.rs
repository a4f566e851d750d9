//! The pages: HTML made here, without scripts, readable on a phone, by keyboard and by a screen reader.

use std::fmt::{self, Display};

use crate::language::Language;
use crate::session::Left;
use crate::settings::Look;

/// Text in HTML, also within quotes.
struct Escaped<'t>(&'t str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

/// Text as it may stand in a page.
pub fn escaped(text: &str) -> String {
    Escaped(text).to_string()
}

/// What is common to the pages.
#[derive(Clone, Copy, Debug)]
pub struct Pages<'l> {
    /// The operator's look.
    pub look: &'l Look,
    /// The reader's language.
    pub language: Language<'l>,
}

/// What the login page offers.
#[derive(Clone, Copy, Debug)]
pub struct Offers {
    /// Vouchers.
    pub vouchers: bool,
    /// Names and passwords.
    pub accounts: bool,
}

/// Seconds of an hour.
const HOUR: u64 = 3600;

impl Pages<'_> {
    fn text(&self, name: &str) -> Escaped<'_> {
        Escaped(self.language.text(name))
    }

    /// A page around its content. `refresh` has it load itself again.
    fn page(&self, refresh: bool, content: &str) -> String {
        let code = self.language.code;
        let name = self.look.name.as_deref();
        let title = Escaped(name.unwrap_or(self.language.text("title")));
        let refresh = match refresh {
            true => "<meta http-equiv=\"refresh\" content=\"2\">",
            false => "",
        };
        let logo = match self.look.logo_svg {
            Some(_) => "<img src=\"/logo.svg\" alt=\"\" height=\"64\">",
            None => "",
        };
        format!(
            "<!DOCTYPE html>\n<html lang=\"{code}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n{refresh}\
             <title>{title}</title>\n<link rel=\"stylesheet\" href=\"/portal.css\">\n</head>\n\
             <body>\n<header>{logo}<h1>{title}</h1></header>\n<main>\n{content}</main>\n</body>\n</html>\n"
        )
    }

    /// The login page, with the text of what went wrong before.
    pub fn login(&self, offers: Offers, field: &str, problem: Option<&str>) -> String {
        let mut content = match problem {
            Some(problem) => format!(
                "<div role=\"alert\" class=\"problem\"><strong>{}</strong> {}</div>\n",
                self.text("problem"),
                self.text(problem)
            ),
            None => format!("<p>{}</p>\n", self.text("welcome")),
        };
        if offers.vouchers {
            content.push_str(&self.voucher_form(field, problem.is_some()));
        }
        if offers.accounts {
            content.push_str(&self.account_form(field));
        }
        if let Some(terms) = &self.look.terms {
            content.push_str(&format!(
                "<details><summary>{}</summary><p class=\"terms\">{}</p></details>\n",
                self.text("terms-heading"),
                Escaped(terms)
            ));
        }
        self.page(false, &content)
    }

    fn voucher_form(&self, field: &str, wrong: bool) -> String {
        let invalid = if wrong { " aria-invalid=\"true\"" } else { "" };
        format!(
            "<section aria-labelledby=\"voucher\"><h2 id=\"voucher\">{}</h2>\n\
             <form method=\"post\" action=\"/voucher\">\n\
             <input type=\"hidden\" name=\"form\" value=\"{}\">\n\
             <label for=\"code\">{}</label>\n\
             <input id=\"code\" name=\"code\" required maxlength=\"24\" autocomplete=\"one-time-code\" \
             autocapitalize=\"characters\" spellcheck=\"false\" aria-describedby=\"code-hint\"{invalid}>\n\
             <p id=\"code-hint\" class=\"hint\">{}</p>\n\
             <button type=\"submit\">{}</button>\n</form></section>\n",
            self.text("voucher-heading"),
            Escaped(field),
            self.text("voucher-label"),
            self.text("voucher-hint"),
            self.text("voucher-button"),
        )
    }

    fn account_form(&self, field: &str) -> String {
        format!(
            "<section aria-labelledby=\"account\"><h2 id=\"account\">{}</h2>\n\
             <form method=\"post\" action=\"/login\">\n\
             <input type=\"hidden\" name=\"form\" value=\"{}\">\n\
             <label for=\"name\">{}</label>\n\
             <input id=\"name\" name=\"name\" required maxlength=\"253\" autocomplete=\"username\" \
             autocapitalize=\"none\" spellcheck=\"false\">\n\
             <label for=\"password\">{}</label>\n\
             <input id=\"password\" name=\"password\" type=\"password\" required maxlength=\"128\" \
             autocomplete=\"current-password\">\n\
             <button type=\"submit\">{}</button>\n</form></section>\n",
            self.text("account-heading"),
            Escaped(field),
            self.text("name-label"),
            self.text("password-label"),
            self.text("log-in"),
        )
    }

    /// The page of somebody who is let in.
    pub fn online(&self, left: Left, field: &str) -> String {
        let volume = match left.bytes {
            Some(bytes) => format!("{} MB", bytes.div_ceil(1_000_000)),
            None => self.text("volume-unlimited").to_string(),
        };
        let content = format!(
            "<p role=\"status\" class=\"online\">{}</p>\n<dl><dt>{}</dt><dd>{} {} {} {}</dd>\
             <dt>{}</dt><dd>{volume}</dd></dl>\n<form method=\"post\" action=\"/logout\">\n\
             <input type=\"hidden\" name=\"form\" value=\"{}\">\n\
             <button type=\"submit\">{}</button>\n</form>\n",
            self.text("online"),
            self.text("time-left"),
            left.seconds / HOUR,
            self.text("hours"),
            left.seconds % HOUR / 60,
            self.text("minutes"),
            self.text("volume-left"),
            Escaped(field),
            self.text("log-out"),
        );
        self.page(false, &content)
    }

    /// What a captured request gets that cannot be redirected.
    pub fn captured(&self, portal: &str) -> String {
        let portal = Escaped(portal);
        let content = format!(
            "<p>{}</p>\n<p><a href=\"{portal}\">{}</a></p>\n",
            self.text("redirect"),
            self.text("log-in")
        );
        self.page(false, &content)
    }

    /// What a client gets that is let in and whose flows are on their way.
    pub fn again(&self) -> String {
        let content = format!("<p role=\"status\">{}</p>\n", self.text("again"));
        self.page(true, &content)
    }
}

/// The style of the pages, in the operator's colour.
pub fn style(look: &Look) -> String {
    let colour = &look.colour.0;
    format!(
        ":root{{--colour:{colour}}}\n\
         *{{box-sizing:border-box}}\n\
         body{{margin:0;font:1rem/1.5 system-ui,sans-serif;color:#1b1b1b;background:#fff}}\n\
         header,main{{max-width:26rem;margin:0 auto;padding:1rem}}\n\
         h1{{font-size:1.5rem;color:var(--colour);margin:0}}\n\
         h2{{font-size:1.15rem;margin:1.5rem 0 .5rem}}\n\
         label{{display:block;margin:.75rem 0 .25rem;font-weight:600}}\n\
         input{{width:100%;min-height:2.75rem;padding:.5rem;font:inherit;border:1px solid #6b6b6b;border-radius:.25rem}}\n\
         button{{width:100%;min-height:2.75rem;margin-top:1rem;font:inherit;font-weight:600;color:#fff;\
         background:var(--colour);border:0;border-radius:.25rem}}\n\
         :focus-visible{{outline:3px solid #1b1b1b;outline-offset:2px}}\n\
         .problem{{padding:.75rem;border-left:.4rem solid #b00020;background:#fdecee}}\n\
         .online{{padding:.75rem;border-left:.4rem solid #1b6e2e;background:#e9f6ec}}\n\
         .hint{{margin:.25rem 0 0;color:#4a4a4a;font-size:.9rem}}\n\
         .terms{{white-space:pre-wrap}}\n\
         dt{{font-weight:600}}\ndd{{margin:0 0 .5rem}}\ntable{{border-collapse:collapse}}\n\
         th,td{{text-align:left;padding:.25rem .75rem .25rem 0}}\n"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::language::Languages;

    #[test]
    fn what_others_wrote_is_text_in_a_page() {
        let languages = Languages::with(&BTreeMap::new()).expect("good");
        let look = Look {
            name: Some("<script>\"Bahnhof\"</script>".to_owned()),
            terms: Some("</p><script>".to_owned()),
            ..Look::default()
        };
        let language = languages.choose(Some("de"));
        let pages = Pages {
            look: &look,
            language,
        };
        let offers = Offers {
            vouchers: true,
            accounts: true,
        };
        let page = pages.login(offers, "\"'><b>", Some("wrong-voucher"));
        assert!(
            !page.contains("<script>") && !page.contains("<b>"),
            "{page}"
        );
        assert!(page.contains("lang=\"de\"") && page.contains("role=\"alert\""));
        let labels = page.matches("<label for=").count();
        assert_eq!(labels, page.matches("<input id=").count());
    }
}
