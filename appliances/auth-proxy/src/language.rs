//! What pages say, in the language of whoever reads: files of texts, and the choice by
//! `Accept-Language` (RFC 9110, section 12.5.4).
//!
//! English and German are built in (`languages/`); the settings can add others and change texts, in
//! `[service.languages.CODE]`. A text that a language has not is English.

use std::collections::BTreeMap;

/// Texts by their names.
type Texts = BTreeMap<String, String>;

/// All languages by their codes.
#[derive(Clone, Debug)]
pub struct Languages(BTreeMap<String, Texts>);

/// Where texts are when no language is asked for, and when one has no text.
const DEFAULT: &str = "en";
const BUILT_IN: [(&str, &str); 2] = [
    ("en", include_str!("../languages/en.toml")),
    ("de", include_str!("../languages/de.toml")),
];
/// Languages that are looked at in a request: browsers send some.
const ASKED_MAX: usize = 16;

/// What is wrong with texts of the settings.
#[derive(Debug, thiserror::Error)]
pub enum LanguageError {
    /// A text that no page has.
    #[error(
        "[service.languages.{language}] has {text:?}, which no page says; the texts are those of languages/en.toml"
    )]
    Unknown {
        /// Where it stands.
        language: String,
        /// Its name.
        text: String,
    },
    /// No code of a language.
    #[error("[service.languages.{0}] is no code of a language; write it like `fr` or `pt-br`")]
    Code(String),
}

impl Languages {
    /// The built-in ones with the operator's own.
    ///
    /// # Errors
    /// A text that no page has, or a code that is none.
    pub fn with(own: &BTreeMap<String, Texts>) -> Result<Self, LanguageError> {
        let mut all: BTreeMap<String, Texts> = BTreeMap::new();
        for (code, file) in BUILT_IN {
            // They are ours, and a test reads them.
            all.insert(code.to_owned(), toml::from_str(file).unwrap_or_default());
        }
        let known = all.get(DEFAULT).cloned().unwrap_or_default();
        for (code, texts) in own {
            let letters = |c: char| c.is_ascii_lowercase() || c == '-';
            if code.is_empty() || code.len() > 16 || !code.chars().all(letters) {
                return Err(LanguageError::Code(code.clone()));
            }
            if let Some(text) = texts.keys().find(|text| !known.contains_key(*text)) {
                return Err(LanguageError::Unknown {
                    language: code.clone(),
                    text: text.clone(),
                });
            }
            all.entry(code.clone()).or_default().extend(texts.clone());
        }
        Ok(Self(all))
    }

    /// The language that a client reads best, by what its browser says.
    pub fn choose(&self, accepted: Option<&str>) -> Language<'_> {
        let mut best: (u32, &str) = (0, DEFAULT);
        for range in accepted.unwrap_or_default().split(',').take(ASKED_MAX) {
            let mut parts = range.split(';').map(str::trim);
            let code = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts.find_map(|part| part.strip_prefix("q="));
            let weight = weight.map_or(Some(1.0), |weight| weight.parse::<f32>().ok());
            // In thousandths, as the grammar has it; saturates for whatever else was written.
            let weight = (weight.unwrap_or(0.0) * 1000.0) as u32;
            let primary = code.split('-').next().unwrap_or_default();
            let own = self.0.get_key_value(&code);
            let found = own.or_else(|| self.0.get_key_value(primary));
            if let Some((code, _)) = found
                && weight > best.0
            {
                best = (weight, code);
            }
        }
        self.language(best.1)
    }

    fn language<'l>(&'l self, code: &'l str) -> Language<'l> {
        Language { all: self, code }
    }
}

/// One language.
#[derive(Clone, Copy, Debug)]
pub struct Language<'l> {
    all: &'l Languages,
    /// Its code, as HTML's `lang` has it.
    pub code: &'l str,
}

impl<'l> Language<'l> {
    /// A text by its name.
    pub fn text(self, name: &str) -> &'l str {
        let of = |code: &str| self.all.0.get(code).and_then(|texts| texts.get(name));
        of(self.code)
            .or_else(|| of(DEFAULT))
            .map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn languages() -> Languages {
        Languages::with(&BTreeMap::new()).expect("the built-in ones")
    }

    #[test]
    fn the_language_is_the_one_that_is_wanted_most() {
        let languages = languages();
        let check = |accepted: &str, code: &str| {
            assert_eq!(languages.choose(Some(accepted)).code, code, "{accepted}");
        };
        check("de-AT,de;q=0.9,en;q=0.8", "de");
        check("fr,en;q=0.5,de;q=0.7", "de");
        check("fr", "en");
        check("de;q=0", "en");
        check("de;q=x,,;;q", "en");
        check("", "en");
        assert_eq!(languages.choose(None).code, "en");
    }

    #[test]
    fn every_language_says_everything() {
        let Languages(all) = languages();
        let names: Vec<&String> = all["en"].keys().collect();
        assert!(names.len() > 20);
        for (code, texts) in &all {
            assert_eq!(texts.keys().collect::<Vec<_>>(), names, "{code}");
        }
    }

    #[test]
    fn an_operator_adds_and_changes_texts() {
        let own = |code: &str, name: &str| {
            let texts = Texts::from([(name.to_owned(), "Bonjour".to_owned())]);
            Languages::with(&BTreeMap::from([(code.to_owned(), texts)]))
        };
        let french = own("fr", "title").expect("good");
        assert_eq!(french.choose(Some("fr")).text("title"), "Bonjour");
        let english = french.choose(Some("en")).text("log-in");
        assert_eq!(french.choose(Some("fr")).text("log-in"), english);
        assert!(matches!(
            own("fr", "titel"),
            Err(LanguageError::Unknown { .. })
        ));
        assert!(matches!(own("<fr>", "title"), Err(LanguageError::Code(_))));
    }
}
